"""One bad thing, or one bad moment: what is declared stays as it is, and everything else fires."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from taskerman import control
from taskerman.cli import schedule_views
from taskerman.coordination import layout
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.schedules import ScheduleVerbs
from taskerman.errors import CoordinationUnavailable, HistoryUnavailable, NotPermitted, RefusedByState, UsageError
from taskerman.model.outcome import Outcome
from taskerman.model.schedule import Schedule, task_id_of
from taskerman.model.schedule_record import PendingFiring, ScheduleOrigin
from taskerman.model.task import TaskState
from taskerman.ports.tree import Create, Delete, Set
from taskerman.pulse import Pulse
from taskerman.scheduler import Scheduler
from taskerman.testing.clock import ManualClock
from taskerman.testing.queue_faults import FaultyQueues, QueueFaults
from tests.support.fleet import NODES
from tests.support.scheduling import ListedSource, Tower, schedule

HOUR = 3600
FIRST = "nightly-20260101T130000Z"
SECOND = "nightly-20260102T130000Z"


def away() -> Exception:
    return HistoryUnavailable("the database is away")


# --- what is declared ------------------------------------------------------------------------------------


def test_whoever_leads_again_does_not_bring_back_what_it_read_when_it_led_before() -> None:
    """Another one led meanwhile, and retired it; now the database is away. What this one remembers is old."""
    tower = Tower()
    mine, others = (ListedSource(schedule(), origin=ScheduleOrigin.DATABASE) for _ in range(2))
    first = tower.scheduler("one", sources=(mine,))
    first.turn()
    first._resign()
    others.declare()  # a person removed it
    second = tower.scheduler("two", sources=(others,))
    second.turn()
    assert tower.record().retired_at is not None
    second._resign()
    mine.declare()
    mine.error = away()
    assert first.turn()
    assert tower.record().retired_at is not None
    tower.clock.advance(HOUR)
    first.turn()
    assert tower.ids() == []


def test_whoever_leads_again_reads_anew_what_its_source_does_not_call_changed_yet() -> None:
    """A source waits until it has seen a change twice; meanwhile its last answer is not what is in force."""
    tower = Tower()
    mine, others = (ListedSource(schedule()) for _ in range(2))
    first = tower.scheduler("one", sources=(mine,))
    first.turn()
    first._resign()
    others.declare()
    second = tower.scheduler("two", sources=(others,))
    second.turn()
    second._resign()
    mine.declare()
    mine.settling = True
    first.turn()
    assert tower.record().retired_at is not None


def test_a_change_whose_adoption_met_a_lost_connection_is_adopted_in_the_next_turn() -> None:
    tower = Tower(schedule())
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.source.declare(schedule(task={"limit": 1}))
    written = scheduler._table.write

    def cut(changes: object) -> object:
        raise CoordinationUnavailable("cut off")

    scheduler._table.write = cut  # type: ignore[method-assign, assignment]
    with pytest.raises(CoordinationUnavailable):
        scheduler.turn()
    scheduler._table.write = written  # type: ignore[method-assign]
    scheduler.turn()
    assert tower.record().schedule.task["limit"] == 1


@pytest.mark.parametrize("error", [UsageError("psycopg is not installed"), RecursionError("too deep"), KeyError("x")])
def test_a_source_that_fails_as_nobody_foresaw_keeps_nothing_from_firing(error: Exception) -> None:
    tower = Tower(schedule())
    other = ListedSource(origin=ScheduleOrigin.DATABASE)
    scheduler = tower.scheduler(sources=(other, tower.source))
    scheduler.turn()
    other.error = error
    tower.source.declare(schedule(), schedule("second"))
    tower.clock.advance(HOUR)
    scheduler.turn()
    scheduler.turn()
    assert tower.ids() == [FIRST]
    assert tower.record("second").fires
    (said,) = tower.said("schedules_not_read")
    assert str(error) in str(said["why"])


def test_what_a_file_declares_stays_while_it_cannot_be_read_also_if_the_database_has_one_called_so() -> None:
    tower = Tower(schedule())
    database = ListedSource(schedule(task={"limit": 1}), origin=ScheduleOrigin.DATABASE)
    first = tower.scheduler("one", sources=(tower.source, database))
    first.turn()
    first._resign()
    tower.source.faults = ("redis.yaml:3: no",)
    tower.scheduler("two", sources=(tower.source, database)).turn()
    record = tower.record()
    assert record.origin is ScheduleOrigin.FILES
    assert "limit" not in record.schedule.task


def test_a_source_that_does_not_answer_costs_a_small_part_of_the_time_in_which_others_fire() -> None:
    tower = Tower(schedule(every="1m", overlap="queue"))
    asked: list[float] = []

    class Silent(ListedSource):
        def changed(self) -> bool:
            asked.append(tower.clock.monotonic())
            tower.clock.advance(20)
            raise away()

    scheduler = tower.scheduler(sources=(tower.source, Silent(origin=ScheduleOrigin.DATABASE)))
    for _ in range(HOUR // 5):
        scheduler.turn()
        tower.clock.advance(5)
    assert min(after - before for before, after in pairwise(asked)) >= 220
    assert max(float(str(event["delay_s"])) for event in tower.said("schedule_fired")) <= 25


# --- what is too much for a record -----------------------------------------------------------------------


def test_what_is_decided_of_one_while_the_queue_is_away_never_outgrows_its_record() -> None:
    """50 documents of 60 KiB are three times what one commit may weigh. All of them come, each once."""
    large = {"taskerman_params": {"action_args": {"text": 'a "word" ' * 5_000}}}
    tower = Tower(
        schedule(every="1m", catch_up="all", catch_up_horizon="1d", overlap="queue", task=large), schedule("other")
    )
    scheduler = tower.scheduler(queues=FaultyQueues(tower.fleet.queues, QueueFaults(fail_sends=7)))
    scheduler.turn()
    tower.clock.advance(HOUR)
    for _ in range(60):
        scheduler.turn()
        tower.clock.advance(0.5)
    ids = [task for task in sorted(tower.ids()) if task.startswith("nightly")]
    assert ids == [
        task_id_of("nightly", datetime(2026, 1, 1, 12, tzinfo=UTC) + k * timedelta(minutes=1)) for k in range(1, 61)
    ]
    assert "other-20260101T130000Z" in tower.ids()


def test_a_trigger_that_a_record_cannot_take_is_refused() -> None:
    tower = Tower(schedule())
    tower.scheduler().turn()
    verbs = ScheduleVerbs(tower.fleet.tree, "ada@laptop", tower.clock.now)
    for k in range(7):
        verbs.trigger("nightly", firing(tower, k), "now")
    with pytest.raises(RefusedByState, match="7 firings of nightly are decided"):
        verbs.trigger("nightly", firing(tower, 8), "now")
    assert len(tower.record().pending) == 7


def firing(tower: Tower, k: int) -> PendingFiring:
    return PendingFiring(task_id=f"nightly-x{k}", nominal=None, due=tower.clock.now(), body="x" * 64_000)


# --- one task, or one record, that is in the way ---------------------------------------------------------


def run_into_the_next(tower: Tower) -> Scheduler:
    """The first tasks are planned and open when the second are due."""
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(HOUR)
    scheduler.turn()
    tower.fleet.route()
    tower.clock.advance(24 * HOUR)
    return scheduler


def test_a_task_that_may_not_be_cancelled_holds_up_its_own_schedule_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tower = Tower(schedule(overlap="cancel_previous"), schedule("other", overlap="queue"))
    scheduler = run_into_the_next(tower)

    def refuse(*_: object) -> None:
        raise NotPermitted("/tasks may not be written")

    monkeypatch.setattr(OperatorMoves, "cancel", refuse)
    scheduler.turn()
    scheduler.turn()
    assert tower.ids() == ["other-20260102T130000Z"]
    (said,) = tower.said("firings_not_sent")
    assert (said["code"], said["count"]) == ("E-DENIED", 1)
    monkeypatch.undo()
    scheduler.turn()
    assert tower.ids() == ["other-20260102T130000Z", SECOND]


def test_while_a_firing_waits_for_a_router_the_scheduler_rests_between_its_turns() -> None:
    tower = Tower(schedule(overlap="cancel_previous"))
    scheduler = tower.scheduler()
    scheduler.turn()
    for hours in (1, 24):
        tower.clock.advance(hours * HOUR)
        scheduler.turn()
    assert [one.task_id for one in tower.record().pending] == [SECOND]
    assert scheduler._rest_s() == 2


@pytest.mark.parametrize("spoilt", ["plan", "end"])
def test_a_task_whose_records_cannot_be_read_is_given_up_when_its_time_has_passed(spoilt: str) -> None:
    tower = Tower(schedule(not_after="2d"), schedule("other", overlap="queue"))
    scheduler = run_into_the_next(tower)
    tower.fleet.join(FIRST, *(node.id for node in NODES))
    for node in NODES:
        tower.fleet.do(FIRST, node.id, Outcome.SUCCEEDED)
    path = layout.task(FIRST) if spoilt == "plan" else layout.end(FIRST, NODES[0].id)
    tower.fleet.tree.commit([Set(path, b"not what it was", None)])
    scheduler.turn()
    assert tower.ids() == ["other-20260102T130000Z"]
    assert tower.record().passed_why == f"{FIRST} is still open"
    tower.clock.advance(48 * HOUR)
    scheduler.turn()
    assert task_id_of("nightly", datetime(2026, 1, 4, 13, tzinfo=UTC)) in tower.ids()
    assert tower.said("schedule_task_ended")[0]["verdict"] == "unknown"


def test_a_record_that_cannot_be_read_keeps_no_other_from_firing_and_is_adopted_anew_when_it_is_gone() -> None:
    tower = Tower(schedule(), schedule("other"))
    tower.scheduler("one").run_once()
    tower.fleet.tree.commit([Set(layout.schedule("nightly"), b"{}", None), Create(layout.schedule("no schedule"))])
    tower.clock.advance(HOUR)
    scheduler = tower.scheduler("two")
    for _ in range(3):
        scheduler.turn()
    assert tower.ids() == ["other-20260101T130000Z"]
    assert sorted(str(event["schedule"]) for event in tower.said("schedule_spoilt")) == ["nightly", "no schedule"]
    tower.fleet.tree.commit([Delete(layout.schedule("nightly"))])
    scheduler.turn()
    tower.clock.advance(24 * HOUR)
    scheduler.turn()
    assert SECOND in tower.ids()


def test_a_record_that_is_spoilt_while_somebody_leads_is_told_when_the_bell_rings() -> None:
    tower = Tower(schedule(), schedule("other"))
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.fleet.tree.commit([Set(layout.schedule("nightly"), b"{}", None), Set(layout.SCHEDULES, b"nightly", None)])
    tower.clock.advance(HOUR)
    scheduler.turn()
    assert tower.ids() == ["other-20260101T130000Z"]
    assert len(tower.said("schedule_spoilt")) == 1


# --- one that should not lead ----------------------------------------------------------------------------


def test_one_with_a_wrong_clock_lets_another_one_lead() -> None:
    tower = Tower(schedule())
    wrong = ManualClock(tower.clock.now())
    one, two = tower.scheduler("one", clock=wrong), tower.scheduler("two")
    assert one.turn()
    wrong.advance(HOUR)
    assert not one.turn()
    assert two.turn()
    assert not one.turn()
    assert len(tower.said("clock_differs")) == 1
    tower.clock.advance(HOUR)
    assert two.turn()
    assert tower.ids() == [FIRST]


def test_once_with_a_wrong_clock_does_not_say_that_nothing_was_due() -> None:
    tower = Tower(schedule())
    tower.scheduler().run_once()
    tower.clock.advance(HOUR)
    wrong = ManualClock(tower.clock.now() + timedelta(hours=1))
    with pytest.raises(RefusedByState, match="clock"):
        tower.scheduler("two", clock=wrong).run_once()
    assert tower.scheduler("three").run_once()
    assert tower.ids() == [FIRST]


def test_one_that_lacks_what_it_needs_lets_another_one_lead() -> None:
    """Its key is gone. It says so, and whoever stands by has one."""
    tower = Tower(schedule())

    def keyless(*_: object) -> str:
        raise UsageError("the key cannot be read")

    who: list[object] = []

    class Watched(Pulse):
        def rest(self, wait_s: float, *, well: bool = True) -> None:
            who.append(tower.fleet.tree.get(layout.leader("scheduler")))
            one.stop()

    one = tower.scheduler("one", body_of=keyless, pulse=Watched())
    assert one.turn()
    tower.clock.advance(HOUR)
    one.run()
    assert who == [None]
    assert [event["code"] for event in tower.said("scheduler_waits")] == ["E-USAGE"]
    assert tower.scheduler("two").turn()
    assert tower.ids() == [FIRST]


# --- from now --------------------------------------------------------------------------------------------


def late() -> Schedule:
    """Of 11:30 each day, and due after 12:00, when a fleet's clock starts."""
    one = schedule(cron="30 11 * * *", jitter="1d")
    assert one.offset > timedelta(minutes=40)
    return one


@pytest.mark.parametrize("before", ["unseen", "paused", "disabled"])
def test_what_begins_between_a_nominal_time_and_its_jitter_fires_when_it_is_due(before: str) -> None:
    """With a jitter of a day a pause of a minute would else cost the firing of that day."""
    tower = Tower()
    scheduler = tower.scheduler()
    if before != "unseen":
        tower.source.declare(late().model_copy(update={"enabled": before != "disabled"}))
        scheduler.turn()
    verbs = ScheduleVerbs(tower.fleet.tree, "ada@laptop", tower.clock.now)
    if before == "paused":
        verbs.pause("nightly", "a moment")
    tower.clock.advance(60)
    tower.source.declare(late())
    if before == "paused":
        verbs.resume("nightly", "over")
    scheduler.turn()
    due = datetime(2026, 1, 1, 11, 30, tzinfo=UTC) + late().offset
    shown = control.show_schedule(tower.fleet.desk, "nightly")
    assert shown.line.next[0] == due
    assert shown.document is not None
    assert shown.document["task_id"] == "nightly-20260101T113000Z"
    tower.clock.jump(due - timedelta(seconds=1) - tower.clock.now())
    scheduler.turn()
    assert tower.ids() == []
    tower.clock.advance(1)
    scheduler.turn()
    assert tower.ids() == ["nightly-20260101T113000Z"]


@pytest.mark.parametrize("off", [timedelta(days=-1), timedelta(days=2)], ids=["behind", "ahead"])
def test_a_resume_counts_from_the_trees_clock_and_not_from_a_persons(off: timedelta) -> None:
    tower = Tower(schedule(catch_up_horizon="12h"))
    scheduler = tower.scheduler()
    scheduler.turn()
    wrong = ManualClock(tower.clock.now())
    verbs = ScheduleVerbs(tower.fleet.tree, "ada@laptop", wrong.now)
    verbs.pause("nightly", "incident")
    tower.clock.advance(2 * HOUR)
    wrong.jump(timedelta(hours=2) + off)
    verbs.resume("nightly", "over")
    scheduler.turn()
    assert tower.ids() == []
    tower.clock.advance(23 * HOUR)
    scheduler.turn()
    assert tower.ids() == [SECOND]


# --- what people are told --------------------------------------------------------------------------------


def test_what_has_ended_is_not_said_to_go_on_when_its_schedule_is_paused_or_triggered() -> None:
    """The scheduler looks at what became of tasks now and then; whoever pauses in an incident is told how it is."""
    tower = Tower(schedule())
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(HOUR)
    scheduler.turn()
    tower.fleet.route()
    tower.fleet.join(FIRST, *(node.id for node in NODES))
    for node in NODES:
        tower.fleet.do(FIRST, node.id, Outcome.SUCCEEDED)
    desk = tower.fleet.desk
    prepared = control.prepare(json.dumps(control.trigger_document(desk, "nightly")))
    done = control.trigger_schedule(desk, "nightly", prepared, "again")
    assert done.open == ()
    assert control.pause_schedule(desk, "nightly", "incident").decided == (done.task_id,)


def test_a_record_that_cannot_be_read_is_named_in_the_list_and_hides_no_other() -> None:
    tower = Tower(schedule(), schedule("other"))
    tower.scheduler().turn()
    tower.fleet.tree.commit([Set(layout.schedule("nightly"), b"{}", None)])
    found = control.list_schedules(tower.fleet.desk)
    assert [line.name for line in found.schedules] == ["other"]
    assert found.spoilt == ("nightly",)
    assert "The record of nightly cannot be read" in str(schedule_views.overview(found, tower.clock.now())[0])


@pytest.mark.parametrize("overlap", ["skip", "cancel_previous"])
def test_a_strangers_task_under_the_id_of_a_firing_is_neither_cancelled_nor_taken_for_its_own(overlap: str) -> None:
    """A person submitted, changed, the document that `show` printed."""
    tower = Tower(schedule(overlap=overlap))
    scheduler = tower.scheduler()
    scheduler.turn()
    document = {**(control.show_schedule(tower.fleet.desk, "nightly").document or {}), "limit": 1}
    tower.fleet.queues.send(tower.fleet.names.tasks, json.dumps(document))
    tower.fleet.route()
    tower.clock.advance(HOUR)
    scheduler.turn()
    assert tower.ids() == [FIRST]
    tower.clock.advance(24 * HOUR)
    scheduler.turn()
    assert tower.fleet.desk.moves().control(FIRST).state is TaskState.OPEN
    tower.fleet.route()
    scheduler.turn()
    tower.clock.advance(24 * HOUR)
    scheduler.turn()
    assert tower.fleet.desk.moves().control(FIRST).state is TaskState.OPEN
    assert [event["verdict"] for event in tower.said("schedule_task_ended")] == ["refused"]
    assert tower.record().last is not None
    assert tower.record().last.task_id != FIRST  # type: ignore[union-attr]
