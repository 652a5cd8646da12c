"""The janitor's moves on the in-memory tree and on a real ZooKeeper: with lost answers, two janitors, and agents that
wake up in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from taskerman.coordination import layout
from taskerman.coordination.janitor_record import janitor_record
from taskerman.coordination.node_moves import Ended, Over, Ready
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.overdue import ActingNode, acting_nodes, mark_overdue
from taskerman.coordination.reclaiming import Capped, NotYet, Reclaimed, end_gone, reclaim
from taskerman.coordination.sweeping import expire, sweep
from taskerman.errors import CoordinationUnavailable, Fenced, RefusedByState
from taskerman.model.attempt import NodeRecord, SeenIn
from taskerman.model.outcome import DeadLetterState, Outcome
from taskerman.model.task import FailureMark, TaskState
from taskerman.policy.reclaiming import Proof
from taskerman.policy.snapshot import Reason, Waiting
from taskerman.ports.tree import Children, Read, Set, Tree
from taskerman.testing.tree import LostAnswer
from tests.contract.test_coordination import EVERY_LOSS, SETTLED, Stage, ground, stage
from tests.support.protocol_tasks import CLUSTER

__all__ = ["ground", "stage"]


def lost(stage: Stage, became: LostAnswer, move: Callable[[Tree], object]) -> None:
    """One janitor makes a move whose answer is lost; another one makes it too; then what was late arrives, and the
    first one tries again."""
    tree = stage.ground.open()
    stage.ground.lose_answer(tree, became)
    with pytest.raises(CoordinationUnavailable):
        move(tree)
    move(stage.tree)
    if became is LostAnswer.LATE:
        stage.ground.deliver_late(tree)
    stage.ground.heal(tree)
    stage.up(tree)
    move(tree)


# --- holds with an expiry ----------------------------------------------------------------------------------


def janitor(stage: Stage) -> OperatorMoves:
    return OperatorMoves(stage.ground.open(), "janitor@a", stage.clock.now)


def test_a_hold_stands_until_it_is_lifted_whatever_the_time(stage: Stage) -> None:
    plan = stage.plan()
    hold = stage.person.hold("*", "look", stage.clock.now() + timedelta(hours=2))
    moves = stage.agent("n0")
    stage.clock.advance(3 * 3600)
    assert not isinstance(stage.look(moves, plan), Ready)
    audited = stage.audited()
    assert janitor(stage).lift_expired() == [hold]
    assert isinstance(stage.look(moves, plan), Ready)
    assert stage.audited() == audited + 1


def test_a_hold_whose_time_is_not_over_or_that_has_none_is_left_alone(stage: Stage) -> None:
    later = stage.person.hold("owner:gsi", "look", stage.clock.now() + timedelta(hours=2))
    never = stage.person.hold("*", "look")
    stage.clock.advance(7199)
    assert janitor(stage).lift_expired() == []
    assert stage.router.installation().holds == (later, never)


def test_two_janitors_lift_a_hold_once_and_not_the_one_that_a_person_put_after_it(stage: Stage) -> None:
    stage.person.hold("*", "look", stage.clock.now() + timedelta(hours=2))
    stage.clock.advance(7200)
    first, second = janitor(stage), janitor(stage)
    audited = stage.audited()
    assert len(first.lift_expired()) == 1
    again = stage.person.hold("*", "look again", stage.clock.now() + timedelta(hours=2))
    assert second.lift_expired() == []
    assert stage.router.installation().holds == (again,)
    assert stage.audited() == audited + 2


# --- EXPIRE ------------------------------------------------------------------------------------------------


def test_after_its_time_nothing_of_a_task_is_taken_and_what_does_not_act_ends_expired(stage: Stage) -> None:
    plan = stage.plan(lasts_s=600, cap=2)
    acting, waiting = stage.agent("n0"), stage.agent("n1")
    stage.take(acting, plan)
    ready = stage.look(waiting, plan)
    assert isinstance(ready, Ready)
    before = stage.clock.now()
    stage.clock.advance(601)
    tree = stage.ground.open()
    assert expire(tree, plan, stage.clock.now())
    assert not expire(tree, plan, stage.clock.now())
    assert waiting.take(ready, plan, before) is None  # its clock lags: the record stops it
    assert sweep(tree, plan, stage.clock.now()) == ["n0"]
    for node in ("n1", "n2"):
        end = stage.ended(node)
        assert end is not None
        assert (end.outcome, end.dead_letter) == (Outcome.EXPIRED, DeadLetterState.OWED)
        assert stage.progress(node) is None
    assert stage.ended("n0") is None
    stage.end(acting, plan)
    done = stage.ended("n0")
    assert done is not None
    assert done.outcome is Outcome.SUCCEEDED
    assert stage.router.close_ended() in ([], ["t"])
    assert stage.open() == 0
    assert stage.slots() == ()


def test_what_acts_and_fails_after_the_time_is_not_tried_again_and_what_defers_ends_with_the_next_sweep(
    stage: Stage,
) -> None:
    plan = stage.plan(lasts_s=600, cap=2, retry_count=3, nodes=("n0", "n1"), max_failures=2)
    first, second = stage.agent("n0"), stage.agent("n1")
    stage.take(first, plan)
    stage.take(second, plan)
    stage.clock.advance(601)
    assert expire(stage.tree, plan, stage.clock.now())
    stage.end(first, plan, "failed")
    stage.end(second, plan, "deferred")
    assert sweep(stage.tree, plan, stage.clock.now()) == []
    ends = [stage.ended(node) for node in ("n0", "n1")]
    assert [end.outcome for end in ends if end] == [Outcome.FAILED, Outcome.EXPIRED]


def test_a_task_whose_time_has_not_passed_or_that_ended_is_not_expired(stage: Stage) -> None:
    plan = stage.plan(lasts_s=600, nodes=("n0",))
    stage.clock.advance(599)
    assert not expire(stage.tree, plan, stage.clock.now())
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan)
    stage.clock.advance(2)
    assert not expire(stage.tree, plan, stage.clock.now())
    assert sweep(stage.tree, plan, stage.clock.now()) == ()
    assert stage.control().state is TaskState.OPEN


def test_a_sweep_of_a_task_that_may_go_on_ends_nothing(stage: Stage) -> None:
    plan = stage.plan()
    stage.look(stage.agent("n0"), plan)
    assert sweep(stage.tree, plan, stage.clock.now()) == ()
    assert stage.ended("n0") is None
    assert stage.ended("n1") is None


def test_an_agent_that_ends_its_own_assignment_meanwhile_and_the_sweep_end_it_once(stage: Stage) -> None:
    plan = stage.plan(lasts_s=600)
    moves = stage.agent("n1")
    stage.look(moves, plan)
    stage.clock.advance(601)
    expire(stage.tree, plan, stage.clock.now())
    assert stage.look(moves, plan) is Over.EXPIRED
    assert sweep(stage.tree, plan, stage.clock.now()) == []
    found = stage.look(moves, plan)
    assert isinstance(found, Ended)
    assert found.end.outcome is Outcome.EXPIRED


@EVERY_LOSS
def test_an_expiry_without_an_answer_is_tried_again_and_ends_each_node_once(stage: Stage, became: LostAnswer) -> None:
    plan = stage.plan(lasts_s=600)
    stage.clock.advance(601)
    lost(stage, became, lambda tree: expire(tree, plan, stage.clock.now()))
    assert stage.control().state is TaskState.EXPIRED
    lost(stage, became, lambda tree: sweep(tree, plan, stage.clock.now()))
    ends = [stage.ended(node) for node in ("n0", "n1", "n2")]
    assert all(end is not None and end.outcome is Outcome.EXPIRED for end in ends)
    assert len({end.attempt for end in ends if end}) == 3


def test_an_expired_task_is_not_brought_back_in_place(stage: Stage) -> None:
    plan = stage.plan(lasts_s=600)
    stage.clock.advance(601)
    expire(stage.tree, plan, stage.clock.now())
    sweep(stage.tree, plan, stage.clock.now())
    assert stage.person.redrive("t", "n0", "again") is False
    with pytest.raises(RefusedByState):
        stage.person.resume("t", "again")


def test_a_cancelled_task_is_swept_for_agents_that_are_away(stage: Stage) -> None:
    plan = stage.plan()
    stage.person.cancel("t", "no")
    assert sweep(stage.tree, plan, stage.clock.now()) == []
    end = stage.ended("n2")
    assert end is not None
    assert (end.outcome, end.dead_letter) == (Outcome.CANCELLED, DeadLetterState.NONE)


# --- OVERDUE -----------------------------------------------------------------------------------------------


def acting(stage: Stage) -> list[ActingNode]:
    return acting_nodes(stage.ground.open())


def test_an_overdue_attempt_uses_the_budget_and_keeps_its_slot_until_it_ends(stage: Stage) -> None:
    plan = stage.plan(cap=2)
    slow, fresh = stage.agent("n0"), stage.agent("n1")
    stage.take(slow, plan)
    ready = stage.look(fresh, plan)
    assert isinstance(ready, Ready)
    (seen,) = acting(stage)
    assert (seen.node, seen.attempt.id) == ("n0", "t.n0.1")
    assert mark_overdue(stage.tree, seen)
    assert fresh.take(ready, plan, stage.clock.now()) is None
    waiting = stage.look(fresh, plan)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.BUDGET
    assert [slot.node for slot in stage.slots()] == ["n0"]
    assert stage.control().state is TaskState.OPEN
    stage.end(slow, plan)
    assert stage.control().failed == {}
    assert isinstance(stage.look(fresh, plan), Ready)


def test_an_attempt_that_ended_meanwhile_is_not_marked_nor_is_the_next_one_of_the_node(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0",))
    moves = stage.agent("n0")
    stage.take(moves, plan)
    (seen,) = acting(stage)
    stage.end(moves, plan, "deferred")
    assert not mark_overdue(stage.tree, seen)
    stage.clock.advance(60)
    stage.take(moves, plan)
    assert not mark_overdue(stage.tree, seen)
    assert stage.control().failed == {}


def test_what_a_person_excused_before_is_failing_again_when_it_is_overdue(stage: Stage) -> None:
    plan = stage.plan(retry_count=3, cap=2)
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "failed")
    stage.clock.advance(3600)
    stage.take(moves, plan)
    control = stage.control()
    excused = control.model_copy(update={"excused": ("n0",)})
    stage.tree.commit([Set(layout.control("t"), excused.to_json(), None)])
    (seen,) = acting(stage)
    assert mark_overdue(stage.tree, seen)
    assert stage.control().counted() == {"n0"}


@EVERY_LOSS
def test_an_overdue_mark_without_an_answer_marks_that_attempt_only(stage: Stage, became: LostAnswer) -> None:
    plan = stage.plan(nodes=("n0", "n1"))
    moves = stage.agent("n0")
    stage.take(moves, plan)
    (seen,) = acting(stage)
    lost(stage, became, lambda tree: mark_overdue(tree, seen))
    assert stage.control().failed == {"n0": FailureMark.RETRYING}


def test_a_mark_that_comes_late_does_not_mark_what_has_ended_well(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0", "n1"))
    moves = stage.agent("n0")
    stage.take(moves, plan)
    (seen,) = acting(stage)
    tree = stage.ground.open()
    stage.ground.lose_answer(tree, LostAnswer.LATE)
    with pytest.raises(CoordinationUnavailable):
        mark_overdue(tree, seen)
    stage.end(moves, plan)
    stage.ground.deliver_late(tree)
    stage.ground.heal(tree)
    assert stage.control().failed == {}


# --- RECLAIM -----------------------------------------------------------------------------------------------


def gone(stage: Stage, node: str, tree: Tree | None = None, *, an_hour: int = 10) -> Reclaimed | Capped | NotYet:
    return reclaim(tree or stage.tree, Proof(node, "a test"), at=stage.clock.now(), an_hour=an_hour)


def test_a_terminated_node_in_an_attempt_frees_its_slot_ends_gone_and_is_fenced(stage: Stage) -> None:
    plan = stage.plan(max_failures=1)
    moves, other = stage.agent("n0"), stage.agent("n1")
    attempt = stage.take(moves, plan).attempt
    done = gone(stage, "n0")
    assert isinstance(done, Reclaimed)
    assert done.attempt == attempt
    assert stage.slots() == ()
    end = stage.ended("n0")
    assert end is not None
    assert (end.outcome, end.attempt, end.dead_letter) == (Outcome.GONE, attempt.id, DeadLetterState.OWED)
    assert stage.progress("n0") is None
    assert stage.control().failed == {"n0": FailureMark.FINAL}
    assert stage.control().state is TaskState.OPEN
    with pytest.raises(Fenced):
        moves.fence()
    with pytest.raises(Fenced):
        stage.end(moves, plan)
    with pytest.raises(Fenced):
        stage.agent("n0")
    assert isinstance(stage.look(other, plan), Ready)


def test_a_node_that_is_gone_in_mid_action_halts_a_task_without_budget(stage: Stage) -> None:
    plan = stage.plan()
    stage.take(stage.agent("n0"), plan)
    gone(stage, "n0")
    assert stage.control().state is TaskState.HALTED
    assert "n0" in stage.control().why


def test_a_terminated_node_that_keeps_a_slot_lets_the_others_go_on(stage: Stage) -> None:
    plan = stage.plan(max_failures=1)
    moves, other = stage.agent("n0"), stage.agent("n1")
    stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    assert not isinstance(stage.look(other, plan), Ready)
    assert isinstance(gone(stage, "n0"), Reclaimed)
    assert stage.slots() == ()
    assert isinstance(stage.look(other, plan), Ready)
    end = stage.ended("n0")
    assert end is not None
    assert end.outcome is Outcome.UNSAFE


def test_a_terminated_node_that_waits_takes_nothing_more_and_ends_gone_in_every_open_plan(stage: Stage) -> None:
    plan, other = stage.plan("ta"), stage.plan("tb")
    moves = stage.agent("n0")
    ready = stage.look(moves, plan)
    stage.look(moves, other)
    assert isinstance(ready, Ready)
    assert isinstance(gone(stage, "n0"), Reclaimed)
    with pytest.raises(Fenced):
        stage.look(moves, plan)
    assert moves.take(ready, plan, stage.clock.now()) is None
    keys = set()
    for one in (plan, other):
        assert end_gone(stage.tree, one, "n0", stage.clock.now())
        assert not end_gone(stage.tree, one, "n0", stage.clock.now())
        end = stage.ended("n0", one.task.task_id)
        assert end is not None
        assert (end.outcome, end.dead_letter) == (Outcome.GONE, DeadLetterState.OWED)
        assert stage.progress("n0", one.task.task_id) is None
        assert stage.control(one.task.task_id).failed == {}
        keys.add(end.attempt)
    assert len(keys) == 2


def test_a_terminated_node_whose_agent_never_registered_is_gone_before_it_could(stage: Stage) -> None:
    plan = stage.plan()
    assert isinstance(gone(stage, "n2"), Reclaimed)
    with pytest.raises(Fenced):
        stage.agent("n2")
    assert end_gone(stage.tree, plan, "n2", stage.clock.now())


def test_a_node_that_is_not_gone_is_not_ended(stage: Stage) -> None:
    plan = stage.plan()
    stage.look(stage.agent("n0"), plan)
    assert not end_gone(stage.tree, plan, "n0", stage.clock.now())
    assert not end_gone(stage.tree, plan, "n1", stage.clock.now())
    assert stage.ended("n0") is None


def test_a_node_that_was_being_retried_and_is_gone_lets_nobody_wait_behind_it_for_ever(stage: Stage) -> None:
    plan = stage.plan(retry_count=3)
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "failed")
    gone(stage, "n0")
    assert end_gone(stage.tree, plan, "n0", stage.clock.now())
    assert stage.control().state is TaskState.HALTED
    assert stage.control().failed == {"n0": FailureMark.FINAL}


def test_a_redrive_that_came_in_between_ends_gone_once_more_under_a_key_of_its_own(stage: Stage) -> None:
    plan = stage.plan()
    stage.agent("n0")
    gone(stage, "n0")
    end_gone(stage.tree, plan, "n0", stage.clock.now())
    first = stage.ended("n0")
    assert stage.person.redrive("t", "n0", "did not look")
    assert end_gone(stage.tree, plan, "n0", stage.clock.now())
    second = stage.ended("n0")
    assert first is not None
    assert second is not None
    assert first.attempt != second.attempt


def test_no_more_nodes_are_declared_gone_in_an_hour_than_allowed_whoever_leads(stage: Stage) -> None:
    stage.plan()
    second = stage.ground.open()
    assert isinstance(gone(stage, "n0", an_hour=2), Reclaimed)
    stage.clock.advance(1800)
    assert isinstance(gone(stage, "n1", second, an_hour=2), Reclaimed)
    assert gone(stage, "n2", an_hour=2) == Capped(2)
    assert gone(stage, "n0", an_hour=2) is NotYet.GONE_ALREADY
    stage.clock.advance(1801)
    assert isinstance(gone(stage, "n2", second, an_hour=2), Reclaimed)


def test_none_is_declared_gone_where_none_may_be(stage: Stage) -> None:
    stage.plan()
    assert gone(stage, "n0", an_hour=0) == Capped(0)


@EVERY_LOSS
def test_a_reclaim_without_an_answer_frees_once_and_counts_once(stage: Stage, became: LostAnswer) -> None:
    plan = stage.plan(max_failures=3)
    stage.take(stage.agent("n0"), plan)
    lost(stage, became, lambda tree: gone(stage, "n0", tree))
    assert stage.node("n0").gone
    assert stage.slots() == ()
    assert len(janitor_record(stage.tree)[0].declared) == 1


@EVERY_LOSS
def test_the_end_of_a_gone_assignment_without_an_answer_is_written_once(stage: Stage, became: LostAnswer) -> None:
    plan = stage.plan()
    stage.look(stage.agent("n0"), plan)
    gone(stage, "n0")
    lost(stage, became, lambda tree: end_gone(tree, plan, "n0", stage.clock.now()))
    end = stage.ended("n0")
    assert end is not None
    assert end.attempt == "t.n0.1"


def test_an_end_that_the_agent_records_meanwhile_is_not_overwritten(stage: Stage) -> None:
    """A proof that was wrong after all does no harm to what was recorded before it became a fact."""
    plan = stage.plan(nodes=("n0",))
    moves = stage.agent("n0")
    stage.take(moves, plan)
    tree = stage.ground.open()
    children = tree.read

    def meddled(*reads: Read) -> object:
        answers = children(*reads)
        if any(isinstance(read, Children) for read in reads) and moves.record.attempt is not None:
            stage.end(moves, plan)
        return answers

    tree.read = meddled  # type: ignore[method-assign, assignment]
    done = gone(stage, "n0", tree)
    end = stage.ended("n0")
    assert end is not None
    assert end.outcome is Outcome.SUCCEEDED
    assert isinstance(done, Reclaimed)
    assert done.attempt is None


# --- where a node was seen ---------------------------------------------------------------------------------


def where(stage: Stage, node: str = "n0") -> SeenIn | None:
    """Where its own record says that it was discovered."""
    stage.tree.sync(layout.node(node))
    found = stage.tree.get(layout.node(node))
    assert found is not None
    return layout.decode(NodeRecord, found, layout.node(node)).seen


def test_where_a_node_was_discovered_is_remembered_longer_than_its_tasks(stage: Stage) -> None:
    """Its record says it from the take on: through its end, another start, a release and a task that names it."""
    plan = stage.plan(max_failures=1)
    moves = stage.agent("n0")
    assert where(stage) is None
    stage.take(moves, plan)
    there = SeenIn(discovery="aws_tags", cluster=CLUSTER)
    assert where(stage) == there
    stage.end(moves, plan, "unsafe")
    assert where(stage) == there
    again = stage.agent("n0")
    assert where(stage) == there
    stage.person.release("n0", "repaired")
    named = stage.plan("u", nodes=("n0",), source="given")
    stage.take(again, named)
    stage.end(again, named)
    assert where(stage) == there


def test_a_node_that_only_a_person_named_was_seen_nowhere(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0",), source="given")
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    assert where(stage) is None


@SETTLED
def test_a_take_without_an_answer_and_its_end_remember_it_too(stage: Stage, became: LostAnswer) -> None:
    plan = stage.plan(nodes=("n0",))
    moves = stage.agent("n0")
    ready = stage.look(moves, plan)
    assert isinstance(ready, Ready)
    stage.lose(moves.tree, became, lambda: moves.take(ready, plan, stage.clock.now()))
    taken = stage.insist(lambda: moves.settle_take(ready, plan, stage.clock.now()))
    if taken is None:
        stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    assert where(stage) == SeenIn(discovery="aws_tags", cluster=CLUSTER)
