"""The Redis cluster of six as a store: its runner's settings, and a client that follows the cluster."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.support.redis_cluster import RedisCluster, forming_cluster
from tests.support.redis_node import RedisNode

__all__ = ["RedisStore", "running_redis"]

PATIENCE_S = 2.0


class RedisStore:
    """See `Store`."""

    kind = "redis"

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster

    @property
    def members(self) -> Sequence[RedisNode]:
        """See `Store.members`."""
        return self._cluster.nodes

    def settings(self, member: RedisNode) -> Mapping[str, Any]:
        """See `Store.settings`."""
        return {
            "host": member.host,
            "port": member.port,
            "restart": list(member.restart_command),
            "peers": [f"{peer.host}:{peer.port}" for peer in self.members if peer is not member],
        }

    def client(self) -> Callable[[], None]:
        """See `Store.client`: each request is of another key, so of any of the masters.

        It reads where it wrote, as clients do, which remember who serves what: who asks anybody may be sent to a master
        that has just handed over and does not know it yet, and read there what was before. Redis promises no more.
        """

        def request() -> None:
            key = secrets.token_hex(8)
            _, server = self._follow(random.choice(self.members), "SET", key, key)
            found, _ = self._follow(server, "GET", key)
            if found != key:
                raise RuntimeError(f"{key} was written, and read as {found}")

        return request

    def wait_until_well(self) -> None:
        """See `Store.wait_until_well`."""
        self._cluster.wait_until_well(60)

    def close(self) -> None:
        """It ends with its block."""

    def _follow(self, at: RedisNode, *words: str) -> tuple[object, RedisNode]:
        """The reply of whoever serves the key, and who that was. `at`: who is asked first."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                return at.call(*words), at
            except (OSError, RuntimeError) as error:
                if time.monotonic() >= give_up_at:
                    raise
                moved = str(error).split() if str(error).startswith("MOVED ") else []
                port = int(moved[2].rpartition(":")[2]) if moved else 0
                others = [node for node in self.members if node is not at]
                at = next((node for node in self.members if node.port == port), random.choice(others))
                time.sleep(0 if moved else 0.01)


@contextmanager
def running_redis() -> Iterator[RedisStore]:
    """Six servers, well, until the block ends."""
    with forming_cluster() as cluster:
        yield RedisStore(cluster)
