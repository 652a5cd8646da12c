"""Routing: which nodes, in which order, how many at once; fixed once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskerman.errors import ClusterEmpty, DocumentFieldInvalid, NodeUnknown
from taskerman.model.base import content_hash
from taskerman.model.cluster import Node
from taskerman.model.plan import Plan
from taskerman.model.task import LeaseArgs, TaskDocument, TaskermanParams
from taskerman.policy.routing import choose, deadline, make_plan

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NODES = [Node(id="n3", az="b"), Node(id="n1", az="b"), Node(id="n2", az="a"), Node(id="n4", az="c")]


def task(**fields: Any) -> TaskDocument:
    """A document."""
    concurrency = fields.pop("concurrency", 1)
    return TaskDocument(
        action="demo_task:restart",
        version=1.2,
        cluster_name="demo:web",
        owner="gsi",
        task_id="t",
        taskerman_params=TaskermanParams(lease_args=LeaseArgs(concurrency=concurrency)),
        **fields,
    )


def planned(document: TaskDocument, discovered: list[Node], **more: Any) -> Plan:
    """Its plan."""
    received = document.model_dump(mode="json")
    return make_plan(document, received, content_hash(received), discovered, sent_at=NOW, now=NOW, **more)


def test_one_az_is_done_before_the_next() -> None:
    assert [node.id for node in choose(task(), NODES)] == ["n2", "n1", "n3", "n4"]


def test_the_order_does_not_depend_on_the_order_of_discovery() -> None:
    assert choose(task(), NODES) == choose(task(), NODES[::-1])


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (2, 2), (4, 4), (9, 4), (None, 4)])
def test_limit_takes_the_first_and_no_more(limit: int | None, count: int) -> None:
    chosen = choose(task(limit=limit), NODES)
    assert chosen == choose(task(), NODES)[:count]


def test_a_node_that_is_discovered_twice_is_planned_once() -> None:
    assert len(choose(task(), [*NODES, *NODES])) == 4


def test_given_nodes_are_taken_in_the_same_order_and_each_must_be_known() -> None:
    assert [n.id for n in choose(task(nodes=("n4", "n2")), NODES)] == ["n2", "n4"]
    assert [n.id for n in choose(task(nodes=("n9", "n2")), NODES, registered={"n9"})] == ["n9", "n2"]
    with pytest.raises(NodeUnknown, match="n9"):
        choose(task(nodes=("n9", "n2")), NODES)


def test_a_given_node_of_another_cluster_is_refused_where_discovery_can_tell() -> None:
    wanted = task(nodes=("n9", "n2"))
    other = Node(id="n9", clusters=("demo:other",))
    with pytest.raises(NodeUnknown, match=r"n9, which is of demo:other and not of"):
        choose(wanted, NODES, registered={"n9"}, elsewhere=[other])
    mine = Node(id="n9", clusters=("demo:other", wanted.cluster_name))
    for known in (mine, Node(id="n9"), Node(id="n7", clusters=("demo:other",))):
        assert len(choose(wanted, NODES, registered={"n9"}, elsewhere=[known])) == 2


def test_an_empty_cluster_is_an_error_and_given_nodes_need_no_discovery() -> None:
    with pytest.raises(ClusterEmpty):
        choose(task(), [])
    assert len(choose(task(nodes=("n1",)), [], registered={"n1"})) == 1


@pytest.mark.parametrize(
    ("size", "concurrency", "cap"),
    [(4, 3, 3), (200, "10%", 10 * 2), (9, "10%", 1), (19, "10%", 1), (4, "100%", 4), (3, "50%", 1), (1, "1%", 1)],
)
def test_a_percentage_is_rounded_down_to_at_least_one(size: int, concurrency: int | str, cap: int) -> None:
    nodes = [Node(id=f"n{i}") for i in range(size)]
    assert planned(task(concurrency=concurrency), nodes).cap == cap


def test_a_percentage_is_of_what_was_discovered_before_the_limit() -> None:
    nodes = [Node(id=f"n{i}") for i in range(20)]
    plan = planned(task(concurrency="50%", limit=2), nodes)
    assert (plan.cap, len(plan.nodes)) == (10, 2)


def test_a_percentage_of_given_nodes_is_refused_however_it_got_here() -> None:
    document = task(nodes=("n1",)).model_copy(
        update={"taskerman_params": TaskermanParams(lease_args=LeaseArgs(concurrency="10%"))}
    )
    with pytest.raises(DocumentFieldInvalid):
        planned(document, NODES)


def test_a_task_is_over_seven_days_after_it_was_sent_or_when_it_says() -> None:
    """Not after it was accepted: a late copy of its message would be young again."""
    assert deadline(task(), NOW) == NOW + timedelta(days=7)
    assert deadline(task(not_after=NOW), NOW + timedelta(days=30)) == NOW
    assert planned(task(), NODES).accepted.not_after == NOW + timedelta(days=7)


def test_a_node_takes_a_slot_in_each_of_its_clusters_and_lanes_are_those_with_the_same_scopes() -> None:
    both, also = ("demo:web", "demo:also"), ("demo:zoo", "demo:web")
    nodes = [
        Node(id="n1"),
        Node(id="n2", clusters=both),
        Node(id="n3", clusters=("demo:web",)),
        Node(id="n4", clusters=both[::-1]),
        Node(id="n5", clusters=also),
    ]
    plan = planned(task(), nodes)
    assert [(node.lane, node.scopes) for node in plan.nodes] == [
        ("0", ("demo:web",)),
        ("1", ("demo:web", "demo:also")),
        ("0", ("demo:web",)),
        ("1", ("demo:web", "demo:also")),
        ("2", ("demo:web", "demo:zoo")),
    ]
    assert plan.clusters == ("demo:web", "demo:also", "demo:zoo")
    assert [lane.name for lane in plan.header.lanes_in("demo:also")] == ["1"]


@given(ids=st.sets(st.integers(0, 99), min_size=1), limit=st.none() | st.integers(1, 100))
def test_ranks_are_dense_and_unique_and_every_node_has_the_clusters_scope(ids: set[int], limit: int | None) -> None:
    plan = planned(task(limit=limit), [Node(id=f"n{i}", az="ab"[i % 2]) for i in ids])
    assert [node.rank for node in plan.nodes] == list(range(min(len(ids), limit or len(ids))))
    assert len({node.id for node in plan.nodes}) == len(plan.nodes)
    assert {node.scopes for node in plan.nodes} == {("demo:web",)}
    assert Plan.unpack(plan.pack()) == plan
