"""What an installation has recorded, for waiting and for asserting: no verb of ours is in between."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.coordination.operator_moves import OperatorMoves

__all__ = ["Records"]


class Records:
    """A client of one root. Reads only, but for `operator`: the moves of a person, without a process for each."""

    def __init__(self, hosts: str, root: str, cluster: str) -> None:
        self._tree = ZookeeperTree(hosts, root=root, session_timeout=timedelta(seconds=4))
        self._cluster = cluster
        self.operator = OperatorMoves(self._tree, "tester", lambda: datetime.now(UTC))

    def open(self) -> None:
        """Connect."""
        self._tree.open()

    def close(self) -> None:
        """Idempotent."""
        self._tree.close()

    def get(self, path: str) -> dict[str, Any]:
        """The JSON of a record; empty when it is not there."""
        record = self._tree.get(path)
        return {} if record is None else json.loads(record.data)

    def names(self, path: str) -> tuple[str, ...]:
        """The children of a record."""
        found = self._tree.children(path)
        return () if found is None else tuple(sorted(found.names))

    def raw(self, path: str) -> bytes:
        """The bytes of a record; none when it is not there."""
        record = self._tree.get(path)
        return b"" if record is None else record.data

    def outcomes(self, task: str) -> dict[str, str]:
        """By node, of those that have ended."""
        return {node: self.get(f"/tasks/{task}/end/{node}").get("outcome", "") for node in self.ended(task)}

    def ended(self, task: str) -> tuple[str, ...]:
        """The nodes that have ended."""
        return self.names(f"/tasks/{task}/end")

    def end(self, task: str, node: str) -> dict[str, Any]:
        """How a node ended."""
        return self.get(f"/tasks/{task}/end/{node}")

    def state(self, task: str) -> str:
        """Of a task: open, halted, ..."""
        return str(self.get(f"/tasks/{task}/ctl").get("state", ""))

    def line(self, task: str) -> tuple[str, ...]:
        """Who waits for a turn."""
        return self.names(f"/tasks/{task}/line/0")

    def slots(self) -> tuple[str, ...]:
        """What is held in the cluster: node~concurrency~state."""
        return self.names(f"/scopes/{self._cluster}")

    def attempt(self, node: str) -> dict[str, Any] | None:
        """What the node is in, if it is in an attempt."""
        return self.get(f"/nodes/{node}").get("attempt")

    def planned(self, task: str) -> bool:
        """Whether a router has planned it."""
        return self._tree.get(f"/tasks/{task}") is not None
