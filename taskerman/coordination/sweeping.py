"""What a task leaves over that is over: the ends of nodes that neither act nor ended.

A person's cancel does it at once, the janitor until nothing is left, for agents that are away. EXPIRE, which makes a
task over when its time has passed, is here too. Nothing that acts is touched: its own agent ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from taskerman.coordination import layout
from taskerman.coordination.reading import get_each
from taskerman.coordination.snapshot import as_names, as_record
from taskerman.model.assignment import Progress, ProgressState
from taskerman.model.ids import NodeId, TaskId, attempt_id
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Plan
from taskerman.model.task import TaskControl, TaskState
from taskerman.ports.tree import Check, Children, Committed, Create, Delete, Get, Op, Record, Set, Tree

__all__ = ["expire", "sweep"]

_TRIES = 20
_CHUNK = 100
_LONGEST_REASON = 1000
_BEFORE = (TaskState.OPEN, TaskState.HALTED, TaskState.PARKED)
_OVER = {TaskState.CANCELLED: Outcome.CANCELLED, TaskState.EXPIRED: Outcome.EXPIRED}


def expire(tree: Tree, plan: Plan, now: datetime) -> bool:
    """EXPIRE: after its not_after nothing of the task is taken any more. True: this call made it so.

    The ends come with `sweep`. Safe at any time and by any number; raises `AnswerUnknown`: call again.
    """
    if now < plan.accepted.not_after:
        return False
    task = plan.task.task_id
    found, ends = tree.read(Get(layout.control(task)), Children(layout.ends(task)))
    record, names = as_record(found), as_names(ends)
    if record is None or names is None or len(names.names) >= len(plan.nodes):
        return False
    control = layout.decode(TaskControl, record, layout.control(task))
    if control.state not in _BEFORE:
        return False
    why = f"not_after ({plan.accepted.not_after:%Y-%m-%dT%H:%M:%SZ}) has passed"
    if control.state is not TaskState.OPEN:
        why = f"{why}; it was {control.state.value}: {control.why}"
    after = control.model_copy(update={"state": TaskState.EXPIRED, "why": why})
    done = tree.commit([Set(layout.control(task), after.to_json(), record.stat.version)])
    return isinstance(done, Committed)


def sweep(tree: Tree, plan: Plan, now: datetime) -> Sequence[NodeId]:
    """End what neither acts nor ended of a task that is cancelled or expired. Repeat it until nothing is left.

    Each end checks the control record at the version that says so, and takes the progress record with it: a take
    needs both. Returns those still without an end: the acting. Of any other task nothing is ended, and nobody named.
    """
    left: Sequence[NodeId] = ()
    for _ in range(_TRIES):
        swept = _sweep(tree, plan, now)
        if swept is None:
            return ()
        left, moved = swept
        if not moved:
            break
    return left


def _sweep(tree: Tree, plan: Plan, now: datetime) -> tuple[Sequence[NodeId], bool] | None:
    """One round: who has no end yet, and whether something moved meanwhile."""
    task = plan.task.task_id
    record = tree.get(layout.control(task))
    if record is None:
        return None
    control = layout.decode(TaskControl, record, layout.control(task))
    outcome = _OVER.get(control.state)
    names = tree.children(layout.ends(task))
    if outcome is None or names is None:
        return None
    ended = set(names.names)
    left = [node.id for node in plan.nodes if node.id not in ended]
    known = dict(zip(left, get_each(tree, [layout.progress(task, node) for node in left]), strict=True))
    acting = [node for node in left if _progress(task, node, known[node]).state is ProgressState.ACTING]
    idle = [node for node in left if node not in set(acting)]
    for start in range(0, len(idle), _CHUNK):
        ops: list[Op] = [Check(layout.control(task), record.stat.version)]
        for node in idle[start : start + _CHUNK]:
            ops += _end(task, node, known[node], outcome, control.why, now)
        if not isinstance(tree.commit(ops), Committed):
            return [*acting, *idle[start:]], True
    return acting, False


def _end(task: TaskId, node: NodeId, known: Record | None, outcome: Outcome, why: str, now: datetime) -> list[Op]:
    end = End(
        outcome=outcome,
        attempt=attempt_id(task, node, 0),  # no take has it, and a task is over once: no other end of it either
        attempts=_progress(task, node, known).k,
        reason=why[:_LONGEST_REASON],
        at=now,
        dead_letter=DeadLetterState.OWED if outcome.owes_dead_letter else DeadLetterState.NONE,
    )
    ops: list[Op] = [Create(layout.end(task, node), end.to_json())]
    if known is not None:
        ops.append(Delete(layout.progress(task, node), known.stat.version))
    return ops


def _progress(task: TaskId, node: NodeId, record: Record | None) -> Progress:
    return Progress() if record is None else layout.decode(Progress, record, layout.progress(task, node))
