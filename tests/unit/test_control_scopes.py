"""SCOPES promises: a person declares a capacity, audited, and a task that names no such scope is refused early."""

from __future__ import annotations

import json

import pytest

from taskerman import control
from taskerman.coordination import layout
from taskerman.errors import ScopeUnknown, UsageError
from tests.support.command_line import CommandLine
from tests.support.fleet import Fleet, document


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.install()
    return made


IN_SCOPE = {"lease_args": {"scope": "wire"}}


def test_a_scope_is_declared_changed_and_listed(fleet: Fleet) -> None:
    assert control.list_scopes(fleet.desk) == ()
    first = control.set_scope(fleet.desk, "wire", 2, "thin")
    again = control.set_scope(fleet.desk, "wire", 3, "thicker")
    assert (first.before, again.before, again.capacity) == (None, 2, 3)
    assert [(scope.name, scope.capacity) for scope in control.list_scopes(fleet.desk)] == [("wire", 3)]


def test_every_change_is_audited_with_its_reason(fleet: Fleet) -> None:
    control.set_scope(fleet.desk, "wire", 2, "thin")
    names = fleet.tree.children(layout.AUDIT)
    assert names is not None
    last = fleet.tree.get(f"{layout.AUDIT}/{names.names[-1]}")
    assert last is not None
    entry = json.loads(last.data)
    assert (entry["verb"], entry["target"], entry["why"], entry["by"]) == ("set scope", "wire", "thin", "ada@laptop")


@pytest.mark.parametrize(
    ("name", "capacity", "why"),
    [("demo:web", 1, "w"), ("", 1, "w"), ("a/b", 1, "w"), ("wire", -1, "w"), ("wire", 10_001, "w"), ("wire", 1, " ")],
)
def test_what_cannot_be_a_scope_is_refused_and_nothing_is_declared(
    fleet: Fleet, name: str, capacity: int, why: str
) -> None:
    """A name with a colon is a cluster's: its capacity is what its tasks promise."""
    with pytest.raises(UsageError):
        control.set_scope(fleet.desk, name, capacity, why)
    assert control.list_scopes(fleet.desk) == ()


def test_a_task_of_an_unknown_scope_is_not_sent_and_not_planned(fleet: Fleet) -> None:
    """By whoever submits it; by the router when it comes all the same, as a dead letter with the next step."""
    prepared = control.prepare(document("t-1", params=IN_SCOPE))
    for verb in (control.submit, control.preview):
        with pytest.raises(ScopeUnknown, match="scopes set wire"):
            verb(fleet.desk, prepared)
    fleet.queues.send(fleet.names.tasks, prepared.body)
    fleet.route()
    (letter,) = control.list_letters(fleet.desk)
    assert (letter.code, letter.kind) == ("E-SCOPE-UNKNOWN", "document")
    control.set_scope(fleet.desk, "wire", 0, "declared")
    assert control.submit(fleet.desk, control.prepare(document("t-2", params=IN_SCOPE))).nodes == 6


def test_a_dry_run_says_that_the_scope_is_full(fleet: Fleet) -> None:
    control.set_scope(fleet.desk, "wire", 0, "closed")
    seen = control.preview(fleet.desk, control.prepare(document("t-1", params=IN_SCOPE)))
    assert seen.nodes[0].reason == "scope_full"


def test_the_command_prints_who_is_in_and_who_waits(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = CommandLine(fleet, monkeypatch, capsys)
    assert line("scopes", "list").out == "No scope is declared.\n"
    assert line("scopes", "set", "wire", "1", "--why", "thin").code == 0
    for task, node in (("t-1", "i-1"), ("t-2", "i-2")):
        fleet.send(task, params={"lease_args": {"scope": "wire", "concurrency": 2}}, nodes=[node])
        fleet.join(task, node)
        if task == "t-1":
            fleet.take(task, node)
    listed = line("scopes", "list").out
    assert "wire: 1 of 1 places are taken; waiting: 1 lane" in listed
    assert "t-2" in listed
    lowered = line("scopes", "set", "wire", "0", "--why", "closed").out
    assert "1 are in it now and go on" in lowered
    assert line("scopes", "set", "demo:web", "1", "--why", "w").code == 2
