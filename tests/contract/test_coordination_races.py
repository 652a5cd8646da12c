"""Two moves at once, of authors who did not know of each other: what one has read, the other one changes before it is
committed. In memory and on a real ZooKeeper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

import pytest

from taskerman.coordination import layout
from taskerman.coordination.ending import Dice, end_attempt
from taskerman.coordination.node_moves import Ended, Ready
from taskerman.coordination.overdue import acting_nodes, mark_overdue
from taskerman.coordination.putting_away import begin_closing, bury, delete_copied, stand
from taskerman.coordination.reclaiming import Reclaimed, end_gone, reclaim
from taskerman.coordination.router_moves import Published, RouterMoves
from taskerman.coordination.sweeping import sweep
from taskerman.errors import Bug
from taskerman.model.outcome import DeadLetterState, Outcome
from taskerman.model.task import TaskState
from taskerman.policy.putting_away import tombstone
from taskerman.policy.reclaiming import Proof
from taskerman.policy.snapshot import Waiting
from taskerman.policy.upkeep import Upkeep
from taskerman.ports.tree import Committed, Delete, Get, Names, Op, Read, Record, Refused, Stat, Tree
from taskerman.testing.tree import MemoryTree
from tests.contract.test_coordination import Stage, stage
from tests.support.protocol_tasks import CLUSTER, ENDINGS, TaskShape, plan_of
from tests.support.tree_ground import MemoryGround, ground

__all__ = ["ground", "stage"]


@contextmanager
def amidst(tree: Tree, happens: Callable[[], object]) -> Iterator[None]:
    """Something happens between what the next move of `tree` reads and its commit."""
    commit, pending = tree.commit, [happens]

    def late(ops: Sequence[Op]) -> Committed | Refused:
        while pending:
            pending.pop()()
        return commit(ops)

    with mock.patch.object(tree, "commit", late):
        yield


def test_an_alarm_that_comes_while_the_attempt_ends_well_leaves_nobody_waiting_behind_it(stage: Stage) -> None:
    """Else the node that ended well counts as being retried for ever, and nobody gives its budget back."""
    plan = stage.plan()
    first = stage.agent("n0")
    stage.take(first, plan)
    (seen,) = acting_nodes(stage.tree)
    with amidst(first.tree, lambda: mark_overdue(stage.tree, seen)):
        stage.end(first, plan)
    assert stage.control().failed == {}
    assert isinstance(stage.look(stage.agent("n1"), plan), Ready)


def test_a_note_of_an_end_that_was_redriven_and_cancelled_meanwhile_is_not_taken_for_its_successor(
    stage: Stage,
) -> None:
    """The sweep's end has the same version, and does not touch the node's record."""
    plan = stage.plan(max_failures=1)
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "refused")
    ended = stage.look(moves, plan)
    assert isinstance(ended, Ended)
    assert stage.person.redrive("t", "n0", "mended")
    stage.person.cancel("t", "no more of it")
    sweep(stage.tree, plan, stage.clock.now())
    moves.announced("t", ended)
    end = stage.ended("n0")
    assert end is not None
    assert (end.outcome, end.dead_letter) == (Outcome.CANCELLED, DeadLetterState.NONE)


def test_a_parked_task_of_which_every_machine_ended_is_put_away(stage: Stage) -> None:
    """Nobody will approve it, and nothing of it is open: else it stays for ever."""
    plan = plan_of("t", TaskShape(("n0", "n1"), size=20), stage.clock)
    assert stage.router.publish(plan) is Published.NEW
    parked = plan_of("p", TaskShape(("n0", "n1"), size=2), stage.clock)
    assert stage.router.publish(parked) is Published.PARKED
    for node in ("n0", "n1"):
        done = reclaim(stage.tree, Proof(node, "it is"), at=stage.clock.now(), an_hour=9)
        assert isinstance(done, Reclaimed)
        assert end_gone(stage.tree, parked, node, stage.clock.now())
    assert "p" in stage.router.close_ended()
    seen = stand(stage.tree, parked)
    assert seen is not None
    assert begin_closing(stage.tree, seen)


def test_an_end_whose_slot_somebody_removed_by_hand_is_told_and_not_tried_for_ever(stage: Stage) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    attempt = stage.take(moves, plan).attempt
    (slot,) = stage.slots()
    stage.tree.commit([Delete(layout.slot(CLUSTER, slot))])
    ending = ENDINGS["succeeded"](stage.clock.now())
    with pytest.raises(Bug, match="n0~1~acting"):
        end_attempt(moves, plan, attempt, ending, Dice(stage.clock.now(), 0.5))
    assert stage.ended("n0") is None
    assert stage.node("n0").attempt == attempt


def test_a_task_is_not_left_because_a_server_lags_behind() -> None:
    """After a lost session the next server may be one that does not have the task yet."""
    on = MemoryGround()
    stage = Stage(on)
    moves = stage.agent("n0")
    stage.plan("before")
    tree = moves.tree
    assert isinstance(tree, MemoryTree)
    on.server.lag(tree)
    assert isinstance(stage.look(moves, stage.plan()), Waiting | Ready)


def test_a_task_that_is_put_away_while_a_router_looks_whether_to_close_it_is_passed_over(stage: Stage) -> None:
    """Its reads are not one snapshot: the last of them finds the tombstone."""
    plan = stage.plan(nodes=("n0",))
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.person.node_is_off("n0", "the fuse blew")
    tree = stage.ground.open()
    read = tree.read

    def put_away() -> None:
        stage.router.close_ended()
        for step in (begin_closing, delete_copied):
            seen = stand(stage.tree, plan)
            assert seen is not None
            assert step(stage.tree, seen)
        seen = stand(stage.tree, plan)
        assert seen is not None
        assert bury(stage.tree, seen, tombstone(plan, {}, now=stage.clock.now(), upkeep=Upkeep()))

    def late(*reads: Read) -> tuple[Record | Stat | Names | None, ...]:
        if Get(layout.task("t")) not in reads:
            return read(*reads)
        before = read(*reads[:-1])
        put_away()
        tree.sync("/")
        return (*before, *read(reads[-1]))

    with mock.patch.object(tree, "read", late):
        assert RouterMoves(tree).close_ended() == []
    assert stage.open() == 0


def test_a_redriven_node_with_nothing_to_do_that_keeps_its_slot_asks_a_person(stage: Stage) -> None:
    """It has ended, and is not tried again: else the others wait behind it for ever, in a task that is open."""
    plan = stage.plan()
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    assert stage.person.redrive("t", "n0", "mended")
    stage.take(moves, plan)
    stage.end(moves, plan, "skipped")
    assert [slot.state.value for slot in stage.slots()] == ["unsafe"]
    assert stage.control().state is TaskState.HALTED
    stage.person.release("n0", "it is well")
    stage.person.resume("t", "go on")
    assert isinstance(stage.look(stage.agent("n1"), plan), Ready)
