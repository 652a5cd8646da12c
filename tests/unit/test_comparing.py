"""What another version of the schedules would change: each field by its path, and each firing that is gone or new."""

from __future__ import annotations

from datetime import timedelta

from taskerman.control.comparing import ChangedSchedule, FieldChange, ScheduleChange, compare
from tests.support.walls import utc
from tests.unit.test_outlook import NOON, declared

WEEK = NOON + timedelta(days=7)


def changed(old: list[object], new: list[object]) -> tuple[ChangedSchedule, ...]:
    return compare(old, new, NOON, WEEK).schedules  # type: ignore[arg-type]


def test_the_same_is_the_same_wherever_it_is_declared() -> None:
    """A place is no part of a definition."""
    moved = declared("a").model_copy(update={"place": "elsewhere.yaml:7"})
    found = compare([declared("a"), declared("b")], [declared("b"), moved], NOON, WEEK)
    assert (found.schedules, found.same) == ((), 2)


def test_what_is_added_has_new_firings_and_what_is_removed_has_none_any_more() -> None:
    found = changed([declared("a", "0 1 * * *"), declared("c")], [declared("c"), declared("b", "0 3 * * 2")])
    (removed, added) = found
    assert (removed.name, removed.change, removed.gone.count, removed.new.count) == ("a", ScheduleChange.REMOVED, 7, 0)
    assert removed.gone.first == tuple(utc(2026, 3, day, 1) for day in range(3, 8))
    assert (added.name, added.change, added.gone.count) == ("b", ScheduleChange.ADDED, 0)
    assert added.new.first == (utc(2026, 3, 3, 3),)
    assert (removed.starts_anew, added.starts_anew) == (False, True)


def test_a_disabled_one_has_no_firings() -> None:
    (added,) = changed([], [declared("a", enabled=False)])
    assert added.new.count == 0
    (stopped,) = changed([declared("a", "0 1 * * *")], [declared("a", "0 1 * * *", enabled=False)])
    assert (stopped.gone.count, stopped.new.count, stopped.starts_anew) == (7, 0, True)
    assert stopped.fields == (FieldChange(path="enabled", was="true", now="false"),)


def test_changed_fields_are_named_by_their_path_with_both_values() -> None:
    old, new = declared("a", not_after="2h", notify=["ada"]), declared("a", jitter="5m", notify=["ada", "bob"])
    task = {**new.schedule.task, "limit": 2, "taskerman_params": {"lease_args": {"concurrency": 3}}}
    new = new.model_copy(update={"schedule": new.schedule.model_copy(update={"task": task})})
    (found,) = changed([old], [new])
    assert [(field.path, field.was, field.now) for field in found.fields] == [
        ("jitter", '"0s"', '"5m"'),
        ("not_after", '"2h"', None),
        ("notify", '["ada"]', '["ada", "bob"]'),
        ("task.limit", None, "2"),
        ("task.taskerman_params.lease_args.concurrency", None, "3"),
    ]


def test_other_times_change_just_the_firings_that_differ() -> None:
    (found,) = changed([declared("a", "0 1,2 * * *")], [declared("a", "0 2,3 * * *")])
    assert found.change is ScheduleChange.CHANGED
    assert (found.gone.count, found.gone.first[0]) == (7, utc(2026, 3, 3, 1))
    assert (found.new.count, found.new.first[0], len(found.new.first)) == (7, utc(2026, 3, 3, 3), 5)
    assert found.starts_anew


def test_another_expression_for_the_same_times_changes_no_firing_and_starts_anew_all_the_same() -> None:
    (found,) = changed([declared("a", "@daily")], [declared("a", "0 0 * * *")])
    assert (found.gone.count, found.new.count, found.starts_anew) == (0, 0, True)


def test_what_is_done_may_change_without_a_change_of_times() -> None:
    (found,) = changed([declared("a")], [declared("a", cluster="redis:other")])
    assert (found.gone.count, found.new.count, found.starts_anew) == (0, 0, False)
    assert [field.path for field in found.fields] == ["task.cluster_name"]


def test_a_renamed_one_is_recognised_and_starts_anew() -> None:
    """Its jitter is drawn from its name, so its firings may be due at other times."""
    (found,) = changed([declared("a", "0 1 * * *")], [declared("z", "0 1 * * *")])
    assert (found.change, found.was_named, found.name, found.fields) == (ScheduleChange.RENAMED, "a", "z", ())
    assert (found.gone.count, found.new.count, found.starts_anew) == (0, 0, True)
    (found,) = changed([declared("a", "0 1 * * *", jitter="1h")], [declared("z", "0 1 * * *", jitter="1h")])
    assert (found.gone.count, found.new.count) == (7, 7)


def test_of_several_that_are_alike_each_is_renamed_once() -> None:
    found = changed([declared("a"), declared("b")], [declared("x"), declared("y"), declared("z")])
    assert [(one.name, one.change, one.was_named) for one in found] == [
        ("x", ScheduleChange.RENAMED, "a"),
        ("y", ScheduleChange.RENAMED, "b"),
        ("z", ScheduleChange.ADDED, None),
    ]
    (other, gone) = changed([declared("a")], [declared("b", "0 1 * * *")])[::-1]
    assert (other.change, gone.change) == (ScheduleChange.ADDED, ScheduleChange.REMOVED)


def test_too_many_firings_are_compared_as_far_as_they_were_looked_at() -> None:
    """None is called gone just because nobody looked so far."""
    often = declared("a").model_copy(
        update={"schedule": declared("a").schedule.model_copy(update={"cron": "* * * * *"})}
    )
    year = NOON + timedelta(days=366)
    (found,) = compare([often], [declared("a")], NOON, year).schedules
    assert (found.gone.at_least, found.new.at_least, found.new.count) == (True, True, 0)
    assert found.gone.count == 20_000 - 20_000 // 60
