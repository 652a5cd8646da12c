"""Which task goes first, beside which it may act, and what a node of several clusters changes; on both grounds."""

from __future__ import annotations

import pytest

from taskerman.coordination import layout
from taskerman.coordination.node_moves import Ready
from taskerman.model.slot import SlotState
from taskerman.policy.snapshot import Reason, Waiting
from taskerman.ports.tree import Committed, Set
from tests.contract.test_coordination import Stage, stage
from tests.support.protocol_tasks import CLUSTER, OTHER
from tests.support.tree_ground import ground

__all__ = ["ground", "stage"]

BOTH = ("n0",)


def reason(standing: object) -> Reason | None:
    """Why it waits; None when it may go."""
    if isinstance(standing, Ready):
        return None
    assert isinstance(standing, Waiting), standing
    return standing.reason


# --- priority and exclusive ------------------------------------------------------------------------------


def test_a_task_of_higher_priority_goes_before_an_older_one(stage: Stage) -> None:
    older = stage.plan("older", nodes=("n0",), cap=3)
    urgent = stage.plan("urgent", nodes=("n1",), cap=3, priority=6)
    first, second = stage.agent("n0"), stage.agent("n1")
    assert reason(stage.look(first, older)) is None
    assert reason(stage.look(second, urgent)) is None
    waiting = stage.look(first, older)
    assert isinstance(waiting, Waiting)
    assert (waiting.reason, "higher priority" in waiting.text) == (Reason.OLDER_TASK, True)
    assert stage.explain(older, "n0") == waiting
    stage.take(second, urgent)
    assert reason(stage.look(first, older)) is None


def test_a_redriven_task_keeps_its_priority(stage: Stage) -> None:
    urgent = stage.plan("urgent", nodes=("n1",), priority=9)
    moves = stage.agent("n1")
    stage.take(moves, urgent)
    stage.end(moves, urgent, "failed")
    assert stage.open() == 0
    stage.plan("older", nodes=("n0",))
    stage.person.redrive("urgent", "n1", "mended")
    names = stage._names(layout.open_tasks(CLUSTER))
    assert [layout.priority_of(name) for name in names] == [9, 5]


def test_an_exclusive_task_waits_until_the_cluster_has_drained_and_is_not_passed_meanwhile(stage: Stage) -> None:
    running = stage.plan("running", nodes=("n0",), cap=3)
    alone = stage.plan("alone", nodes=("n1", "n2"), cap=2, exclusive=True)
    later = stage.plan("later", nodes=("n3",), cap=3)
    agents = {node: stage.agent(node) for node in ("n0", "n1", "n2", "n3")}
    stage.take(agents["n0"], running)
    assert reason(stage.look(agents["n1"], alone)) is Reason.EXCLUSIVE
    assert reason(stage.look(agents["n3"], later)) is Reason.OLDER_TASK
    stage.end(agents["n0"], running)
    stage.take(agents["n1"], alone)
    stage.take(agents["n2"], alone)  # its own nodes, up to its own concurrency
    assert reason(stage.look(agents["n3"], later)) is Reason.EXCLUSIVE
    assert stage.explain(later, "n3") == stage.look(agents["n3"], later)
    stage.end(agents["n1"], alone)
    stage.end(agents["n2"], alone)
    assert reason(stage.look(agents["n3"], later)) is None


# --- several clusters ------------------------------------------------------------------------------------


def test_a_node_of_two_clusters_takes_a_slot_in_each_and_frees_both(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0", "n1"), cap=2, both=BOTH)
    moves = stage.agent("n0")
    attempt = stage.take(moves, plan).attempt
    assert attempt.scopes == (CLUSTER, OTHER)
    assert [slot.node for slot in stage.slots(CLUSTER)] == ["n0"]
    assert [slot.node for slot in stage.slots(OTHER)] == ["n0"]
    stage.end(moves, plan)
    assert stage.slots(CLUSTER) == stage.slots(OTHER) == ()


def test_the_promise_of_each_of_its_clusters_binds_it(stage: Stage) -> None:
    repair = stage.plan("repair", nodes=("n9",), cluster=OTHER, cap=1)
    plan = stage.plan(nodes=("n0", "n1"), cap=2, both=BOTH)
    repairer, both, single = stage.agent("n9"), stage.agent("n0"), stage.agent("n1")
    stage.take(repairer, repair)
    waiting = stage.look(both, plan)
    assert isinstance(waiting, Waiting)
    assert (waiting.reason, OTHER in waiting.text) == (Reason.NO_ROOM, True)
    assert stage.explain(plan, "n0") == waiting
    assert reason(stage.look(single, plan)) is None, "a lane that needs nothing there goes on"
    stage.end(repairer, repair)
    assert reason(stage.look(both, plan)) is None


@pytest.mark.parametrize("where", [CLUSTER, OTHER])
def test_a_hold_or_a_kept_slot_in_any_of_its_clusters_stops_it(stage: Stage, where: str) -> None:
    plan = stage.plan(nodes=("n0",), both=BOTH)
    ill = stage.plan("ill", nodes=("n9",), cluster=where)
    both, other = stage.agent("n0"), stage.agent("n9")
    hold = stage.person.hold(f"cluster:{where}", "look")
    assert reason(stage.look(both, plan)) is Reason.HOLD
    stage.person.unhold(hold.id, "done")
    stage.take_past(other, ill, both, plan)
    stage.end(other, ill, "unsafe")
    assert reason(stage.look(both, plan)) is Reason.KEPT_SLOT


@pytest.mark.parametrize("where", [CLUSTER, OTHER])
def test_a_take_checks_the_record_of_every_cluster(stage: Stage, where: str) -> None:
    """Else a slot that is kept in one of them while the take is on its way would be passed."""
    plan = stage.plan(nodes=("n0",), both=BOTH)
    moves = stage.agent("n0")
    ready = stage.look(moves, plan)
    assert isinstance(ready, Ready)
    record = stage.tree.get(layout.cluster(where))
    assert record is not None
    assert isinstance(stage.tree.commit([Set(layout.cluster(where), record.data, record.stat.version)]), Committed)
    assert moves.take(ready, plan, stage.clock.now()) is None


def test_a_kept_slot_is_kept_in_each_and_inherited_in_each(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0",), both=BOTH)
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    assert [slot.state for scope in (CLUSTER, OTHER) for slot in stage.slots(scope)] == [SlotState.UNSAFE] * 2
    assert stage.node("n0").kept == (CLUSTER, OTHER)
    stage.person.redrive("t", "n0", "mended")
    attempt = stage.take(moves, plan).attempt
    assert attempt.inherited is SlotState.UNSAFE
    stage.end(moves, plan)
    assert stage.slots(CLUSTER) == stage.slots(OTHER) == ()
    assert stage.node("n0").kept == ()


def test_a_slot_that_was_kept_where_the_next_task_takes_none_is_inherited_and_freed_all_the_same(
    stage: Stage,
) -> None:
    """The node was seen well: a slot in another scope that says otherwise would stop that one for nothing."""
    before, after = stage.plan("before", nodes=("n0",), both=BOTH), stage.plan("after", nodes=("n0",))
    moves = stage.agent("n0")
    stage.take(moves, before)
    stage.end(moves, before, "unsafe")
    attempt = stage.take(moves, after).attempt
    assert set(attempt.scopes) == {CLUSTER, OTHER}
    stage.end(moves, after)
    assert stage.slots(CLUSTER) == stage.slots(OTHER) == ()


def test_a_release_frees_what_is_kept_in_every_cluster(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0",), both=BOTH)
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "lost")
    assert len(stage.person.release("n0", "seen well").freed) == 2
    assert stage.slots(CLUSTER) == stage.slots(OTHER) == ()
    assert stage.node("n0").kept == ()


def test_an_older_task_goes_first_in_every_cluster_in_which_its_lane_takes_a_slot_and_in_no_other(
    stage: Stage,
) -> None:
    older = stage.plan("older", nodes=("n0", "n1"), cap=9, both=BOTH)
    younger = stage.plan("younger", nodes=("n9",), cluster=OTHER, cap=9)
    both, single, other = stage.agent("n0"), stage.agent("n1"), stage.agent("n9")
    stage.look(single, older)
    assert reason(stage.look(other, younger)) is None, "only a lane that takes a slot there goes first there"
    stage.look(both, older)
    assert reason(stage.look(other, younger)) is Reason.OLDER_TASK
    assert stage.explain(younger, "n9") == stage.look(other, younger)
    stage.take(both, older)
    assert reason(stage.look(other, younger)) is None


def test_a_lane_whose_gate_is_shut_in_a_cluster_that_is_not_ours_lets_us_pass(stage: Stage) -> None:
    older = stage.plan("older", nodes=("n0",), both=BOTH)
    younger = stage.plan("younger", nodes=("n1",))
    both, single = stage.agent("n0"), stage.agent("n1")
    stage.look(both, older)
    assert reason(stage.look(single, younger)) is Reason.OLDER_TASK
    stage.person.hold(f"cluster:{OTHER}", "look")
    assert reason(stage.look(single, younger)) is None


@pytest.mark.parametrize("closer", ["the agent's last end", "a router"])
def test_a_task_is_open_in_all_of_its_clusters_or_in_none(stage: Stage, closer: str) -> None:
    plan = stage.plan(nodes=("n0",), both=BOTH)
    moves = stage.agent("n0")
    assert (stage.open(CLUSTER), stage.open(OTHER)) == (1, 1)
    stage.take(moves, plan)
    if closer == "a router":
        stage.person.node_is_off("n0", "the fuse blew")
        assert (stage.open(CLUSTER), stage.open(OTHER)) == (1, 1)
        assert stage.router.close_ended() == ["t"]
    else:
        stage.end(moves, plan, "failed")
    assert (stage.open(CLUSTER), stage.open(OTHER)) == (0, 0)
    stage.person.redrive("t", "n0", "mended")
    assert (stage.open(CLUSTER), stage.open(OTHER)) == (1, 1)
