"""How attempts and assignments end, and what each end means. The truth table of the system is here."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import AttemptId, NodeId, TaskId

__all__ = ["DeadLetter", "DeadLetterState", "End", "Outcome"]


class Outcome(StrEnum):
    """The closed list of ends. `deferred` ends an attempt only; the last four end an assignment only."""

    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    DEFERRED = "deferred"
    FAILED = "failed"
    UNSAFE = "unsafe"
    LOST = "lost"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    GONE = "gone"

    @property
    def well(self) -> bool:
        """Done, and nobody needs to look."""
        return self in (Outcome.SUCCEEDED, Outcome.SKIPPED)

    @property
    def uses_budget(self) -> bool:
        """Counts against max_failures, when it ends an attempt."""
        return self in (Outcome.FAILED, Outcome.UNSAFE, Outcome.LOST)

    @property
    def owes_dead_letter(self) -> bool:
        """A person must be told, when it ends an assignment."""
        return self in (
            Outcome.FAILED,
            Outcome.UNSAFE,
            Outcome.LOST,
            Outcome.REJECTED,
            Outcome.EXPIRED,
            Outcome.GONE,
        )


class DeadLetterState(StrEnum):
    """Whether the announcement is still to be sent, and what a person did about it."""

    NONE = "none"
    OWED = "owed"
    SENT = "sent"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"


class End(Noun):
    """`/tasks/<t>/end/<n>`: the recorded outcome of an assignment; also the record of its dead letter.

    `attempt`: the key of the dead letter; drawn anew for every end, so that two ends never share one.
    `kept`: the scopes in which its slot was kept.
    """

    v: Literal[1] = 1
    outcome: Outcome
    attempt: AttemptId
    attempts: int = Field(default=0, ge=0)
    reason: str = ""
    code: str = ""
    tail: str = ""
    kept: tuple[str, ...] = ()
    at: Timestamp
    dead_letter: DeadLetterState = DeadLetterState.NONE


class DeadLetter(Noun):
    """The announcement in the dead-letter queue, with everything that a person needs to decide."""

    v: Literal[1] = 1
    key: str
    kind: Literal["assignment", "document"]
    outcome: Outcome
    code: str = ""
    reason: str
    task_id: TaskId | None = None
    destnode: NodeId | None = None
    cluster_name: str | None = None
    owner: str | None = None
    action: str | None = None
    attempts: int = 0
    kept: tuple[str, ...] = ()
    at: Timestamp
    tail: str = ""
    task: dict[str, Any] | None = None
    body: str | None = None
    body_bytes: int | None = None
    body_sha256: str | None = None
    body_truncated: bool = False
    next: tuple[str, ...] = ()
