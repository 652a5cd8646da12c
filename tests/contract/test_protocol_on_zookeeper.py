"""The interleavings that attack the protocol in memory, on a real ZooKeeper at the same time.

`TASKERMAN_TEST_MIRRORED_WALKS` raises the number of walks (default 25), at about a second each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.testing.clock import ManualClock
from taskerman.testing.zookeeper_server import ZookeeperServer
from tests.support.protocol_driver import run
from tests.support.protocol_judge import Judge
from tests.support.protocol_mirror import MirroredServer
from tests.support.protocol_rest import finish
from tests.support.protocol_scenes import SCENES
from tests.support.protocol_world import World

pytestmark = pytest.mark.real

WALKS = int(os.environ.get("TASKERMAN_TEST_MIRRORED_WALKS", "25"))


class Mirrors:
    """Makes the servers of worlds, each with the same real ZooKeeper beside it."""

    def __init__(self, hosts: str, root: str) -> None:
        self._hosts, self._root = hosts, root
        self.made: list[MirroredServer] = []

    def __call__(self, judge: Judge, clock: ManualClock) -> MirroredServer:
        self.made.append(MirroredServer(judge, clock, connect=self._connect))
        return self.made[-1]

    def _connect(self) -> ZookeeperTree:
        tree = ZookeeperTree(self._hosts, root=self._root)
        tree.open()
        return tree


@pytest.fixture
def mirrors(zookeeper: ZookeeperServer, zookeeper_root: str) -> Iterator[Mirrors]:
    mirrors = Mirrors(zookeeper.hosts, zookeeper_root)
    yield mirrors
    for server in mirrors.made:
        server.close()


@pytest.mark.parametrize("seed", range(WALKS))
def test_zookeeper_judges_every_commit_of_a_walk_as_the_memory_does(mirrors: Mirrors, seed: int) -> None:
    run(seed, serve=mirrors)
    (server,) = mirrors.made
    assert server.commits_compared > 25, "the walk goes nowhere"
    assert server.compare_trees() > 10


@pytest.mark.parametrize("scene", SCENES)
def test_zookeeper_judges_every_commit_of_a_scene_as_the_memory_does(mirrors: Mirrors, scene: str) -> None:
    world = World(serve=mirrors)
    SCENES[scene](world, 5)
    world.judge.raise_if_violated()
    finish(world)
    assert mirrors.made[0].compare_trees() > 10
