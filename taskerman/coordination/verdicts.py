"""How the tasks of schedules came out: read from their records, or from what is left of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names
from taskerman.coordination.reading import BATCH, get_each
from taskerman.errors import Bug
from taskerman.model.ids import TaskId
from taskerman.model.outcome import End, Outcome
from taskerman.model.plan import Plan, Tombstone, unpack_task
from taskerman.model.schedule_record import FiredTask, Verdict
from taskerman.policy.emission import Ended
from taskerman.ports.tree import Children, Record, Tree

__all__ = ["ended_tasks"]

_MARGIN = timedelta(minutes=10)
"""After its not_after, until a task that was never planned is given up: a router may have it in hand."""


def ended_tasks(tree: Tree, tasks: Sequence[FiredTask], now: datetime) -> Mapping[TaskId, Ended]:
    """Of `tasks` those that are over. One that is not planned yet is not over, until its document was refused or its
    time has passed; and so with one whose records cannot be read, because there are others. Reads may be old: one that
    ended a moment ago may be seen as open."""
    plans = get_each(tree, [layout.task(task.task_id) for task in tasks])
    found: dict[TaskId, Ended] = {}
    standing: list[tuple[TaskId, Plan]] = []
    absent: list[FiredTask] = []
    for task, record in zip(tasks, plans, strict=True):
        match None if record is None else _unpacked(record):
            case Plan() as plan if task.hash in ("", plan.hash):
                standing.append((task.task_id, plan))
            case Tombstone() as tombstone if task.hash in ("", tombstone.hash):
                found[task.task_id] = _ended(tombstone.summary)
            case _:  # none, or of another document under the same id, for which ours is refused
                absent.append(task)
    ends = _of_plans(tree, standing)
    found |= {task: counts for task, counts in ends.items() if counts is not None}
    absent += [task for task in tasks if task.task_id in ends.keys() - found.keys()]
    found |= _of_absent(tree, absent, now)
    return found


def _unpacked(record: Record) -> Plan | Tombstone | None:
    try:
        return unpack_task(record.data)
    except Bug:
        return None


def _of_plans(tree: Tree, plans: Sequence[tuple[TaskId, Plan]]) -> dict[TaskId, Ended | None]:
    """None: it is over, and nobody can read how."""
    over: list[tuple[TaskId, Sequence[str]]] = []
    for start in range(0, len(plans), BATCH):
        some = plans[start : start + BATCH]
        listings = tree.read(*(Children(layout.ends(task)) for task, _ in some))
        for (task, plan), listing in zip(some, listings, strict=True):
            names = as_names(listing)
            if names is not None and len(names.names) >= len(plan.nodes):
                over.append((task, names.names))
    found: dict[TaskId, Ended | None] = {}
    for task, nodes in over:
        paths = [layout.end(task, node) for node in nodes]
        records = get_each(tree, paths)
        if all(record is not None for record in records):  # else it was redriven, or is being put away: look again
            try:
                found[task] = _ended(_counted(paths, records))
            except Bug:
                found[task] = None
    return found


def _counted(paths: Sequence[str], records: Sequence[Record | None]) -> Mapping[str, int]:
    ends = [layout.decode(End, record, path) for path, record in zip(paths, records, strict=True) if record]
    return Counter(end.outcome.value for end in ends)


def _of_absent(tree: Tree, tasks: Sequence[FiredTask], now: datetime) -> dict[TaskId, Ended]:
    refused = get_each(tree, [layout.refused(task.sha256) for task in tasks])
    found: dict[TaskId, Ended] = {}
    for task, record in zip(tasks, refused, strict=True):
        if record is not None:
            found[task.task_id] = Ended(Verdict.REFUSED, {})
        elif now > task.not_after + _MARGIN:
            found[task.task_id] = Ended(Verdict.UNKNOWN, {})
    return found


def _ended(counts: Mapping[str, int]) -> Ended:
    well = {Outcome.SUCCEEDED.value, Outcome.SKIPPED.value}
    good = all(outcome in well for outcome, count in counts.items() if count)
    return Ended(Verdict.GOOD if good else Verdict.BAD, dict(counts))
