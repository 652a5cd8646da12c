"""The past: where ended tasks, people's verbs and refused documents go before their records are put away.

The coordination tree holds the present and forgets; what is worth knowing for years is copied here first. Whoever
deletes from the tree deletes only what this port has said yes to, so an answer is a promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from taskerman.model.audit import AuditEntry
from taskerman.model.command import CommandRecord
from taskerman.model.history import PastTask, TaskHistory
from taskerman.model.ids import ClusterName, NodeId, Owner, ScopeName, TaskId
from taskerman.model.outcome import Outcome
from taskerman.model.plan import Refusal

__all__ = ["AuditQuery", "CommandQuery", "History", "HistoryReader", "RefusalQuery", "TaskQuery"]


class History(Protocol):
    """Keeps what it is given. On return it is stored durably; every call may be repeated, also by two at a time.

    All raise `HistoryUnavailable` (it may or may not be stored: repeat it) and `NotPermitted`.
    """

    def record_task(self, task: TaskHistory) -> None:
        """Keep an ended task: upsert by task id and the time of its planning, each end by its key (`end.attempt`).

        Of an end that is there already the given one wins: its dead letter may have been settled since. But a dead
        letter never goes back to an earlier state, because two may record at a time. An end that is there and is not
        among the given ones is kept: it was redriven, or deleted from the tree since, and is part of the past. So a
        task may be recorded again with fewer ends, or with none. Erases nothing.
        """
        ...

    def record_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Keep what people, and the janitor, changed: each once, by `entry.id`. All of them, or an error."""
        ...

    def record_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Keep documents that were not accepted: upsert by (`sha256`, `sent_at` or `at`). All, or an error.

        A dead letter never goes back to an earlier state here either.
        """
        ...

    def record_commands(self, commands: Sequence[CommandRecord]) -> None:
        """Keep commands that have ended under a slot: each once, by its holder. All of them, or an error."""
        ...


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks are wanted: all that is given must fit. `node`, `outcome`: the task has such an end.

    `since`: it ended then or later. `letters`: it has an end with a dead letter. `most`: the newest so many.
    """

    task: TaskId | None = None
    cluster: ClusterName | None = None
    owner: Owner | None = None
    action: str | None = None
    node: NodeId | None = None
    outcome: Outcome | None = None
    letters: bool = False
    since: datetime | None = None
    most: int = 50

    @property
    def wants_ends(self) -> bool:
        """Whether the ends that fit are wanted too: when something about ends, or one task, was asked for."""
        return self.letters or not self.task is self.node is self.outcome is None


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which audit entries are wanted. `target`: what was changed, or the beginning of it up to a `/`."""

    target: str | None = None
    verb: str | None = None
    by: str | None = None
    since: datetime | None = None
    most: int = 50


@dataclass(frozen=True, slots=True)
class RefusalQuery:
    """Which refused documents are wanted."""

    task: TaskId | None = None
    cluster: ClusterName | None = None
    since: datetime | None = None
    most: int = 50


@dataclass(frozen=True, slots=True)
class CommandQuery:
    """Which commands are wanted. `since`: they ended then or later."""

    scope: ScopeName | None = None
    host: NodeId | None = None
    since: datetime | None = None
    most: int = 50


class HistoryReader(Protocol):
    """Answers about the past, the newest first. Changes nothing, and makes nothing.

    All raise `HistoryUnavailable`, `NotPermitted`, and `NotFound` when nothing was ever recorded there.
    """

    def ended_tasks(self, query: TaskQuery) -> Sequence[PastTask]:
        """Ended tasks; with a task, a node, an outcome or letters asked for, also the ends that fit; with a task, its
        document."""
        ...

    def audit_entries(self, query: AuditQuery) -> Sequence[AuditEntry]:
        """Who changed what, when and why."""
        ...

    def refused_documents(self, query: RefusalQuery) -> Sequence[Refusal]:
        """Documents that were not accepted."""
        ...

    def ended_commands(self, query: CommandQuery) -> Sequence[CommandRecord]:
        """Commands that ran under a slot."""
        ...
