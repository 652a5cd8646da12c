"""What a runner answers when it is asked. Answers are values: an expected "no" is not an error.

What an answer leads to is not decided here; the table of outcomes is policy's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Literal

__all__ = ["Check", "Go", "Recovered", "Refuse", "Skip", "Wait", "check_from_json", "check_to_json"]


@dataclass(frozen=True, slots=True)
class Go:
    """Before the action: act now. After it: this node is well, and its place may be given to the next."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet. Nothing has failed.

    Before the action: the node gives its place back and comes again at `until` (aware; None = after the usual pause).
    `of`: whether only this node must wait, or no node of the cluster should start. After the action: ask again,
    until the time to settle is over.
    """

    reason: str
    until: datetime | None = None
    of: Literal["node", "cluster"] = "node"

    def __post_init__(self) -> None:
        if self.until is not None and self.until.tzinfo is None:
            raise ValueError("Wait.until needs a zone: datetime.now(UTC) + timedelta(minutes=5), not datetime.now()")
        if self.of not in ("node", "cluster"):
            raise ValueError(f'Wait.of is "node" or "cluster", not {self.of!r}')


@dataclass(frozen=True, slots=True)
class Refuse:
    """Before the action: a failure that trying again will not cure. After it: this node is not well, and will not
    become so by waiting; its place is kept until a person looks."""

    reason: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Before the action: there is nothing to do here, and that is a good end. After the action it is a mistake."""

    reason: str


Check = Go | Wait | Refuse | Skip


class Recovered(Enum):
    """What `recover()` found out about an action of which no end was recorded."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


def check_to_json(check: Check) -> dict[str, str | None]:
    """The JSON object of `check`: its `kind`, and its fields; times as RFC 3339."""
    match check:
        case Go():
            return {"kind": "go"}
        case Wait(reason=reason, until=until, of=of):
            at = None if until is None else until.astimezone(UTC).isoformat().replace("+00:00", "Z")
            return {"kind": "wait", "reason": reason, "until": at, "of": of}
        case Refuse(reason=reason):
            return {"kind": "refuse", "reason": reason}
        case Skip(reason=reason):
            return {"kind": "skip", "reason": reason}


def check_from_json(value: Mapping[str, object]) -> Check:
    """The check that `check_to_json` wrote. Raises `ValueError` naming what is wrong with `value`."""
    kind, reason = value.get("kind"), str(value.get("reason", ""))
    match kind:
        case "go":
            return Go()
        case "wait":
            until = value.get("until")
            at = datetime.fromisoformat(until) if isinstance(until, str) else None
            return Wait(reason, at, "cluster" if value.get("of") == "cluster" else "node")
        case "refuse":
            return Refuse(reason)
        case "skip":
            return Skip(reason)
        case _:
            raise ValueError(f"{kind!r} is no kind of check: go, wait, refuse or skip")
