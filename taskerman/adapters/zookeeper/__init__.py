"""The coordination tree on a real ZooKeeper. It translates; what the records mean is decided above."""

from __future__ import annotations

from taskerman.adapters.zookeeper.identity import Credential, Wire
from taskerman.adapters.zookeeper.tree import ZookeeperTree

__all__ = ["Credential", "Wire", "ZookeeperTree"]
