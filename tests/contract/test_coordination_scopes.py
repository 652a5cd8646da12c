"""Named scopes on both grounds: their capacity, their queue, and what becomes of a place when its lane may not go."""

from __future__ import annotations

from contextlib import suppress

import pytest

from taskerman.coordination import layout
from taskerman.coordination.node_moves import NodeMoves, Ready
from taskerman.errors import CoordinationUnavailable, ScopeUnknown
from taskerman.model.plan import ScopePlace
from taskerman.model.slot import SlotState
from taskerman.policy.snapshot import Reason
from taskerman.testing.tree import LostAnswer
from tests.contract.test_coordination import EVERY_LOSS, Stage, stage
from tests.contract.test_coordination_order import reason
from tests.support.protocol_tasks import CLUSTER, OTHER, TaskShape, plan_of
from tests.support.tree_ground import ground

__all__ = ["ground", "stage"]


@pytest.fixture
def scope(stage: Stage) -> str:
    """A named scope for one node."""
    stage.person.set_capacity("bandwidth", 1, "a thin wire")
    return "bandwidth"


def queue(stage: Stage, name: str) -> list[str]:
    """The tasks in the queue, in order."""
    paths = [f"{layout.waits(name)}/{one}" for one in stage._names(layout.waits(name))]
    records = [stage.tree.get(path) for path in paths]
    return [ScopePlace.model_validate_json(record.data).header.task for record in records if record is not None]


def test_a_node_takes_a_slot_in_its_cluster_and_in_the_scope_and_frees_both(stage: Stage, scope: str) -> None:
    plan = stage.plan(nodes=("n0",), scope=scope)
    moves = stage.agent("n0")
    attempt = stage.take(moves, plan).attempt
    assert attempt.scopes == (CLUSTER, scope)
    assert [slot.name for slot in stage.slots(scope)] == ["n0~-~acting"]
    assert queue(stage, scope) == [], "nobody waits, so nobody needs a place"
    stage.end(moves, plan)
    assert stage.slots(CLUSTER) == stage.slots(scope) == ()


def test_its_capacity_is_shared_by_clusters_that_know_nothing_of_each_other(stage: Stage, scope: str) -> None:
    one = stage.plan("one", nodes=("n0",), scope=scope)
    two = stage.plan("two", nodes=("n9",), cluster=OTHER, scope=scope)
    first, second = stage.agent("n0"), stage.agent("n9")
    stage.take(first, one)
    assert reason(stage.look(second, two)) is Reason.SCOPE_FULL
    assert stage.explain(two, "n9") == stage.look(second, two)
    stage.end(first, one)
    stage.take(second, two)


def test_lanes_go_in_the_order_of_their_places_and_a_place_is_the_lane_s(stage: Stage, scope: str) -> None:
    busy = stage.plan("busy", nodes=("n8",), cluster="demo:third", scope=scope)
    two = stage.plan("two", nodes=("n9",), cluster=OTHER, scope=scope)
    one = stage.plan("one", nodes=("n0", "n1"), scope=scope, cap=2)
    holder, second, first, heir = stage.agent("n8"), stage.agent("n9"), stage.agent("n0"), stage.agent("n1")
    stage.take(holder, busy)
    stage.look(first, one)
    stage.look(heir, one)
    stage.look(second, two)
    assert queue(stage, scope) == ["one", "two"]
    stage.end(holder, busy)
    assert reason(stage.look(second, two)) is Reason.SCOPE_TURN
    assert stage.explain(two, "n9") == stage.look(second, two)
    first.leave("one")  # its place goes with it, and the lane is behind
    assert queue(stage, scope) == ["two"]
    assert reason(stage.look(heir, one)) is Reason.SCOPE_TURN
    assert queue(stage, scope) == ["two", "one"]
    stage.take(second, two)
    assert queue(stage, scope) == ["one"]


def test_another_head_of_the_lane_uses_the_place_and_its_take_deletes_it(stage: Stage, scope: str) -> None:
    busy = stage.plan("busy", nodes=("n9",), cluster=OTHER, scope=scope)
    plan = stage.plan(nodes=("n0", "n1"), scope=scope, retry_count=3)
    holder, first, second = stage.agent("n9"), stage.agent("n0"), stage.agent("n1")
    stage.take(holder, busy)
    stage.look(second, plan)  # heads the line as long as it is alone
    assert queue(stage, scope) == ["t"]
    stage.look(first, plan)
    assert queue(stage, scope) == ["t"], "one place a lane"
    stage.end(holder, busy)
    stage.take(first, plan)
    assert queue(stage, scope) == []


def test_a_head_that_finds_a_gate_shut_takes_the_place_away_and_others_go(stage: Stage, scope: str) -> None:
    busy = stage.plan("busy", nodes=("n8",), cluster="demo:third", scope=scope)
    one = stage.plan("one", nodes=("n0",), scope=scope)
    two = stage.plan("two", nodes=("n9",), cluster=OTHER, scope=scope)
    holder, first, second = stage.agent("n8"), stage.agent("n0"), stage.agent("n9")
    stage.take(holder, busy)
    stage.look(first, one)
    stage.look(second, two)
    stage.end(holder, busy)
    stage.person.hold(f"cluster:{CLUSTER}", "look")
    assert reason(stage.look(first, one)) is Reason.HOLD
    assert queue(stage, scope) == ["two"]
    stage.take(second, two)


def test_a_place_goes_with_its_task_and_with_its_session(stage: Stage, scope: str) -> None:
    busy = stage.plan("busy", nodes=("n8",), cluster="demo:third", scope=scope)
    one = stage.plan("one", nodes=("n0",), scope=scope)
    two = stage.plan("two", nodes=("n9",), cluster=OTHER, scope=scope)
    first, second = stage.agent("n0"), stage.agent("n9")
    stage.take(stage.agent("n8"), busy)
    stage.look(first, one)
    stage.look(second, two)
    stage.person.cancel("one", "no")
    stage.look(first, one)
    assert queue(stage, scope) == ["two"]
    stage.ground.expire(second.tree)
    assert queue(stage, scope) == []


@EVERY_LOSS
def test_a_place_without_an_answer_is_found_or_never_was_and_goes_with_the_next_take(
    stage: Stage, scope: str, became: LostAnswer
) -> None:
    """A place that nobody knows of would stop the scope for as long as the session lives."""
    busy = stage.plan("busy", nodes=("n9",), cluster=OTHER, scope=scope)
    plan, free = stage.plan(nodes=("n0",), scope=scope), stage.plan("free", nodes=("n0",), priority=9)
    holder, moves = stage.agent("n9"), stage.agent("n0")
    stage.take(holder, busy)
    stage.look(holder, busy)
    stage.person.hold("cluster:" + CLUSTER, "so that it joins and makes no place")
    stage.look(moves, plan)
    stage.person.unhold("cluster:" + CLUSTER, "go on")
    stage.ground.lose_answer(moves.tree, became)
    if became is LostAnswer.LATE:
        with suppress(CoordinationUnavailable):
            stage.look(moves, plan)
        stage.ground.deliver_late(moves.tree)
        stage.ground.heal(moves.tree)
        stage.up(moves.tree)
    stage.insist(lambda: stage.look(moves, plan))
    assert queue(stage, scope) == ["t"]
    stage.take(moves, free)
    assert queue(stage, scope) == []


def test_an_older_lane_that_waits_for_its_turn_in_a_scope_does_not_stop_its_cluster(stage: Stage, scope: str) -> None:
    """Else it and the lane whose turn it is could wait for each other."""
    busy = stage.plan("busy", nodes=("n9",), cluster=OTHER, scope=scope)
    older = stage.plan("older", nodes=("n0",), scope=scope, cap=2)
    younger = stage.plan("younger", nodes=("n1",), cap=2)
    holder, first, second = stage.agent("n9"), stage.agent("n0"), stage.agent("n1")
    stage.take(holder, busy)
    assert reason(stage.look(first, older)) is Reason.SCOPE_FULL
    assert reason(stage.look(second, younger)) is None
    stage.end(holder, busy)
    assert reason(stage.look(second, younger)) is Reason.OLDER_TASK, "now it is its turn, and there is room"


def test_a_lane_that_waits_for_its_cluster_to_drain_keeps_its_turn(stage: Stage, scope: str) -> None:
    acting = stage.plan("acting", nodes=("n5",))
    one = stage.plan("one", nodes=("n0",), scope=scope)
    two = stage.plan("two", nodes=("n9",), cluster=OTHER, scope=scope)
    stage.take(stage.agent("n5"), acting)
    first, second = stage.agent("n0"), stage.agent("n9")
    assert reason(stage.look(first, one)) is Reason.NO_ROOM
    assert reason(stage.look(second, two)) is Reason.SCOPE_TURN


@pytest.mark.parametrize("capacity", [0, 1])
def test_a_capacity_that_is_lowered_below_what_is_taken_lets_nothing_start_until_enough_have_ended(
    stage: Stage, scope: str, capacity: int
) -> None:
    stage.person.set_capacity(scope, 2, "more")
    plan = stage.plan(nodes=("n0", "n1", "n2"), cap=3, scope=scope)
    agents = [stage.agent(node) for node in ("n0", "n1", "n2")]
    for moves in agents[:2]:
        stage.take(moves, plan)
    assert stage.person.set_capacity(scope, capacity, "less") == 2
    for moves in agents[:2]:
        assert reason(stage.look(agents[2], plan)) is Reason.SCOPE_FULL
        stage.end(moves, plan)
    assert reason(stage.look(agents[2], plan)) is (None if capacity else Reason.SCOPE_FULL)
    stage.person.set_capacity(scope, 1, "enough")
    stage.take(agents[2], plan)


def test_a_take_that_was_decided_before_the_capacity_changed_does_not_happen(stage: Stage, scope: str) -> None:
    plan = stage.plan(nodes=("n0",), scope=scope)
    moves = stage.agent("n0")
    ready = stage.look(moves, plan)
    assert isinstance(ready, Ready)
    stage.person.set_capacity(scope, 0, "stop")
    assert moves.take(ready, plan, stage.clock.now()) is None
    assert reason(stage.look(moves, plan)) is Reason.SCOPE_FULL


def test_two_that_see_the_last_place_at_once_do_not_both_get_it(stage: Stage, scope: str) -> None:
    one = stage.plan("one", nodes=("n0",), scope=scope)
    two = stage.plan("two", nodes=("n9",), cluster=OTHER, scope=scope)
    first, second = stage.agent("n0"), stage.agent("n9")
    seen = [(moves, plan, stage.look(moves, plan)) for moves, plan in ((first, one), (second, two))]
    taken = [moves.take(ready, plan, stage.clock.now()) for moves, plan, ready in seen if isinstance(ready, Ready)]
    assert [one is not None for one in taken] == [True, False]
    assert len(stage.slots(scope)) == 1


def test_a_kept_slot_counts_in_the_scope_and_is_inherited_without_a_new_turn(stage: Stage, scope: str) -> None:
    plan = stage.plan(nodes=("n0",), scope=scope)
    two = stage.plan("two", nodes=("n9",), cluster=OTHER, scope=scope)
    moves, other = stage.agent("n0"), stage.agent("n9")
    stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    assert [slot.state for slot in stage.slots(scope)] == [SlotState.UNSAFE]
    assert reason(stage.look(other, two)) is Reason.SCOPE_FULL
    stage.person.set_capacity(scope, 0, "nothing new")
    stage.person.redrive("t", "n0", "mended")
    stage.take(moves, plan)
    stage.end(moves, plan)
    assert stage.slots(scope) == ()


def test_a_task_of_a_scope_that_nobody_declared_is_refused_with_the_next_step(stage: Stage) -> None:
    plan = plan_of("t", TaskShape(("n0",), scope="nowhere"), stage.clock)
    with pytest.raises(ScopeUnknown, match="taskerman scopes set nowhere"):
        stage.router.check_scope(plan.task)
    stage.person.set_capacity("nowhere", 0, "declared")
    stage.router.check_scope(plan.task)


def test_if_it_is_planned_all_the_same_it_waits_and_says_why(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0",), scope="nowhere")
    assert reason(stage.look(stage.agent("n0"), plan)) is Reason.SCOPE_UNKNOWN


@pytest.mark.parametrize("became", [LostAnswer.APPLIED, LostAnswer.NEVER], ids=lambda b: b.value)
def test_a_capacity_that_is_declared_without_an_answer_is_declared_and_audited_once(
    stage: Stage, became: LostAnswer
) -> None:
    stage.person.set_capacity("bandwidth", 1, "a thin wire")
    before = stage.audited()
    stage.ground.lose_answer(stage.tree, became)
    stage.person.set_capacity("bandwidth", 2, "a thicker one")
    assert stage.audited() == before + 1


def test_an_attempt_costs_no_more_writes_however_many_wait(stage: Stage, scope: str) -> None:
    """Join, a place in the queue, take, end: four, with ten lanes waiting as with none."""
    others = [stage.plan(f"o{i}", nodes=(f"m{i}",), cluster=f"demo:c{i}", scope=scope) for i in range(6)]
    plan = stage.plan(nodes=("n0",), scope=scope)
    agents = [stage.agent(f"m{i}") for i in range(6)]
    stage.take(agents[0], others[0])
    for moves, other in zip(agents[1:], others[1:], strict=True):
        stage.look(moves, other)
    moves = stage.agent("n0")
    commits = counted(moves)
    stage.look(moves, plan)
    for one, other in zip(agents, others, strict=True):
        if one is not agents[0]:
            stage.take(one, other)
        stage.end(one, other)
        stage.look(moves, plan)
    stage.take(moves, plan)
    stage.end(moves, plan)
    assert len(commits) <= 4


def counted(moves: NodeMoves) -> list[object]:
    """Every commit of this agent from now on."""
    commits: list[object] = []
    commit = moves.tree.commit

    def counting(ops):
        commits.append(ops)
        return commit(ops)

    moves.tree.commit = counting  # type: ignore[method-assign]
    return commits
