"""When a schedule fires: the set of its instants, through every change of clocks; what becomes of what was not looked
at in time; jitter; and since when it is stale."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskerman.model.schedule import CatchUp, Schedule, task_id_of
from taskerman.policy import firing
from taskerman.policy.firing import HARDLY_LATE, Due, decide, firings, next_nominal, stale_since
from tests.support.walls import MINUTE, all_changes, drawn_expression, expected, offset, schedule, utc, wall

ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Beirut"),
    *("Africa/Cairo", "Pacific/Apia", "Africa/Casablanca", "Antarctica/Casey", "Asia/Kolkata", "America/Havana"),
)
SECOND = timedelta(seconds=1)
MICRO = timedelta.resolution

expressions = st.integers(0, 2**32).map(lambda seed: drawn_expression(Random(seed)))
crons = st.builds(schedule, expressions, st.sampled_from(ZONES))
everies = st.builds(lambda seconds: schedule(every=f"{seconds}s"), st.integers(1, 366 * 86400))
times = st.integers(0, 24 * 366 * 1440).map(lambda minutes: utc(2011, 12, 1) + minutes * MINUTE)


def fired(one: Schedule, begin: datetime, end: datetime) -> list[datetime]:
    found: list[datetime] = []
    for each in firings(one, begin, end):
        assert not found or each.nominal > found[-1], "it goes on"
        found.append(each.nominal)
    return found


# --- the set of nominal times -------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(one=crons | everies, after=times, where=st.floats(0, 1), micro=st.integers(0, 999_999))
def test_the_set_of_times_does_not_depend_on_where_one_begins_to_look(
    one: Schedule, after: datetime, where: float, micro: int
) -> None:
    """Between a time and the next one, every place gives the next one: also to the microsecond."""
    found = next_nominal(one, after)
    assert found is not None
    assert found > after
    assert found.microsecond == 0
    between = after + (found - after) * where
    for begin in (between, between.replace(microsecond=micro), found - MICRO, found - SECOND, found - MINUTE):
        if after <= begin < found:
            assert next_nominal(one, begin) == found
    later = next_nominal(one, found)
    assert later is not None
    assert later > found
    assert next_nominal(one, later - MICRO) == later


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), where=st.integers(0, 10**6), begin=st.integers(-40 * 60, 40 * 60))
def test_around_a_change_of_clocks_it_fires_as_the_wall_shows_minute_by_minute(
    seed: int, where: int, begin: int
) -> None:
    """Any expression, any change that any zone of the world makes between 2015 and 2035, begun anywhere near it."""
    changes = sorted(all_changes(utc(2015, 1, 1), utc(2035, 1, 1)).items())
    (change, _, _), name = changes[where % len(changes)]
    zone, one = ZoneInfo(name), schedule(drawn_expression(Random(seed)), name)
    assert one.cron is not None
    whole = expected(one.cron, zone, change - timedelta(days=2), change + timedelta(days=2))
    start = change + begin * MINUTE
    assert fired(one, start, change + timedelta(days=2)) == [time for time in whole if time > start]


SWEPT = ("*/30 * * * *", "0 * * * *", "* 0-3 * * *", "30 0-4 * * *", "15 2 * * *", "0 0 * * *", "*/20 1 * * 0")


@pytest.mark.parametrize("number", range(len(SWEPT)))
def test_every_change_that_a_zone_of_the_world_makes_is_gone_through(number: int) -> None:
    """Of 20 years, against the same minute by minute: each by one expression at least, those of more than an hour by
    all of them."""
    changes = sorted(all_changes(utc(2015, 1, 1), utc(2035, 1, 1)).items())
    assert len(changes) > 1000
    span = timedelta(hours=5)
    for count, ((change, before, after), name) in enumerate(changes):
        if count % len(SWEPT) == number or abs(after - before) > timedelta(hours=1):
            whole = expected(SWEPT[number], ZoneInfo(name), change - span, change + span)
            assert fired(schedule(SWEPT[number], name), change - span, change + span) == whole, (name, change)


def test_no_zone_changes_its_clocks_twice_within_a_day_or_by_more_than_a_day() -> None:
    """On which `next_nominal` rests; between 2015 and 2035 it is not even three hours and a bit, and 20 days."""
    for (change, before, after), name in all_changes(utc(2015, 1, 1), utc(2035, 1, 1)).items():
        assert abs(after - before) <= timedelta(hours=3), (name, change)
        zone = ZoneInfo(name)
        hours = [change + timedelta(hours=hour) for hour in range(-30, 31)]
        offsets = [offset(hour, zone) for hour in hours]
        assert sum(one != two for one, two in pairwise(offsets)) == 1, (name, change)
        assert change.second == 0


# --- changes of clocks that people know ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "zone", "begin", "walls"),
    [
        # A time that does not exist is right after the jump, and once.
        ("30 2 * * *", "Europe/Berlin", utc(2026, 3, 27, 12), ["28 02:30", "29 03:00", "30 02:30"]),
        ("0,30 2 * * *", "Europe/Berlin", utc(2026, 3, 28, 12), ["29 03:00", "30 02:00", "30 02:30"]),
        ("0 2,3 * * *", "Europe/Berlin", utc(2026, 3, 28, 12), ["29 03:00", "30 02:00"]),
        ("30 2 * * *", "America/New_York", utc(2026, 3, 7, 12), ["08 03:00", "09 02:30"]),
        ("10 2 * * *", "Australia/Lord_Howe", utc(2026, 10, 3), ["04 02:30", "05 02:10"]),
        ("0 0 * * *", "America/Sao_Paulo", utc(2018, 11, 3, 12), ["04 01:00", "05 00:00"]),
        ("15 0 * * *", "Asia/Beirut", utc(2024, 3, 30, 12), ["31 01:00", "01 00:15"]),
        ("@daily", "Africa/Cairo", utc(2026, 4, 23, 12), ["24 01:00", "25 00:00"]),
        # A day that does not exist: all of it is right after it.
        ("0 8,20 * * *", "Pacific/Apia", utc(2011, 12, 29, 12), ["29 08:00", "29 20:00", "31 00:00", "31 08:00"]),
        ("0 9 30 * *", "Pacific/Apia", utc(2011, 12, 1, 12), ["31 00:00", "30 09:00"]),
        # A time that comes twice is the first of the two.
        ("30 2 * * *", "Europe/Berlin", utc(2026, 10, 24, 12), ["25 02:30", "26 02:30"]),
        ("30 1 * * *", "America/New_York", utc(2026, 10, 31, 12), ["01 01:30", "02 01:30"]),
        ("45 1 * * *", "Australia/Lord_Howe", utc(2026, 4, 4), ["05 01:45", "06 01:45"]),
        ("30 23 * * *", "America/Sao_Paulo", utc(2018, 2, 17, 12), ["17 23:30", "18 23:30"]),
        # A star goes by the wall: never in a skipped hour, and in both of two.
        ("*/30 2 * * *", "Europe/Berlin", utc(2026, 3, 28, 12), ["30 02:00", "30 02:30"]),
        (
            *("*/30 2 * * *", "Europe/Berlin", utc(2026, 10, 24, 12)),
            ["25 02:00", "25 02:30", "25 02:00", "25 02:30", "26 02:00"],
        ),
        ("0 */2 * * *", "Europe/Berlin", utc(2026, 3, 28, 22), ["29 00:00", "29 04:00"]),
        ("0 * * * *", "Europe/Berlin", utc(2026, 10, 24, 23, 30), ["25 02:00", "25 02:00", "25 03:00"]),
        ("*/15 2 * * *", "Australia/Lord_Howe", utc(2026, 10, 3, 12), ["04 02:30", "04 02:45", "05 02:00"]),
        ("* 1 15 10 *", "America/Sao_Paulo", utc(2017, 10, 14), ["15 01:00", "15 01:01"]),
        ("*/20 0 * * *", "Africa/Cairo", utc(2026, 4, 23, 12), ["25 00:00", "25 00:20"]),
        ("* 12 30 12 *", "Pacific/Apia", utc(2011, 12, 29), ["30 12:00"]),
    ],
)
def test_through_a_change_of_clocks(cron: str, zone: str, begin: datetime, walls: list[str]) -> None:
    found = []
    for _ in walls:
        (begin,) = [next_nominal(schedule(cron, zone), begin) or begin]
        found.append(f"{wall(begin, ZoneInfo(zone)):%d %H:%M}")
    assert found == walls


def test_of_an_hour_that_comes_twice_the_first_is_meant() -> None:
    """Told apart by the instant: the wall shows both alike."""
    assert next_nominal(schedule("30 2 * * *", "Europe/Berlin"), utc(2026, 10, 24, 12)) == utc(2026, 10, 25, 0, 30)
    assert next_nominal(schedule("30 2 * * *", "Europe/Berlin"), utc(2026, 10, 25, 0, 30)) == utc(2026, 10, 26, 1, 30)


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 12 29 2 *", ["2028-02-29", "2032-02-29"]),
        ("0 12 L * *", ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]),
        ("0 12 L 2 *", ["2026-02-28", "2027-02-28", "2028-02-29"]),
        ("0 12 31 * *", ["2026-01-31", "2026-03-31", "2026-05-31"]),
        ("0 12 LW * *", ["2026-01-30", "2026-02-27", "2026-03-31"]),
        ("0 12 * * 5L", ["2026-01-30", "2026-02-27"]),
        ("0 12 * * 1#1", ["2026-01-05", "2026-02-02"]),
        ("0 12 1 * 5", ["2026-01-02", "2026-01-09"]),
        ("0 12 */2 * 5", ["2026-01-09", "2026-01-23", "2026-02-13"]),
        ("0 12 * * 7", ["2026-01-04", "2026-01-11"]),
    ],
)
def test_days_of_the_calendar(cron: str, days: list[str]) -> None:
    """A day and a weekday: either, but both when one of them begins with a star."""
    for zone in ("UTC", "Europe/Berlin"):
        now, found = utc(2026, 1, 1, 20), []
        for _ in days:
            (now,) = [next_nominal(schedule(cron, zone), now) or now]
            found.append(f"{now:%Y-%m-%d}")
        assert found == days


@pytest.mark.parametrize(
    ("cron", "next_one"),
    [
        ("@yearly", utc(2027, 1, 1)),
        ("@annually", utc(2027, 1, 1)),
        ("@monthly", utc(2026, 9, 1)),
        ("@weekly", utc(2026, 8, 9)),
        ("@daily", utc(2026, 8, 6)),
        ("@Midnight", utc(2026, 8, 6)),
        (" @hourly ", utc(2026, 8, 5, 10)),
    ],
)
def test_names_of_expressions(cron: str, next_one: datetime) -> None:
    assert next_nominal(schedule(cron), utc(2026, 8, 5, 9, 30)) == next_one


def test_every_is_counted_from_1970_in_utc() -> None:
    six = schedule(every="6h", timezone="Asia/Kolkata")
    assert fired(six, utc(2026, 1, 1), utc(2026, 1, 2)) == [utc(2026, 1, 1, hour) for hour in (6, 12, 18)] + [
        utc(2026, 1, 2)
    ]
    assert next_nominal(schedule(every="7d"), utc(2026, 1, 1)) == utc(1970, 1, 1) + 2923 * timedelta(days=7)


def test_firings_are_those_that_are_due_in_the_time_and_no_other() -> None:
    """Later than the first end, and not later than the second: two spans that meet share none and leave none out."""
    one = schedule("0 * * * *", jitter="10m")
    due = utc(2026, 1, 1, 12) + one.offset
    assert [each.due for each in firings(one, due - MICRO, due)] == [due]
    assert list(firings(one, due, due + MICRO)) == []
    assert [each.nominal for each in firings(one, due - MICRO, due)] == [utc(2026, 1, 1, 12)]


# --- what is done about those that are due ------------------------------------------------------------------


def judged(one: Schedule, through: datetime, now: datetime) -> Due | None:
    """What `decide` promises, in the longest way: every firing looked at, one after the other."""
    pending = fired(one, through + one.offset, now)
    if not pending or not one.enabled:
        return None
    late = {nominal: now - (nominal + one.offset) for nominal in pending}
    horizon = HARDLY_LATE if one.catch_up is CatchUp.NONE else max(HARDLY_LATE, one.catch_up_horizon)
    worthy = [
        nominal
        for nominal in pending
        if late[nominal] <= horizon and (one.not_after is None or late[nominal] < one.not_after)
    ]
    if one.catch_up is CatchUp.ALL:
        emit, missed = worthy[:25], [nominal for nominal in pending if nominal not in worthy]
    else:
        emit = [nominal for nominal in pending[-1:] if nominal in worthy]
        missed = [nominal for nominal in pending if nominal not in emit]
    return Due(
        emit=tuple(one.firing(nominal) for nominal in emit),
        missed=min(len(missed), 1000),
        missed_last=missed[-1] if missed else None,
        through=(emit or missed)[-1],
    )


spans = st.sampled_from(["1s", "59s", "1m", "5m", "301s", "1h", "90m", "1d"])
catching = st.builds(
    schedule,
    st.sampled_from(["* * * * *", "*/7 * * * *", "5 * * * *", "0,1,2 3 * * *", "30 2 * * *", "* 2 * * *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
    name=st.sampled_from(["some", "other", "third"]),
    jitter=st.sampled_from(["0", "1s", "90s", "2h"]),
    catch_up=st.sampled_from(["none", "latest", "all"]),
    catch_up_horizon=spans,
    not_after=st.none() | spans,
)
steps = st.lists(
    st.tuples(
        st.sampled_from(
            [-7200.0, -61.0, -0.5, 0.0, 0.000001, 0.4, 1.0, 30.0, 60.0, 299.0, 300.0, 300.5, 3600.0, 30_000.0]
        )
        | st.floats(-600, 20_000),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(one=catching, begin=st.sampled_from([utc(2026, 3, 28, 20), utc(2026, 10, 24, 20), utc(2026, 10, 3)]), walk=steps)
def test_each_firing_is_decided_once_as_its_rule_says(
    one: Schedule, begin: datetime, walk: list[tuple[float, bool]]
) -> None:
    """However often, late and out of order it is looked, and whatever decisions are lost before they are kept."""
    through = now = begin
    emitted: list[datetime] = []
    for seconds, crashes in walk:
        now += timedelta(seconds=seconds)
        for _ in range(1000):
            due = decide(one, through, now)
            assert due == judged(one, through, now)
            if due is None:
                break
            assert decide(one, through, now) == due, "lost or not, the same is decided again"
            assert due.emit or due.missed
            assert all(each.due <= now for each in due.emit), "never early"
            if crashes:
                break
            assert due.through > through
            between = len(fired(one, through + one.offset, due.through + one.offset))
            assert due.missed == min(between - len(due.emit), 1000), "each is emitted or missed"
            emitted += [each.nominal for each in due.emit]
            through = due.through
    assert emitted == sorted(set(emitted)), "each once, oldest first"


@pytest.mark.parametrize("catch_up", list(CatchUp))
@pytest.mark.parametrize("when", [{"every": "1s"}, {"cron": "* * * * *"}, {"cron": "* * 1 1 *", "jitter": "1d"}])
def test_after_a_year_asleep_it_is_decided_by_a_bounded_number_of_looks(
    catch_up: CatchUp, when: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: what a look costs does not depend on the year."""
    looks = 0

    def counted(one: Schedule, after: datetime) -> datetime | None:
        nonlocal looks
        looks += 1
        return next_nominal(one, after)

    monkeypatch.setattr(firing, "next_nominal", counted)
    one = schedule(**when, catch_up=catch_up, catch_up_horizon="31d")
    due = decide(one, utc(2025, 1, 1, 0, 0, 30), utc(2026, 1, 1, 0, 0, 30))
    assert due is not None
    assert looks < 1200
    assert due.missed == 1000
    if catch_up is not CatchUp.ALL:
        assert decide(one, due.through, utc(2026, 1, 1, 0, 0, 30)) is None, "to the last second of it"
    if catch_up is CatchUp.ALL and "jitter" not in when:
        assert len(due.emit) == 25
        assert due.emit[0].nominal == utc(2025, 12, 1, 0, 0, 30 if "every" in when else 0) + (
            timedelta() if "every" in when else MINUTE
        )


def test_more_than_a_thousand_missed_are_a_thousand_and_the_last_is_the_last() -> None:
    one = schedule(every="1m", catch_up="none", not_after="1s")
    for count in (999, 1000, 1001, 5000):
        now = utc(2026, 1, 1) + count * MINUTE + timedelta(seconds=30)
        due = decide(one, utc(2026, 1, 1), now)
        assert due is not None
        assert (due.emit, due.missed) == ((), min(count, 1000))
        assert due.missed_last == due.through == utc(2026, 1, 1) + count * MINUTE
        assert decide(one, due.through, now) is None


@pytest.mark.parametrize(
    ("more", "worthy"),
    [
        ({"catch_up": "none"}, timedelta(minutes=5)),
        ({"catch_up": "none", "catch_up_horizon": "3h"}, timedelta(minutes=5)),
        ({"catch_up": "latest", "catch_up_horizon": "1h"}, timedelta(hours=1)),
        ({"catch_up": "all", "catch_up_horizon": "1h"}, timedelta(hours=1)),
        ({"catch_up": "latest", "catch_up_horizon": "1s"}, timedelta(minutes=5)),
        ({"catch_up": "all", "catch_up_horizon": "1h", "not_after": "10m"}, timedelta(minutes=10) - MICRO),
        ({"catch_up": "none", "not_after": "1s"}, SECOND - MICRO),
        ({"catch_up": "none", "not_after": "5m"}, timedelta(minutes=5) - MICRO),
        ({"catch_up": "none", "not_after": "5m", "jitter": "1h"}, timedelta(minutes=5) - MICRO),
    ],
)
def test_how_late_a_firing_may_be_to_the_microsecond(more: dict[str, str], worthy: timedelta) -> None:
    one = schedule("0 0 * * *", **more)
    nominal = utc(2026, 5, 5)
    through, due = nominal - timedelta(days=1), nominal + one.offset
    assert decide(one, through, due - MICRO) is None
    for late in (timedelta(), worthy):
        found = decide(one, through, due + late)
        assert found == Due((one.firing(nominal),), 0, None, nominal)
    assert decide(one, through, due + worthy + MICRO) == Due((), 1, nominal, nominal)
    assert decide(one, nominal, due + worthy + MICRO) is None


def test_a_clock_that_is_set_back_emits_nothing_twice() -> None:
    one = schedule("* * * * *", catch_up="all")
    due = decide(one, utc(2026, 1, 1), utc(2026, 1, 1, 0, 10))
    assert due is not None
    assert len(due.emit) == 10
    for minutes in range(-600, 11):
        assert decide(one, due.through, utc(2026, 1, 1) + minutes * MINUTE) is None


def test_what_is_not_enabled_is_never_due() -> None:
    assert decide(schedule("* * * * *", enabled=False), utc(2026, 1, 1), utc(2027, 1, 1)) is None


def test_all_emits_each_in_order_a_bounded_number_at_once() -> None:
    one = schedule("* * * * *", catch_up="all", catch_up_horizon="1h")
    through, now, found = utc(2026, 1, 1), utc(2026, 1, 1, 3), []
    while (due := decide(one, through, now)) is not None:
        found.append((len(due.emit), due.missed))
        assert [each.nominal for each in due.emit] == fired(one, due.emit[0].nominal - MICRO, due.through)
        through = due.through
    assert found == [(25, 119), (25, 0), (11, 0)]


# --- jitter -------------------------------------------------------------------------------------------------


def test_jitter_is_the_same_for_ever_and_within_its_bounds() -> None:
    for jitter in (0, 1, 59, 600, 86_400):
        for name in ("a", "nightly-backup", "x" * 40):
            one = schedule("@daily", name=name, jitter=jitter)
            assert one.offset == schedule("@hourly", "Asia/Kolkata", name=name, jitter=jitter).offset
            assert timedelta() <= one.offset <= timedelta(seconds=jitter)
            assert one.offset.microseconds == 0
    assert schedule("@daily", name="nightly-backup", jitter="1h").offset == timedelta(seconds=1666)


def test_jitter_spreads_a_thousand_names_over_all_of_it() -> None:
    tenths = Counter(
        int(schedule("@daily", name=f"backup-{number}", jitter="1h").offset.total_seconds() // 360)
        for number in range(1000)
    )
    assert set(range(10)) <= set(tenths)
    assert max(tenths.values()) < 150
    assert min(tenths[tenth] for tenth in range(10)) > 50


def test_the_id_of_a_task_does_not_depend_on_jitter() -> None:
    """Else a change of it would make a second task of one time."""
    ids = set()
    for jitter in ("0", "10m", "1d"):
        one = schedule("@daily", jitter=jitter)
        due = decide(one, utc(2026, 5, 4), utc(2026, 5, 5) + one.offset)
        assert due is not None
        (each,) = due.emit
        assert each.due == each.nominal + one.offset
        ids.add(task_id_of(one.name, each.nominal))
    assert ids == {"some-20260505T000000Z"}


# --- stale --------------------------------------------------------------------------------------------------


def test_it_is_stale_when_two_in_a_row_have_had_their_time() -> None:
    """The second one has until the third is due."""
    one = schedule("@daily", jitter="1h")
    good = utc(2026, 5, 1)
    third = utc(2026, 5, 4) + one.offset
    assert stale_since(one, good, utc(2026, 1, 1), third) is None
    assert stale_since(one, good, utc(2026, 1, 1), third + MICRO) == utc(2026, 5, 3) + one.offset
    assert stale_since(one, utc(2026, 5, 3), utc(2026, 1, 1), third + MICRO) is None


def test_without_any_success_it_counts_from_when_it_is_followed() -> None:
    one = schedule("@daily")
    since = utc(2026, 5, 1, 13, 7, 0, 5)
    assert stale_since(one, None, since, utc(2026, 5, 4)) is None
    assert stale_since(one, None, since, utc(2026, 5, 4, 0, 0, 1)) == utc(2026, 5, 3)


def test_stale_after_counts_from_when_the_good_one_was_due() -> None:
    one = schedule("@daily", jitter="1h", stale_after="26h")
    limit = utc(2026, 5, 2, 2) + one.offset
    assert one.offset > timedelta()
    assert stale_since(one, utc(2026, 5, 1), utc(2026, 1, 1), limit) is None
    assert stale_since(one, utc(2026, 5, 1), utc(2026, 1, 1), limit + MICRO) == limit
    assert stale_since(one, None, utc(2026, 5, 1), utc(2026, 5, 2, 2, 0, 1)) == utc(2026, 5, 2, 2)


def test_what_is_not_enabled_is_not_stale() -> None:
    assert stale_since(schedule("@daily", enabled=False), utc(2020, 1, 1), utc(2020, 1, 1), utc(2026, 1, 1)) is None
    assert stale_since(schedule("@daily"), utc(2020, 1, 1), utc(2020, 1, 1), utc(2026, 1, 1)) is not None
