"""A past in memory, that is away when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from taskerman.errors import HistoryUnavailable
from taskerman.model.audit import AuditEntry
from taskerman.model.command import CommandRecord
from taskerman.model.history import PastAssignment, PastEnd, PastTask, TaskHistory, further_letter
from taskerman.model.ids import AttemptId, NodeId, TaskId
from taskerman.model.outcome import DeadLetterState, Outcome
from taskerman.model.plan import Refusal
from taskerman.ports.history import AuditQuery, CommandQuery, RefusalQuery, TaskQuery

__all__ = ["MemoryHistory"]

T = TypeVar("T")


class MemoryHistory:
    """The `History` and the `HistoryReader` of a test. What it keeps may be looked at in `tasks`, `ends`, `audit`,
    `refusals` and `commands`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failure: str | None = None
        self._plans: dict[tuple[TaskId, datetime], TaskHistory] = {}
        self._past: dict[tuple[TaskId, datetime], dict[tuple[NodeId, AttemptId], PastAssignment]] = {}
        self.tasks: dict[TaskId, TaskHistory] = {}
        """Each task as it was recorded last."""
        self.ends: dict[tuple[TaskId, NodeId, AttemptId], PastAssignment] = {}
        """Every end that ever was."""
        self.audit: dict[str, AuditEntry] = {}
        self.refusals: dict[tuple[str, datetime], Refusal] = {}
        self.commands: dict[NodeId, CommandRecord] = {}

    def fail(self, why: str = "the database does not answer") -> None:
        """Every call from now on raises `HistoryUnavailable` and keeps nothing, until `recover`."""
        self._failure = why

    def recover(self) -> None:
        """Answer again."""
        self._failure = None

    def record_task(self, task: TaskHistory) -> None:
        """See `History.record_task`."""
        with self._lock:
            self._answer(f"record task {task.task_id}")
            name = task.task_id, task.plan.accepted.at
            self.tasks[task.task_id] = self._plans[name] = task
            ends = self._past.setdefault(name, {})
            for one in task.assignments:
                there = ends.get((one.node, one.end.attempt), one).end.dead_letter
                settled = one.end.model_copy(update={"dead_letter": further_letter(there, one.end.dead_letter)})
                kept = one.model_copy(update={"end": settled})
                ends[one.node, one.end.attempt] = self.ends[task.task_id, one.node, one.end.attempt] = kept

    def record_audit(self, entries: Sequence[AuditEntry]) -> None:
        """See `History.record_audit`."""
        with self._lock:
            self._answer(f"record {len(entries)} audit entries")
            for entry in entries:
                self.audit.setdefault(entry.id, entry)

    def record_refusals(self, refusals: Sequence[Refusal]) -> None:
        """See `History.record_refusals`."""
        with self._lock:
            self._answer(f"record {len(refusals)} refused documents")
            for refusal in refusals:
                key = refusal.sha256, refusal.sent_at or refusal.at
                there = self.refusals.get(key, refusal).dead_letter
                settled = further_letter(DeadLetterState(there), DeadLetterState(refusal.dead_letter))
                self.refusals[key] = refusal.model_copy(update={"dead_letter": settled.value})

    def record_commands(self, commands: Sequence[CommandRecord]) -> None:
        """See `History.record_commands`."""
        with self._lock:
            self._answer(f"record {len(commands)} commands")
            for command in commands:
                self.commands.setdefault(command.holder, command)

    def ended_tasks(self, query: TaskQuery) -> Sequence[PastTask]:
        """See `HistoryReader.ended_tasks`."""
        with self._lock:
            self._answer("read the history")
            found = [_seen(task, self._ends_of(task), query) for task in self._plans.values()]
            return _newest([(one.ended_at, one.task_id, one) for one in found if one is not None], query.most)

    def audit_entries(self, query: AuditQuery) -> Sequence[AuditEntry]:
        """See `HistoryReader.audit_entries`."""
        with self._lock:
            self._answer("read the history")
            return _newest(
                [
                    (entry.at, entry.id, entry)
                    for entry in self.audit.values()
                    if query.target is None
                    or entry.target == query.target
                    or entry.target.startswith(f"{query.target}/")
                    if query.verb in (None, entry.verb) and query.by in (None, entry.by)
                    if query.since is None or entry.at >= query.since
                ],
                query.most,
            )

    def refused_documents(self, query: RefusalQuery) -> Sequence[Refusal]:
        """See `HistoryReader.refused_documents`."""
        with self._lock:
            self._answer("read the history")
            return _newest(
                [
                    (one.at, one.sha256, one)
                    for one in self.refusals.values()
                    if query.task in (None, one.task_id) and query.cluster in (None, one.cluster_name)
                    if query.since is None or one.at >= query.since
                ],
                query.most,
            )

    def ended_commands(self, query: CommandQuery) -> Sequence[CommandRecord]:
        """See `HistoryReader.ended_commands`."""
        with self._lock:
            self._answer("read the history")
            return _newest(
                [
                    (one.end.at, one.holder, one)
                    for one in self.commands.values()
                    if one.end is not None and (query.since is None or one.end.at >= query.since)
                    if query.scope in (None, one.scope) and query.host in (None, one.host)
                ],
                query.most,
            )

    def _ends_of(self, task: TaskHistory) -> list[PastEnd]:
        planned = {node.id: node for node in task.plan.nodes}
        ends = [
            PastEnd(node=past.node, az=planned[past.node].az, rank=planned[past.node].rank, end=past.end)
            for past in self._past[task.task_id, task.plan.accepted.at].values()
        ]
        return sorted(ends, key=lambda one: (one.rank, one.node, one.end.at, one.end.attempt))

    def _answer(self, doing: str) -> None:
        if self._failure is not None:
            raise HistoryUnavailable(f"Cannot {doing}: {self._failure}.", next_step="It is tried again.")


def _seen(task: TaskHistory, ends: Sequence[PastEnd], query: TaskQuery) -> PastTask | None:
    """The task as the query wants it; None when it does not fit."""
    document = task.plan.task
    fits = [
        one
        for one in ends
        if query.node in (None, one.node) and query.outcome in (None, one.end.outcome)
        if not query.letters or one.end.dead_letter is not DeadLetterState.NONE
    ]
    ended_at = max((one.end.at for one in ends), default=task.plan.accepted.at)
    if not (
        query.task in (None, task.task_id)
        and query.cluster in (None, document.cluster_name)
        and query.owner in (None, document.owner)
        and query.action in (None, document.action)
        and (query.since is None or ended_at >= query.since)
        and (fits or not (query.node or query.outcome or query.letters))
    ):
        return None
    last = {one.node: one.end.outcome for one in ends}  # of one node they come oldest first
    return PastTask(
        task_id=task.task_id,
        planned_at=task.plan.accepted.at,
        ended_at=ended_at,
        cluster_name=document.cluster_name,
        owner=document.owner,
        action=document.action,
        state=task.control.state,
        why=task.control.why,
        cap=task.plan.cap,
        nodes=len(task.plan.nodes),
        not_after=task.plan.accepted.not_after,
        counts={one: list(last.values()).count(one) for one in Outcome if one in last.values()},
        document=task.plan.doc if query.task is not None else None,
        ends=tuple(fits) if query.wants_ends else (),
    )


def _newest(found: Iterable[tuple[datetime, str, T]], most: int) -> list[T]:
    """By time, the newest first, and by name among those of one time."""
    by_name = sorted(found, key=lambda one: one[1])
    return [one for _, _, one in sorted(by_name, key=lambda one: one[0], reverse=True)][:most]
