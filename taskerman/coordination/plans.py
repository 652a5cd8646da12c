"""What stands at a task's own path: its plan, or, when it has been put away, the tombstone."""

from __future__ import annotations

from taskerman.coordination import layout
from taskerman.model.ids import TaskId
from taskerman.model.plan import Plan, Tombstone, unpack_task
from taskerman.ports.tree import Tree

__all__ = ["read_plan"]


def read_plan(tree: Tree, task: TaskId, *, sync: bool = False) -> Plan | Tombstone | None:
    """The plan or the tombstone of `task`. `sync`: None is believed only of a server that lags behind nobody."""
    path = layout.task(task)
    record = tree.get(path)
    if record is None and sync:
        tree.sync(path)
        record = tree.get(path)
    return None if record is None else unpack_task(record.data)
