"""What a runner declares stands where a task is silent: filled in once by the router, read the same by everybody."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskerman import control
from taskerman.coordination import layout
from taskerman.errors import ScopeUnknown
from taskerman.model.base import content_hash
from taskerman.model.plan import Plan, filled_in
from taskerman.model.slot import ScopeRecord
from taskerman.model.task import ActionTraits, TaskDocument
from taskerman.policy.overdue import term_s
from tests.support.command_line import CommandLine
from tests.support.fleet import Fleet, ListedCatalog, document

HEAVY = ActionTraits(soft_s=7200, settle_s=30, scope="heavy")


class HeavyCatalog(ListedCatalog):
    """The action's runner declares `HEAVY`."""

    def traits(self, action: str) -> ActionTraits:
        self._check(action)
        return HEAVY


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.install()
    made.desk = replace(made.desk, catalog=HeavyCatalog())
    made.router._catalog = HeavyCatalog()
    return made


def task(params: dict[str, Any]) -> TaskDocument:
    return TaskDocument.model_validate_json(document("t-1", params=params))


def capacity(fleet: Fleet, name: str = "heavy") -> int | None:
    record = fleet.tree.get(layout.scope(name))
    return None if record is None else layout.decode(ScopeRecord, record, name).capacity


# --- what is filled in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "filled"),
    [
        ({}, {"timeout_args": {"soft_s": 7200, "settle_s": 30}, "lease_args": {"scope": "heavy"}}),
        ({"timeout_args": {"soft_s": 60}}, {"timeout_args": {"settle_s": 30}, "lease_args": {"scope": "heavy"}}),
        ({"timeout_args": {"hard_s": 4000}}, {"timeout_args": {"settle_s": 30}, "lease_args": {"scope": "heavy"}}),
        ({"timeout_args": {"settle_s": 0}}, {"timeout_args": {"soft_s": 7200}, "lease_args": {"scope": "heavy"}}),
        ({"timeout_args": {"soft_s": 60, "settle_s": 5}}, {"lease_args": {"scope": "heavy"}}),
        ({"lease_args": {"scope": "wire"}}, {"timeout_args": {"soft_s": 7200, "settle_s": 30}}),
        ({"lease_args": {"scope": None}}, {"timeout_args": {"soft_s": 7200, "settle_s": 30}}),
        (
            {"lease_args": {"concurrency": 3}, "timeout_args": {"memory_mb": 64}},
            {"timeout_args": {"soft_s": 7200, "settle_s": 30}, "lease_args": {"scope": "heavy"}},
        ),
    ],
    ids=str,
)
def test_what_a_task_says_stands_and_what_it_does_not_say_is_the_runners(
    said: dict[str, Any], filled: dict[str, Any]
) -> None:
    """A scope of null is said: the task wants none. Who says only the hard limit has a soft one that goes with it."""
    assert HEAVY.fill(task(said)) == filled


def test_a_runner_that_declares_nothing_fills_in_nothing() -> None:
    assert ActionTraits().fill(task({})) == {}


@pytest.mark.parametrize("hard_s", [1800, 3600, 9000])
def test_beside_a_hard_limit_of_the_task_the_runners_soft_one_is_left_out(hard_s: int) -> None:
    """Else a document that was good would not be accepted: its hard limit may be before the runner's soft one."""
    received = json.loads(document("t-1", params={"timeout_args": {"hard_s": hard_s}}))
    silent = TaskDocument.model_validate_json(json.dumps(received))
    timeouts = filled_in(received, HEAVY.fill(silent)).taskerman_params.timeout_args
    assert (timeouts.soft_s, timeouts.hard_s, timeouts.settle_s) == (1800, hard_s, 30)


def test_filled_groups_are_laid_under_the_documents_own() -> None:
    received = json.loads(document("t-1", params={"lease_args": {"concurrency": 3}, "timeout_args": {"soft_s": 60}}))
    found = filled_in(received, {"timeout_args": {"soft_s": 7200, "settle_s": 30}, "lease_args": {"scope": "heavy"}})
    params = found.taskerman_params
    assert (params.lease_args.concurrency, params.lease_args.scope) == (3, "heavy")
    assert (params.timeout_args.soft_s, params.timeout_args.settle_s) == (60, 30)
    assert received["taskerman_params"]["lease_args"] == {"concurrency": 3}, "what came is not touched"


# --- the plan -------------------------------------------------------------------------------------------------


def test_the_plan_keeps_the_document_as_it_came_and_its_task_is_filled_in(fleet: Fleet) -> None:
    received = json.loads(document("t-1"))
    plan = fleet.send("t-1")
    assert plan.doc == received
    assert plan.hash == content_hash(received)
    assert plan.accepted.filled == HEAVY.fill(task({}))
    for read in (plan, Plan.unpack(plan.pack())):
        assert read.task.taskerman_params.timeout_args.soft_s == 7200
        assert read.task.taskerman_params.lease_args.scope == "heavy"
        assert {lane.named for lane in read.header.lanes} == {"heavy"}
        assert all(node.scopes == ("demo:web", "heavy") for node in read.nodes)


def test_the_same_document_again_is_the_same_task_whatever_the_runner_declares_by_then(fleet: Fleet) -> None:
    before = fleet.send("t-1")
    fleet.router._catalog = ListedCatalog()
    assert fleet.send("t-1") == before


def test_a_slot_is_watched_for_as_long_as_the_filled_in_limits_say(fleet: Fleet) -> None:
    """What the janitor asks of the plan's task, and what the agent gives its child, is one and the same."""
    plan = fleet.send("t-1")
    assert term_s(plan.task, 60) == 7200 + 120 + 30 + 60


# --- the router and those who foretell it ---------------------------------------------------------------------


def test_a_router_declares_the_runners_own_scope_once(fleet: Fleet) -> None:
    fleet.send("t-1")
    assert capacity(fleet) == 1
    control.set_scope(fleet.desk, "heavy", 4, "a second wire")
    fleet.send("t-2")
    assert capacity(fleet) == 4


def test_a_scope_that_a_task_names_is_not_declared_by_itself_unless_it_is_the_runners(fleet: Fleet) -> None:
    fleet.queues.send(fleet.names.tasks, document("t-1", params={"lease_args": {"scope": "wire"}}))
    fleet.route()
    assert capacity(fleet, "wire") is None
    assert capacity(fleet) is None
    fleet.send("t-2", params={"lease_args": {"scope": "heavy"}})
    assert capacity(fleet) == 1


def test_a_task_that_wants_no_scope_has_none(fleet: Fleet) -> None:
    plan = fleet.send("t-1", params={"lease_args": {"scope": None}})
    assert plan.header.lanes[0].named is None
    assert capacity(fleet) is None


def test_a_preview_says_what_the_router_will_do_and_declares_nothing(fleet: Fleet) -> None:
    prepared = control.prepare(document("t-1"))
    foreseen = control.preview(fleet.desk, prepared)
    assert capacity(fleet) is None
    assert foreseen.nodes[0].reason is None, "nothing holds the first"
    plan = fleet.send("t-1")
    assert (foreseen.cap, [node.node for node in foreseen.nodes]) == (plan.cap, [node.id for node in plan.nodes])
    fleet.take("t-1", foreseen.nodes[0].node)


def test_a_preview_sees_the_scope_full_that_another_task_holds(fleet: Fleet) -> None:
    fleet.send("t-1", nodes=["i-1"])
    fleet.take("t-1", "i-1")
    foreseen = control.preview(fleet.desk, control.prepare(document("t-2", nodes=["i-2"])))
    assert foreseen.nodes[0].reason is not None


def test_a_capacity_of_none_at_all_is_seen_as_such(fleet: Fleet) -> None:
    control.set_scope(fleet.desk, "heavy", 0, "no backups tonight")
    foreseen = control.preview(fleet.desk, control.prepare(document("t-1")))
    assert foreseen.nodes[0].text == "The capacity of scope heavy is 0: nothing starts in it."


@pytest.mark.parametrize("params", [{}, {"lease_args": {"scope": "heavy"}}, {"lease_args": {"scope": None}}])
def test_what_is_submitted_is_not_refused_for_a_scope_that_the_router_declares(
    fleet: Fleet, params: dict[str, Any]
) -> None:
    control.submit(fleet.desk, control.prepare(document("t-1", params=params)))
    fleet.route()
    assert fleet.plan("t-1").hash


def test_a_scope_that_nobody_declares_is_refused_by_whoever_submits(fleet: Fleet) -> None:
    with pytest.raises(ScopeUnknown, match="wire"):
        control.submit(fleet.desk, control.prepare(document("t-1", params={"lease_args": {"scope": "wire"}})))


@pytest.mark.parametrize(
    ("scope", "code"), [("", 0), ("lease_args: {scope: heavy}", 0), ("lease_args: {scope: wire}", 2)]
)
def test_validating_online_agrees_with_the_router(
    fleet: Fleet,
    scope: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        'schedules:\n  - name: a\n    cron: "0 3 * * *"\n    task:\n      action: demo_task:restart\n'
        "      cluster_name: demo:web\n      owner: dba\n" + (f"      taskerman_params: {{{scope}}}\n" if scope else "")
    )
    said = CommandLine(fleet, monkeypatch, capsys)("validate", str(file), "--online")
    assert said.code == code, said.out
    assert ("Nobody declared the capacity of scope wire" in said.out) is (code == 2)
