"""The janitor's moves on the in-memory tree and on a real ZooKeeper: with lost answers, two janitors, and agents that
wake up in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from taskerman.coordination.node_moves import Ended, Over, Ready
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.sweeping import expire, sweep
from taskerman.errors import CoordinationUnavailable, RefusedByState
from taskerman.model.outcome import DeadLetterState, Outcome
from taskerman.model.task import TaskState
from taskerman.ports.tree import Tree
from taskerman.testing.tree import LostAnswer
from tests.contract.test_coordination import EVERY_LOSS, Stage, ground, stage

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
