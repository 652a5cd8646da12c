"""The houses of the acceptance tests: real parts, real processes, one installation a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from taskerman.testing.zookeeper_server import ZookeeperEnsemble, ZookeeperServer
from tests.acceptance.records import Records
from tests.acceptance.redis_house import RedisHouse
from tests.acceptance.scripted_house import ScriptedHouse
from tests.acceptance.store_house import StoreHouse, running_store_house
from tests.support.aws import LocalCloud, unique
from tests.support.daemons import Installation, running_installation
from tests.support.redis_cluster import RedisCluster
from tests.support.stores.store import Store

OpenRedisHouse = Callable[..., RedisHouse]
OpenStoreHouse = Callable[[Store], StoreHouse]
OpenScriptedHouse = Callable[..., ScriptedHouse]


@pytest.fixture
def redis_house(
    tmp_path: Path, local_cloud: LocalCloud, zookeeper_ensemble: ZookeeperEnsemble, redis_cluster: RedisCluster
) -> Iterator[OpenRedisHouse]:
    """Opens a house over six Redis, three ZooKeepers and a local cloud: installed and tagged, no daemon runs yet.

    The hold with which an installation begins still stands: so everybody can be in line before the first begins.
    """
    with ExitStack() as stack:

        def opened(cluster: str | None = None) -> RedisHouse:
            name = cluster or f"redis:{unique('c')}"
            house = Installation(tmp_path, local_cloud, zookeeper_ensemble.hosts, cluster=name)
            records = Records(zookeeper_ensemble.hosts, f"/{house.prefix}", name)
            installation = stack.enter_context(running_installation(house))
            installation.must("init")
            records.open()
            stack.callback(records.close)
            made = RedisHouse(installation, redis_cluster, records)
            made.tag()
            return made

        yield opened


@pytest.fixture
def store_house(
    tmp_path: Path, local_cloud: LocalCloud, zookeeper_ensemble: ZookeeperEnsemble
) -> Iterator[OpenStoreHouse]:
    """Opens a house over a real store, three ZooKeepers of our own and a local cloud: installed and tagged, no daemon
    runs yet, and the first hold still stands."""
    with ExitStack() as stack:

        def opened(store: Store) -> StoreHouse:
            hosts = zookeeper_ensemble.hosts
            return stack.enter_context(running_store_house(tmp_path, local_cloud, hosts, store))

        yield opened


@pytest.fixture
def scripted_house(tmp_path: Path, local_cloud: LocalCloud, zookeeper: ZookeeperServer) -> Iterator[OpenScriptedHouse]:
    """Opens a house of `nodes` scripted nodes: installed and tagged, no daemon runs yet, and the first
    hold still stands.

    `hosts`: where its daemons find ZooKeeper, when not at the shared server itself; `records_hosts`: where the test
    does. `sqs_url`: where they find AWS.
    """
    with ExitStack() as stack:

        def opened(
            nodes: int, *, hosts: str | None = None, records_hosts: str | None = None, sqs_url: str | None = None
        ) -> ScriptedHouse:
            name = f"demo:{unique('c')}"
            direct = records_hosts or zookeeper.hosts
            house = Installation(tmp_path, local_cloud, direct, cluster=name, sqs_url=sqs_url)
            records = Records(direct, f"/{house.prefix}", name)
            installation = stack.enter_context(running_installation(house))
            if hosts is not None:
                installation.env["TASKERMAN_ZOOKEEPER_HOSTS"] = hosts
            records.open()
            stack.callback(records.close)
            records.operator.install("a test")
            made = ScriptedHouse(installation, records, tmp_path)
            made.tag(nodes)
            return made

        yield opened
