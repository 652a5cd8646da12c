"""DIFF: what another version of declared schedules would change, before it is in force. Pure: two lists and a time.

For each schedule it says which fields differ, and which firings are gone or new, because that is what reviewers of an
expression cannot see. It judges nothing: whether a version is valid is asked elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from taskerman.model.base import Noun, Timestamp
from taskerman.model.schedule import Schedule
from taskerman.model.schedule_record import Declaration
from taskerman.policy.firing import firings

__all__ = ["ChangedFirings", "ChangedSchedule", "Comparison", "FieldChange", "ScheduleChange", "compare"]

_MOST_SHOWN = 5
_MOST_LOOKED_AT = 20_000


class ScheduleChange(StrEnum):
    """What became of a schedule between the two versions."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"


class FieldChange(Noun):
    """`path`: dotted, `task.limit`. `was` and `now`: as JSON; None: it was not there, or is not."""

    path: str
    was: str | None
    now: str | None


class ChangedFirings(Noun):
    """Firings of one version that the other has not: how many, and when the first are due. `at_least`: there are more,
    which were not counted."""

    count: int = 0
    first: tuple[Timestamp, ...] = ()
    at_least: bool = False


class ChangedSchedule(Noun):
    """`name`: in the new version, if it is there. `was_named`: of a renamed one. `starts_anew`: it is a new one, or
    another time makes it one: what was due before it is in force is not made up for."""

    name: str
    change: ScheduleChange
    was_named: str | None = None
    place: str
    fields: tuple[FieldChange, ...] = ()
    gone: ChangedFirings = ChangedFirings()
    new: ChangedFirings = ChangedFirings()
    starts_anew: bool = False


class Comparison(Noun):
    """What differs, by name; firings are those later than `begin`, and not later than `until`."""

    begin: Timestamp
    until: Timestamp
    schedules: tuple[ChangedSchedule, ...]
    same: int


def compare(old: Sequence[Declaration], new: Sequence[Declaration], begin: datetime, until: datetime) -> Comparison:
    """What `new` would change of `old`. One with the same definition under another name is a renamed one."""
    before = {one.schedule.name: one for one in old}
    after = {one.schedule.name: one for one in new}
    renamed = _renamed(before, after)
    found = [_renamed_one(before[was], after[name], begin, until) for name, was in renamed.items()]
    for name in before.keys() - after.keys() - set(renamed.values()):
        gone = _due(before[name].schedule, begin, until)
        found.append(
            ChangedSchedule(name=name, change=ScheduleChange.REMOVED, place=before[name].place, gone=_firings(gone, ()))
        )
    for name in after.keys() - before.keys() - set(renamed):
        coming = _due(after[name].schedule, begin, until)
        found.append(
            ChangedSchedule(
                name=name,
                change=ScheduleChange.ADDED,
                place=after[name].place,
                new=_firings(coming, ()),
                starts_anew=True,
            )
        )
    both = before.keys() & after.keys()
    changed = [name for name in both if before[name].schedule != after[name].schedule]
    found += [_changed(before[name], after[name], begin, until) for name in changed]
    return Comparison(
        begin=begin,
        until=until,
        schedules=tuple(sorted(found, key=lambda one: one.name)),
        same=len(both) - len(changed),
    )


def _renamed(before: Mapping[str, Declaration], after: Mapping[str, Declaration]) -> dict[str, str]:
    """New names and the old ones. Of several that are alike each is taken once, by name."""
    left = [before[name] for name in sorted(before.keys() - after.keys())]
    found = {}
    for name in sorted(after.keys() - before.keys()):
        nameless = after[name].schedule.model_copy(update={"name": ""})
        same = next((one for one in left if one.schedule.model_copy(update={"name": ""}) == nameless), None)
        if same is not None:
            left.remove(same)
            found[name] = same.schedule.name
    return found


def _renamed_one(was: Declaration, now: Declaration, begin: datetime, until: datetime) -> ChangedSchedule:
    gone, new = _both(was.schedule, now.schedule, begin, until)
    return ChangedSchedule(
        name=now.schedule.name,
        change=ScheduleChange.RENAMED,
        was_named=was.schedule.name,
        place=now.place,
        fields=tuple(_fields(was.schedule, now.schedule)),
        gone=gone,
        new=new,
        starts_anew=True,
    )


def _changed(was: Declaration, now: Declaration, begin: datetime, until: datetime) -> ChangedSchedule:
    gone, new = _both(was.schedule, now.schedule, begin, until)
    return ChangedSchedule(
        name=now.schedule.name,
        change=ScheduleChange.CHANGED,
        place=now.place,
        fields=tuple(_fields(was.schedule, now.schedule)),
        gone=gone,
        new=new,
        starts_anew=was.schedule.timing != now.schedule.timing,
    )


def _both(was: Schedule, now: Schedule, begin: datetime, until: datetime) -> tuple[ChangedFirings, ChangedFirings]:
    """Which firings are gone and which are new, by when they are due."""
    if (was.timing, was.offset) == (now.timing, now.offset):
        return ChangedFirings(), ChangedFirings()
    old, new = _due(was, begin, until), _due(now, begin, until)
    return _firings(old, new), _firings(new, old)


def _due(schedule: Schedule, begin: datetime, until: datetime) -> Sequence[datetime]:
    if not schedule.enabled:
        return ()
    return [firing.due for firing in islice(firings(schedule, begin, until), _MOST_LOOKED_AT + 1)]


def _firings(these: Sequence[datetime], others: Sequence[datetime]) -> ChangedFirings:
    """Those of `these` that are not among `others`; where either was cut, only up to there."""
    ends = [one[_MOST_LOOKED_AT - 1] for one in (these, others) if len(one) > _MOST_LOOKED_AT]
    known = set(others)
    found = [due for due in these if due not in known and all(due <= end for end in ends)]
    return ChangedFirings(count=len(found), first=tuple(found[:_MOST_SHOWN]), at_least=bool(ends))


def _fields(was: Schedule, now: Schedule) -> Iterator[FieldChange]:
    old, new = dict(_flat(was)), dict(_flat(now))
    for path in sorted(old.keys() | new.keys()):
        if path != "name" and old.get(path) != new.get(path):
            yield FieldChange(path=path, was=old.get(path), now=new.get(path))


def _flat(schedule: Schedule) -> Iterator[tuple[str, str]]:
    """What it says, by dotted path, as JSON; what it leaves out is left out. A list is one thing."""
    yield from _leaves("", schedule.model_dump(mode="json", exclude_none=True))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), below)
    else:
        yield path, json.dumps(value, ensure_ascii=False, sort_keys=True)
