"""Windows promise: what may start is read off a clock on the wall, minute by minute, also where clocks are changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from taskerman.model.window import DAYS, Blackout, WeeklyWindow, WindowArgs
from taskerman.policy.windows import next_opening, open_at

ZONES = {
    "UTC": [],
    "Europe/Berlin": ["2026-03-29", "2026-10-25"],
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],  # half an hour
    "Asia/Kathmandu": [],  # 5:45
    "America/Sao_Paulo": ["2018-11-04", "2018-02-18"],  # at midnight: a day that begins at 01:00, one that ends twice
    "Asia/Beirut": ["2026-03-29", "2026-10-25"],  # at midnight
    "Africa/Casablanca": ["2026-02-15", "2026-03-22"],  # winter time in the month of Ramadan
    "Pacific/Apia": ["2011-12-30"],  # a day that never was
    "Pacific/Kiritimati": [],  # 14 hours ahead
    "Etc/GMT+12": [],
}
MINUTE = timedelta(minutes=1)


def window(*weekly: tuple[str, str, str], zone: str = "UTC", blackouts: tuple[Blackout, ...] = ()) -> WindowArgs:
    """`("mon tue", "22:00", "04:00")`."""
    return WindowArgs(
        timezone=zone,
        windows=tuple(WeeklyWindow(days=tuple(d.split()), opens=o, closes=c) for d, o, c in weekly),  # type: ignore[arg-type]
        blackouts=blackouts,
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- a naive reference: every minute of the wall's week is open or not ---------------------------------------


def minutes_of(window: WindowArgs) -> set[tuple[int, int]]:
    """(day of the week, minute of the day) of every open minute, without arithmetic on anything but minutes."""
    found = set()
    for weekly in window.windows:
        opens, closes = (int(text[:2]) * 60 + int(text[3:]) for text in (weekly.opens, weekly.closes))
        length = (closes - opens) % 1440 or 1440
        for day in weekly.days:
            for minute in range(length):
                whole = DAYS.index(day) * 1440 + opens + minute
                found.add((whole // 1440 % 7, whole % 1440))
    return found


def open_by_minutes(window: WindowArgs, minutes: set[tuple[int, int]], now: datetime) -> bool:
    wall = now.astimezone(ZoneInfo(window.timezone))
    shut = any(blackout.begins <= now < blackout.ends for blackout in window.blackouts)
    return not shut and (not window.windows or (wall.weekday(), wall.hour * 60 + wall.minute) in minutes)


def first_open_minute(window: WindowArgs, now: datetime, until: datetime) -> datetime | None:
    minutes = minutes_of(window)
    while now < until:
        if open_by_minutes(window, minutes, now):
            return now
        now += MINUTE
    return None


wall_times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 15, 29, 30, 31, 45, 59]))
near_midnight_and_changes = st.sampled_from(["00:00", "00:30", "01:00", "01:45", "02:00", "02:30", "03:00", "23:30"])
times = wall_times | near_midnight_and_changes
weeklies = (
    st.tuples(st.sets(st.sampled_from(DAYS), min_size=1), times, times | st.just("24:00"))
    .filter(lambda parts: parts[1] != parts[2])
    .map(lambda parts: WeeklyWindow(days=tuple(sorted(parts[0])), opens=parts[1], closes=parts[2]))
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[WindowArgs, datetime]:
    """A window, and a minute near a change of its zone's clocks, if it has any."""
    zone = draw(st.sampled_from(sorted(ZONES)))
    near = draw(st.sampled_from(ZONES[zone] or ["2026-06-10"]))
    now = at(near).replace(tzinfo=UTC) + timedelta(minutes=draw(st.integers(-3 * 1440, 2 * 1440)))
    blackouts = []
    for _ in range(draw(st.integers(0, 3))):
        begins = now + timedelta(minutes=draw(st.integers(-1440, 3 * 1440)))
        blackouts.append(Blackout(begins=begins, ends=begins + timedelta(minutes=draw(st.integers(1, 2000)))))
    weekly = draw(st.lists(weeklies, max_size=3))
    return WindowArgs(timezone=zone, windows=tuple(weekly), blackouts=tuple(blackouts)), now


@settings(deadline=None, max_examples=300)
@given(situation=situations(), later=st.integers(0, 5 * 1440))
def test_it_is_open_in_the_minutes_that_the_wall_shows_and_in_no_other(
    situation: tuple[WindowArgs, datetime], later: int
) -> None:
    found, now = situation
    now += later * MINUTE
    said = open_at(found, now)
    assert said == open_by_minutes(found, minutes_of(found), now)
    assert open_at(found, now + timedelta(seconds=59, microseconds=999_999)) == said, "it changes within a minute"


@settings(deadline=None, max_examples=100)
@given(situation=situations())
def test_the_next_opening_is_the_first_open_minute(situation: tuple[WindowArgs, datetime]) -> None:
    found, now = situation
    said = next_opening(found, now)
    assert said is not None
    assert said == first_open_minute(found, now, said + MINUTE), "there is an earlier one, or it is shut then"


def test_a_day_that_has_fewer_hours_is_looked_at_too() -> None:
    """24 hours after the evening before it, the wall shows the day after it."""
    window = WindowArgs(timezone="Africa/Casablanca", windows=(WeeklyWindow(opens="00:00", closes="00:30"),))
    assert next_opening(window, datetime(2026, 3, 21, 23, 59, tzinfo=UTC)) == datetime(2026, 3, 22, tzinfo=UTC)


@settings(deadline=None)
@given(situation=situations(), seconds=st.integers(0, 59))
def test_the_next_opening_is_now_exactly_if_it_is_open(situation: tuple[WindowArgs, datetime], seconds: int) -> None:
    found, now = situation
    now += timedelta(seconds=seconds)
    said = next_opening(found, now)
    assert said is not None
    assert said >= now
    assert (said == now) == open_at(found, now)


# --- the days on which clocks are changed, one by one ---------------------------------------------------------

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("opens", "closes", "now", "opening"),
    [
        # In the night to 29 March 2026 the wall goes from 02:00 to 03:00, at 01:00Z.
        ("02:15", "02:45", "2026-03-29T00:00:00Z", "2026-03-30T00:15:00Z"),  # never shown: not that day
        ("02:15", "03:30", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),  # it begins with what is shown
        ("01:30", "02:30", "2026-03-29T00:59:00Z", "2026-03-29T00:59:00Z"),
        ("01:30", "02:30", "2026-03-29T01:00:00Z", "2026-03-29T23:30:00Z"),  # the wall shows 03:00: over
        # In the night to 25 October 2026 it goes from 03:00 back to 02:00, at 01:00Z.
        ("02:15", "02:45", "2026-10-25T00:00:00Z", "2026-10-25T00:15:00Z"),
        ("02:15", "02:45", "2026-10-25T00:45:00Z", "2026-10-25T01:15:00Z"),  # shown again
        ("02:15", "02:45", "2026-10-25T01:45:00Z", "2026-10-26T01:15:00Z"),
        ("01:30", "02:30", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),  # back inside, by the change alone
    ],
)
def test_where_clocks_are_changed(opens: str, closes: str, now: str, opening: str) -> None:
    found = window((" ".join(DAYS), opens, closes), zone=BERLIN)
    assert next_opening(found, at(now)) == at(opening)


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-06-12T21:59:00Z", False),  # Friday
        ("2026-06-12T22:00:00Z", True),
        ("2026-06-13T03:59:59Z", True),  # of Friday's window
        ("2026-06-13T04:00:00Z", False),
        ("2026-06-13T22:00:00Z", False),  # Saturday is no day of it
        ("2026-06-12T03:00:00Z", False),  # Thursday night neither
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens(now: str, is_open: bool) -> None:
    assert open_at(window(("fri", "22:00", "04:00")), at(now)) is is_open


def test_a_window_over_sunday_s_midnight_goes_on_into_monday() -> None:
    assert open_at(window(("sun", "22:00", "04:00")), at("2026-06-15T03:00:00Z"))


def test_the_whole_day_ends_with_the_day() -> None:
    monday = window(("mon", "00:00", "24:00"))
    assert open_at(monday, at("2026-06-15T23:59:59Z"))
    assert not open_at(monday, at("2026-06-16T00:00:00Z"))


def test_no_window_is_always_open_outside_of_its_blackouts() -> None:
    begins, ends = at("2026-12-24T00:00:00Z"), at("2026-12-27T00:00:00Z")
    found = WindowArgs(blackouts=(Blackout(begins=begins, ends=ends),))
    assert open_at(WindowArgs(), begins)
    assert WindowArgs().always
    assert not open_at(found, begins)
    assert open_at(found, ends)
    assert next_opening(found, begins) == ends


def test_blackouts_that_touch_or_overlap_are_passed_together() -> None:
    day = timedelta(days=1)
    begin = at("2026-12-24T00:00:00Z")
    chain = tuple(Blackout(begins=begin + k * day, ends=begin + (k + 1) * day) for k in range(100))
    found = window(("mon", "10:00", "11:00"), blackouts=chain)
    opening = next_opening(found, begin)
    assert opening == first_open_minute(found, begin + 99 * day, begin + 120 * day)


def test_a_blackout_of_years_is_passed() -> None:
    long = Blackout(begins=at("2026-01-01T00:00:00Z"), ends=at("2999-01-01T00:00:00Z"))
    assert next_opening(window(("mon", "10:00", "11:00"), blackouts=(long,)), at("2026-06-01T00:00:00Z")) == at(
        "2999-01-07T10:00:00Z"
    )


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"timezone": "Mars/Olympus"}, "IANA"),
        ({"timezone": "localtime"}, "Europe/Berlin"),
        ({"timezone": "../../etc/passwd"}, "Europe/Berlin"),
        ({"timezone": "posix/Europe/Berlin"}, "Europe/Berlin"),
        ({"timezone": "UTC\n"}, "Europe/Berlin"),
        ({"timezone": "UTC+2"}, "Europe/Berlin"),
        ({"timezone": "America/Argentina"}, "IANA"),
        ({"timezone": "CET"}, "Europe/Berlin"),
        ({"timezone": "Europe/"}, "Europe/Berlin"),
        ({"windows": [{"days": ["mon"], "opens": "9:00", "closes": "10:00"}]}, "pattern"),
        ({"windows": [{"days": ["mon"], "opens": "24:00", "closes": "10:00"}]}, "pattern"),
        ({"windows": [{"days": ["mon"], "opens": "10:00", "closes": "10:00"}]}, "00:00 to 24:00"),
        ({"windows": [{"days": [], "opens": "09:00", "closes": "10:00"}]}, "at least 1"),
        ({"windows": [{"days": ["monday"], "opens": "09:00", "closes": "10:00"}]}, "'mon'"),
        ({"windows": [{"days": ["mon", "mon"], "opens": "09:00", "closes": "10:00"}]}, "twice"),
        ({"windows": [{"opens": "09:00", "closes": "10:00", "zone": "UTC"}]}, "extra"),
        ({"blackouts": [{"begins": "2026-01-01T00:00:00", "ends": "2026-01-02T00:00:00Z"}]}, "needs a zone"),
        ({"blackouts": [{"begins": "2026-01-02T00:00:00Z", "ends": "2026-01-02T00:00:00Z"}]}, "after it begins"),
        ({"blackouts": [{"begins": "2026-01-02T00:00:00Z", "ends": "9999-01-02T00:00:00Z"}]}, "holds"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(document: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        WindowArgs.model_validate_json(json.dumps(document))
