"""A cluster that jumped promises: its task is planned parked, rings nobody, and begins only when a person approves."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from taskerman import control
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import ClusterEmpty, DiscoveryFailed, RefusedByState, TaskUnknown, UsageError
from taskerman.model.cluster import Node
from taskerman.model.outcome import Outcome
from taskerman.model.task import TaskState
from taskerman.policy.guards import SizeGuard
from tests.support.fleet import CLUSTER, NODES, Fleet, document

MORE = tuple(Node(id=f"i-{n}", az="d") for n in range(7, 40))


@pytest.fixture
def fleet() -> Fleet:
    """Six nodes, of which a task was planned and done with: six is what is believed."""
    made = Fleet()
    made.install()
    made.send("t-0", nodes=[])
    return made


def size(fleet: Fleet) -> int | None:
    return RouterMoves(fleet.tree).size(CLUSTER)


def parked(fleet: Fleet, task: str = "t-1") -> str | None:
    return RouterMoves(fleet.tree).parked(task)


def doorbells(fleet: Fleet, task: str) -> int:
    queues = [fleet.names.node(node.id) for node in (*NODES, *MORE)]
    bodies = [body for queue in queues if fleet.queues.exists(queue) for body in fleet.queues.bodies(queue)]
    return sum(json.loads(body)["task_id"] == task for body in bodies)


def test_the_first_plan_is_believed_and_every_later_one_that_is_not_suspicious(fleet: Fleet) -> None:
    assert size(fleet) == 6
    fleet.discovery.declare(CLUSTER, NODES[:4])
    fleet.send("t-1")
    assert (parked(fleet), size(fleet)) == (None, 4)


def test_a_shrunken_cluster_is_planned_parked_rings_nobody_and_leaves_what_is_believed(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, NODES[:2])
    fleet.send("t-1")
    assert "2 nodes where 6 were known" in (parked(fleet) or "")
    assert doorbells(fleet, "t-1") == 0
    assert size(fleet) == 6
    fleet.send("t-2")  # the next one is no less suspicious for it
    assert parked(fleet, "t-2") is not None


def test_a_cluster_that_grew_beyond_belief_is_parked_too_and_a_percentage_is_not_taken_of_it(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, (*NODES, *MORE))
    fleet.send("t-1", params={"lease_args": {"concurrency": "50%"}})
    assert "39 nodes where 6 were known" in (parked(fleet) or "")


def test_limit_does_not_hide_a_jump_for_the_whole_cluster_is_counted(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, NODES[:2])
    fleet.send("t-1", limit=1)
    assert parked(fleet) is not None


def test_a_task_that_names_its_nodes_is_not_judged_by_the_cluster_s_size_nor_believed(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, NODES[:2])
    fleet.send("t-1", nodes=["i-1"])
    assert (parked(fleet), size(fleet)) == (None, 6)
    assert doorbells(fleet, "t-1") == 1


def test_nothing_of_a_parked_task_is_taken_also_by_a_node_that_was_rung_all_the_same(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, NODES[:2])
    plan = fleet.send("t-1")
    standing = fleet.agent("i-1").stand(plan, fleet.clock.now(), lambda: None)
    assert getattr(standing, "reason", None) == "parked"


def test_approved_its_nodes_are_rung_it_begins_and_the_new_size_is_believed(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, NODES[:2])
    fleet.send("t-1")
    control.cancel(fleet.desk, "t-0", "it would go first")
    done = control.approve(fleet.desk, "t-1", "scaled in")
    assert (done.size, done.rung, done.unreached) == (2, 2, ())
    assert doorbells(fleet, "t-1") == 2
    assert size(fleet) == 2
    fleet.do("t-1", "i-1", Outcome.SUCCEEDED)
    fleet.send("t-2")
    assert parked(fleet, "t-2") is None


def test_an_approval_is_audited_with_its_reason_in_its_own_transaction(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, NODES[:2])
    fleet.send("t-1")
    control.approve(fleet.someone_else("bob@desk"), "t-1", "scaled in")
    last = json.loads(
        next(
            record.data
            for path, record in fleet.server.dump().items()
            if "/audit/000000000" in path and b"approve" in record.data
        )
    )
    assert (last["verb"], last["target"], last["by"], last["why"]) == ("approve", "t-1", "bob@desk", "scaled in")


def test_only_a_parked_task_is_approved_and_a_parked_one_is_not_resumed(fleet: Fleet) -> None:
    with pytest.raises(RefusedByState, match="only a parked one"):
        control.approve(fleet.desk, "t-0", "x")
    fleet.discovery.declare(CLUSTER, NODES[:2])
    fleet.send("t-1")
    with pytest.raises(RefusedByState, match="taskerman approve t-1"):
        control.resume(fleet.desk, "t-1")
    control.approve(fleet.desk, "t-1", "x")
    with pytest.raises(RefusedByState, match="only a parked one"):
        control.approve(fleet.desk, "t-1", "x")
    with pytest.raises(TaskUnknown):
        control.approve(fleet.desk, "t-404", "x")
    with pytest.raises(UsageError):
        control.approve(fleet.desk, "t-1", "...")
    assert doorbells(fleet, "t-0") == 6, "a refused approval rings nobody"


def test_a_parked_task_may_be_cancelled_and_its_size_is_never_believed(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, NODES[:2])
    fleet.send("t-1")
    assert control.cancel(fleet.desk, "t-1", "wrong tags").ended == 2
    assert size(fleet) == 6


def test_a_document_that_comes_again_rings_nobody_while_its_task_is_parked(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, NODES[:2])
    fleet.send("t-1")
    fleet.send("t-1")
    assert doorbells(fleet, "t-1") == 0
    control.approve(fleet.desk, "t-1", "fine")
    fleet.send("t-1")
    assert doorbells(fleet, "t-1") == 4


def test_status_and_explain_say_why_it_is_parked_and_what_to_type(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, NODES[:2])
    fleet.send("t-1")
    status = control.task_status(fleet.desk, "t-1")
    assert (status.state, status.verdict.exit_code) == (TaskState.PARKED, 11)
    assert "2 nodes where 6 were known" in status.why
    said = control.explain(fleet.desk, "t-1")
    assert {node.reason for node in said.nodes} == {"parked"}
    assert 'taskerman approve t-1 --why "..."' in said.next


def test_a_dry_run_says_that_it_would_be_parked_by_the_same_guard(fleet: Fleet) -> None:
    fleet.discovery.declare(CLUSTER, NODES[:2])
    prepared = control.prepare(document("t-1"))
    assert {node.reason for node in control.preview(fleet.desk, prepared).nodes} == {"parked"}
    patient = replace(fleet.desk, guard=SizeGuard(nodes=4))
    assert "parked" not in {node.reason for node in control.preview(patient, prepared).nodes}


def test_a_source_that_fails_or_is_empty_changes_nothing_that_is_believed(fleet: Fleet) -> None:
    """An error is an error, and an empty cluster is refused: neither is a cluster of size 0."""
    prepared = control.prepare(document("t-1"))
    fleet.discovery.fail()
    with pytest.raises(DiscoveryFailed):
        control.preview(fleet.desk, prepared)
    fleet.discovery.recover()
    fleet.discovery.declare(CLUSTER, ())
    with pytest.raises(ClusterEmpty):
        control.preview(fleet.desk, prepared)
    assert size(fleet) == 6
