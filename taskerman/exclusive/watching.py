"""Watching the group of a command while it runs: told once, when this host is positively not in it any more.

That ZooKeeper does not answer says nothing about the group, and harms nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from taskerman.coordination.groups import is_out
from taskerman.errors import TaskermanError
from taskerman.model.command import GroupName
from taskerman.model.ids import NodeId
from taskerman.ports.tree import Tree

__all__ = ["GroupWatch"]

_EVERY_S = 1.0


class GroupWatch:
    """A thread with a client of its own, from its making until `stop`."""

    def __init__(self, connect: Callable[[], Tree], group: GroupName, host: NodeId, told: Callable[[], None]) -> None:
        """`told`: called once, on that thread."""
        self.out = False
        """Whether the host left the group."""
        self._connect, self._group, self._host, self._told = connect, group, host, told
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch group {group}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """It is over. Does not wait for an answer that may never come."""
        self._over.set()

    def _run(self) -> None:
        tree = self._connect()
        try:
            while not self._over.is_set():
                try:
                    tree.open()
                    if is_out(tree, self._group, self._host):
                        self.out = True
                        self._told()
                        return
                except TaskermanError:
                    pass  # nobody knows: it is asked again
                self._over.wait(_EVERY_S)
        finally:
            tree.close()
