"""Times against those of croniter, a library that shares no code with what is used here: over ten years of random
expressions in random zones they differ only as `docs/explanation/times.md` says, and each way to differ is met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from itertools import islice
from random import Random
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from taskerman.policy.firing import firings
from tests.support.walls import changes_of, drawn_expression, offset, schedule, utc, wall

BEGIN, YEARS = utc(2020, 1, 1), timedelta(days=3652)
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Beirut"),
    *("Asia/Kolkata", "America/Havana", "Pacific/Chatham", "Africa/Casablanca", "Antarctica/Troll"),
)
SECOND = timedelta(seconds=1)


class Differs(Enum):
    """Why an instant is in one of the two sets only. The names are those of the page."""

    ALSO_THE_SECOND_OF_TWO = "the other fires a fixed time in both of two hours"
    MOVES_A_STAR = "the other moves a star's skipped time to right after the jump"
    LOSES_THE_SECOND_OF_TWO = "the other loses a star in the second of two half hours"
    EITHER_FOR_BOTH = "a day and a weekday of which one begins with a star"


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    return tuple(changes_of(ZoneInfo(zone), BEGIN - timedelta(days=3), BEGIN + YEARS + timedelta(days=3)))


def why(instant: datetime, ours: bool, expression: str, zone: str) -> Differs | None:
    """The explanation of one instant that only one has; None: there is none."""
    star = any(field.startswith("*") for field in expression.split()[:2])
    second = bool(instant.astimezone(ZoneInfo(zone)).fold)
    if second and not star and not ours:
        return Differs.ALSO_THE_SECOND_OF_TWO
    if second and star and ours:
        return Differs.LOSES_THE_SECOND_OF_TWO
    forward = instant in changes(zone) and offset(instant, ZoneInfo(zone)) > offset(instant - SECOND, ZoneInfo(zone))
    if forward and star and not ours and skips_a_time_of(expression, instant, zone):
        return Differs.MOVES_A_STAR
    return None


def skips_a_time_of(expression: str, change: datetime, zone: str) -> bool:
    gap = offset(change, ZoneInfo(zone)) - offset(change - SECOND, ZoneInfo(zone))
    after = wall(change, ZoneInfo(zone))
    first = croniter(expression, after - gap - SECOND, implement_cron_bug=True).get_next(datetime)
    return bool(first < after)


def theirs(expression: str, zone: str, begin: datetime, until: datetime, *, debian: bool) -> Iterator[datetime]:
    """`debian`: their switch for what they call cron's bug: with a star in a day field both days must be true."""
    found = croniter(expression, begin.astimezone(ZoneInfo(zone)), implement_cron_bug=debian)
    while (instant := found.get_next(datetime).astimezone(begin.tzinfo)) <= until:
        yield instant


def windows(dice: Random, zone: str) -> Iterator[tuple[datetime, datetime, int]]:
    """All of the ten years, as far as a few hundred firings go, and some of its changes of clocks."""
    begin = BEGIN + timedelta(minutes=dice.randrange(YEARS // timedelta(minutes=1)))
    yield BEGIN, BEGIN + YEARS, 60
    yield begin, BEGIN + YEARS, 200
    for change in dice.sample(changes(zone), min(4, len(changes(zone)))):
        yield change - timedelta(hours=5), change + timedelta(hours=5), 600


def differences(expression: str, zone: str, dice: Random, *, debian: bool) -> Iterator[tuple[datetime, bool]]:
    """What only one of them has, and whether it is ours."""
    for begin, until, most in windows(dice, zone):
        ours = [one.nominal for one in islice(firings(schedule(expression, zone), begin, until), most)]
        others = list(islice(theirs(expression, zone, begin, until, debian=debian), most))
        end = min([one[-1] for one in (ours, others) if len(one) == most], default=until)
        for instant in sorted(set(ours) ^ set(others)):
            if instant <= end:
                yield instant, instant in ours


def test_times_differ_from_those_of_another_library_only_as_the_page_says() -> None:
    met: Counter[Differs] = Counter()
    for seed in range(500):
        dice = Random(seed)
        expression, zone = drawn_expression(dice, extras=False), dice.choice(ZONES)
        day, _, weekday = expression.split()[2:]
        both = {day, weekday}.isdisjoint({"*"}) and (day.startswith("*") or weekday.startswith("*"))
        if both and any(differences(expression, zone, Random(seed), debian=False)):
            met[Differs.EITHER_FOR_BOTH] += 1
        for instant, ours in differences(expression, zone, Random(seed), debian=True):
            reason = why(instant, ours, expression, zone)
            assert reason is not None, f"{expression} in {zone}: {instant} is {'ours' if ours else 'theirs'} only"
            met[reason] += 1
    assert set(met) == set(Differs), "a way to differ that is not met is not tested"


def test_without_a_star_in_a_day_field_the_switch_changes_nothing() -> None:
    """So what differs by it is just what the page says of it."""
    for seed in range(100):
        dice = Random(seed)
        expression, zone = drawn_expression(dice, extras=False), dice.choice(ZONES)
        day, _, weekday = expression.split()[2:]
        if not (day.startswith("*/") or weekday.startswith("*/")):
            plain = list(differences(expression, zone, Random(seed), debian=False))
            assert plain == list(differences(expression, zone, Random(seed), debian=True))


@pytest.mark.parametrize("expression", ["0 4 L * *", "0 4 * * 1#2", "0 4 * * MON-FRI", "0 4 1 JAN,JUL *", "@weekly"])
def test_what_goes_beyond_five_numbers_means_the_same_there(expression: str) -> None:
    assert list(differences(expression, "Europe/Berlin", Random(1), debian=True)) == []


def test_an_instant_without_an_explanation_has_none() -> None:
    """The judge itself: what is nowhere near a change of clocks is no difference of kinds."""
    noon = utc(2026, 3, 29, 12)
    for ours in (True, False):
        for expression in ("* * * * *", "0 12 * * *"):
            assert why(noon, ours, expression, "Europe/Berlin") is None
    jump = utc(2026, 3, 29, 1)
    assert why(jump, False, "*/20 2 * * *", "Europe/Berlin") is Differs.MOVES_A_STAR
    assert why(jump, True, "*/20 2 * * *", "Europe/Berlin") is None
    assert why(jump, False, "*/20 4 * * *", "Europe/Berlin") is None, "nothing of it was skipped"
    assert why(jump, False, "30 2 * * *", "Europe/Berlin") is None, "a fixed time is moved by both"
