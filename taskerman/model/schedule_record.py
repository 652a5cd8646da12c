"""What is kept of each schedule that is in force: its definition, how far it has been decided, what was made of it.

One record holds all of it, so that one version guards all of it: whoever pauses, edits or fires a schedule writes the
same record, and of two who do so at once the second looks again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import TaskId
from taskerman.model.schedule import Schedule

__all__ = [
    "Declaration",
    "FiredTask",
    "Paused",
    "PendingFiring",
    "ScheduleOrigin",
    "ScheduleRecord",
    "Verdict",
]


class ScheduleOrigin(StrEnum):
    """Where a schedule is declared: in the reviewed files, where it is only read, or in the database, by a person."""

    FILES = "files"
    DATABASE = "database"


class Declaration(Noun):
    """A schedule as it was found. `place`: for people, such as `redis.yaml:12`, or `added by ana@desk`."""

    schedule: Schedule
    origin: ScheduleOrigin
    place: str


class Paused(Noun):
    """A person stopped it. Firings that are due meanwhile are not made up for."""

    by: str
    at: Timestamp
    why: str


class PendingFiring(Noun):
    """A task that is decided, and of which nobody has noted yet that it was sent. `body`: the document, as sent;
    `not_after`: its own, if it has one.

    `nominal` None: a person triggered it, and `by` says who. `cancels`: what is to be cancelled before.
    """

    task_id: TaskId
    nominal: Timestamp | None
    due: Timestamp
    body: str
    not_after: Timestamp | None = None
    cancels: tuple[TaskId, ...] = ()
    by: str = ""


class Verdict(StrEnum):
    """How a task of a schedule came out. `good`: every node succeeded or had nothing to do. `unknown`: nobody can say
    any more."""

    GOOD = "good"
    BAD = "bad"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class FiredTask(Noun):
    """A task that was sent. `sha256`: of its document, by which a refusal of it is found; `hash`: of what the document
    says, by which its plan is told from that of a stranger who took its id. `not_after`: when it is over at the latest,
    planned or not."""

    task_id: TaskId
    nominal: Timestamp | None
    due: Timestamp
    sent_at: Timestamp
    sha256: str
    hash: str = ""
    not_after: Timestamp
    verdict: Verdict | None = None
    counts: dict[str, int] = Field(default_factory=dict)


class ScheduleRecord(Noun):
    """`/schedules/<name>`. `through`: every nominal time up to it is decided. `since`: when it was first seen, or came
    anew by a change of its timing, a resume, its return.

    `open`: tasks not seen to end, oldest first. `last`: the newest of those that were sent, with its verdict when it
    has one. `succeeded`: the nominal time of the newest one that was good. `passed`: the last firing that was
    not emitted, and why. `retired_at`: it is not declared any more since then.
    """

    v: Literal[1] = 1
    schedule: Schedule
    origin: ScheduleOrigin
    place: str
    since: Timestamp
    through: Timestamp
    pending: tuple[PendingFiring, ...] = ()
    open: tuple[FiredTask, ...] = ()
    last: FiredTask | None = None
    succeeded: Timestamp | None = None
    sent: int = 0
    skipped: int = 0
    missed: int = 0
    passed: Timestamp | None = None
    passed_why: str = ""
    paused: Paused | None = None
    retired_at: Timestamp | None = None

    @property
    def fires(self) -> bool:
        """Whether its time may come at all."""
        return self.schedule.enabled and self.paused is None and self.retired_at is None

    def declared_as(self, declaration: Declaration) -> bool:
        """Whether it is in force just as it is declared."""
        return (self.schedule, self.origin, self.place, self.retired_at) == (
            declaration.schedule,
            declaration.origin,
            declaration.place,
            None,
        )
