"""One call of cluster_end in a child of its own, to its end. It knows neither slots nor brackets.

The hook has a deadline, which its keeper keeps; a keeper that is silent beyond it is killed with all that it started.
When the agent dies, its pipe closes, and the child ends: a call never outlasts its agent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from taskerman.agent import process
from taskerman.agent.child_in_hand import HOOK_TIMEOUT, ChildReport
from taskerman.agent.child_talk import (
    ChildGone,
    ChildSpec,
    ClusterEnd,
    Died,
    Done,
    Errored,
    Exit,
    Failed,
    Report,
    TimedOut,
)
from taskerman.agent.kit import Kit
from taskerman.child import IMPORT_SECONDS

__all__ = ["ClusterEnding"]

_OVERDUE_S = 15.0
_ENDS_IN_S = 5.0
_KILL_WITHIN_S = 10.0


class ClusterEnding:
    """`failed`: why it did; None: it has not. `stopped`: nothing of it runs any more. Both count when it is over."""

    def __init__(
        self,
        kit: Kit,
        name: str,
        spec: Callable[[], ChildSpec],
        directory: Path,
        post: Callable[[ChildReport], None],
    ) -> None:
        """`name`: under which its processes are known. `post` hands a report to the loop, from any thread."""
        self._kit = kit
        self._name = name
        self._spec = spec
        self._directory = directory
        self._post = post
        self._token = object()
        self._child: process.ChildProcess | None = None
        self._overdue_at = 0.0
        self.failed: str | None = None
        self.stopped = True
        self.over = False

    def begin(self) -> None:
        """Call it."""
        seconds = IMPORT_SECONDS + HOOK_TIMEOUT.total_seconds() + _OVERDUE_S
        self._overdue_at = self._kit.clock.monotonic() + seconds
        try:
            self._child = process.start(self._spec(), self._directory, self._report)
        except OSError as error:
            self._end(f"its process could not be started: {error}")
            return
        self._child.ask(ClusterEnd(HOOK_TIMEOUT))

    def _report(self, said: Report) -> None:
        self._post(ChildReport(self._token, said))

    def hear(self, heard: ChildReport) -> None:
        """A report of a child; those of others are not listened to."""
        if heard.child is not self._token or self.over:
            return
        match heard.report:
            case Done(phase="cluster_end"):
                self._end(None)
            case Failed(phase, error):
                self._end(f"the runner cannot work ({phase}): {error}")
            case Errored(phase, error):
                self._end(f"{phase} raised {error}")
            case TimedOut(phase):
                self._end(f"{phase} took more than {HOOK_TIMEOUT.total_seconds():.0f} s")
            case Died(phase, how):
                self._end(f"the process of {phase} died ({how})")
            case ChildGone():
                self._end("its process ended by itself")
            case _:
                return

    def look_at_clock(self) -> float | None:
        """When to look again, in monotonic seconds; None: it is over."""
        if not self.over and self._kit.clock.monotonic() >= self._overdue_at:
            self.kill("its process hangs")
        return None if self.over else self._overdue_at

    def kill(self, why: str) -> None:
        """End it now. Without effect when it is over."""
        if self.over:
            return
        self._end(why)

    def _end(self, failed: str | None) -> None:
        """What has ended must do nothing more when that is recorded."""
        child, self._child = self._child, None
        self.over, self.failed = True, failed
        if child is not None:
            child.ask(Exit())
            child.close()
            gone = child.wait(_ENDS_IN_S) or child.kill_all(_KILL_WITHIN_S)
            self.stopped = gone and self._kit.isolation.empty(self._name, _KILL_WITHIN_S)
            self._kit.isolation.release(self._name)
