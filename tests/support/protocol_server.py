"""The in-memory server with a judge who sees every applied commit."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.ports.tree import Committed, Op
from taskerman.testing.clock import ManualClock
from taskerman.testing.tree import MemoryServer, MemoryTree
from tests.support.protocol_judge import Judge, View

__all__ = ["JudgedServer"]


class JudgedServer(MemoryServer):
    """Shows every applied commit to the judge, at its instant, those inside of hooks too."""

    def __init__(self, judge: Judge, clock: ManualClock) -> None:
        super().__init__(now_ms=lambda: int(clock.now().timestamp() * 1000))
        self.judge = judge
        self.commits = 0
        self._seen: View | None = None

    def view(self) -> View:
        nodes = self._records._nodes
        return View({p: n.data for p, n in nodes.items()}, {p: n.owner for p, n in nodes.items()})

    def _apply(self, ops: Sequence[Op], session: int):
        before = self._seen or self.view()
        result, calls = super()._apply(ops, session)
        if isinstance(result, Committed):
            self.commits += 1
            self._seen = self.view()
            self.judge.see(before, self._seen, ops, session)
        return result, calls

    def _end(self, tree: MemoryTree):
        calls = super()._end(tree)
        self._seen = None
        return calls
