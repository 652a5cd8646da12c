"""The one action of a child, from "go" to its result: which of its two deadlines is next, and how it counts in the end.

Pure: times are arguments, and nothing is stopped or written here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ABORTED", "TOO_LONG", "Action"]

TOO_LONG = "it took longer than its soft timeout"
ABORTED = "aborted"


class Action:
    """What is known of it so far.

    `began`: RFC 3339. `soft_at`, `hard_at`: on CLOCK_BOOTTIME. `stopped`: why the keeper interrupted it ("" = it did
    not). `status`: "" until it is over.
    """

    def __init__(self, began: str, soft_at: float, hard_at: float) -> None:
        self.began = began
        self.soft_at = soft_at
        self.hard_at = hard_at
        self.stopped = ""
        self.status = ""
        self.errors: list[str] = []
        self.exit: int | None = None

    @property
    def next_at(self) -> float:
        """When something must be done about it next."""
        return self.hard_at if self.stopped else min(self.soft_at, self.hard_at)

    def ended(self, how: str, error: str) -> None:
        """Its process said how it ended: "ok", "error", or "interrupted" (and cleaned up)."""
        if how == "interrupted":
            self.status = "timeout" if self.stopped == TOO_LONG else "killed"
            self.errors.append(self.stopped or "interrupted by a SIGTERM that came neither from us nor from the agent")
        else:
            self.status = how
        self.errors.append(error)

    def killed(self, why: str, exit_code: int | None = None) -> None:
        """It did not end by itself."""
        self.status = "killed"
        self.exit = exit_code
        self.errors += [self.stopped, why]

    def result(
        self,
        attempt: str,
        *,
        saved: dict[str, Any],
        ended: str,
        max_rss_bytes: int,
        limits: list[str],
        tail: str,
    ) -> dict[str, Any]:
        """The result document of the wire format."""
        return {
            "v": 1,
            "attempt": attempt,
            "phase": "execute_action",
            "status": self.status,
            "exit": self.exit,
            "error": "; ".join(filter(None, self.errors)),
            "saved": saved,
            "began": self.began,
            "ended": ended,
            "max_rss_bytes": max_rss_bytes,
            "limits": limits,
            "tail": tail,
        }
