"""What the verbs answer that declare schedules. Their JSON is part of the interface, as that of all verbs."""

from __future__ import annotations

from pydantic import JsonValue

from taskerman.model.base import Noun, Timestamp
from taskerman.model.schedule import ScheduleName

__all__ = ["FieldChanged", "ScheduleAdded", "ScheduleEdited", "ScheduleRemoved"]


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
