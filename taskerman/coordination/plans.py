"""What stands at a task's own path: its plan, or, when it has been put away, the tombstone."""

from __future__ import annotations

from taskerman.coordination import layout
from taskerman.errors import TaskEnded, TaskUnknown
from taskerman.model.ids import TaskId
from taskerman.model.plan import Plan, Tombstone, unpack_task
from taskerman.ports.tree import Tree

__all__ = ["put_away", "read_plan", "the_plan"]


def read_plan(tree: Tree, task: TaskId, *, sync: bool = False) -> Plan | Tombstone | None:
    """The plan or the tombstone of `task`. `sync`: None is believed only of a server that lags behind nobody."""
    path = layout.task(task)
    record = tree.get(path)
    if record is None and sync:
        tree.sync(path)
        record = tree.get(path)
    return None if record is None else unpack_task(record.data)


def the_plan(tree: Tree, task: TaskId) -> Plan:
    """The plan of `task`. Raises `TaskUnknown`, and `TaskEnded` for one that was put away."""
    found = read_plan(tree, task)
    if found is None:
        raise TaskUnknown(f"There is no task {task}.", next_step="It may not be planned yet: is a router running?")
    if isinstance(found, Tombstone):
        raise put_away(task, found)
    return found


def put_away(task: TaskId, tombstone: Tombstone) -> TaskEnded:
    """What is said of a task whose records are in the history."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(tombstone.summary.items()))
    return TaskEnded(
        f"Task {task} has ended ({counts}) and was put away at {tombstone.put_away_at:%Y-%m-%dT%H:%M:%SZ}.",
        next_step=f"`taskerman history --task {task}` shows it. A new task needs an id of its own.",
    )
