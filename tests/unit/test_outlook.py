"""What schedules will do, of what is known: every firing in its order, who is left out, and where two of them want the
same cluster at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from taskerman.control.outlook import Contended, Expected, Outlook, foretell
from taskerman.control.planning import check_wanted, time_to_come, wanted
from taskerman.errors import ScheduleUnknown, UsageError
from taskerman.model.schedule_record import Declaration, ScheduleOrigin
from taskerman.policy import firing
from tests.support.walls import schedule, utc

NOON = utc(2026, 3, 2, 12)
HOUR = timedelta(hours=1)


def declared(name: str, cron: str = "0 * * * *", cluster: str = "redis:sessions", **more: Any) -> Declaration:
    task = {"action": "redis_task:restart", "cluster_name": cluster, "owner": "storage"}
    found = schedule(cron, name=name, task=task, **more)
    return Declaration(schedule=found, origin=ScheduleOrigin.FILES, place=f"{name}.yaml:1")


def told(*declarations: Declaration, hours: float = 2, **minutes: float) -> Outlook:
    """From noon on; `minutes`: how long the tasks of a schedule take."""
    expected = {name: Expected(lasts=timedelta(minutes=lasts)) for name, lasts in minutes.items()}
    return foretell(declarations, NOON, NOON + hours * HOUR, expected)


def places(found: Outlook) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(f"{one.begin:%H:%M}", f"{one.until:%H:%M}", one.schedules) for one in found.contended]


def test_firings_come_in_the_order_in_which_they_are_due() -> None:
    found = told(declared("c", "0 13 * * *"), declared("b"), declared("a", "30 * * * *"))
    assert [(f"{one.due:%H:%M}", one.schedule) for one in found.firings] == [
        *(("12:30", "a"), ("13:00", "b"), ("13:00", "c")),
        *(("13:30", "a"), ("14:00", "b")),
    ]
    assert [(one.name, one.firings) for one in found.schedules] == [("a", 2), ("b", 2), ("c", 1)]
    assert (found.more, found.looked_until) == (0, NOON + 2 * HOUR)


def test_who_does_not_fire_is_left_out_and_counted() -> None:
    found = foretell(
        [declared("a"), declared("b", enabled=False), declared("c"), declared("d", enabled=False)],
        *(NOON, NOON + HOUR, {}),
        paused={"c", "d"},
    )
    assert [one.name for one in found.schedules] == ["a"]
    assert {one.schedule for one in found.firings} == {"a"}
    assert (found.paused, found.disabled) == (1, 2), "what is disabled is so, paused or not"


def test_jitter_is_in_it() -> None:
    one = declared("a", jitter="30m")
    (first, *_) = told(one, hours=3).firings
    assert first.due == first.nominal + one.schedule.offset > first.nominal


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        ({"a": 30}, []),
        ({"a": 31}, [("12:30", "12:30", ("a", "b"))]),
        ({"a": 30, "b": 10}, []),
        ({"a": 31, "b": 10}, [("12:30", "12:31", ("a", "b"))]),
        ({"a": 45, "b": 40}, [("12:30", "12:45", ("a", "b")), ("13:00", "13:10", ("a", "b"))]),
        ({"b": 31}, [("13:00", "13:00", ("a", "b"))]),
        ({}, []),
    ],
)
def test_two_that_overlap_are_one_place(minutes: dict[str, float], expected: list[object]) -> None:
    """From when the second is due until the first is done. What ends as the other begins is not in its way."""
    found = foretell(
        [declared("a", "0 12,13 * * *"), declared("b", "30 12 * * *")],
        NOON - timedelta(minutes=1),
        NOON + 1.4 * HOUR,
        {name: Expected(lasts=timedelta(minutes=lasts)) for name, lasts in minutes.items()},
    )
    assert places(found) == expected


def test_of_whom_nobody_knows_how_long_it_takes_the_moment_counts() -> None:
    assert places(told(declared("a"), declared("b"), hours=1)) == [("13:00", "13:00", ("a", "b"))]
    assert places(told(declared("a"), declared("b", "1 * * * *"), hours=1.5)) == []
    assert places(told(declared("a"), declared("b", "1 * * * *"), hours=1.5, a=2)) == [("13:01", "13:01", ("a", "b"))]
    assert places(told(declared("a"), declared("b", "1 * * * *"), hours=1.5, b=59)) == []


def test_what_follows_without_a_gap_is_one_place() -> None:
    found = told(declared("a", "0 13 * * *"), declared("b", "*/10 * * * *"), declared("c", "25 13 * * *"), a=35, b=10)
    assert places(found) == [("13:00", "13:35", ("a", "b", "c"))]


def test_places_apart_are_several() -> None:
    found = told(declared("a", "*/30 * * * *"), declared("b", "10 * * * *"), hours=3, a=15)
    assert places(found) == [(f"{hour}:10", f"{hour}:10", ("a", "b")) for hour in (13, 14)]


def test_a_schedule_is_not_in_its_own_way_and_other_clusters_are_not_either() -> None:
    assert told(declared("a", "* * * * *"), a=600).contended == ()
    assert told(declared("a"), declared("b", cluster="redis:other"), a=50, b=50).contended == ()
    found = told(
        declared("a"), declared("b"), declared("c", cluster="redis:other"), declared("d", cluster="redis:other")
    )
    assert found.contended == tuple(
        Contended(cluster_name=cluster, begin=at, until=at, schedules=names)
        for cluster, names in (("redis:other", ("c", "d")), ("redis:sessions", ("a", "b")))
        for at in (NOON + HOUR, NOON + 2 * HOUR)
    )


def test_a_long_one_is_in_the_way_of_everything_after_it() -> None:
    """Also when a later one of another schedule was shorter."""
    found = told(
        declared("long", "1 12 * * *"), declared("b", "2 12 * * *"), declared("c", "0 13 * * *"), long=90, b=1, c=1
    )
    assert places(found) == [("12:02", "12:03", ("b", "long")), ("13:00", "13:01", ("c", "long"))]


def test_rows_are_bounded_and_the_rest_is_counted() -> None:
    found = told(declared("a", "* * * * *"), hours=24)
    assert (len(found.firings), found.more) == (1000, 440)
    assert found.schedules[0].firings == 1440


def test_more_than_can_be_looked_at_is_cut_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no look is wasted on what comes after."""
    looks = 0
    real = firing.next_nominal

    def counted(*args: object) -> datetime | None:
        nonlocal looks
        looks += 1
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(firing, "next_nominal", counted)
    every_second = Declaration(schedule=schedule(every="1s", name="s"), origin=ScheduleOrigin.FILES, place="s:1")
    found = foretell([every_second], NOON, NOON + 24 * 7 * HOUR, {})
    assert looks < 20_010
    assert (len(found.firings), found.more) == (1000, 19_000)
    assert found.looked_until == NOON + timedelta(seconds=20_000)


def test_nodes_are_named_up_to_a_bound() -> None:
    nodes = tuple(f"i-{number:03}" for number in range(50))
    found = foretell([declared("a")], NOON, NOON + HOUR, {"a": Expected(nodes=nodes)})
    assert (found.schedules[0].nodes, found.schedules[0].first_nodes) == (50, nodes[:20])


@pytest.mark.parametrize(
    ("begin", "until", "expected"),
    [
        ("now", "7d", (NOON, NOON + timedelta(days=7))),
        ("2h", "90m", (NOON + 2 * HOUR, NOON + 3.5 * HOUR)),
        ("2026-04-01", "2026-04-02T03:04Z", (utc(2026, 4, 1), utc(2026, 4, 2, 3, 4))),
        ("2026-04-01T02:00+02:00", "366d", (utc(2026, 4, 1), utc(2027, 4, 2))),
        ("2020-01-01", "1s", (utc(2020, 1, 1), utc(2020, 1, 1, 0, 0, 1))),
    ],
)
def test_a_time_to_come_is_a_span_from_now_or_a_date(
    begin: str, until: str, expected: tuple[datetime, datetime]
) -> None:
    assert time_to_come(begin, until, NOON) == expected


@pytest.mark.parametrize(
    ("begin", "until"),
    [
        *(("soon", "7d"), ("now", "soon"), ("now", "now"), ("now", "2026-03-01"), ("now", "367d"), ("2h", "")),
        *(("9" * 30 + "d", "1d"), ("now", "9" * 30 + "d"), ("0001-01-01T00:00+14:00", "1d"), ("-2h", "1d")),
    ],
)
def test_what_is_no_time_to_come_is_refused(begin: str, until: str) -> None:
    with pytest.raises(UsageError, match=r"is not"):
        time_to_come(begin, until, NOON)


def test_only_what_is_wanted() -> None:
    all_of_them = [declared("a"), declared("b", cluster="redis:other"), declared("c")]
    assert wanted(all_of_them) == tuple(all_of_them)
    assert [one.schedule.name for one in wanted(all_of_them, cluster="redis:sessions")] == ["a", "c"]
    assert [one.schedule.name for one in wanted(all_of_them, "b")] == ["b"]
    assert wanted(all_of_them, "b", "redis:sessions") == ()
    with pytest.raises(ScheduleUnknown, match="'d'"):
        wanted(all_of_them, "d")
    for schedule_name, cluster in (("../x", None), (None, "redis")):
        with pytest.raises(UsageError):
            check_wanted(schedule_name, cluster)
