"""What every verb of a person has in common: what it rests on, and its commit together with its audit entry."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names, as_record
from taskerman.coordination.plans import the_plan
from taskerman.errors import AnswerUnknown, NotFound, RefusedByState, TaskUnknown
from taskerman.model.attempt import NodeRecord
from taskerman.model.audit import AuditEntry
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.outcome import End
from taskerman.model.plan import Plan
from taskerman.model.task import TaskControl
from taskerman.ports.tree import Children, Committed, Create, Delete, Get, Op, Set, Tree

__all__ = ["Clock", "Verbs"]

Clock = Callable[[], datetime]
T = TypeVar("T")
_TRIES = 20


class Verbs:
    """The ground that the verbs stand on. Keeps nothing; each verb may be repeated after an error."""

    def __init__(self, tree: Tree, by: str, clock: Clock) -> None:
        """`by`: who, as claimed. `clock`: the time of day, aware."""
        self._tree = tree
        self._by = by
        self._clock = clock

    def plan(self, task: TaskId) -> Plan:
        """The plan of `task`. Raises `TaskUnknown`, `TaskEnded` (it was put away)."""
        return the_plan(self._tree, task)

    def _control(self, task: TaskId) -> tuple[TaskControl, int]:
        record = self._tree.get(layout.control(task))
        if record is None:
            self.plan(task)  # says that there is none, or that it was put away
            raise TaskUnknown(f"There is no task {task}.", next_step="`taskerman status` lists those there are.")
        return layout.decode(TaskControl, record, layout.control(task)), record.stat.version

    def _end(self, task: TaskId, node: NodeId) -> tuple[End, int]:
        record = self._tree.get(layout.end(task, node))
        if record is None:
            raise NotFound(f"{node} has no outcome in {task}.", next_step=f"`taskerman explain {task} {node}`.")
        return layout.decode(End, record, layout.end(task, node)), record.stat.version

    def _node(self, node: NodeId) -> tuple[NodeRecord, int]:
        record = self._tree.get(layout.node(node))
        if record is None:
            raise NotFound(f"No agent of {node} ever registered.", next_step="`taskerman slots` lists who holds one.")
        return layout.decode(NodeRecord, record, layout.node(node)), record.stat.version

    def _audit(self, verb: str, target: str, why: str, entry_id: str | None = None) -> Create:
        entry = AuditEntry(
            id=entry_id or uuid.uuid4().hex, at=self._clock(), by=self._by, verb=verb, target=target, why=why
        )
        return Create(f"{layout.AUDIT}/", entry.to_json(), sequence=True)

    def _commit(self, build: Callable[[], tuple[list[Op], T]], verb: str, target: str, why: str) -> T:
        """Commit what `build` makes of the present, with its audit entry; build anew when the present moved.

        A lost answer is settled: the first record that the verb sets is written unchanged at the version that the
        verb carried. If that succeeds the verb did not happen and cannot; else its audit entry tells.
        """
        self._tree.ensure(layout.AUDIT)
        for _ in range(_TRIES):
            ops, answer = build()
            if not any(isinstance(op, Set | Create | Delete) for op in ops):
                return answer
            entry_id = uuid.uuid4().hex
            try:
                done = self._tree.commit([*ops, self._audit(verb, target, why, entry_id)])
            except AnswerUnknown:
                if self._happened(ops, entry_id):
                    return answer
                continue
            if isinstance(done, Committed):
                return answer
        raise RefusedByState(f"{target} changes too fast; nothing was done.", next_step="Try again.")

    def _happened(self, ops: Sequence[Op], entry_id: str) -> bool:
        guard = next(op for op in ops if isinstance(op, Set) and op.version is not None)
        for last in (*[False] * 4, True):
            try:
                record = self._tree.get(guard.path)
                if record is not None and record.stat.version == guard.version:
                    fence = self._tree.commit([Set(guard.path, record.data, guard.version)])
                    if isinstance(fence, Committed):
                        return False
                return self._audited(entry_id)
            except AnswerUnknown:
                if last:
                    raise
        raise AssertionError("unreachable")

    def _audited(self, entry_id: str) -> bool:
        self._tree.sync(layout.AUDIT)
        names = as_names(self._tree.read(Children(layout.AUDIT))[0])
        latest = [f"{layout.AUDIT}/{name}" for name in (names.names if names else ())[-200:]]
        return any(
            record is not None and layout.decode(AuditEntry, record, path).id == entry_id
            for path, record in zip(latest, map(as_record, self._tree.read(*(Get(p) for p in latest))), strict=True)
        )
