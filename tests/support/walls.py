"""When a wall shows what, found the slow way: minute by minute, by nothing but zoneinfo.

An oracle for times: it knows cronsim only as a list of what is on a wall without a zone. Also draws expressions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim

from taskerman.model.cron import fields_of
from taskerman.model.schedule import Schedule

__all__ = ["MINUTE", "all_changes", "changes_of", "drawn_expression", "expected", "offset", "schedule", "utc", "wall"]

MINUTE = timedelta(minutes=1)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, micro: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, micro, UTC)


def schedule(cron: str | None = None, timezone: str = "UTC", **more: Any) -> Schedule:
    given = {"name": "some", "cron": cron, "timezone": timezone, "task": {"action": "demo_task:restart"}, **more}
    if "every" in more:
        given["timezone"] = "UTC"
    if more.get("catch_up") == "all":
        given.setdefault("overlap", "queue")
    return Schedule.model_validate_json(json.dumps(given))


def offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    found = instant.astimezone(zone).utcoffset()
    assert found is not None
    return found


def wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def expected(expression: str, zone: ZoneInfo, begin: datetime, end: datetime) -> list[datetime]:
    """Every instant later than `begin`, not later than `end`, at which it fires by the rules; both whole minutes.

    They must not be within a day of a change of the zone's offset on the outside.
    """
    fields = fields_of(expression)
    shown: dict[datetime, list[datetime]] = {}
    instants = [begin + MINUTE * count for count in range(1, (end - begin) // MINUTE + 1)]
    for instant in instants:
        shown.setdefault(wall(instant, zone), []).append(instant)
    named = set()
    for one in CronSim(fields, wall(begin, zone)):
        if one > wall(end, zone):
            break
        named.add(one)
    if any(field.startswith("*") for field in fields.split()[:2]):
        return sorted(instant for one in named for instant in shown.get(one, ()))
    order = sorted(shown)
    found = set()
    for one in named:
        if one in shown:
            found.add(shown[one][0])
        else:
            found.add(shown[next(later for later in order if later > one)][0])
    return sorted(found)


def changes_of(
    zone: ZoneInfo, begin: datetime, end: datetime, step: timedelta = timedelta(days=1)
) -> Iterator[datetime]:
    """When its offset changes, to the second; two changes within one step may be missed."""
    known = offset(begin, zone)
    while begin < end:
        until = begin + step
        found = offset(until, zone)
        if found != known:
            low, high = begin, until
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // timedelta(seconds=2) * timedelta(seconds=1)
                low, high = (middle, high) if offset(middle, zone) == known else (low, middle)
            yield high
        begin, known = until, found


@cache
def all_changes(begin: datetime, end: datetime) -> dict[tuple[datetime, timedelta, timedelta], str]:
    """Each change of an offset that some zone of the world makes: when, from what, to what; and such a zone."""
    found: dict[tuple[datetime, timedelta, timedelta], str] = {}
    for name in sorted(available_timezones(), key=lambda name: ("/" not in name, name)):
        zone = ZoneInfo(name)
        for change in changes_of(zone, begin, end):
            key = change, offset(change - timedelta(seconds=1), zone), offset(change, zone)
            found.setdefault(key, name)
    return found


def drawn_expression(dice: Random, *, extras: bool = True) -> str:
    """One that fires, of every form that a field may have. `extras`: also `L`, `#` and names."""
    while True:
        hours = ["*", "*/2", "*/6", "0", "1", "2", "3", "12", "23", "0-4", "1,2,3", "22-23", "0-23/3"]
        minutes = [
            "*",
            "*/15",
            "*/20",
            "*/7",
            "0",
            "0",
            "30",
            "59",
            "5,35",
            "0-59/10",
            "10-12",
            str(dice.randrange(60)),
        ]
        days = ["*", "*", "*", "*/2", "*/10", "1", "15", "31", "29", "1-7", "30,31", str(dice.randrange(1, 32))]
        months = ["*", "*", "*", "2", "3", "10", "*/3", "1-6", "11,12"]
        weekdays = ["*", "*", "*", "0", "7", "1", "1-5", "*/2", "6,0", "5"]
        if extras:
            days += ["L", "LW", "L,1"]
            weekdays += ["MON", "SUN", "1#1", "5L", "MON-FRI", "0#5"]
            months += ["JAN", "FEB-APR"]
        text = " ".join(dice.choice(field) for field in (minutes, hours, days, months, weekdays))
        try:
            schedule(text)
        except ValueError:
            continue
        return text
