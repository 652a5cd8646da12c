"""Real ZooKeepers for tests: one server for the whole run, a root path for each test, and the end of a session.

Without ZooKeeper on the machine these fixtures skip, and in CI they fail.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from kazoo.client import KazooClient

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.testing.zookeeper_server import ZookeeperEnsemble, ZookeeperServer
from tests.support.services import require, zookeeper_classpath
from tests.support.tcp_proxy import ZookeeperProxy

__all__ = [
    "OpenTree",
    "end_session",
    "identity_of",
    "open_tree",
    "zookeeper",
    "zookeeper_ensemble",
    "zookeeper_proxy",
    "zookeeper_root",
]

OpenTree = Callable[..., ZookeeperTree]
SESSION = timedelta(seconds=4)


@pytest.fixture(scope="session")
def zookeeper() -> Iterator[ZookeeperServer]:
    """One standalone server for the whole run. Tests do not stop it; they share it by using a root of their own."""
    require("zookeeper")
    with ZookeeperServer(classpath=zookeeper_classpath()) as server:
        yield server


@pytest.fixture
def zookeeper_root() -> str:
    """A root path that no other test uses."""
    return f"/test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def zookeeper_ensemble() -> Iterator[ZookeeperEnsemble]:
    """Three servers of this test's own, to be killed and frozen."""
    require("zookeeper")
    with ZookeeperEnsemble(3, classpath=zookeeper_classpath()) as ensemble:
        yield ensemble


@pytest.fixture
def zookeeper_proxy(zookeeper: ZookeeperServer) -> Iterator[ZookeeperProxy]:
    """A wire of this test's own to the shared server, to be cut and to lose answers."""
    with ZookeeperProxy(zookeeper.port) as proxy:
        yield proxy


@pytest.fixture
def open_tree(zookeeper: ZookeeperServer, zookeeper_root: str) -> Iterator[OpenTree]:
    """Opens clients on this test's root, of the shared server unless `hosts` is given; closes them at the end."""
    trees: list[ZookeeperTree] = []

    def open_one(hosts: str = zookeeper.hosts, **options: object) -> ZookeeperTree:
        settings = {"root": zookeeper_root, "session_timeout": SESSION, **options}
        tree = ZookeeperTree(hosts, **settings)  # type: ignore[arg-type]
        trees.append(tree)
        tree.open()
        return tree

    yield open_one
    for tree in trees:
        tree.close()


def identity_of(tree: ZookeeperTree) -> tuple[int, bytes]:
    """Id and password of the session of `tree`, for `end_session`. Only while it is connected."""
    assert tree._connection is not None
    identity = tree._connection.client.client_id
    assert identity is not None, "only a connected client shows its session"
    return identity


def end_session(identity: tuple[int, bytes], server: ZookeeperServer) -> None:
    """End a session on the server, as silence would: somebody else takes it over and says good-bye.

    Its client must be cut off, or it would take the session back at once.
    """
    other = KazooClient(hosts=server.hosts, client_id=identity, timeout=SESSION.total_seconds())
    try:
        assert other.start_async().wait(10), "the server does not answer"
    finally:
        other.stop()
        other.close()
