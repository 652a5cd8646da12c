"""What people are told of schedules, and what they may do to them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from taskerman.model.task import TaskState
from taskerman.testing.queue_faults import FaultyQueues, QueueFaults
from tests.support.command_line import CommandLine
from tests.support.scheduling import Tower, schedule

FIRST = "nightly-20260101T130000Z"


@pytest.fixture
def tower() -> Tower:
    return Tower(
        schedule(description="Restarts them.", runbook="https://wiki/nightly", notify=["#storage"]),
        schedule("hourly", cron="5 * * * *", timezone="Europe/Berlin", overlap="queue"),
    )


@pytest.fixture
def cli(tower: Tower, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tower.fleet, monkeypatch, capsys)


def test_a_list_says_when_each_fires_next_and_how_its_last_task_came_out(tower: Tower, cli: CommandLine) -> None:
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(3600)
    scheduler.turn()
    tower.clock.advance(60)
    found = cli("schedules", "--json").json
    assert found["leader"] == "scheduler@one"
    hourly, nightly = found["schedules"]
    assert hourly["next"] == ["2026-01-01T13:05:00Z", "2026-01-01T14:05:00Z", "2026-01-01T15:05:00Z"]
    assert nightly["next"] == ["2026-01-02T13:00:00Z", "2026-01-03T13:00:00Z", "2026-01-04T13:00:00Z"]
    assert nightly["last"] == {
        "task_id": FIRST,
        "due": "2026-01-01T13:00:00Z",
        "sent_at": "2026-01-01T13:00:00Z",
        "outcome": "open",
        "counts": {},
    }
    said = cli("schedules").out
    assert "5 * * * * Europe/Berlin" in said
    assert "open 1m00s ago" in said


def test_a_list_says_that_nobody_leads(tower: Tower, cli: CommandLine) -> None:
    scheduler = tower.scheduler()
    scheduler.turn()
    assert "nothing fires" not in cli("schedules").out
    scheduler._resign()
    assert "No scheduler leads: nothing fires" in cli("schedules").out


def test_what_should_have_fired_and_did_not_is_overdue_and_among_the_ill(tower: Tower, cli: CommandLine) -> None:
    scheduler = tower.scheduler()
    scheduler.turn()
    assert cli("schedules", "list", "--ill", "--json").json["schedules"] == []
    tower.clock.advance(3600 + 360)
    ill = cli("schedules", "list", "--ill", "--json").json["schedules"]
    assert [(one["name"], one["overdue"]) for one in ill] == [("hourly", True), ("nightly", True)]
    assert "overdue" in cli("schedules").out


def test_show_has_the_definition_and_the_next_document(tower: Tower, cli: CommandLine) -> None:
    tower.scheduler().turn()
    shown = cli("schedules", "show", "nightly", "--json").json
    assert shown["definition"] == {
        "name": "nightly",
        "description": "Restarts them.",
        "runbook": "https://wiki/nightly",
        "notify": ["#storage"],
        "cron": "0 13 * * *",
        "task": {"action": "demo_task:restart", "cluster_name": "demo:web", "owner": "gsi"},
    }
    assert shown["document"]["task_id"] == FIRST
    text = cli("schedules", "show", "nightly").out
    for said in ("Declared at nightly.yaml:1 (files).", "2026-01-01T13:00:00Z (in 1h00m)", "https://wiki/nightly"):
        assert said in text


def test_a_pause_names_what_goes_on_and_a_resume_when_it_fires_next(tower: Tower, cli: CommandLine) -> None:
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(3600)
    scheduler.turn()
    done = cli("schedules", "pause", "nightly", "--why", "incident", "--json").json
    assert done["decided"] == [FIRST]
    assert "paused" in cli("schedules").out
    assert "Paused by ada@laptop" in cli("schedules", "show", "nightly").out
    tower.clock.advance(timedelta(days=2))
    done = cli("schedules", "resume", "nightly", "--json").json
    assert done["next"] == "2026-01-04T13:00:00Z"


def test_times_that_a_wrong_clock_decided_are_told_and_a_pause_and_a_resume_mend_it(
    tower: Tower, cli: CommandLine
) -> None:
    """Every clock, ZooKeeper's too, was a month ahead for a while."""
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.jump(timedelta(days=30))
    scheduler.turn()
    tower.clock.jump(timedelta(days=-30))
    early = set(tower.ids())
    (ill,) = [one for one in cli("schedules", "list", "--ill", "--json").json["schedules"] if one["name"] == "nightly"]
    assert ill["ahead"]
    assert "pause and resume nightly" in cli("schedules").out
    cli("schedules", "pause", "nightly", "--why", "a wrong clock")
    done = cli("schedules", "resume", "nightly", "--json").json
    assert done["next"] == "2026-01-01T13:00:00Z"
    tower.fleet.route()
    for task in early:
        cli("cancel", task, "--why", "a wrong clock")
    tower.clock.advance(3600)
    scheduler.turn()
    assert set(tower.ids()) - early >= {FIRST}


def test_a_trigger_is_a_task_of_its_own_beside_the_times(tower: Tower, cli: CommandLine) -> None:
    scheduler = tower.scheduler()
    scheduler.turn()
    cli("schedules", "pause", "nightly", "--why", "incident")
    done = cli("schedules", "trigger", "nightly", "--why", "once by hand", "--json").json
    assert done["sent"]
    assert tower.ids() == [done["task_id"]]
    assert done["task_id"].startswith("nightly-x")
    tower.fleet.route()
    assert tower.fleet.desk.moves().control(done["task_id"]).state is TaskState.OPEN
    scheduler.turn()
    assert tower.ids() == []  # the scheduler knows that it was sent
    assert [one.task_id for one in tower.record().open] == [done["task_id"]]


def test_a_trigger_that_the_queue_did_not_take_is_sent_by_the_scheduler(tower: Tower, cli: CommandLine) -> None:
    scheduler = tower.scheduler()
    scheduler.turn()
    desk = tower.fleet.desk
    object.__setattr__(desk, "queues", FaultyQueues(tower.fleet.queues, QueueFaults(fail_sends=1)))
    done = cli("schedules", "trigger", "nightly", "--why", "once", "--json").json
    assert not done["sent"]
    assert tower.ids() == []
    scheduler.turn()
    assert tower.ids() == [done["task_id"]]


def test_a_trigger_is_judged_before_it_is_decided(tower: Tower, cli: CommandLine) -> None:
    tower.source.declare(schedule(task={"cluster_name": "demo:none"}))
    tower.scheduler().turn()
    answer = cli("schedules", "trigger", "nightly", "--why", "once")
    assert (answer.code, "E-CLUSTER-EMPTY" in answer.err) == (2, True)
    assert tower.record().pending == ()


def test_the_outcome_of_a_task_that_ended_is_shown_also_before_the_scheduler_has_noted_it(
    tower: Tower, cli: CommandLine
) -> None:
    scheduler = tower.scheduler()
    scheduler.turn()
    tower.clock.advance(3600)
    scheduler.turn()
    tower.fleet.route()
    cli("cancel", FIRST, "--why", "x")
    shown = cli("schedules", "show", "nightly", "--json").json
    assert shown["line"]["last"]["outcome"] == "bad"
    assert shown["line"]["last"]["counts"] == {"cancelled": 6}
    assert json.loads(tower.fleet.tree.get("/schedules/nightly").data)["last"]["verdict"] is None  # type: ignore[union-attr]
