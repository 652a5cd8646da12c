"""What every `Discovery` promises, asked of the one in memory and of EC2's tags alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from taskerman.adapters.aws import Aws
from taskerman.adapters.ec2 import Ec2Discovery
from taskerman.model.cluster import Node
from taskerman.ports.discovery import Discovery
from taskerman.testing.discovery import MemoryDiscovery
from taskerman.testing.discovery_contract import DiscoveryContract, World
from tests.support.aws import AZS, LocalCloud, unique


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


class TestEverySource(DiscoveryContract):
    """The shipped contract, which authors of other sources run as well."""
