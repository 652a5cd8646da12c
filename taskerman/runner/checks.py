"""What a runner answers when it is asked. Answers are values: an expected "no" is not an error.

What an answer leads to is not decided here; the table of outcomes is policy's.
"""

from __future__ import annotations

from enum import Enum

from taskerman.runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Literal

__all__ = ["Check", "Go", "Recovered", "Refuse", "Skip", "Wait", "check_from_json", "check_to_json"]


class Go(Value):
    """Before the action: act now. After it: this node is well, and its place may be given to the next."""

    __slots__ = ()


class Wait(Value):
    """Not yet. Nothing has failed.

    Before the action: the node gives its place back and comes again at `until` (aware; None = after the usual pause).
    `of`: whether only this node must wait, or no node of the cluster should start. After the action: ask again,
    until the time to settle is over.
    """

    __match_args__ = __slots__ = ("reason", "until", "of")
    reason: str
    until: datetime | None
    of: Literal["node", "cluster"]

    def __init__(self, reason: str, until: datetime | None = None, of: Literal["node", "cluster"] = "node") -> None:
        """Raises `ValueError` for an `until` without a zone and for another `of`."""
        if until is not None and until.tzinfo is None:
            raise ValueError("Wait.until needs a zone: datetime.now(UTC) + timedelta(minutes=5), not datetime.now()")
        if of not in ("node", "cluster"):
            raise ValueError(f'Wait.of is "node" or "cluster", not {of!r}')
        self._set(reason=reason, until=until, of=of)


class Refuse(Value):
    """Before the action: a failure that trying again will not cure. After it: this node is not well, and will not
    become so by waiting; its place is kept until a person looks."""

    __match_args__ = __slots__ = ("reason",)
    reason: str

    def __init__(self, reason: str) -> None:
        self._set(reason=reason)


class Skip(Value):
    """Before the action: there is nothing to do here, and that is a good end. After the action it is a mistake."""

    __match_args__ = __slots__ = ("reason",)
    reason: str

    def __init__(self, reason: str) -> None:
        self._set(reason=reason)


Check = Go | Wait | Refuse | Skip


class Recovered(Enum):
    """What `recover()` found out about an action of which no end was recorded."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


def check_to_json(check: Check) -> dict[str, str | None]:
    """The JSON object of `check`: its `kind`, and its fields; times as RFC 3339.

    Raises `TypeError` for what is no check.
    """
    match check:
        case Go():
            return {"kind": "go"}
        case Wait(reason=reason, until=until, of=of):
            from datetime import UTC  # noqa: PLC0415  (only where a time is written)

            at = None if until is None else until.astimezone(UTC).isoformat().replace("+00:00", "Z")
            return {"kind": "wait", "reason": reason, "until": at, "of": of}
        case Refuse(reason=reason):
            return {"kind": "refuse", "reason": reason}
        case Skip(reason=reason):
            return {"kind": "skip", "reason": reason}
        case _:
            raise TypeError(f"{check!r:.100} is not Go, Wait, Refuse or Skip")


def check_from_json(value: Mapping[str, object]) -> Check:
    """The check that `check_to_json` wrote. Raises `ValueError` naming what is wrong with `value`."""
    kind, reason = value.get("kind"), str(value.get("reason", ""))
    match kind:
        case "go":
            return Go()
        case "wait":
            from datetime import datetime  # noqa: PLC0415  (only where a time is read)

            until = value.get("until")
            at = datetime.fromisoformat(until) if isinstance(until, str) else None
            return Wait(reason, at, "cluster" if value.get("of") == "cluster" else "node")
        case "refuse":
            return Refuse(reason)
        case "skip":
            return Skip(reason)
        case _:
            raise ValueError(f"{kind!r} is no kind of check: go, wait, refuse or skip")
