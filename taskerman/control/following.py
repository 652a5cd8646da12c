"""FOLLOW: watch a task until it has come to something, for whoever waits at a terminal or in a script.

It looks every second or so and takes no part: a follower that goes away changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from taskerman import errors
from taskerman.control.desk import Desk
from taskerman.control.status import describe, waiting_documents
from taskerman.control.stopping import cancelled
from taskerman.control.values import Cancelled, Submitted, TaskStatus, Verdict
from taskerman.coordination import overview as reading
from taskerman.errors import CoordinationUnavailable, DocumentError, TaskermanError, TaskUnknown
from taskerman.model.ids import TaskId

__all__ = ["follow", "follow_cancel"]

Pause = Callable[[float], object]
"""Waits so many seconds, as `time.sleep`."""

_LOOK_S = 1.0


def follow(
    desk: Desk, task: TaskId, *, sent: Submitted | None = None, patience: timedelta | None = None, pause: Pause
) -> Iterator[TaskStatus | None]:
    """How `task` stands, at first and whenever that changes; None while it has no plan yet.

    Ends when its verdict is another than going on, or after `patience` (absent: never). `sent`: the document, whose
    refusal by the routers is raised as the error that it was refused for. An outage of ZooKeeper is waited out,
    within `patience`.
    """
    give_up = None if patience is None else desk.clock.monotonic() + patience.total_seconds()
    shown: TaskStatus | None = None
    first = True
    while True:
        try:
            seen = _look(desk, task, sent)
        except CoordinationUnavailable:
            if give_up is None or desk.clock.monotonic() >= give_up:
                raise
            seen = shown
        if first or seen != shown:
            yield seen
        shown, first = seen, False
        if seen is not None and seen.verdict is not Verdict.GOING_ON:
            return
        if give_up is not None and desk.clock.monotonic() >= give_up:
            return
        pause(_LOOK_S)


def follow_cancel(desk: Desk, task: TaskId, *, patience: timedelta | None = None, pause: Pause) -> Iterator[Cancelled]:
    """How far the end of a cancelled task is, until every node has an end or `patience` is over.

    It sweeps again at each look, for what a node's last move left over.
    """
    give_up = None if patience is None else desk.clock.monotonic() + patience.total_seconds()
    shown: Cancelled | None = None
    while True:
        desk.moves().sweep(task)
        seen = cancelled(desk, task)
        if seen != shown:
            yield seen
        shown = seen
        if seen.ended == seen.nodes or (give_up is not None and desk.clock.monotonic() >= give_up):
            return
        pause(_LOOK_S)


def _look(desk: Desk, task: TaskId, sent: Submitted | None) -> TaskStatus | None:
    tree = desk.opened()
    try:
        return describe(reading.see_task(tree, task))
    except TaskUnknown:
        if sent is not None:
            _raise_refusal(desk, sent)
        return None


def _raise_refusal(desk: Desk, sent: Submitted) -> None:
    """Raise what this very document was refused for, if it was.

    The same bytes may have been refused before, for a reason that is over; the record of that stands. So an older one
    counts only when the queue is empty: then the document was judged again, and no plan came of it.
    """
    refused = next((found for found in reading.refusals(desk.opened()) if found.sha256 == sent.sha256), None)
    if refused is None or (refused.at < sent.at and waiting_documents(desk) != 0):
        return
    kind = _kinds().get(refused.code, DocumentError)
    raise kind(
        f"Task {sent.task_id} was refused: {refused.reason}", next_step=f"`taskerman dlq show {sent.sha256}` prints it."
    )


def _kinds() -> dict[str, type[TaskermanError]]:
    """The errors by their codes, the most general of each."""
    kinds: dict[str, type[TaskermanError]] = {}
    for name in errors.__all__:
        kind = getattr(errors, name)
        if kind is not TaskermanError:
            kinds.setdefault(kind.code, kind)
    return kinds
