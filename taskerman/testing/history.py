"""A past in memory, that is away when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime

from taskerman.errors import HistoryUnavailable
from taskerman.model.audit import AuditEntry
from taskerman.model.history import PastAssignment, TaskHistory
from taskerman.model.ids import AttemptId, NodeId, TaskId
from taskerman.model.plan import Refusal

__all__ = ["MemoryHistory"]


class MemoryHistory:
    """The `History` of a test. What it keeps may be looked at in `tasks`, `ends`, `audit` and `refusals`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failure: str | None = None
        self.tasks: dict[TaskId, TaskHistory] = {}
        """Each task as it was recorded last."""
        self.ends: dict[tuple[TaskId, NodeId, AttemptId], PastAssignment] = {}
        """Every end that ever was."""
        self.audit: dict[str, AuditEntry] = {}
        self.refusals: dict[tuple[str, datetime], Refusal] = {}

    def fail(self, why: str = "the database does not answer") -> None:
        """Every call from now on raises `HistoryUnavailable` and keeps nothing, until `recover`."""
        self._failure = why

    def recover(self) -> None:
        """Answer again."""
        self._failure = None

    def record_task(self, task: TaskHistory) -> None:
        """See `History.record_task`."""
        with self._lock:
            self._answer(f"task {task.task_id}")
            self.tasks[task.task_id] = task
            for one in task.assignments:
                self.ends[task.task_id, one.node, one.end.attempt] = one

    def record_audit(self, entries: Sequence[AuditEntry]) -> None:
        """See `History.record_audit`."""
        with self._lock:
            self._answer(f"{len(entries)} audit entries")
            for entry in entries:
                self.audit.setdefault(entry.id, entry)

    def record_refusals(self, refusals: Sequence[Refusal]) -> None:
        """See `History.record_refusals`."""
        with self._lock:
            self._answer(f"{len(refusals)} refused documents")
            for refusal in refusals:
                self.refusals[refusal.sha256, refusal.sent_at or refusal.at] = refusal

    def _answer(self, what: str) -> None:
        if self._failure is not None:
            raise HistoryUnavailable(f"Cannot record {what}: {self._failure}.", next_step="It is tried again.")
