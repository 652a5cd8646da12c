"""The breaker of failures in a row, in TAKE, END, RELEASE and its own verb: in memory and on a real ZooKeeper."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from taskerman.coordination import layout
from taskerman.coordination.node_moves import NodeMoves, Ready
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.reclaiming import reclaim
from taskerman.coordination.snapshot import read_snapshot
from taskerman.errors import NotFound, RefusedByState
from taskerman.model.breaker import ClusterRecord
from taskerman.model.plan import Plan
from taskerman.policy.breaker import BreakerTurn
from taskerman.policy.reclaiming import Proof
from taskerman.policy.snapshot import Admitted, Reason, Waiting
from taskerman.ports.tree import Committed, Op, Refused, Set
from taskerman.testing.tree import LostAnswer
from tests.contract.test_coordination import SETTLED, Stage, stage
from tests.support.protocol_tasks import CLUSTER, CLUSTERS
from tests.support.tree_ground import ground

__all__ = ["ground", "stage"]

COOL_DOWN = timedelta(minutes=15)
NODES = tuple(f"n{k}" for k in range(6))


def record(stage: Stage, cluster: str = CLUSTER) -> ClusterRecord:
    """The cluster's record."""
    stage.tree.sync(layout.cluster(cluster))
    found = stage.tree.get(layout.cluster(cluster))
    assert found is not None
    return layout.decode(ClusterRecord, found, layout.cluster(cluster))


def version(stage: Stage) -> int:
    """How often the record was written."""
    stage.tree.sync(layout.cluster(CLUSTER))
    found = stage.tree.get(layout.cluster(CLUSTER))
    assert found is not None
    return found.stat.version


def opened(stage: Stage) -> tuple[Plan, dict[str, NodeMoves]]:
    """n0, n1 and n2 have failed; n3 stands first, n4 and n5 behind it."""
    plan = stage.plan(nodes=NODES, cap=3, max_failures=6)
    agents = {node: stage.agent(node) for node in NODES}
    for node in NODES[:3]:
        stage.take(agents[node], plan)
        stage.end(agents[node], plan, "refused")
    return plan, agents


def test_three_failures_in_a_row_open_it_and_nobody_takes_until_the_cool_down_is_over(stage: Stage) -> None:
    plan, agents = opened(stage)
    found = record(stage)
    assert [failure.node for failure in found.recent] == ["n0", "n1", "n2"]
    said = stage.look(agents["n3"], plan)
    assert isinstance(said, Waiting)
    assert (said.reason, said.until) == (Reason.BREAKER, stage.clock.now() + COOL_DOWN)
    assert stage.explain(plan, "n3") == said


def test_after_it_one_node_takes_as_the_probe_and_everybody_else_waits_for_it(stage: Stage) -> None:
    plan, agents = opened(stage)
    stage.clock.advance(COOL_DOWN.total_seconds())
    taken = stage.take(agents["n3"], plan)
    assert record(stage).probe == taken.attempt.id
    said = stage.look(agents["n4"], plan)
    assert isinstance(said, Waiting)
    assert (said.reason, said.until) == (Reason.BREAKER, None)
    assert "n3 tries first" in said.text
    assert stage.explain(plan, "n4") == said
    stage.end(agents["n3"], plan)
    assert record(stage) == ClusterRecord()
    stage.take(agents["n4"], plan)
    stage.take(agents["n5"], plan)


def test_two_that_both_looked_do_not_both_become_the_probe(stage: Stage) -> None:
    """Of two tasks each has its head: both are admitted, and the cluster's record lets one of them in."""
    plan, agents = opened(stage)
    other = stage.plan("u", nodes=("m0",), cap=3)
    stage.clock.advance(COOL_DOWN.total_seconds())
    second = stage.agent("m0")
    first = stage.look(agents["n3"], plan)
    assert isinstance(first, Ready)
    agents["n3"].leave("t")
    agents["n4"].leave("t")
    ready = stage.look(second, other)
    assert isinstance(ready, Ready)
    assert second.take(ready, other, stage.clock.now()) is not None
    again = stage.look(agents["n3"], plan)
    assert isinstance(again, Waiting)
    assert agents["n3"].take(first, plan, stage.clock.now()) is None


@pytest.mark.parametrize(("how", "opens"), [("refused", True), ("unsafe", True), ("lost", True), ("lost_well", True)])
def test_a_probe_that_fails_opens_it_for_another_cool_down(stage: Stage, how: str, opens: bool) -> None:
    plan, agents = opened(stage)
    stage.clock.advance(2 * COOL_DOWN.total_seconds())
    stage.take(agents["n3"], plan)
    stage.end(agents["n3"], plan, how)
    found = record(stage)
    assert (found.open_until, found.probe) == (stage.clock.now() + COOL_DOWN, None)
    assert len(found.recent) == 4


@pytest.mark.parametrize("how", ["deferred", "skipped", "cancelled"])
def test_a_probe_that_says_nothing_lets_the_next_one_try(stage: Stage, how: str) -> None:
    plan, agents = opened(stage)
    stage.clock.advance(COOL_DOWN.total_seconds())
    stage.take(agents["n3"], plan)
    stage.end(agents["n3"], plan, how)
    assert record(stage).probe is None
    assert stage.take(agents["n4"], plan).attempt.id == record(stage).probe


def test_a_probe_whose_machine_is_off_gives_its_place_back(stage: Stage) -> None:
    plan, agents = opened(stage)
    stage.clock.advance(COOL_DOWN.total_seconds())
    stage.take(agents["n3"], plan)
    before = record(stage)
    stage.person.node_is_off("n3", "the fuse blew")
    assert record(stage) == before.model_copy(update={"probe": None})
    assert stage.take(agents["n4"], plan).attempt.id == record(stage).probe


def test_a_probe_whose_machine_is_terminated_gives_its_place_back(stage: Stage) -> None:
    plan, agents = opened(stage)
    stage.clock.advance(COOL_DOWN.total_seconds())
    stage.take(agents["n3"], plan)
    before = record(stage)
    reclaim(stage.tree, Proof("n3", "EC2 said so"), at=stage.clock.now(), an_hour=10)
    assert record(stage) == before.model_copy(update={"probe": None})
    assert stage.take(agents["n4"], plan).attempt.id == record(stage).probe


@SETTLED
def test_a_probe_s_take_without_an_answer_is_the_probe_or_leaves_none(stage: Stage, became: LostAnswer) -> None:
    plan, agents = opened(stage)
    stage.clock.advance(COOL_DOWN.total_seconds())
    ready = stage.look(agents["n3"], plan)
    assert isinstance(ready, Ready)
    tree = agents["n3"].tree
    stage.lose(tree, became, lambda: agents["n3"].take(ready, plan, stage.clock.now()))
    taken = stage.insist(lambda: agents["n3"].settle_take(ready, plan, stage.clock.now()))
    assert (taken is not None) == (became is LostAnswer.APPLIED)
    assert record(stage).probe == (taken.attempt.id if taken else None)


@SETTLED
def test_an_end_without_an_answer_is_one_failure(stage: Stage, became: LostAnswer) -> None:
    plan = stage.plan(nodes=NODES, cap=3, max_failures=6)
    agent = stage.agent("n0")
    stage.take(agent, plan)
    stage.ground.lose_answer(agent.tree, became)
    stage.end(agent, plan, "refused")
    assert [failure.node for failure in record(stage).recent] == ["n0"]


def test_ends_that_race_are_all_counted(stage: Stage) -> None:
    """Another end changes the record between the look and the commit: it is read again, and nothing is overwritten."""
    plan = stage.plan(nodes=NODES, cap=3, max_failures=6)
    agents = {node: stage.agent(node) for node in NODES[:2]}
    for agent in agents.values():
        stage.take(agent, plan)
    tree = agents["n0"].tree
    commit = tree.commit

    def too_late(ops: Sequence[Op]) -> Committed | Refused:
        tree.commit = commit  # type: ignore[method-assign]
        stage.end(agents["n1"], plan, "refused")
        return commit(ops)

    tree.commit = too_late  # type: ignore[method-assign]
    stage.end(agents["n0"], plan, "refused")
    assert [failure.node for failure in record(stage).recent] == ["n1", "n0"]


def test_an_ordinary_success_neither_writes_the_cluster_s_record_nor_asks_for_more(stage: Stage) -> None:
    plan = stage.plan(nodes=NODES, cap=3)
    agent = stage.agent("n0")
    stage.take(agent, plan)
    before = version(stage)
    committed: list[Sequence[Op]] = []
    commit = agent.tree.commit

    def counting(ops: Sequence[Op]) -> Committed | Refused:
        committed.append(ops)
        return commit(ops)

    agent.tree.commit = counting  # type: ignore[method-assign]
    stage.end(agent, plan)
    assert version(stage) == before
    assert len(committed) == 1
    assert not any(isinstance(op, Set) and op.path.startswith(layout.CLUSTERS) for op in committed[0])


def test_a_success_forgets_the_failures_before_it(stage: Stage) -> None:
    plan = stage.plan(nodes=NODES, cap=3, max_failures=6)
    for node, how in zip(NODES, ["refused", "refused", "succeeded", "refused", "refused"], strict=False):
        agent = stage.agent(node)
        stage.take(agent, plan)
        stage.end(agent, plan, how)
    assert [failure.node for failure in record(stage).recent] == ["n3", "n4"]
    assert record(stage).open_until is None


def test_each_cluster_of_a_node_has_its_breaker_and_the_probe_is_claimed_in_each(stage: Stage) -> None:
    plan = stage.plan(nodes=NODES, cap=3, max_failures=6, both=NODES)
    agents = {node: stage.agent(node) for node in NODES}
    for node in NODES[:3]:
        stage.take(agents[node], plan)
        stage.end(agents[node], plan, "refused")
    assert all(record(stage, cluster).open_until is not None for cluster in CLUSTERS)
    stage.clock.advance(COOL_DOWN.total_seconds())
    taken = stage.take(agents["n3"], plan)
    assert {record(stage, cluster).probe for cluster in CLUSTERS} == {taken.attempt.id}
    stage.end(agents["n3"], plan)
    assert all(record(stage, cluster) == ClusterRecord() for cluster in CLUSTERS)


def test_a_person_s_reset_closes_it_once_and_what_is_closed_is_not_reset(stage: Stage) -> None:
    plan, agents = opened(stage)
    before = record(stage)
    audited = stage.audited()
    assert stage.person.reset_breaker(CLUSTER, "the mirror is back") == before
    assert record(stage) == ClusterRecord()
    assert stage.audited() == audited + 1
    stage.take(agents["n3"], plan)
    with pytest.raises(RefusedByState):
        stage.person.reset_breaker(CLUSTER, "again")
    with pytest.raises(NotFound):
        stage.person.reset_breaker("demo:nobody", "x")


@SETTLED
def test_a_reset_without_an_answer_is_done_once_and_audited_once(stage: Stage, became: LostAnswer) -> None:
    opened(stage)
    tree = stage.ground.open()
    person = OperatorMoves(tree, "bob", stage.clock.now)
    audited = stage.audited()
    stage.ground.lose_answer(tree, became)
    person.reset_breaker(CLUSTER, "w")
    assert record(stage) == ClusterRecord()
    assert stage.audited() == audited + 1


def test_the_end_of_a_probe_after_a_reset_is_an_ordinary_end(stage: Stage) -> None:
    plan, agents = opened(stage)
    stage.clock.advance(COOL_DOWN.total_seconds())
    stage.take(agents["n3"], plan)
    stage.person.reset_breaker(CLUSTER, "look elsewhere")
    stage.end(agents["n3"], plan, "refused")
    assert [failure.node for failure in record(stage).recent] == ["n3"]
    assert record(stage).open_until is None


def test_a_lane_behind_the_breaker_of_one_cluster_lets_that_of_another_pass(stage: Stage) -> None:
    """An older task's head is also of a cluster whose breaker is open: a younger one, which is not, goes on."""
    opened(stage)
    older = stage.plan("v", nodes=("m0",), both=("m0",), cluster=CLUSTERS[1])
    younger = stage.plan("w", nodes=("m1",), cluster=CLUSTERS[1])
    waits = stage.look(stage.agent("m0"), older)
    assert isinstance(waits, Waiting)
    assert waits.reason is Reason.BREAKER
    assert isinstance(stage.look(stage.agent("m1"), younger), Ready)
    assert isinstance(stage.explain(younger, "m1"), Admitted)
    assert read_snapshot(stage.tree, younger, "m1", stage.clock.now()).ahead[0].gate == waits


def test_the_end_that_opens_it_says_so_and_so_do_the_probe_s_take_and_its_success(stage: Stage) -> None:
    plan = stage.plan(nodes=NODES, cap=3, max_failures=6)
    agents = {node: stage.agent(node) for node in NODES}
    told = []
    for node in NODES[:3]:
        assert stage.take(agents[node], plan).probes == ()
        ended = stage.end(agents[node], plan, "refused")
        assert ended is not None
        told.append(ended.breakers)
    assert told == [(), (), (BreakerTurn(CLUSTER, 3, stage.clock.now() + COOL_DOWN),)]
    stage.clock.advance(COOL_DOWN.total_seconds())
    assert stage.take(agents["n3"], plan).probes == (CLUSTER,)
    closed = stage.end(agents["n3"], plan)
    assert closed is not None
    assert closed.breakers == (BreakerTurn(CLUSTER, 3, None),)
    assert stage.take(agents["n4"], plan).probes == ()


@SETTLED
def test_a_probe_s_take_without_an_answer_says_so_if_it_happened(stage: Stage, became: LostAnswer) -> None:
    plan, agents = opened(stage)
    stage.clock.advance(COOL_DOWN.total_seconds())
    ready = stage.look(agents["n3"], plan)
    assert isinstance(ready, Ready)
    stage.lose(agents["n3"].tree, became, lambda: agents["n3"].take(ready, plan, stage.clock.now()))
    taken = stage.insist(lambda: agents["n3"].settle_take(ready, plan, stage.clock.now()))
    assert taken is None or taken.probes == (CLUSTER,)
