"""The past: where ended tasks, people's verbs and refused documents go before their records are put away.

The coordination tree holds the present and forgets; what is worth knowing for years is copied here first. Whoever
deletes from the tree deletes only what this port has said yes to, so an answer is a promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from taskerman.model.audit import AuditEntry
from taskerman.model.history import TaskHistory
from taskerman.model.plan import Refusal

__all__ = ["History"]


class History(Protocol):
    """Keeps what it is given. On return it is stored durably; every call may be repeated, also by two at a time.

    All raise `HistoryUnavailable` (it may or may not be stored: repeat it) and `NotPermitted`.
    """

    def record_task(self, task: TaskHistory) -> None:
        """Keep an ended task: upsert by task id, each end by (task, node, key of the end: `end.attempt`).

        Of an end that is there already the given one wins: its dead letter may have been settled since. An end that
        is there and is not among the given ones is kept: it was redriven, and is part of the past. Erases nothing.
        """
        ...

    def record_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Keep what people, and the janitor, changed: each once, by `entry.id`. All of them, or an error."""
        ...

    def record_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Keep documents that were not accepted: upsert by (`sha256`, `sent_at` or `at`). All, or an error."""
        ...
