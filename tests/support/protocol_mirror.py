"""The protocol's world on two servers at once: every commit that reaches the memory is made on a real ZooKeeper too.

Each session of the memory has one on ZooKeeper, and ends with it. What is answered must be the same, and so must be
the trees in the end: then what the machine proves in memory is proved of ZooKeeper's transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.ports.tree import Committed, Get, Op, Record, Refused, Stat
from taskerman.testing.clock import ManualClock
from taskerman.testing.tree import MemoryTree
from tests.support.protocol_judge import Judge
from tests.support.protocol_server import JudgedServer

__all__ = ["MirroredServer"]


class MirroredServer(JudgedServer):
    """Judged, and compared with a ZooKeeper. `commits_compared` says how often. Close it."""

    def __init__(self, judge: Judge, clock: ManualClock, *, connect: Callable[[], ZookeeperTree]) -> None:
        """`connect`: a new client of the real tree, open, below a root of this world's own."""
        self._connect = connect
        self._real: dict[int, ZookeeperTree] = {}
        self._owners: dict[int, int] = {0: 0}
        self.commits_compared = 0
        self.refusals_compared = 0
        super().__init__(judge, clock)
        self._anybody = connect()  # for the commits that outlive their session

    def close(self) -> None:
        """End every session. The memory stays as it is."""
        for tree in (*self._real.values(), self._anybody):
            tree.close()

    def compare_trees(self) -> int:
        """Every record, its version and its owner, here and there; the number of records. Raises `AssertionError`."""
        here = self.dump()
        there = self._anybody.read(*(Get(path) for path in here))
        for (path, mine), theirs in zip(here.items(), there, strict=True):
            assert isinstance(theirs, Record), f"{path} is not on ZooKeeper"
            if path != "/":
                same = (theirs.data, theirs.stat.version, theirs.stat.children_version, theirs.stat.children)
                assert same == (mine.data, mine.stat.version, mine.stat.children_version, mine.stat.children), path
            assert theirs.stat.owner == self._owners[mine.stat.owner], f"{path} is another session's"
        return len(here)

    def _begin(self) -> int:
        session = super()._begin()
        tree = self._real[session] = self._connect()
        assert tree.session is not None
        self._owners[session] = tree.session
        return session

    def _end(self, tree: MemoryTree):
        real = self._real.pop(tree._session_id, None)
        calls = super()._end(tree)
        if real is not None:
            real.close()
        return calls

    def _apply(self, ops: Sequence[Op], session: int):
        result, calls = super()._apply(ops, session)
        real = self._real.get(session, self._anybody)
        answer = real.commit(ops)
        assert _told(answer) == _told(result), f"memory says {result}, ZooKeeper {answer}, to {ops}"
        self.commits_compared += 1
        self.refusals_compared += isinstance(result, Refused)
        return result, calls


def _told(answer: Committed | Refused) -> object:
    """What a caller may rely on: all but the clocks."""
    if isinstance(answer, Refused):
        return answer
    return [(one.version, one.children) if isinstance(one, Stat) else one for one in answer.results]
