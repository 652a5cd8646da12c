"""What `--json` prints is an interface: programs read it, so a change of it must be seen in a review."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue

from taskerman.cli import planning
from taskerman.model.outcome import Outcome
from taskerman.model.schedule import Schedule
from taskerman.model.schedule_record import Declaration, ScheduleOrigin
from tests.support.command_line import CommandLine
from tests.support.fleet import CLUSTER, NODES, Fleet, document
from tests.support.history import record_a_week
from tests.support.schedules import one
from tests.support.scheduling import schedule
from tests.wire.golden import check_golden


@pytest.fixture
def taskerman(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """An evening: t-1 halted by an ill node, t-2 waits behind it, a hold, a refused document."""
    fleet = Fleet()
    fleet.install()
    fleet.send("t-1", params={"lease_args": {"concurrency": 2}}, limit=4)
    fleet.do("t-1", "i-1", Outcome.SUCCEEDED)
    fleet.clock.advance(timedelta(seconds=30))
    fleet.do("t-1", "i-2", Outcome.UNSAFE, "port 8080 does not answer")
    fleet.clock.advance(timedelta(minutes=2))
    fleet.send("t-2", limit=1)
    fleet.queues.send(fleet.names.tasks, document("t-3", cluster_name="demo:none"))
    fleet.route()
    line = CommandLine(fleet, monkeypatch, capsys)
    record_a_week(line.history)
    line.schedules.add(schedule("own"), "ana@desk", "quieter hours")
    assert line("hold", "owner:dba", "--why", "quarter end").code == 0
    return line


def printed(taskerman: CommandLine, *words: str) -> object:
    answer = taskerman(*words, "--json")
    assert answer.err == ""
    return answer.json


READS = {
    "status": ["status"],
    "status-task": ["status", "t-1"],
    "explain": ["explain", "t-1"],
    "explain-node": ["explain", "t-2", "i-1"],
    "slots": ["slots"],
    "dlq-list": ["dlq", "list"],
    "dlq-show": ["dlq", "show", "t-1"],
    "history": ["history"],
    "history-task": ["history", "--task", "restart-1"],
    "history-letters": ["history", "letters"],
    "history-audit": ["history", "audit"],
    "dry-run": [
        *("submit", "--dry-run", "--action", "demo_task:restart", "--cluster", "demo:web"),
        *("--task-id", "t-4", "--limit", "2"),
    ],
    "doctor": ["doctor"],
    "init": ["init"],
}
CHANGES = {
    "submit": ["submit", "--action", "demo_task:restart", "--cluster", "demo:web", "--task-id", "t-4"],
    "hold": ["hold", "cluster:demo:web", "--why", "migration"],
    "unhold": ["unhold", "owner:dba"],
    "cancel": ["cancel", "t-1", "--why", "wrong cluster"],
    "resume": ["resume", "t-1"],
    "slots-release": ["slots", "release", "i-2", "--why", "repaired"],
    "dlq-redrive": ["dlq", "redrive", "t-1", "i-2"],
    "schedules-add": [
        *("schedules", "add", "nightly", "--cron", "0 2 * * *", "--timezone", "Europe/Berlin", "--jitter", "10m"),
        *("--action", "demo_task:restart", "--cluster", "demo:web", "--concurrency", "2", "--why", "a quiet hour"),
    ],
    "schedules-edit": [
        *("schedules", "edit", "own", "--every", "6h", "--limit", "2", "--retries", "1", "--why", "less at once"),
    ],
    "schedules-remove": ["schedules", "remove", "own", "--why", "done by hand"],
    "dlq-discard": ["dlq", "discard", "t-1", "i-2", "--why", "replaced"],
}


@pytest.mark.parametrize("name", READS)
def test_the_json_of_a_verb_that_reads(taskerman: CommandLine, name: str) -> None:
    check_golden(f"cli/{name}", printed(taskerman, *READS[name]))


@pytest.mark.parametrize("name", CHANGES)
def test_the_json_of_a_verb_that_changes(taskerman: CommandLine, name: str) -> None:
    check_golden(f"cli/{name}", printed(taskerman, *CHANGES[name]))


def test_the_json_of_a_parked_task_and_of_its_approval(taskerman: CommandLine) -> None:
    """The cluster has lost four of its six nodes since t-2 was planned."""
    fleet = taskerman.fleet
    fleet.discovery.declare(CLUSTER, NODES[:2])
    fleet.send("t-9")
    check_golden("cli/explain-parked", printed(taskerman, "explain", "t-9"))
    check_golden("cli/approve", printed(taskerman, "approve", "t-9", "--why", "it was scaled in"))


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A scope of one place, in which one node acts and for which two lanes wait; and an exclusive task."""
    fleet = Fleet()
    fleet.install()
    line = CommandLine(fleet, monkeypatch, capsys)
    assert line("scopes", "set", "bandwidth", "1", "--why", "a thin wire").code == 0
    in_scope = {"scope": "bandwidth", "concurrency": 3}
    fleet.send("t-1", params={"lease_args": in_scope}, limit=1)
    fleet.take("t-1", "i-1")
    fleet.clock.advance(timedelta(minutes=1))
    for task, node, priority in (("t-2", "i-2", 5), ("t-3", "i-3", 7)):
        fleet.send(task, params={"lease_args": {**in_scope, "priority": priority}}, nodes=[node])
        fleet.join(task, node)
    fleet.send("t-4", params={"lease_args": {"exclusive": True}}, nodes=["i-4"])
    fleet.join("t-4", "i-4")
    return line


SHARED = {
    "scopes-list": ["scopes", "list"],
    "scopes-set": ["scopes", "set", "bandwidth", "0", "--why", "a migration"],
    "explain-scope-full": ["explain", "t-2"],
    "explain-scope-turn": ["explain", "t-3"],
    "explain-exclusive": ["explain", "t-4"],
}


@pytest.mark.parametrize("name", SHARED)
def test_the_json_of_what_is_shared(shared: CommandLine, name: str) -> None:
    """Scopes, their queues, and why somebody waits for them."""
    check_golden(f"cli/{name}", printed(shared, *SHARED[name]))


def test_the_json_of_a_breaker_and_of_its_reset(taskerman: CommandLine) -> None:
    """The unsafe end of i-2 is one failure in a row, and its kept slot stops the cluster."""
    check_golden("cli/breaker-show", printed(taskerman, "breaker", "show"))
    check_golden("cli/breaker-reset", printed(taskerman, "breaker", "reset", "demo:web", "--why", "it was the mirror"))
    refused = taskerman("breaker", "reset", "demo:web", "--why", "again", "--json")
    assert refused.code == 4


def test_the_json_of_judged_schedules(taskerman: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(one("a") + one("a", every="never").removeprefix("schedules:\n"))
    found = taskerman("validate", str(tmp_path), "--json", "--unchecked")
    assert (found.code, found.err) == (2, "")
    check_golden("cli/validate", {**found.json, "place": found.json["place"].replace(str(tmp_path), "/schedules")})


def test_the_json_of_what_is_to_come(taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two schedules that want one cluster at once, and another version of them."""
    versions = {
        "old": [planned("nightly", "0 2 * * *"), planned("weekly", "0 2 * * 0")],
        "new": [planned("nightly", "0 3 * * *"), planned("sunday", "0 2 * * 0"), planned("hourly", "0 * * * *")],
    }
    monkeypatch.setattr(planning, "_declarations", lambda path: versions[str(path)])
    times = ("--from", "2026-01-31T12:00Z", "--until", "2d")
    check_golden("cli/plan", printed(taskerman, "plan", "--files", "old", *times))
    check_golden("cli/diff", printed(taskerman, "diff", "old", "new", *times))


def planned(name: str, cron: str) -> Declaration:
    task: dict[str, JsonValue] = {
        "action": "demo_task:restart",
        "cluster_name": CLUSTER,
        "owner": "storage",
        "limit": 2,
    }
    found = Schedule(name=name, cron=cron, task=task)
    return Declaration(schedule=found, origin=ScheduleOrigin.FILES, place="web.yaml:1")


def test_the_json_of_an_error(taskerman: CommandLine) -> None:
    answer = taskerman("resume", "t-2", "--json")
    assert answer.out == ""
    check_golden("cli/error", json.loads(answer.err))


def test_the_names_of_settings(taskerman: CommandLine) -> None:
    """Values differ from machine to machine; the names are what is configured by."""
    listing = taskerman("settings", "--json").json
    check_golden("cli/settings", [{"variable": one["variable"], "about": one["about"]} for one in listing])
