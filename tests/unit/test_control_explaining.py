"""EXPLAIN promises the agents' own answer, and commands that can be typed as they stand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from taskerman import control
from taskerman.coordination import layout
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.errors import NotFound, TaskUnknown
from taskerman.model.installation import Stranger
from taskerman.model.outcome import Outcome
from taskerman.policy.snapshot import Waiting
from taskerman.ports.tree import Create
from tests.support.fleet import Fleet, document


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.install()
    return made


def reasons(fleet: Fleet, task: str = "t-1") -> dict[str, str | None]:
    return {node.node: node.reason for node in control.explain(fleet.desk, task).nodes}


def test_explain_says_what_the_agent_of_the_node_hears(fleet: Fleet) -> None:
    plan = fleet.send()
    fleet.take("t-1", "i-1")
    fleet.join("t-1", "i-2")
    heard = fleet.agent("i-2").stand(plan, fleet.clock.now(), lambda: None)
    told = control.explain(fleet.desk, "t-1", "i-2").nodes[0]
    assert isinstance(heard, Waiting)
    assert (told.reason, told.text) == (heard.reason, heard.text)


def test_a_node_that_may_begin_has_no_reason_to_wait(fleet: Fleet) -> None:
    fleet.send()
    fleet.join("t-1", "i-1")
    assert control.explain(fleet.desk, "t-1", "i-1").nodes[0].reason is None


def test_every_node_has_its_answer_and_the_ended_ones_their_outcome(fleet: Fleet) -> None:
    fleet.send(limit=4, params={"failure_args": {"max_failures": 1}})
    fleet.do("t-1", "i-1", Outcome.SUCCEEDED)
    fleet.take("t-1", "i-2")
    fleet.join("t-1", "i-3")
    assert reasons(fleet) == {"i-1": None, "i-2": "node_busy", "i-3": "no_room", "i-4": "not_in_line"}
    seen = control.explain(fleet.desk, "t-1")
    assert (seen.nodes[0].outcome, seen.nodes[0].text) == (Outcome.SUCCEEDED, "Ended succeeded.")
    assert [place.node for place in seen.slots] == ["i-2"]
    assert seen.next == ("taskerman slots demo:web",)


def test_a_halted_task_names_the_repair_before_the_resume(fleet: Fleet) -> None:
    fleet.send()
    fleet.do("t-1", "i-1", Outcome.UNSAFE, "port closed")
    seen = control.explain(fleet.desk, "t-1")
    assert seen.state == "halted"
    assert seen.next == (
        "taskerman dlq show t-1 i-1",
        "taskerman dlq redrive t-1 i-1",
        'taskerman slots release i-1 --why "..."',
        "taskerman resume t-1",
        'taskerman cancel t-1 --why "..."',
    )
    assert "Its slot in demo:web was kept" in seen.nodes[0].text


def test_a_hold_names_how_to_lift_it(fleet: Fleet) -> None:
    fleet.send()
    held = control.hold(fleet.desk, "owner:gsi", "quarter end")
    seen = control.explain(fleet.desk, "t-1")
    assert seen.next == (f"taskerman unhold {held.hold.id}",)
    assert "quarter end" in seen.nodes[0].text


def test_a_slot_that_another_task_left_behind_names_that_task(fleet: Fleet) -> None:
    fleet.send("t-1")
    fleet.do("t-1", "i-1", Outcome.UNSAFE, "port closed")
    fleet.send("t-2")
    seen = control.explain(fleet.desk, "t-2", "i-2")
    assert seen.nodes[0].reason == "kept_slot"
    assert "taskerman dlq redrive t-1 i-1" in seen.next


def test_an_older_task_and_a_node_that_is_busy_elsewhere_name_where_to_look(fleet: Fleet) -> None:
    fleet.send("t-old", params={"lease_args": {"concurrency": 2}})
    fleet.take("t-old", "i-1")
    fleet.join("t-old", "i-2")
    fleet.send("t-new", params={"lease_args": {"concurrency": 2}})
    assert control.explain(fleet.desk, "t-new", "i-1").next == ("taskerman explain t-old i-1",)
    assert control.explain(fleet.desk, "t-new", "i-3").next == ("taskerman explain t-old",)


def test_a_retry_says_until_when_and_fresh_nodes_whom_they_wait_for(fleet: Fleet) -> None:
    fleet.send()
    fleet.do("t-1", "i-1", Outcome.FAILED, "exit 1")
    fleet.join("t-1", "i-2")
    first, second = control.explain(fleet.desk, "t-1").nodes[:2]
    assert (first.reason, first.until) == ("backoff", fleet.clock.now() + timedelta(seconds=15))
    assert second.reason == "budget"
    assert control.explain(fleet.desk, "t-1", "i-2").next == ("taskerman explain t-1 i-1",)


def test_a_node_outside_the_plan_is_not_found(fleet: Fleet) -> None:
    fleet.send(limit=2)
    with pytest.raises(NotFound, match="i-5"):
        control.explain(fleet.desk, "t-1", "i-5")


def test_an_unknown_task_says_whether_a_document_waits(fleet: Fleet) -> None:
    with pytest.raises(TaskUnknown, match="no document waits"):
        control.explain(fleet.desk, "t-1")
    fleet.queues.send(fleet.names.tasks, document("t-1"))
    with pytest.raises(TaskUnknown, match="about 1 documents"):
        control.task_status(fleet.desk, "t-1")


# --- status ----------------------------------------------------------------------------------------------


def test_status_counts_the_nodes_of_every_open_task_and_names_the_holds(fleet: Fleet) -> None:
    fleet.send("t-1", limit=3)
    fleet.do("t-1", "i-1", Outcome.SUCCEEDED)
    fleet.take("t-1", "i-2")
    fleet.send("t-2", nodes=["i-6"])
    held = control.hold(fleet.desk, "cluster:demo:web", "migration")
    fleet.queues.send(fleet.names.tasks, document("t-3"))
    seen = control.overview(fleet.desk)
    assert [(line.task_id, line.nodes, line.counts) for line in seen.tasks] == [
        ("t-1", 3, {"planned": 1, "acting": 1, "succeeded": 1}),
        ("t-2", 1, {"planned": 1}),
    ]
    assert seen.holds == (held.hold,)
    assert seen.waiting_documents == 1


def test_a_task_that_has_ended_is_not_open_and_its_status_stays(fleet: Fleet) -> None:
    fleet.send(limit=1)
    fleet.do("t-1", "i-1", Outcome.SUCCEEDED)
    assert control.overview(fleet.desk).tasks == ()
    status = control.task_status(fleet.desk, "t-1")
    assert (status.verdict, status.counts) == ("done", {"succeeded": 1})


def test_each_node_tells_its_state_since_when_and_how_often_it_tried(fleet: Fleet) -> None:
    fleet.send(params={"failure_args": {"max_failures": 1}})
    fleet.do("t-1", "i-1", Outcome.FAILED, "exit 1")
    began = fleet.clock.now()
    fleet.clock.advance(5)
    first, second = control.task_status(fleet.desk, "t-1").nodes[:2]
    assert (first.state, first.attempts, first.reason, first.since) == ("retrying", 1, "exit 1", began)
    assert (second.state, second.attempts, second.since) == ("planned", 0, None)


# --- init and doctor -------------------------------------------------------------------------------------


def levels(fleet: Fleet, subject: control.Subject | None = None) -> dict[str, str]:
    found = control.examine(fleet.desk, subject or control.Subject()).findings
    return {finding.what: finding.level for finding in found}


def test_a_new_installation_begins_with_a_hold_on_everything_and_its_queues(fleet: Fleet) -> None:
    bare = Fleet()
    made = control.initialise(bare.desk)
    assert [hold.on for hold in made.holds] == ["*"]
    assert set(bare.queues.names()) == set(made.queues)
    again = control.initialise(bare.desk)
    assert again.installation == made.installation


def test_doctor_finds_nothing_wrong_with_a_sound_installation_and_leaves_nothing_behind(fleet: Fleet) -> None:
    before = set(fleet.server.dump())
    found = control.examine(fleet.desk, control.Subject(node="i-1", clusters=("demo:web",), actions=("demo_task:*",)))
    assert {finding.level for finding in found.findings} <= {"ok", "warn"}
    assert found.exit_code == 0
    assert set(fleet.server.dump()) == before


def test_doctor_without_an_installation_names_init(fleet: Fleet) -> None:
    bare = Fleet()
    found = control.examine(bare.desk, control.Subject())
    failed = {finding.what: finding.next_step for finding in found.findings if finding.level == "fail"}
    assert set(failed) == {"installation", "queue taskerman-tasks", "queue taskerman-dead-letter"}
    assert all("taskerman init" in step for step in failed.values())
    assert found.exit_code == 4


def test_doctor_looks_at_everything_even_when_zookeeper_does_not_answer_and_that_is_5(fleet: Fleet) -> None:
    fleet.server.cut(fleet.tree)
    found = control.examine(fleet.desk, control.Subject())
    assert found.exit_code == 5
    assert {finding.what: finding.level for finding in found.findings}["queue taskerman-tasks"] == "ok"


def test_a_discovery_that_fails_is_a_failure_for_a_router_and_a_warning_on_a_node(fleet: Fleet) -> None:
    fleet.discovery.fail()
    assert levels(fleet)["discovery aws_tags"] == "fail"
    node = control.Subject(node="i-1", clusters=("demo:web",), actions=("demo_task:*",))
    assert levels(fleet, node)["discovery aws_tags"] == "warn"


def test_a_clock_that_is_wrong_is_found(fleet: Fleet) -> None:
    fleet.server.now_ms = lambda: int((fleet.clock.now() + timedelta(seconds=90)).timestamp() * 1000)
    assert levels(fleet)["clock"] == "fail"


@pytest.mark.parametrize(
    ("subject", "what", "level"),
    [
        (control.Subject(unknown=("TASKERMAN_QEUE",)), "settings", "warn"),
        (control.Subject(node="i-1", clusters=("demo:web",)), "actions", "warn"),
        (control.Subject(node="i-1", clusters=("demo:web",)), "node", "warn"),
        (control.Subject(node="i-1"), "node", "warn"),
        (control.Subject(node="i-1", clusters=("demo:web",), actions=("nosuch_task:*",)), "actions", "fail"),
    ],
)
def test_a_machine_that_is_configured_wrongly_hears_what(
    fleet: Fleet, subject: control.Subject, what: str, level: str
) -> None:
    finding = next(found for found in control.examine(fleet.desk, subject).findings if found.what == what)
    assert finding.level == level
    assert finding.next_step


def test_a_hold_is_worth_a_warning(fleet: Fleet) -> None:
    OperatorMoves(fleet.tree, "bob@desk", fleet.clock.now).hold("*", "freeze")
    assert levels(fleet)["hold"] == "warn"


def test_what_waits_for_a_named_scope_is_told_where_to_look(fleet: Fleet) -> None:
    control.set_scope(fleet.desk, "wire", 1, "thin")
    params = {"lease_args": {"scope": "wire", "concurrency": 9}}
    fleet.send("t-1", params=params, nodes=["i-1"])
    fleet.take("t-1", "i-1")
    fleet.send("t-2", params=params, nodes=["i-2"])
    fleet.join("t-2", "i-2")
    seen = control.explain(fleet.desk, "t-2")
    assert reasons(fleet, "t-2") == {"i-2": "scope_full"}
    assert {place.scope for place in seen.slots} == {"demo:web", "wire"}
    assert seen.next == ("taskerman scopes list",)
    (scope,) = control.list_scopes(fleet.desk)
    assert [lane.task_id for lane in scope.waiting] == ["t-2"]


# --- one sentence each --------------------------------------------------------------------------------------


def test_a_reason_that_came_with_a_traceback_is_one_line(fleet: Fleet) -> None:
    """While it is tried again, and when it ended so; the whole of it stands in the dead letter."""
    wrote = "the action ended with error: CommandFailed: exit 1\nTraceback (most recent call last):\n  File ..."
    fleet.send()
    fleet.do("t-1", "i-1", Outcome.FAILED, wrote)
    (waits,) = control.explain(fleet.desk, "t-1", "i-1").nodes
    assert waits.text == "It tries again later: the action ended with error: CommandFailed: exit 1."
    fleet.clock.advance(timedelta(hours=1))
    fleet.do("t-1", "i-1", Outcome.FAILED, wrote, retry=False)
    (ended,) = control.explain(fleet.desk, "t-1", "i-1").nodes
    assert ended.text == "Ended failed: the action ended with error: CommandFailed: exit 1."
    assert "Traceback" in control.show_letter(fleet.desk, "t-1", "i-1").letter.reason


def test_several_holds_are_all_named_and_end_with_the_last(fleet: Fleet) -> None:
    fleet.send()
    first = control.hold(fleet.desk, "owner:gsi", "quarter end", lasts=timedelta(hours=1)).hold
    last = control.hold(fleet.desk, "*", "fire drill", lasts=timedelta(hours=2)).hold
    (said,) = control.explain(fleet.desk, "t-1", "i-1").nodes
    assert f"So does {last.id} on everything." in said.text
    assert said.until == last.until
    assert control.explain(fleet.desk, "t-1", "i-1").next[:2] == tuple(
        f"taskerman unhold {one.id}" for one in (first, last)
    )
    fleet.clock.advance(timedelta(hours=3))
    (said,) = control.explain(fleet.desk, "t-1", "i-1").nodes
    assert "stands until a janitor lifts it" in said.text


def test_a_cancelled_node_that_still_acts_is_said_to_act(fleet: Fleet) -> None:
    fleet.send()
    attempt = fleet.take("t-1", "i-1")
    control.cancel(fleet.desk, "t-1", "wrong cluster")
    (said,) = control.explain(fleet.desk, "t-1", "i-1").nodes
    assert said.text.startswith(f"i-1 still acts: attempt {attempt.id}.")


def test_a_node_that_was_asked_to_stop_is_said_to_be(fleet: Fleet) -> None:
    fleet.send()
    fleet.take("t-1", "i-1")
    control.release(fleet.desk, "i-1", "let go")
    (said,) = control.explain(fleet.desk, "t-1", "i-1").nodes
    assert said.text.endswith("It was asked to stop.")


def test_resume_names_the_slots_that_stop_the_task_all_the_same(fleet: Fleet) -> None:
    fleet.send()
    fleet.do("t-1", "i-1", Outcome.UNSAFE, "port closed")
    assert control.resume(fleet.desk, "t-1").kept == ("i-1",)


def test_a_node_that_belongs_to_another_installation_is_not_said_to_be_away(fleet: Fleet) -> None:
    fleet.send()
    fleet.join("t-1", "i-1")
    why = "ZooKeeper holds another one"
    told = Stranger(node="i-2", installation="another", went_back=False, why=why, at=fleet.clock.now())
    fleet.tree.commit([Create(f"{layout.STRANGERS}/i-2", told.to_json())])
    said = {node.node: node.text for node in control.explain(fleet.desk, "t-1").nodes}
    assert said["i-2"] == "It starts nothing until a person accepts it: ZooKeeper holds another one."
    assert "its agent is away" in said["i-3"]
    assert 'taskerman init --accept-installation --why "..."' in control.explain(fleet.desk, "t-1", "i-2").next
