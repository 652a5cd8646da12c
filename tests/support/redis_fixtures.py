"""The fixtures that acceptance tests ask for by name; loaded for all tests by tests/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.redis_cluster import RedisCluster, forming_cluster
from tests.support.witnessing import WitnessProcess, watching

__all__ = ["redis_cluster", "witness"]


@pytest.fixture
def redis_cluster() -> Iterator[RedisCluster]:
    """Six real Redis, three masters and three replicas, well. Fresh for each test; about 2.5 s."""
    with forming_cluster() as cluster:
        yield cluster


@pytest.fixture
def witness(redis_cluster: RedisCluster) -> Iterator[WitnessProcess]:
    """Watches `redis_cluster` from the beginning of the test."""
    with watching(redis_cluster) as process:
        yield process
