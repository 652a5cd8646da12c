"""A runner's own scope, on both grounds: a router declares it where nobody has, once, and never over a person."""

from __future__ import annotations

import pytest

from taskerman.coordination import layout
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import CoordinationUnavailable
from taskerman.model.slot import ScopeRecord
from taskerman.model.task import TaskDocument
from taskerman.policy.snapshot import Reason
from taskerman.ports.tree import Committed, Op, Refused, Set
from taskerman.testing.tree import LostAnswer
from tests.contract.test_coordination import EVERY_LOSS, Stage, stage
from tests.contract.test_coordination_order import reason
from tests.support.protocol_tasks import OTHER
from tests.support.tree_ground import ground

__all__ = ["ground", "stage"]

OWN = "heavy"


def capacity(stage: Stage, name: str = OWN) -> int | None:
    record = stage.tree.get(layout.scope(name))
    return None if record is None else layout.decode(ScopeRecord, record, name).capacity


def in_scope(stage: Stage) -> TaskDocument:
    return stage.plan("asks", nodes=("n5",), scope=OWN).task


def test_where_nobody_declared_it_it_is_one_and_holds_one_node_at_a_time(stage: Stage) -> None:
    stage.router.declare_own_scope(OWN)
    assert capacity(stage) == 1
    stage.router.check_scope(in_scope(stage))
    one = stage.plan("one", nodes=("n0",), scope=OWN)
    two = stage.plan("two", nodes=("n9",), cluster=OTHER, scope=OWN)
    first, second = stage.agent("n0"), stage.agent("n9")
    stage.take(first, one)
    assert reason(stage.look(second, two)) is Reason.SCOPE_FULL
    stage.end(first, one)
    stage.take(second, two)


def test_declaring_it_again_changes_nothing_not_even_its_version(stage: Stage) -> None:
    stage.router.declare_own_scope(OWN)
    before = stage.tree.get(layout.scope(OWN))
    stage.router.declare_own_scope(OWN)
    RouterMoves(stage.ground.open()).declare_own_scope(OWN)
    after = stage.tree.get(layout.scope(OWN))
    assert before is not None
    assert after is not None
    assert after.stat.version == before.stat.version


@pytest.mark.parametrize("declared", [0, 1, 5])
def test_what_a_person_declared_stands(stage: Stage, declared: int) -> None:
    stage.person.set_capacity(OWN, declared, "we know our wire")
    stage.router.declare_own_scope(OWN)
    assert capacity(stage) == declared


def test_a_person_may_change_it_afterwards(stage: Stage) -> None:
    stage.router.declare_own_scope(OWN)
    assert stage.person.set_capacity(OWN, 3, "a second wire") == 1
    stage.router.declare_own_scope(OWN)
    assert capacity(stage) == 3


def test_a_record_without_a_capacity_gets_one(stage: Stage) -> None:
    """As it stands for a moment while a person declares it for the first time."""
    stage.router.declare_own_scope(OWN)
    record = stage.tree.get(layout.scope(OWN))
    assert record is not None
    stage.tree.commit([Set(layout.scope(OWN), ScopeRecord().to_json(), record.stat.version)])
    assert capacity(stage) is None
    stage.router.declare_own_scope(OWN)
    assert capacity(stage) == 1


@pytest.mark.parametrize("there", [False, True], ids=["it is made", "it is filled in"])
def test_who_declares_it_in_the_same_moment_is_not_overruled_and_nobody_is_refused(
    stage: Stage, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the router's look and its commit a person declares it: the document must not be refused for that."""
    if there:
        stage.tree.ensure(layout.SCOPES, layout.waits(OWN))
        stage.router.declare_own_scope(OWN)
        record = stage.tree.get(layout.scope(OWN))
        assert record is not None
        stage.tree.commit([Set(layout.scope(OWN), ScopeRecord().to_json(), record.stat.version)])
    tree = stage.ground.open()
    router = RouterMoves(tree)
    commit, others = tree.commit, [4]

    def late(ops: list[Op]) -> Committed | Refused:
        while others:
            stage.person.set_capacity(OWN, others.pop(), "in the same moment")
        return commit(ops)

    monkeypatch.setattr(tree, "commit", late)
    router.declare_own_scope(OWN)
    assert capacity(stage) == 4
    router.check_scope(in_scope(stage))


def test_a_record_that_moves_between_look_and_commit_is_looked_at_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every take rewrites it unchanged: the router is not to go on as if it had declared it."""
    path = layout.scope(OWN)
    stage.router.declare_own_scope(OWN)
    record = stage.tree.get(path)
    assert record is not None
    stage.tree.commit([Set(path, ScopeRecord().to_json(), record.stat.version)])
    tree = stage.ground.open()
    commit, moves = tree.commit, [2, 1]

    def late(ops: list[Op]) -> Committed | Refused:
        if moves:
            moves.pop()
            now = stage.tree.get(path)
            assert now is not None
            stage.tree.commit([Set(path, now.data, now.stat.version)])
        return commit(ops)

    monkeypatch.setattr(tree, "commit", late)
    RouterMoves(tree).declare_own_scope(OWN)
    assert capacity(stage) == 1


@EVERY_LOSS
def test_whatever_became_of_a_lost_answer_another_router_goes_on_and_it_is_one(
    stage: Stage, became: LostAnswer
) -> None:
    tree = stage.ground.open()
    tree.ensure(layout.SCOPES, layout.waits(OWN))
    stage.ground.lose_answer(tree, became)
    with pytest.raises(CoordinationUnavailable):
        RouterMoves(tree).declare_own_scope(OWN)
    stage.router.declare_own_scope(OWN)
    if became is LostAnswer.LATE:
        stage.ground.deliver_late(tree)
        stage.ground.heal(tree)
    assert capacity(stage) == 1
    stage.router.check_scope(in_scope(stage))
