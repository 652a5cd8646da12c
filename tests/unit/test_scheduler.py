"""The scheduler: what is declared fires once, on time, whoever leads and whatever is in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from taskerman import control
from taskerman.coordination import layout
from taskerman.coordination.schedules import ScheduleVerbs
from taskerman.errors import (
    HistoryUnavailable,
    QueuesUnavailable,
    RefusedByState,
    SchedulesInvalid,
    ScheduleUnknown,
)
from taskerman.model.audit import AuditEntry
from taskerman.model.outcome import Outcome
from taskerman.model.schedule import task_id_of
from taskerman.model.schedule_record import ScheduleOrigin, Verdict
from taskerman.model.task import TaskState
from taskerman.scheduler import Scheduler
from taskerman.scheduler.writing import writer
from taskerman.testing.queue_faults import FaultyQueues, QueueFaults
from taskerman.testing.tree import LostAnswer
from tests.support.fleet import NODES
from tests.support.scheduling import ListedSource, Tower, schedule

HOUR = 3600
FIRST = "nightly-20260101T130000Z"
SECOND = "nightly-20260102T130000Z"


def verbs(tower: Tower) -> ScheduleVerbs:
    return ScheduleVerbs(tower.fleet.tree, "ada@laptop", tower.clock.now)


def finish(tower: Tower, task: str) -> None:
    """A router plans it, and every node succeeds."""
    tower.fleet.route()
    tower.fleet.join(task, *(node.id for node in NODES))
    for node in NODES:
        tower.fleet.do(task, node.id, Outcome.SUCCEEDED)


# --- firing ----------------------------------------------------------------------------------------------


def test_a_schedule_never_seen_before_starts_from_now() -> None:
    tower = Tower(schedule(cron="0 11 * * *"))  # an hour ago
    assert tower.scheduler().turn()
    assert tower.ids() == []
    assert tower.record().through == tower.clock.now()


def test_nothing_is_emitted_early_and_then_the_document_that_is_declared() -> None:
    tower = Tower(schedule(not_after="6h"))
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(HOUR - 1)
    scheduler.turn()
    assert tower.ids() == []
    tower.clock.advance(1)
    scheduler.turn()
    (document,) = tower.emitted()
    assert document == {
        "version": 1.2,
        "action": "demo_task:restart",
        "cluster_name": "demo:web",
        "owner": "gsi",
        "task_id": FIRST,
        "scheduled_for": "2026-01-01T13:00:00Z",
        "not_after": "2026-01-01T19:00:00Z",
    }
    assert tower.said("schedule_fired")[0]["delay_s"] == 0
    scheduler.turn()
    assert tower.ids() == [FIRST]


def test_jitter_makes_it_later_by_the_same_time_each_day_and_does_not_change_the_id() -> None:
    one = schedule(jitter="30m", overlap="queue")
    assert timedelta() < one.offset <= timedelta(minutes=30)
    tower = Tower(one)
    scheduler = tower.scheduler()
    scheduler.turn()
    for hours in (1.5, 24):
        tower.clock.advance(timedelta(hours=hours))
        scheduler.turn()
    assert [(d["task_id"], d["scheduled_for"]) for d in tower.emitted()] == [
        (FIRST, f"{datetime(2026, 1, 1, 13, tzinfo=UTC) + one.offset:%Y-%m-%dT%H:%M:%SZ}"),
        (SECOND, f"{datetime(2026, 1, 2, 13, tzinfo=UTC) + one.offset:%Y-%m-%dT%H:%M:%SZ}"),
    ]


def test_a_clock_that_was_set_back_fires_nothing_twice() -> None:
    tower = Tower(schedule(overlap="queue"))
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(HOUR)
    scheduler.turn()
    tower.clock.jump(timedelta(minutes=-10))
    scheduler.turn()
    tower.clock.jump(timedelta(minutes=10))
    scheduler.turn()
    assert tower.ids() == [FIRST]


def test_a_machine_that_slept_for_a_day_fires_the_latest_within_the_horizon_and_says_what_it_missed() -> None:
    tower = Tower(schedule(cron="0 */6 * * *", catch_up_horizon="2h"))
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(timedelta(hours=25))  # 13:00 of the next day: 18, 0, 6 and 12 passed
    scheduler.turn()
    assert tower.ids() == [task_id_of("nightly", datetime(2026, 1, 2, 12, tzinfo=UTC))]
    (missed,) = tower.said("schedule_missed")
    assert missed["count"] == 3
    assert tower.record().missed == 3


def test_with_catch_up_all_each_one_is_made_up_for_in_order() -> None:
    tower = Tower(schedule(every="10m", catch_up="all", catch_up_horizon="1d", overlap="queue"))
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(timedelta(hours=10))
    assert scheduler.run_once()
    assert tower.ids() == [
        task_id_of("nightly", datetime(2026, 1, 1, 12, tzinfo=UTC) + k * timedelta(minutes=10)) for k in range(1, 61)
    ]


def test_a_clock_that_is_not_the_trees_emits_nothing_and_says_so() -> None:
    tower = Tower(schedule())
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.fleet.server.now_ms = lambda: 0
    tower.clock.advance(HOUR)
    scheduler.turn()
    assert tower.ids() == []
    assert tower.said("clock_differs")


# --- who leads -------------------------------------------------------------------------------------------


def test_one_leads_and_another_goes_on_where_it_stopped() -> None:
    tower = Tower(schedule())
    first, second = tower.scheduler("one"), tower.scheduler("two")
    assert first.turn()
    assert not second.turn()
    tower.clock.advance(HOUR)
    tower.fleet.server.expire(first._kit.tree)  # type: ignore[arg-type]
    assert second.turn()
    assert tower.ids() == [FIRST]
    assert not first.turn()
    assert tower.ids() == [FIRST]


def test_what_was_decided_and_not_sent_is_sent_by_the_next_one_unchanged() -> None:
    """Its text was committed before it was sent: an edit in between does not make another task of it."""
    tower = Tower(schedule())
    away = FaultyQueues(tower.fleet.queues, QueueFaults(fail_sends=1))
    first = tower.scheduler("one", queues=away)
    first.turn()
    tower.clock.advance(HOUR)
    first.turn()
    assert tower.ids() == []
    assert tower.said("firings_not_sent")
    assert [one.task_id for one in tower.record().pending] == [FIRST]
    tower.source.declare(schedule(task={"limit": 1}))
    first._resign()
    tower.scheduler("two").turn()
    (document,) = tower.emitted()
    assert "limit" not in document
    assert tower.record().pending == ()
    assert tower.record().schedule.task["limit"] == 1


def test_a_send_whose_answer_was_lost_is_the_same_text_again() -> None:
    tower = Tower(schedule())
    scheduler = tower.scheduler(queues=FaultyQueues(tower.fleet.queues, QueueFaults(lose_answers=1)))
    scheduler.turn()
    tower.clock.advance(HOUR)
    scheduler.turn()
    tower.clock.advance(2)
    scheduler.turn()
    first, second = tower.emitted()
    assert first == second
    assert tower.record().pending == ()


@pytest.mark.parametrize("became", list(LostAnswer))
def test_of_a_claim_without_an_answer_one_task_comes(became: LostAnswer) -> None:
    tower = Tower(schedule())
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(HOUR)
    lost = iter([became])
    claims = lambda tree, ops: next(lost, None) if "/schedules/nightly" in [op.path for op in ops] else None  # noqa: E731
    tower.fleet.server.faults = claims
    scheduler.turn()
    assert tower.ids() == []  # nobody knows yet whether it stands
    scheduler.turn()
    assert tower.ids() == [FIRST]
    while tower.fleet.server.late:
        tower.fleet.server.deliver_late()
    scheduler.turn()
    assert tower.ids() == [FIRST]
    assert tower.record().sent == 1


def test_once_does_what_is_due_and_leaves_the_lead_to_others() -> None:
    tower = Tower(schedule())
    assert tower.scheduler("one").run_once()
    tower.clock.advance(HOUR)
    assert tower.scheduler("two").run_once()
    assert tower.ids() == [FIRST]
    leader = tower.scheduler("resident")
    assert leader.turn()
    assert not tower.scheduler("three").run_once()


def test_once_says_so_when_the_queue_did_not_take_what_was_due() -> None:
    tower = Tower(schedule())
    tower.scheduler().run_once()
    tower.clock.advance(HOUR)
    away = FaultyQueues(tower.fleet.queues, QueueFaults(fail_sends=100))
    with pytest.raises(QueuesUnavailable, match="decided and not sent"):
        tower.scheduler(queues=away).run_once()
    tower.scheduler().run_once()
    assert tower.ids() == [FIRST]


def test_once_does_what_is_in_force_and_then_says_that_what_is_declared_could_not_be_taken() -> None:
    """Whoever runs it from cron looks at the exit code."""
    tower = Tower(schedule())
    tower.scheduler().run_once()
    tower.clock.advance(HOUR)
    tower.source.faults = ("redis.yaml:3: schedules[0] cron: no",)
    with pytest.raises(SchedulesInvalid, match=r"redis\.yaml:3"):
        tower.scheduler().run_once()
    assert tower.ids() == [FIRST]


# --- overlap ---------------------------------------------------------------------------------------------


def run_into_the_next(tower: Tower) -> Scheduler:
    """The first task is planned and open when the second is due."""
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(HOUR)
    scheduler.turn()
    tower.fleet.route()
    tower.clock.advance(24 * HOUR)
    return scheduler


def test_skip_leaves_out_a_firing_while_the_last_task_is_open_and_says_so() -> None:
    tower = Tower(schedule())
    scheduler = run_into_the_next(tower)
    scheduler.turn()
    assert tower.ids() == []
    (skipped,) = tower.said("schedule_skipped")
    assert skipped["why"] == f"{FIRST} is still open"
    record = tower.record()
    assert (record.skipped, record.missed, record.passed_why) == (1, 0, f"{FIRST} is still open")


def test_a_task_that_is_still_in_the_queue_is_open_too() -> None:
    tower = Tower(schedule())
    scheduler = tower.scheduler()
    scheduler.turn()
    for hours in (1, 24):
        tower.clock.advance(hours * HOUR)
        scheduler.turn()
    assert tower.ids() == [FIRST]
    assert tower.record().skipped == 1


def test_a_task_that_ended_in_time_is_followed_by_the_next() -> None:
    tower = Tower(schedule())
    scheduler = run_into_the_next(tower)
    finish(tower, FIRST)
    scheduler.turn()
    assert tower.ids() == [SECOND]
    assert tower.said("schedule_task_ended") == [
        {"schedule": "nightly", "task": FIRST, "verdict": "good", "counts": {"succeeded": 6}}
    ]
    assert tower.record().succeeded == datetime(2026, 1, 1, 13, tzinfo=UTC)


def test_queue_lets_the_second_wait_behind_the_first() -> None:
    tower = Tower(schedule(overlap="queue"))
    run_into_the_next(tower).turn()
    assert tower.ids() == [SECOND]
    assert [one.task_id for one in tower.record().open] == [FIRST, SECOND]


def test_cancel_previous_cancels_the_first_before_the_second_is_sent() -> None:
    tower = Tower(schedule(overlap="cancel_previous"))
    run_into_the_next(tower).turn()
    assert tower.ids() == [SECOND]
    assert tower.fleet.desk.moves().control(FIRST).state is TaskState.CANCELLED
    cancels = [entry for entry in audit(tower) if entry[1] == "cancel"]
    assert cancels == [("schedule:nightly", "cancel", FIRST)]


def test_what_no_router_has_planned_yet_cannot_be_cancelled_and_is_waited_for() -> None:
    tower = Tower(schedule(overlap="cancel_previous"))
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(HOUR)
    scheduler.turn()
    tower.clock.advance(24 * HOUR)
    scheduler.turn()
    assert tower.ids() == [FIRST]
    tower.fleet.route()
    scheduler.turn()
    assert tower.ids() == [SECOND]
    assert tower.fleet.desk.moves().control(FIRST).state is TaskState.CANCELLED


def test_a_document_that_was_refused_does_not_stand_in_the_way_of_the_next() -> None:
    tower = Tower(schedule(task={"cluster_name": "demo:none"}))
    scheduler = run_into_the_next(tower)
    scheduler.turn()
    assert tower.ids() == [SECOND]
    last = tower.said("schedule_task_ended")[0]
    assert (last["task"], last["verdict"]) == (FIRST, Verdict.REFUSED.value)


def audit(tower: Tower) -> list[tuple[str, str, str]]:
    dump = tower.fleet.server.dump()
    entries = [
        layout.decode(AuditEntry, record, path)
        for path, record in sorted(dump.items())
        if path.startswith(f"{layout.AUDIT}/")
    ]
    return [(entry.by, entry.verb, entry.target) for entry in entries]


# --- what is declared ------------------------------------------------------------------------------------


def test_a_broken_new_version_leaves_the_last_good_one_in_force_also_for_a_new_scheduler() -> None:
    tower = Tower(schedule())
    first = tower.scheduler("one")
    first.turn()
    tower.source.declare(schedule(task={"limit": 1}))
    tower.source.faults = ("redis.yaml:3: schedules[0]: cron: no",)
    first.turn()
    first.turn()
    (said,) = tower.said("schedules_refused")
    assert said["faults"] == ["redis.yaml:3: schedules[0]: cron: no"]
    first._resign()
    tower.clock.advance(HOUR)
    second = tower.scheduler("two")
    second.turn()
    assert "limit" not in tower.emitted()[0]
    tower.source.faults = ()
    second.turn()
    assert tower.said("schedules_read_again")
    assert tower.record().schedule.task["limit"] == 1


def test_a_source_that_is_away_retires_nothing_and_hinders_no_other() -> None:
    tower = Tower(schedule())
    database = ListedSource(schedule("added"), origin=ScheduleOrigin.DATABASE)
    scheduler = tower.scheduler(sources=(tower.source, database))
    scheduler.turn()
    database.error = HistoryUnavailable("the database is away")
    tower.source.declare(schedule(), schedule("second"))
    scheduler.turn()
    assert {name for name in ("nightly", "added", "second") if tower.record(name).fires} == {
        "nightly",
        "added",
        "second",
    }
    assert len(tower.said("schedules_not_read")) == 1


def test_of_two_that_declare_the_same_name_the_file_counts_and_it_is_said() -> None:
    tower = Tower(schedule())
    database = ListedSource(schedule(task={"limit": 1}), origin=ScheduleOrigin.DATABASE)
    tower.scheduler(sources=(tower.source, database)).turn()
    assert tower.record().origin is ScheduleOrigin.FILES
    assert tower.said("schedule_declared_twice")


def test_what_is_declared_no_more_fires_no_more_and_comes_back_from_now() -> None:
    tower = Tower(schedule(overlap="queue"))
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.source.declare()
    scheduler.turn()
    tower.clock.advance(HOUR + 600)
    scheduler.turn()
    assert tower.ids() == []
    tower.source.declare(schedule(overlap="queue"))
    scheduler.turn()  # ten minutes late, within the horizon of an hour
    assert tower.ids() == []
    tower.clock.advance(24 * HOUR)
    scheduler.turn()
    assert tower.ids() == [SECOND]


def test_a_checkout_that_lacked_it_for_a_moment_costs_no_firing() -> None:
    tower = Tower(schedule())
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(HOUR - 2)
    tower.source.declare()
    scheduler.turn()
    tower.clock.advance(4)
    scheduler.turn()
    tower.source.declare(schedule())
    scheduler.turn()
    assert tower.ids() == [FIRST]


def test_another_timing_counts_from_now() -> None:
    """At 13:30 a nightly schedule is moved to 13:00 and 19:00: 13:00 of today is not made up for."""
    tower = Tower(schedule(cron="0 1 * * *"))
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(1.5 * HOUR)
    tower.source.declare(schedule(cron="0 13,19 * * *"))
    scheduler.turn()
    assert tower.ids() == []
    tower.clock.advance(6 * HOUR)
    scheduler.turn()
    assert tower.ids() == [task_id_of("nightly", datetime(2026, 1, 1, 19, tzinfo=UTC))]


def test_what_was_disabled_or_paused_makes_up_for_nothing_when_it_goes_on() -> None:
    tower = Tower(schedule(enabled=False), schedule("other"))
    scheduler = tower.scheduler()
    scheduler.turn()
    verbs(tower).pause("other", "incident")
    tower.clock.advance(HOUR + 60)
    scheduler.turn()
    tower.source.declare(schedule(), schedule("other"))
    verbs(tower).resume("other", "over")
    scheduler.turn()
    scheduler.turn()
    assert tower.ids() == []
    tower.clock.advance(24 * HOUR)
    scheduler.turn()
    assert sorted(tower.ids()) == [SECOND, "other-20260102T130000Z"]


def test_the_record_of_what_is_gone_for_long_goes_too() -> None:
    tower = Tower(schedule())
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.source.declare()
    scheduler.turn()
    tower.clock.advance(timedelta(days=31))
    tower.source.declare()
    scheduler.turn()
    assert layout.schedule("nightly") not in tower.fleet.server.dump()


def test_the_first_schedule_of_an_installation_is_no_bell() -> None:
    """The parent of the records appears then, and names nobody: nothing is read that has no name."""
    tower = Tower(schedule())
    scheduler = tower.scheduler()
    scheduler.turn()
    read: list[str] = []
    tower.fleet.server.interleave = lambda tree, one: read.append(one.path)
    scheduler.turn()
    assert read
    assert [path for path in read if path.endswith("/")] == []


# --- people ----------------------------------------------------------------------------------------------


def test_nothing_is_claimed_after_a_pause_was_acknowledged() -> None:
    """Also not by a scheduler whose copy of the record is older than the pause."""
    tower = Tower(schedule())
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(HOUR)
    original = scheduler._table.refresh

    def refresh_then_pause() -> None:
        original()
        verbs(tower).pause("nightly", "incident")

    scheduler._table.refresh = refresh_then_pause  # type: ignore[method-assign]
    scheduler.turn()
    scheduler._table.refresh = original  # type: ignore[method-assign]
    scheduler.turn()
    assert tower.ids() == []
    paused_record = tower.record().paused
    assert paused_record is not None
    assert (paused_record.by, paused_record.why) == ("ada@laptop", "incident")
    with pytest.raises(RefusedByState, match="paused already"):
        verbs(tower).pause("nightly", "again")


def test_pause_and_resume_of_what_is_not_there_or_not_paused_are_refused() -> None:
    tower = Tower(schedule())
    tower.scheduler().turn()
    with pytest.raises(ScheduleUnknown):
        verbs(tower).pause("nobodys", "x")
    with pytest.raises(RefusedByState, match="not paused"):
        verbs(tower).resume("nightly", "x")
    assert [entry for entry in audit(tower) if entry[1].startswith("schedule")] == []


# --- staleness -------------------------------------------------------------------------------------------


def test_two_firings_in_a_row_without_a_success_make_it_stale_and_a_success_fresh_again() -> None:
    tower = Tower(schedule(notify=["#storage"], overlap="queue"))
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(HOUR)
    scheduler.turn()
    tower.fleet.route()
    control.cancel(tower.fleet.desk, FIRST, "in the way")
    tower.clock.advance(24 * HOUR)
    scheduler.turn()
    assert tower.said("schedule_stale") == []
    tower.clock.advance(24 * HOUR + 1)
    scheduler.turn()
    (stale,) = tower.said("schedule_stale")
    assert (stale["since"], stale["notify"]) == ("2026-01-02T13:00:00Z", ["#storage"])
    third = task_id_of("nightly", datetime(2026, 1, 3, 13, tzinfo=UTC))
    tower.fleet.route()
    control.cancel(tower.fleet.desk, SECOND, "in the way")
    finish(tower, third)
    scheduler.turn()
    assert [event["schedule"] for event in tower.said("schedule_fresh")] == ["nightly"]


def test_a_document_that_no_router_would_take_is_missed_with_its_reason() -> None:
    tower = Tower(schedule())

    def refuse(*_: object) -> str:
        return writer()(schedule(task={"owner": "not an owner"}), schedule().firing(tower.clock.now()))

    scheduler = tower.scheduler(body_of=refuse)
    scheduler.turn()
    tower.clock.advance(HOUR)
    scheduler.turn()
    (missed,) = tower.said("schedule_missed")
    assert str(missed["why"]).startswith("E-DOC")
    assert tower.record().missed == 1
