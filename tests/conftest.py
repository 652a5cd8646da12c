"""What holds for every test: which of them need real parts, and the fixtures that several folders share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.aws import aws, local_cloud
from tests.support.postgresql import postgresql, postgresql_url
from tests.support.redis_fixtures import redis_cluster, witness
from tests.support.stores.mariadb import formed_galera, galera
from tests.support.tree_ground import ground
from tests.support.zookeeper import open_tree, zookeeper, zookeeper_ensemble, zookeeper_proxy, zookeeper_root

__all__ = [
    "aws",
    "formed_galera",
    "galera",
    "ground",
    "local_cloud",
    "open_tree",
    "postgresql",
    "postgresql_url",
    "redis_cluster",
    "witness",
    "zookeeper",
    "zookeeper_ensemble",
    "zookeeper_proxy",
    "zookeeper_root",
]

# How long an example takes is the machine's business: a busy one must not turn a proof red.
settings.register_profile("taskerman", deadline=None)
settings.load_profile("taskerman")

HERE = Path(__file__).parent
REAL_FOLDERS = (HERE / "integration", HERE / "acceptance")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of `integration` and `acceptance` is `real`; in `contract`, only the parameters that say so."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in REAL_FOLDERS):
            item.add_marker(pytest.mark.real)
