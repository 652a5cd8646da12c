"""START and the fence: how one process becomes its node's only agent, and settles what nobody answered.

Nothing here is guessed. Everything that makes a node act carries the version of the node's record, so a write without
an answer is settled by writing that record once more: whatever was on its way can then not be applied any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from taskerman.coordination import layout
from taskerman.errors import Fenced
from taskerman.model.assignment import Progress
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.hold import Control
from taskerman.model.ids import AttemptId, NodeId
from taskerman.ports.tree import Committed, Create, Op, Set, Tree, Wake

__all__ = ["Incarnation", "Started"]


@dataclass(frozen=True, slots=True)
class Started:
    """START: this incarnation, and the attempt that an earlier one left. `journal`: whose journal knows of it."""

    attempt: Attempt | None
    journal: str
    progress: Progress | None
    revoke: bool


class Incarnation:
    """One incarnation of one node's agent: its epoch, and its record as it knows it. Used from one thread.

    Raises `Fenced` when another incarnation has started or the node was declared gone, `CoordinationUnavailable`
    when nobody answers; then the same call may be made again.
    """

    def __init__(self, tree: Tree, node: NodeId, journal: str) -> None:
        """`journal`: the uuid of this agent's journal."""
        self.tree = tree
        self.node = node
        self.journal = journal
        self.epoch = 0
        self.record = NodeRecord()
        self.version = -1
        self._adopting: tuple[AttemptId, int, int] | None = None

    def installation(self) -> Control:
        """The installation's control record. Raises `LayoutUnsupported`."""
        return layout.check_layout(self.tree.get(layout.CONTROL))

    def start(self) -> Started:
        """START: become the node's one incarnation. Raises `Fenced` if the node was declared gone.

        May be repeated after an error: every start makes the earlier ones foreign, whether or not they happened.
        """
        path = layout.node(self.node)
        self.tree.ensure(layout.NODES)
        while True:
            found = self.tree.get(path)
            if found is None:
                self.tree.commit([Create(path, NodeRecord().to_json())])
                continue
            before = layout.decode(NodeRecord, found, path)
            if before.gone:
                raise Fenced(f"{self.node} was declared gone.", next_step="A person must look: `taskerman status`.")
            after = before.model_copy(
                update={"epoch": before.epoch + 1, "journal": before.journal if before.attempt else self.journal}
            )
            ops: list[Op] = [Set(path, after.to_json(), found.stat.version)]
            progress = None
            if before.attempt is not None:
                where = layout.progress(before.attempt.task, self.node)
                kept = self.tree.get(where)
                if kept is not None:
                    progress = layout.decode(Progress, kept, where)
                    # A start whose answer was lost, and that happened, has counted this adoption already.
                    counted = self._adopting == (before.attempt.id, before.epoch, kept.stat.version)
                    progress = progress.model_copy(update={"adopts": progress.adopts + (0 if counted else 1)})
                    self._adopting = (before.attempt.id, after.epoch, kept.stat.version + 1)
                    ops.append(Set(where, progress.to_json(), kept.stat.version))
            done = self.tree.commit(ops)
            if isinstance(done, Committed):
                self.epoch, self.record, self.version = after.epoch, after, found.stat.version + 1
                return Started(before.attempt, before.journal, progress, before.revoke is not None)

    def refresh(self, wake: Wake | None = None) -> NodeRecord:
        """Read the node's own record anew. Raises `Fenced` when it is not this incarnation's."""
        path = layout.node(self.node)
        found = self.tree.get(path, wake)
        if found is None:
            raise Fenced(f"The record of {self.node} is gone.", next_step="Was ZooKeeper emptied or restored?")
        return self._mine(layout.decode(NodeRecord, found, path), found.stat.version)

    def fence(self) -> bool:
        """Write the record unchanged. False: somebody changed it meanwhile; it has been read anew.

        After True no earlier write of this agent that carried the record's version can be applied any more.
        """
        done = self.tree.commit([Set(layout.node(self.node), self.record.to_json(), self.version)])
        if isinstance(done, Committed):
            self.version += 1
            return True
        self.refresh()
        return False

    def _mine(self, record: NodeRecord, version: int) -> NodeRecord:
        if record.gone:
            raise Fenced(f"{self.node} was declared gone.")
        if record.epoch != self.epoch:
            raise Fenced(f"Another agent of {self.node} has started (epoch {record.epoch}, this one is {self.epoch}).")
        self.record, self.version = record, version
        return record
