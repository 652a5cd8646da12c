"""Patience on both grounds: a node that stands ahead and does not go, with a living session, stops nobody for long."""

from __future__ import annotations

import pytest

from taskerman.coordination.node_moves import NodeMoves, Ready
from taskerman.model.plan import Plan
from taskerman.policy.snapshot import Reason
from taskerman.ports.tree import Delete
from tests.contract.test_coordination import Stage, stage
from tests.contract.test_coordination_order import reason
from tests.support.protocol_tasks import OTHER
from tests.support.tree_ground import ground

__all__ = ["ground", "stage"]

A_PLACE_S = 30.0


def passes_after(stage: Stage, moves: NodeMoves, plan: Plan, most: float) -> float:
    """How long it looks at others that do not go before it passes them, looking as an agent does."""
    waited = 0.0
    while waited < most:
        standing = stage.look(moves, plan)
        if isinstance(standing, Ready):
            assert standing.passes
            return waited
        stage.clock.advance(5)
        waited += 5
    return most


def test_the_second_in_the_line_passes_a_head_that_does_not_go_and_takes_its_place_for_itself(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0", "n1"))
    hung, second = stage.agent("n0"), stage.agent("n1")
    stage.look(hung, plan)
    waited = passes_after(stage, second, plan, 300)
    assert A_PLACE_S <= waited <= 3 * A_PLACE_S
    ready = stage.look(second, plan)
    assert isinstance(ready, Ready)
    assert second.take(ready, plan, stage.clock.now()) is not None
    assert stage.line() == ["n0"], "who was passed keeps its place"
    stage.end(second, plan)
    assert isinstance(stage.look(hung, plan), Ready), "and goes when it wakes up"


def test_the_third_waits_for_two(stage: Stage) -> None:
    plan = stage.plan(cap=3)
    hung, also, third = stage.agent("n0"), stage.agent("n1"), stage.agent("n2")
    stage.look(hung, plan)
    stage.look(also, plan)
    assert passes_after(stage, third, plan, 600) >= 2 * A_PLACE_S


def test_a_line_that_moves_is_waited_for(stage: Stage) -> None:
    """Nobody is passed as long as slots come and go: those ahead will have their turn."""
    plan = stage.plan(nodes=("n0", "n1"), cap=2)
    other = stage.plan("other", nodes=("n5",), cap=3, priority=9)
    busy, hung, second = stage.agent("n5"), stage.agent("n0"), stage.agent("n1")
    stage.look(hung, plan)
    for _ in range(20):
        assert reason(stage.look(second, plan)) is Reason.PLACE
        stage.clock.advance(A_PLACE_S - 5)
        stage.take(busy, other)
        stage.end(busy, other, "deferred")
        stage.clock.advance(60)
        assert reason(stage.look(second, plan)) is Reason.PLACE


def test_the_head_of_a_younger_task_passes_an_older_one_that_does_not_go(stage: Stage) -> None:
    older, younger = stage.plan("older", nodes=("n0",), cap=3), stage.plan("younger", nodes=("n1",), cap=3)
    hung, head = stage.agent("n0"), stage.agent("n1")
    stage.look(hung, older)
    assert reason(stage.look(head, younger)) is Reason.OLDER_TASK
    stage.clock.advance(A_PLACE_S - 1)
    assert reason(stage.look(head, younger)) is Reason.OLDER_TASK
    assert head.patient_until("younger") is not None
    stage.clock.advance(1)
    stage.take(head, younger)


def test_who_only_waits_for_its_cluster_to_drain_is_never_passed(stage: Stage) -> None:
    """A repair of one at a time would else wait for ever behind restarts of three."""
    acting = stage.plan("acting", nodes=("n5",), cap=3)
    repair, restart = stage.plan("repair", nodes=("n0",), cap=1), stage.plan("restart", nodes=("n1",), cap=3)
    busy, first, head = stage.agent("n5"), stage.agent("n0"), stage.agent("n1")
    stage.take(busy, acting)
    assert reason(stage.look(first, repair)) is Reason.NO_ROOM
    assert passes_after(stage, head, restart, 3600) == 3600
    assert head.patient_until("restart") is None


def test_who_waits_for_another_of_its_clusters_to_drain_is_not_passed_either(stage: Stage) -> None:
    busy_there = stage.plan("there", nodes=("n9",), cluster=OTHER)
    both, younger = stage.plan("both", nodes=("n0",), cap=3, both=("n0",)), stage.plan("younger", nodes=("n1",), cap=3)
    stage.take(stage.agent("n9"), busy_there)
    first, head = stage.agent("n0"), stage.agent("n1")
    assert reason(stage.look(first, both)) is Reason.NO_ROOM
    assert passes_after(stage, head, younger, 3600) == 3600


@pytest.mark.parametrize("in_the_flesh", ["with its entry", "its place alone"])
def test_a_place_in_the_queue_of_a_scope_that_nobody_uses_is_passed(stage: Stage, in_the_flesh: str) -> None:
    stage.person.set_capacity("wire", 1, "thin")
    busy = stage.plan("busy", nodes=("n8",), cluster="demo:third", scope="wire")
    one = stage.plan("one", nodes=("n0",), scope="wire")
    two = stage.plan("two", nodes=("n9",), cluster=OTHER, scope="wire")
    holder, hung, second = stage.agent("n8"), stage.agent("n0"), stage.agent("n9")
    stage.take(holder, busy)
    stage.look(hung, one)
    stage.end(holder, busy)
    if in_the_flesh == "its place alone":
        hung.tree.commit([Delete(path) for path in hung._entries])
    waited = passes_after(stage, second, two, 300)
    assert A_PLACE_S <= waited <= 2 * A_PLACE_S
    ready = stage.look(second, two)
    assert isinstance(ready, Ready)
    assert second.take(ready, two, stage.clock.now()) is not None


def test_who_waits_in_a_queue_behind_one_that_drains_its_cluster_does_not_pass_it(stage: Stage) -> None:
    stage.person.set_capacity("wire", 1, "thin")
    acting = stage.plan("acting", nodes=("n5",))
    one = stage.plan("one", nodes=("n0",), scope="wire")
    two = stage.plan("two", nodes=("n9",), cluster=OTHER, scope="wire")
    stage.take(stage.agent("n5"), acting)
    first, second = stage.agent("n0"), stage.agent("n9")
    assert reason(stage.look(first, one)) is Reason.NO_ROOM
    assert passes_after(stage, second, two, 1800) == 1800


def test_patience_opens_no_gate_and_makes_no_room(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0", "n1"), cap=2)
    hung, second = stage.agent("n0"), stage.agent("n1")
    stage.look(hung, plan)
    hold = stage.person.hold("*", "stop")
    assert passes_after(stage, second, plan, 600) == 600
    stage.person.unhold(hold.id, "go on")
    full = stage.plan("full", nodes=("n5",), priority=9)
    stage.take_past(stage.agent("n5"), full, hung, plan)
    stage.look(hung, plan)
    assert passes_after(stage, second, plan, 600) == 600
