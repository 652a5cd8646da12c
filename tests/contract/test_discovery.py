"""What every `Discovery` promises, asked of the one in memory and of EC2's tags alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from taskerman.adapters.aws import Aws
from taskerman.adapters.ec2 import Ec2Discovery
from taskerman.errors import Bug, DiscoveryFailed
from taskerman.model.cluster import Fate, Node
from taskerman.ports.discovery import Discovery
from taskerman.testing.discovery import MemoryDiscovery
from tests.support.aws import AZS, LocalCloud, unique


@dataclass(frozen=True)
class World:
    """A source of truth and the hands that change it. `start(cluster, count)`, `also(cluster, another)` (a node of
    two), `stop(ids)`, `break_it()`."""

    discovery: Discovery
    start: Callable[[str, int], tuple[Node, ...]]
    also: Callable[[str, str], Node]
    stop: Callable[[Sequence[str]], None]
    break_it: Callable[[], Discovery]
    terminate: Callable[[Sequence[str]], None]


def memory_world() -> World:
    discovery = MemoryDiscovery()

    def start(cluster: str, count: int) -> tuple[Node, ...]:
        nodes = [Node(id=unique(f"i-{n}"), az=AZS[n % 3], address=f"10.0.0.{n + 1}") for n in range(count)]
        discovery.declare(cluster, [*discovery.nodes(cluster), *nodes])
        return tuple(sorted(nodes, key=lambda node: (node.az, node.id)))

    def also(cluster: str, another: str) -> Node:
        node = Node(id=unique("i-both"), az=AZS[0], address="10.0.0.9")
        for name in (cluster, another):
            discovery.declare(name, [*discovery.nodes(name), node])
        return node

    def stop(nodes: Sequence[str]) -> None:
        for node in nodes:
            discovery.stop(node)

    def break_it() -> Discovery:
        discovery.fail()
        return discovery

    def terminate(nodes: Sequence[str]) -> None:
        for node in nodes:
            discovery.terminate(node)

    return World(discovery, start, also, stop, break_it, terminate)


def ec2_world(request: pytest.FixtureRequest) -> World:
    aws: Aws = request.getfixturevalue("aws")
    cloud: LocalCloud = request.getfixturevalue("local_cloud")

    def nowhere() -> Discovery:
        closed = Aws(endpoint_url="http://127.0.0.1:9")
        request.addfinalizer(closed.close)
        return Ec2Discovery(closed, patience=timedelta())

    def also(cluster: str, another: str) -> Node:
        (node,) = cloud.start_nodes(f"{another}, {cluster}", 1)
        return node

    return World(Ec2Discovery(aws), cloud.start_nodes, also, cloud.stop, nowhere, cloud.terminate)


@pytest.fixture(params=["memory", pytest.param("ec2", marks=pytest.mark.real)])
def world(request: pytest.FixtureRequest) -> World:
    return memory_world() if request.param == "memory" else ec2_world(request)


def by_place(nodes: Sequence[Node]) -> tuple[Node, ...]:
    return tuple(sorted(nodes, key=lambda node: (node.az, node.id)))


def of(nodes: Sequence[Node], *clusters: str) -> tuple[Node, ...]:
    """The same nodes, with the clusters that they are of."""
    return tuple(node.model_copy(update={"clusters": clusters}) for node in nodes)


def test_a_cluster_is_its_running_nodes_with_zone_and_address_each_once(world: World) -> None:
    cluster = f"demo:{unique('web')}"
    nodes = world.start(cluster, 6)
    world.start(f"demo:{unique('other')}", 3)
    found = world.discovery.nodes(cluster)
    assert by_place(found) == of(nodes, cluster)
    assert {node.az for node in found} == set(AZS)
    assert all(node.address for node in found)


def test_a_node_that_does_not_run_is_not_of_the_cluster(world: World) -> None:
    cluster = f"demo:{unique('web')}"
    nodes = world.start(cluster, 3)
    world.stop([nodes[1].id])
    assert by_place(world.discovery.nodes(cluster)) == of((nodes[0], nodes[2]), cluster)


def test_a_cluster_without_running_nodes_is_an_empty_answer_and_no_error(world: World) -> None:
    cluster = f"demo:{unique('web')}"
    assert world.discovery.nodes(cluster) == ()
    nodes = world.start(cluster, 1)
    world.stop([nodes[0].id])
    assert world.discovery.nodes(cluster) == ()


def test_a_cluster_without_a_name_is_refused_and_not_taken_for_any_instance(world: World) -> None:
    world.start(f"demo:{unique('web')}", 1)
    with pytest.raises(Bug, match="without a name"):
        world.discovery.nodes("")


def test_a_name_that_begins_alike_is_another_cluster(world: World) -> None:
    name = f"demo:{unique('web')}"
    world.start(name + "-2", 1)
    assert world.discovery.nodes(name) == ()


def test_a_node_of_several_clusters_is_found_in_each_and_names_them_all(world: World) -> None:
    a, b, c = (f"demo:{unique(name)}" for name in "abc")
    both = world.also(a, b)
    (alone,) = world.start(a, 1)
    assert by_place(world.discovery.nodes(a)) == by_place([*of([both], a, b), *of([alone], a)])
    assert world.discovery.nodes(b) == of([both], a, b)
    assert world.discovery.nodes(c) == ()


def test_known_nodes_are_those_that_run_whatever_their_cluster(world: World) -> None:
    web, db = f"demo:{unique('web')}", f"demo:{unique('db')}"
    first, second = of(world.start(web, 2), web), of(world.start(db, 1), db)
    world.stop([first[0].id])
    asked = [first[0].id, first[1].id, second[0].id, "i-0123456789abcdef0", "never-heard-of"]
    assert by_place(world.discovery.known(asked)) == by_place([first[1], second[0]])


def test_nobody_asked_for_is_nobody_known(world: World) -> None:
    assert world.discovery.known([]) == ()


def test_a_source_that_does_not_answer_is_an_error_and_never_an_empty_cluster(world: World) -> None:
    broken = world.break_it()
    with pytest.raises(DiscoveryFailed, match="demo:web"):
        broken.nodes("demo:web")
    with pytest.raises(DiscoveryFailed, match="by"):
        broken.known(["i-1"])
    with pytest.raises(DiscoveryFailed, match="became"):
        broken.fates(["i-1"], control=["i-2"])


def test_a_node_that_ended_for_good_is_told_from_one_that_is_stopped_and_from_one_that_runs(world: World) -> None:
    runs, stopped, ended = world.start(f"demo:{unique('web')}", 3)
    world.stop([stopped.id])
    world.terminate([ended.id])
    asked = [runs.id, stopped.id, ended.id]
    assert world.discovery.fates(asked, control=[]) == {
        runs.id: Fate.THERE,
        stopped.id: Fate.THERE,
        ended.id: Fate.TERMINATED,
    }


def test_who_is_unknown_is_absent_only_where_a_node_that_runs_is_seen_beside_it(world: World) -> None:
    runs, stopped = world.start(f"demo:{unique('web')}", 2)
    world.stop([stopped.id])
    unknown = "i-0123456789abcdef0"
    assert world.discovery.fates([unknown], control=[runs.id]) == {unknown: Fate.ABSENT}
    assert world.discovery.fates([unknown], control=[stopped.id, runs.id]) == {unknown: Fate.ABSENT}
    for nothing_seen in ([], [stopped.id], ["i-0123456789abcdef1"]):
        assert world.discovery.fates([unknown], control=nothing_seen) == {}


def test_many_nodes_are_asked_for_in_several_questions_each_with_its_control(world: World) -> None:
    (runs,) = world.start(f"demo:{unique('web')}", 1)
    unknown = [f"i-{n:017x}" for n in range(450)]
    assert world.discovery.fates(unknown, control=[runs.id]) == dict.fromkeys(unknown, Fate.ABSENT)
    assert world.discovery.fates([], control=[runs.id]) == {}
