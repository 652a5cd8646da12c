"""PLAN with a size that is believed or not, and APPROVE: in memory and on a real ZooKeeper, with answers lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest

from taskerman.coordination import layout
from taskerman.coordination.node_moves import Ready
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.router_moves import Published, RouterMoves
from taskerman.errors import CoordinationUnavailable, RefusedByState
from taskerman.model.breaker import ClusterRecord
from taskerman.model.plan import Plan
from taskerman.model.task import TaskControl, TaskState
from taskerman.policy.snapshot import Reason, Waiting
from taskerman.ports.tree import Committed, Op, Refused, Set
from taskerman.testing.tree import LostAnswer
from tests.contract.test_coordination import EVERY_LOSS, SETTLED, Stage, stage
from tests.support.protocol_tasks import CLUSTER, TaskShape, plan_of
from tests.support.tree_ground import ground

__all__ = ["ground", "stage"]


def of_size(stage: Stage, name: str, size: int) -> Plan:
    """A plan on n0 and n1, of a cluster that discovery found so large."""
    return plan_of(name, TaskShape(("n0", "n1"), size=size), stage.clock)


def size(stage: Stage) -> int | None:
    """What is believed."""
    stage.tree.sync(layout.cluster(CLUSTER))
    return stage.router.size(CLUSTER)


def audits(stage: Stage, verb: bytes) -> int:
    """How often the verb was done."""
    names = stage.tree.children(layout.AUDIT)
    assert names is not None
    records = [stage.tree.get(f"{layout.AUDIT}/{name}") for name in names.names]
    return sum(record is not None and verb in record.data for record in records)


def test_a_size_is_believed_with_the_plan_that_rests_on_it_and_a_jump_parks_the_plan(stage: Stage) -> None:
    assert stage.router.publish(of_size(stage, "a", 20)) is Published.NEW
    assert size(stage) == 20
    parked = of_size(stage, "b", 9)
    assert stage.router.publish(parked) is Published.PARKED
    assert (stage.control("b").state, size(stage)) == (TaskState.PARKED, 20)
    waits = stage.look(stage.agent("n0"), parked)
    assert isinstance(waits, Waiting)
    assert waits.reason is Reason.PARKED
    assert stage.explain(parked, "n0") == waits
    assert stage.line("b") == []


def test_the_size_is_judged_as_it_is_when_the_plan_is_written_and_not_as_it_was_read(stage: Stage) -> None:
    """Another plan of the cluster, or an approval, comes between the look and the commit."""
    stage.router.publish(of_size(stage, "a", 20))
    tree = stage.ground.open()
    commit = tree.commit

    def too_late(ops: Sequence[Op]) -> Committed | Refused:
        tree.commit = commit  # type: ignore[method-assign]
        found = stage.tree.get(layout.cluster(CLUSTER))
        assert found is not None
        stage.tree.commit([Set(layout.cluster(CLUSTER), ClusterRecord(size=9).to_json(), found.stat.version)])
        return commit(ops)

    tree.commit = too_late  # type: ignore[method-assign]
    assert RouterMoves(tree).publish(of_size(stage, "b", 9)) is Published.NEW
    assert stage.control("b").state is TaskState.OPEN


@SETTLED
def test_a_parked_plan_without_an_answer_is_there_once_and_parked(stage: Stage, became: LostAnswer) -> None:
    stage.router.publish(of_size(stage, "a", 20))
    tree = stage.ground.open()
    stage.ground.lose_answer(tree, became)
    stage.insist(lambda: RouterMoves(tree).publish(of_size(stage, "b", 9)))
    stage.up(tree)
    assert stage.control("b").state is TaskState.PARKED
    assert (stage.open(), size(stage)) == (2, 20)


def test_an_approval_opens_the_task_and_believes_the_size_at_once(stage: Stage) -> None:
    stage.router.publish(of_size(stage, "a", 20))
    plan = of_size(stage, "b", 9)
    stage.router.publish(plan)
    stage.person.cancel("a", "it would go first")
    stage.person.sweep("a")
    assert stage.person.approve("b", "scaled in") == 9
    assert (stage.control("b"), size(stage)) == (TaskControl(), 9)
    assert isinstance(stage.look(stage.agent("n0"), plan), Ready)
    for refused in (stage.person.approve, stage.person.resume):
        with pytest.raises(RefusedByState):
            refused("b", "again")
    assert audits(stage, b'"approve"') == 1


@EVERY_LOSS
def test_an_approval_without_an_answer_is_done_once_and_audited_once(stage: Stage, became: LostAnswer) -> None:
    stage.router.publish(of_size(stage, "a", 20))
    stage.router.publish(of_size(stage, "b", 9))
    tree = stage.ground.open()
    person = OperatorMoves(tree, "ann", stage.clock.now)
    stage.ground.lose_answer(tree, became)
    with suppress(CoordinationUnavailable):
        person.approve("b", "scaled in")
    if became is LostAnswer.LATE:
        stage.ground.deliver_late(tree)
    stage.ground.heal(tree)
    stage.up(tree)
    with suppress(RefusedByState):
        stage.insist(lambda: person.approve("b", "scaled in"))
    assert (stage.control("b").state, size(stage)) == (TaskState.OPEN, 9)
    assert audits(stage, b'"approve"') == 1
