"""HOLD, UNHOLD, CANCEL, RESUME, APPROVE: a person stops things, and lets them go on.

An acknowledgement means that no attempt is taken after it. What had been taken before goes on, so each
acknowledgement names it: it is read after the change, when nothing can be added to it any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from taskerman.control.desk import Desk, check_why
from taskerman.control.places import acting_in, list_slots
from taskerman.control.status import named
from taskerman.control.values import Approved, Cancelled, Held, HeldPlace, Resumed, Unheld
from taskerman.coordination import overview as reading
from taskerman.coordination.plans import read_plan
from taskerman.coordination.tasks import refuse_unless_parked
from taskerman.errors import TaskEnded, TaskUnknown, UsageError
from taskerman.model.hold import Hold
from taskerman.model.ids import TaskId
from taskerman.model.plan import Tombstone
from taskerman.model.span import parse_span
from taskerman.ringing import ring

__all__ = ["approve", "cancel", "cancelled", "hold", "resume", "time_span", "unhold"]

_LONGEST_WHY = 300
_LONGEST_HOLD = timedelta(days=366)


def hold(desk: Desk, on: str, why: str, lasts: timedelta | None = None) -> Held:
    """Stop new attempts on `*`, `cluster:<kind>:<name>` or `owner:<owner>`; what runs goes on and is named.

    `lasts`: from now; then the janitor lifts it. Without a janitor it stands on: a hold is a fact, not a time. Raises
    `RefusedByState` when such a hold stands already, `UsageError` for another target or no reason.
    """
    _check_target(desk, on, check_why(why))
    placed = desk.moves().hold(on, why, until=None if lasts is None else desk.now() + lasts)
    kind, _, name = on.partition(":")
    known = kind != "cluster" or reading.is_known(desk.opened(), name)
    return Held(hold=placed, acting=tuple(_covered(desk, on)), known=known)


def time_span(text: str) -> timedelta:
    """`90s`, `30m`, `2h`, `1d12h`: how long a hold lasts. Raises `UsageError`."""
    try:
        span = parse_span(text)
    except ValueError as error:
        raise UsageError(f"{error}.", next_step="Write 90s, 30m, 2h or 1d12h.") from None
    if span > _LONGEST_HOLD:
        raise UsageError(
            f"{text} is longer than {_LONGEST_HOLD.days} days.", next_step="Leave --for out, and lift it yourself."
        )
    return span


def unhold(desk: Desk, hold_id: str, why: str = "") -> Unheld:
    """Remove a hold, named by its id or by what it stands on. Raises `NotFound`."""
    removed = desk.moves().unhold(hold_id, why)
    left = reading.installation(desk.opened()).holds
    return Unheld(hold=removed, left=left)


def cancel(desk: Desk, task: TaskId, why: str) -> Cancelled:
    """Nothing of `task` is taken any more; what neither acts nor ended ends as cancelled, at once.

    Who still acts is named: their agents abort, and their checks decide. Idempotent, and worth repeating for what a
    race left over. What a janitor puts away meanwhile was cancelled all the same. Raises `TaskUnknown`, `TaskEnded`
    (before this verb).
    """
    check_why(why)
    with named(desk, task):
        moves = desk.moves()
        moves.cancel(task, why)
        moves.sweep(task)
        return cancelled(desk, task)


def cancelled(desk: Desk, task: TaskId) -> Cancelled:
    """How far the end of a cancelled task is: at its end also when it was put away since."""
    try:
        seen = reading.see_task(desk.opened(), task)
    except TaskEnded:
        stone = read_plan(desk.opened(), task)
        if not isinstance(stone, Tombstone):
            raise
        nodes = sum(stone.summary.values())
        return Cancelled(task_id=task, acting=(), ended=nodes, nodes=nodes)
    acting = acting_in(desk, seen.plan.task.cluster_name)
    return Cancelled(
        task_id=task,
        acting=tuple(place for place in acting if place.task_id == task),
        ended=sum(assignment.end is not None for assignment in seen.assignments),
        nodes=len(seen.assignments),
    )


def resume(desk: Desk, task: TaskId, why: str = "") -> Resumed:
    """Let a halted task go on: what failed so far is excused, every node without an end is rung.

    A node that was not reached and holds its assignment already goes on all the same. Raises `RefusedByState`,
    `TaskUnknown`.
    """
    with named(desk, task):
        moves = desk.moves()
        control = moves.resume(task, why)
        plan = moves.plan(task)
    nodes = desk.router_moves().unended(plan)
    unreached = ring(desk.queues, desk.names, plan, nodes)
    return Resumed(
        task_id=task,
        excused=control.excused,
        rung=len(nodes) - len(unreached),
        unreached=tuple(unreached),
        kept=tuple(place.node for place in list_slots(desk, plan.task.cluster_name) if place.state.kept),
    )


def approve(desk: Desk, task: TaskId, why: str) -> Approved:
    """Let a parked task begin: its nodes are rung, and its cluster's size at planning is the one believed from now on.

    The nodes are rung first: rung and parked they only wait; open and never rung they would wait for the daily ringing.
    Raises `RefusedByState` (it is not parked), `TaskUnknown`, `UsageError` (no reason).
    """
    check_why(why)
    with named(desk, task):
        moves = desk.moves()
        refuse_unless_parked(task, moves.control(task))
        plan = moves.plan(task)
    nodes = desk.router_moves().unended(plan)
    unreached = ring(desk.queues, desk.names, plan, nodes)
    size = moves.approve(task, why)
    return Approved(task_id=task, size=size, rung=len(nodes) - len(unreached), unreached=tuple(unreached))


def _check_target(desk: Desk, on: str, why: str) -> None:
    """The target and the reason as the record takes them, refused here in the words of the command."""
    if len(why) > _LONGEST_WHY:
        raise UsageError(
            f"The reason has {len(why)} characters; at most {_LONGEST_WHY} are kept.", next_step="Say it shorter."
        )
    try:
        Hold(id="h", on=on, why=why, by=desk.by, at=desk.now())
    except ValueError:
        raise UsageError(
            f"A hold cannot stand on {on!r}.",
            next_step="Name cluster:<kind>:<name>, owner:<owner>, or everything.",
        ) from None


def _covered(desk: Desk, on: str) -> Sequence[HeldPlace]:
    """The attempts that act where a hold on `on` stands."""
    kind, _, name = on.partition(":")
    if kind != "owner":
        return acting_in(desk, name or None)
    owners: dict[TaskId, str] = {}
    places = [place for place in acting_in(desk) if place.task_id is not None]  # a command is of no owner
    for task in {place.task_id for place in places if place.task_id is not None}:
        try:
            owners[task] = desk.moves().plan(task).task.owner
        except TaskUnknown:
            owners[task] = name  # nobody can say whose it is: named rather than left out
    return [place for place in places if place.task_id is not None and owners[place.task_id] == name]
