"""What the verbs about schedules answer. Their JSON is part of the interface, as that of all verbs."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import TaskId
from taskerman.model.schedule import ScheduleName
from taskerman.model.schedule_record import Paused, ScheduleOrigin, Verdict

__all__ = [
    "FieldChanged",
    "LastFiring",
    "ScheduleAdded",
    "ScheduleEdited",
    "ScheduleLine",
    "ScheduleOverview",
    "SchedulePaused",
    "ScheduleRemoved",
    "ScheduleResumed",
    "ScheduleShown",
    "ScheduleTriggered",
    "Standing",
]


class ScheduleAdded(Noun):
    """It is declared; a scheduler puts it in force when it looks next. `place`: the store that has it.

    `next`: when it fires then, three times at the most; none when it is not enabled.
    """

    name: ScheduleName
    place: str
    definition: dict[str, JsonValue]
    next: tuple[Timestamp, ...]


class FieldChanged(Noun):
    """One field that differs, by the way to it: `task.limit`. Null: it is not said, and has its default."""

    field: str
    was: JsonValue
    now: JsonValue


class ScheduleEdited(Noun):
    """It is declared otherwise. `before` None: nobody here can read what it was. `changed`: every field that differs;
    none: it was so already, and nothing was written."""

    name: ScheduleName
    place: str
    before: dict[str, JsonValue] | None
    definition: dict[str, JsonValue]
    changed: tuple[FieldChanged, ...]
    next: tuple[Timestamp, ...]


class ScheduleRemoved(Noun):
    """It is declared no more. `definition` None: nobody here can read what it was."""

    name: ScheduleName
    place: str
    definition: dict[str, JsonValue] | None


Standing = Literal["enabled", "disabled", "paused", "retired"]


class LastFiring(Noun):
    """The task of the last firing. `outcome`: open, or how it came out; `sent_at` None: it is still to be sent."""

    task_id: TaskId
    due: Timestamp
    sent_at: Timestamp | None
    outcome: Literal["unsent", "open"] | Verdict
    counts: dict[str, int]


class ScheduleLine(Noun):
    """How one schedule stands. `when`: as it is declared. `next`: when it fires next, three times at the most.

    `overdue`: it should have fired and nobody has decided it. `ahead`: times far to come are decided, by clocks that
    were wrong. `stale_since`: since when it is without the success that it should have had. `passed`, `passed_why`: the
    last firing that was left out.
    """

    name: ScheduleName
    action: str
    cluster_name: str
    owner: str
    when: str
    standing: Standing
    origin: ScheduleOrigin
    place: str
    next: tuple[Timestamp, ...]
    last: LastFiring | None
    open: tuple[TaskId, ...]
    overdue: bool
    ahead: bool
    stale_since: Timestamp | None
    skipped: int
    missed: int
    passed: Timestamp | None
    passed_why: str


class ScheduleOverview(Noun):
    """Schedules in force. `leader`: the scheduler that leads; None: nothing fires. `spoilt`: records that cannot be
    read; what is declared under these names does not fire."""

    leader: str | None
    schedules: tuple[ScheduleLine, ...]
    spoilt: tuple[str, ...]


class ScheduleShown(Noun):
    """One schedule, with its definition, and the document that its next firing makes."""

    line: ScheduleLine
    definition: dict[str, JsonValue]
    paused: Paused | None
    document: dict[str, JsonValue] | None


class SchedulePaused(Noun):
    """Nothing is fired of it any more. `decided`: what had been decided before, sent or not, and goes on."""

    name: ScheduleName
    decided: tuple[TaskId, ...]


class ScheduleResumed(Noun):
    """It fires again. `next`: when first."""

    name: ScheduleName
    next: Timestamp | None


class ScheduleTriggered(Noun):
    """A firing beside its times. `sent`: False: it is decided, and the scheduler sends it as soon as the queue takes
    it."""

    name: ScheduleName
    task_id: TaskId
    sent: bool
    open: tuple[TaskId, ...]
