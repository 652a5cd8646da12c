"""ADD, EDIT, REMOVE: schedules that people declare beside the reviewed files.

A definition is judged as those in files are. What a reviewed file declares is only read here: the file is the place to
change it, and of two declarations of one name nobody could say which one was meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from taskerman.control.desk import Desk, check_why
from taskerman.control.naming import check_schedule
from taskerman.control.schedule_values import FieldChanged, ScheduleAdded, ScheduleEdited, ScheduleRemoved
from taskerman.control.submitting import check_known
from taskerman.coordination.schedules import read_schedules
from taskerman.errors import ScheduleExists, SchedulesInvalid, ScheduleUnknown
from taskerman.model.schedule import Schedule, ScheduleName, template_of
from taskerman.model.schedule_record import ScheduleOrigin
from taskerman.policy.declaring import definition_of, schedule_of
from taskerman.policy.firing import next_nominal
from taskerman.ports.schedules import ScheduleStore

__all__ = ["add_schedule", "declared_definition", "edit_schedule", "remove_schedule"]

_SHOWN = 3


def add_schedule(
    desk: Desk, store: ScheduleStore, definition: Mapping[str, Any], why: str, *, place: str, unchecked: bool = False
) -> ScheduleAdded:
    """Declare a new one. `definition`: a mapping of JSON's values, `name` among them; `place`: where it is from.

    `unchecked`: an action or a discovery that is not installed here is taken to be one. Raises `SchedulesInvalid`, the
    `DocumentError` of what is not known here, `ScheduleExists`, `HistoryUnavailable`, `CoordinationUnavailable`.
    """
    check_why(why)
    schedule = _judged(desk, definition, place, unchecked=unchecked)
    _check_not_reviewed(desk, schedule.name)
    store.add(schedule, desk.by, why)
    return ScheduleAdded(
        name=schedule.name,
        place=store.place,
        definition=definition_of(schedule),
        next=tuple(_coming(schedule, desk.now())),
    )


def declared_definition(desk: Desk, store: ScheduleStore, name: ScheduleName) -> dict[str, Any]:
    """What a person declared under that name, to make a changed one of. Raises `ScheduleUnknown`, `ScheduleExists` (a
    reviewed file declares it), `SchedulesInvalid` (this build cannot read it)."""
    _check_not_reviewed(desk, name)
    return definition_of(store.find(name).schedule)


def edit_schedule(
    desk: Desk,
    store: ScheduleStore,
    definition: Mapping[str, Any],
    why: str,
    *,
    place: str,
    instead_of: Mapping[str, Any] | None = None,
    unchecked: bool = False,
) -> ScheduleEdited:
    """Declare it otherwise, as a whole. `instead_of`: what it was made from; nothing else is replaced by it then.

    One that is so already is left alone, so that a repeat is harmless. Raises what `add_schedule` raises,
    `ScheduleUnknown`, `RefusedByState` (it is not `instead_of` any more).
    """
    check_why(why)
    schedule = _judged(desk, definition, place, unchecked=unchecked)
    _check_not_reviewed(desk, schedule.name)
    before = _readable(store, schedule.name)
    if before != schedule:
        seen = None if instead_of is None else schedule_of(instead_of, place)
        before = store.edit(schedule, desk.by, why, instead_of=seen)
    was, now = None if before is None else definition_of(before), definition_of(schedule)
    return ScheduleEdited(
        name=schedule.name,
        place=store.place,
        before=was,
        definition=now,
        changed=tuple(_differing({} if was is None else was, now)),
        next=tuple(_coming(schedule, desk.now())),
    )


def remove_schedule(desk: Desk, store: ScheduleStore, name: ScheduleName, why: str) -> ScheduleRemoved:
    """Declare it no more. What it has fired goes on. Raises `ScheduleUnknown`, `ScheduleExists` (only a reviewed file
    declares it), `HistoryUnavailable`."""
    check_why(why)
    reviewed = _reviewed_at(desk, name)
    try:
        before = store.remove(name, desk.by, why)
    except ScheduleUnknown:
        if reviewed is not None:
            raise _only_read(name, reviewed) from None
        raise
    return ScheduleRemoved(name=name, place=store.place, definition=None if before is None else definition_of(before))


def _judged(desk: Desk, definition: Mapping[str, Any], place: str, *, unchecked: bool) -> Schedule:
    name = definition.get("name")
    if isinstance(name, str):
        check_schedule(name)
    schedule = schedule_of(definition, place)
    if not unchecked:
        check_known(desk, template_of(schedule))
    return schedule


def _check_not_reviewed(desk: Desk, name: ScheduleName) -> None:
    reviewed = _reviewed_at(desk, name)
    if reviewed is not None:
        raise _only_read(name, reviewed)


def _reviewed_at(desk: Desk, name: ScheduleName) -> str | None:
    """Where a reviewed file declares it, as the scheduler that leads has read it."""
    known = read_schedules(desk.opened(), [check_schedule(name)]).get(name)
    if known is None or known.record.origin is not ScheduleOrigin.FILES or known.record.retired_at is not None:
        return None
    return known.record.place


def _only_read(name: ScheduleName, place: str) -> ScheduleExists:
    return ScheduleExists(
        f"{name} is declared in a reviewed file, {place}: here it is only read.",
        next_step=f"Change that file; at once, `taskerman schedules pause {name}` stops it.",
    )


def _readable(store: ScheduleStore, name: ScheduleName) -> Schedule | None:
    try:
        return store.find(name).schedule
    except SchedulesInvalid:
        return None


def _coming(schedule: Schedule, now: datetime) -> Iterator[datetime]:
    after: datetime | None = now - schedule.offset
    for _ in range(_SHOWN if schedule.enabled else 0):
        after = None if after is None else next_nominal(schedule, after)
        if after is not None:
            yield after + schedule.offset


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], way: str = "") -> Iterator[FieldChanged]:
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _differing(was, now, f"{way}{name}.")
        elif was != now or (name in before) is not (name in after):
            yield FieldChanged(field=f"{way}{name}", was=was, now=now)
