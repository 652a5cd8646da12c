"""`taskerman plan` and `taskerman diff`: what they ask, what they say of what does not answer, and their last lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from taskerman import control
from taskerman.cli import planning
from taskerman.model.cluster import Node
from taskerman.model.history import PastAssignment, TaskHistory
from taskerman.model.outcome import End, Outcome
from taskerman.model.schedule_record import Declaration, Paused, ScheduleOrigin, ScheduleRecord
from taskerman.model.task import TaskControl, TaskState
from taskerman.testing.clock import ManualClock
from tests.support.command_line import CommandLine
from tests.support.fleet import NODES, Fleet
from tests.support.protocol_tasks import TaskShape, plan_of
from tests.support.walls import schedule, utc

NOON = utc(2026, 1, 31, 12)


def declared(name: str, cron: str, cluster: str = "demo:web", **more: Any) -> Declaration:
    task = {"action": "demo_task:restart", "cluster_name": cluster, "owner": "storage", **more.pop("task", {})}
    found = schedule(cron, name=name, task=task, **more)
    return Declaration(schedule=found, origin=ScheduleOrigin.FILES, place=f"{name}.yaml:1")


FOLDERS = {
    "old": [
        declared("nightly", "0 2 * * *"),
        declared("weekly", "30 2 * * 0", task={"limit": 2}),
        declared("hourly", "15 * * * *", "demo:cache"),
        declared("off", "@daily", enabled=False),
    ],
    "new": [
        declared("nightly", "0 3 * * *", task={"limit": 4}),
        declared("sunday", "30 2 * * 0", task={"limit": 2}),
        declared("monthly", "0 5 1 * *"),
        declared("off", "@daily", enabled=False),
    ],
}


@pytest.fixture
def taskerman(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    def declarations(path: Path) -> Sequence[Declaration]:
        return FOLDERS[str(path)]

    monkeypatch.setattr(planning, "_declarations", declarations)
    return CommandLine(Fleet(clock=ManualClock(NOON)), monkeypatch, capsys)


def record(taskerman: CommandLine, *minutes: float, outcome: Outcome = Outcome.SUCCEEDED, state: str = "open") -> None:
    """A task that took so long, a day after the one before."""
    for lasted in minutes:
        began = NOON - timedelta(days=200 - len(taskerman.history.tasks))
        name = f"t-{len(taskerman.history.tasks)}"
        end = End(outcome=outcome, attempt=f"{name}.i-1.1", attempts=1, at=began + timedelta(minutes=lasted))
        taskerman.history.record_task(
            TaskHistory(
                plan=plan_of(name, TaskShape(nodes=("i-1",)), ManualClock(began)),
                control=TaskControl(state=TaskState(state)),
                assignments=(PastAssignment(node="i-1", end=end),),
            )
        )


def schedules(said: Any) -> dict[str, Any]:
    return {one["name"]: one for one in said.json["schedules"]}


def test_the_plan_of_a_week_ends_with_where_two_want_the_same_cluster(taskerman: CommandLine) -> None:
    record(taskerman, 40)
    said = taskerman("plan", "--files", "old")
    assert (said.code, said.err) == (0, "")
    *_, summary, contended = said.out.splitlines()
    assert summary == (
        "176 firings of 3 schedules from 2026-01-31 12:00:00Z until 2026-02-07 12:00:00Z; left out: 1 disabled."
    )
    assert contended == "1 place where two schedules want demo:web at once: 2026-02-01 02:30:00Z nightly and weekly."
    assert "2026-02-01 02:30:00Z  weekly    demo_task:restart  demo:web    40m" in said.out


def test_nodes_are_those_that_discovery_knows_now(taskerman: CommandLine) -> None:
    """As many as the task's limit lets it act on, in the order of their ranks."""
    taskerman.fleet.discovery.declare("demo:web", [*NODES[2:], Node(id="i-0", az="a")])
    found = schedules(taskerman("plan", "--files", "old", "--json"))
    assert (found["nightly"]["nodes"], found["weekly"]["nodes"]) == (5, 2)
    assert found["weekly"]["first_nodes"] == ["i-0", "i-3"]
    assert found["hourly"]["nodes"] == 0
    assert "demo:cache" in found["hourly"]["fault"]
    assert taskerman.fleet.discovery.questions == 2, "each cluster once"


def test_a_discovery_that_fails_is_said_and_the_rest_is_answered(taskerman: CommandLine) -> None:
    taskerman.fleet.discovery.fail("throttled")
    said = taskerman("plan", "--files", "old")
    assert said.code == 0
    assert "throttled" in said.out
    assert "176 firings" in said.out
    found = schedules(taskerman("plan", "--files", "old", "--json"))
    assert all(one["nodes"] is None and "throttled" in one["fault"] for one in found.values())


def test_offline_asks_no_discovery(taskerman: CommandLine) -> None:
    said = taskerman("plan", "--files", "old", "--offline")
    assert said.code == 0
    assert "not asked" in said.out
    assert taskerman.fleet.discovery.questions == 0


def test_files_need_no_zookeeper(taskerman: CommandLine) -> None:
    taskerman.fleet.server.cut(taskerman.fleet.tree)
    assert taskerman("plan", "--files", "old").code == 0


def test_how_long_it_takes_is_the_median_of_the_latest_that_went_well(taskerman: CommandLine) -> None:
    def lasts() -> Any:
        return schedules(taskerman("plan", "--files", "old", "--json"))["nightly"]["lasts_s"]

    assert lasts() is None
    record(taskerman, 500, outcome=Outcome.FAILED)
    record(taskerman, 500, state="cancelled")
    assert lasts() is None
    record(taskerman, 10, 20, 60)
    assert lasts() == 20 * 60
    record(taskerman, *[60] * 25, *[30] * 20)
    assert lasts() == 30 * 60, "the latest 20"
    assert schedules(taskerman("plan", "--files", "old", "--json"))["hourly"]["lasts_s"] is None


def test_a_history_that_does_not_answer_is_said_and_is_no_error(taskerman: CommandLine) -> None:
    taskerman.history.fail("connection refused")
    said = taskerman("plan", "--files", "old")
    assert said.code == 0
    assert "How long they take is not known: " in said.out
    assert "connection refused" in said.out


def test_a_template_that_no_router_would_accept_is_said(
    taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_declarations", lambda path: [declared("bad", "@daily", "web")])
    said = taskerman("plan", "--files", "old")
    assert said.code == 0
    assert "cluster_name" in said.out


def test_only_one_schedule_or_cluster_and_another_time(taskerman: CommandLine) -> None:
    said = taskerman(
        "plan", "--files", "old", "--schedule", "weekly", "--from", "2026-03-01", "--until", "30d", "--json"
    )
    assert [one["due"] for one in said.json["firings"]] == [f"2026-03-{day:02}T02:30:00Z" for day in (1, 8, 15, 22, 29)]
    said = taskerman("plan", "--files", "old", "--cluster", "demo:cache", "--until", "3h", "--json")
    assert [one["schedule"] for one in said.json["firings"]] == ["hourly"] * 3
    said = taskerman("plan", "--files", "old", "--cluster", "demo:none")
    assert (said.code, said.out.splitlines()[-1][:25]) == (0, "0 firings of 0 schedules ")
    said = taskerman("plan", "--files", "old", "--schedule", "bogus")
    assert (said.code, said.err.split()[1]) == (3, "E-SCHEDULE-UNKNOWN:")


def test_what_is_in_force_is_planned_without_the_paused_and_the_retired(
    taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(name: str, **more: Any) -> ScheduleRecord:
        one = declared(name, "0 2 * * *")
        return ScheduleRecord(
            schedule=one.schedule, origin=one.origin, place=one.place, since=NOON, through=NOON, **more
        )

    paused = Paused(by="ada@laptop", at=NOON, why="a move")
    records = [kept("a"), kept("b", paused=paused), kept("c", retired_at=NOON)]
    monkeypatch.setattr(control, "in_force", lambda desk: records)
    said = taskerman("plan", "--json").json
    assert ([one["name"] for one in said["schedules"]], said["paused"], said["disabled"]) == (["a"], 1, 0)


def test_the_rest_of_many_firings_is_counted(taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_declarations", lambda path: [declared("often", "* * * * *")])
    said = taskerman("plan", "--files", "old")
    assert "... and 9,080 more: narrow it" in said.out
    assert "10,080 firings of 1 schedule " in said.out
    said = taskerman("plan", "--files", "old", "--until", "30d")
    assert "After 2026-02-14 09:20:00Z nobody looked" in said.out


def test_a_difference_is_a_paragraph_a_schedule_and_a_line_of_counts(taskerman: CommandLine) -> None:
    said = taskerman("diff", "old", "new", "--from", "2026-01-31T12:00Z")
    assert (said.code, said.err) == (0, "")
    assert said.out == DIFFERENCE


def test_nothing_that_differs_is_said(taskerman: CommandLine) -> None:
    said = taskerman("diff", "old", "old")
    assert said.code == 0
    assert said.out.startswith("Nothing differs; 4 the same.")
    assert taskerman("diff", "old", "old", "--json").json["schedules"] == []


def test_a_path_that_is_not_there_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = CommandLine(Fleet(), monkeypatch, capsys)
    for words in (("diff", "/nonexistent", "/tmp"), ("plan", "--files", "/nonexistent")):
        said = line(*words)
        assert (said.code, said.out) == (2, "")
        assert "/nonexistent" in said.err


DIFFERENCE = """\
removed hourly (hourly.yaml:1)
  168 firings gone: 2026-01-31 12:15:00Z, 2026-01-31 13:15:00Z, 2026-01-31 14:15:00Z, 2026-01-31 15:15:00Z, \
2026-01-31 16:15:00Z, ...

added monthly (monthly.yaml:1)
  It starts from now: what was due before is not made up for.
  1 firing new: 2026-02-01 05:00:00Z

changed nightly (nightly.yaml:1)
  Its times changed, so it starts from now: what was due before is not made up for.
  cron: "0 2 * * *" -> "0 3 * * *"
  task.limit: (absent) -> 4
  7 firings gone: 2026-02-01 02:00:00Z, 2026-02-02 02:00:00Z, 2026-02-03 02:00:00Z, 2026-02-04 02:00:00Z, \
2026-02-05 02:00:00Z, ...
  7 firings new: 2026-02-01 03:00:00Z, 2026-02-02 03:00:00Z, 2026-02-03 03:00:00Z, 2026-02-04 03:00:00Z, \
2026-02-05 03:00:00Z, ...

renamed weekly -> sunday (sunday.yaml:1)
  The same under another name is a new schedule: it starts from now, and its tasks have other ids.

1 added, 1 removed, 1 changed, 1 renamed; 1 the same. Firings from 2026-01-31 12:00:00Z until 2026-02-07 12:00:00Z.
"""
