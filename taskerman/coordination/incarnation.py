"""START and the fence: how one process becomes its node's only agent, and settles what nobody answered.

Nothing here is guessed. Everything that makes a node act carries the version of the node's record, so a write without
an answer is settled by writing that record once more: whatever was on its way can then not be applied any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from taskerman.coordination import layout
from taskerman.errors import Fenced, InstallationRefused
from taskerman.model.assignment import Progress
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.hold import Control
from taskerman.model.ids import AttemptId, NodeId
from taskerman.policy.belonging import Known
from taskerman.ports.tree import Committed, Create, Op, Record, Set, Stat, Tree, Wake

__all__ = ["Incarnation", "Started"]


@dataclass(frozen=True, slots=True)
class Started:
    """START: this incarnation, and the attempt that an earlier one left. `journal`: whose journal knows of it.

    `accepted`: the record was behind the journal or of another installation, and a person accepted that.
    """

    attempt: Attempt | None
    journal: str
    progress: Progress | None
    revoke: bool
    accepted: bool = False


class Incarnation:
    """One incarnation of one node's agent: its epoch, and its record as it knows it. Used from one thread.

    Raises `Fenced` when another incarnation has started or the node was declared gone, `InstallationRefused` when the
    record is behind what was written here, `CoordinationUnavailable` when nobody answers; then the same call may be
    made again.
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
        self._written_ms = 0

    def installation(self) -> Control:
        """The installation's control record. Raises `LayoutUnsupported`."""
        return layout.check_layout(self.tree.get(layout.CONTROL))

    def start(self, known: Known | None = None, *, accepted: bool = False) -> Started:
        """START: become the node's one incarnation. Raises `Fenced` if the node was declared gone.

        `known`: what the journal knows; no count falls below it, so that epochs and the numbers of attempts are never
        used again. `accepted`: by a person, although the record is behind or of another installation.

        May be repeated after an error: every start makes the earlier ones foreign, whether or not they happened.
        """
        path = layout.node(self.node)
        self.tree.ensure(layout.NODES, layout.STRANGERS)
        least = known or Known()
        while True:
            found = self.tree.get(path)
            if found is None:
                self.tree.commit([Create(path, NodeRecord().to_json())])
                continue
            before = layout.decode(NodeRecord, found, path)
            if before.gone:
                raise Fenced(f"{self.node} was declared gone.", next_step="A person must look: `taskerman status`.")
            after = before.model_copy(
                update={
                    "epoch": max(before.epoch, least.epoch) + 1,
                    "takes": max(before.takes, least.takes),
                    "journal": before.journal if before.attempt else self.journal,
                }
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
                revoked = before.revoke is not None
                return Started(before.attempt, before.journal, progress, revoked, accepted=accepted)

    def refresh(self, wake: Wake | None = None) -> NodeRecord:
        """Read the node's own record anew. Raises `Fenced` when it is not this incarnation's."""
        return self._mine(self.tree.get(layout.node(self.node), wake))

    def fence(self) -> bool:
        """Write the record unchanged. False: somebody changed it meanwhile; it has been read anew.

        After True no earlier write of this agent that carried the record's version can be applied any more.
        """
        done = self.tree.commit([Set(layout.node(self.node), self.record.to_json(), self.version)])
        if isinstance(done, Committed):
            self.version += 1
            (stat,) = done.results
            assert isinstance(stat, Stat)
            self._written_ms = stat.changed_ms
            return True
        self.refresh()
        return False

    def ahead(self, now: datetime) -> timedelta | None:
        """How far a clock that shows `now` is ahead of the tree's, which a write tells. None: look again."""
        return now - datetime.fromtimestamp(self._written_ms / 1000, UTC) if self.fence() else None

    def _mine(self, found: Record | None) -> NodeRecord:
        path = layout.node(self.node)
        record = self._not_behind(found)
        if record is None:
            self.tree.sync(path)  # a server that lags behind is no reason
            found = self.tree.get(path)
            record = self._not_behind(found)
        if found is None or record is None:
            raise InstallationRefused(
                f"The record of {self.node} is gone or older than what was written: was ZooKeeper emptied or restored?",
                next_step="A person must look why; then: `taskerman init --accept-installation`.",
            )
        if record.gone:
            raise Fenced(f"{self.node} was declared gone.")
        if record.epoch != self.epoch:
            raise Fenced(f"Another agent of {self.node} has started (epoch {record.epoch}, this one is {self.epoch}).")
        self.record, self.version = record, found.stat.version
        return record

    def _not_behind(self, found: Record | None) -> NodeRecord | None:
        """The record, unless it is older than what this incarnation wrote: what is counted there never goes back."""
        if found is None:
            return None
        record = layout.decode(NodeRecord, found, layout.node(self.node))
        return None if record.epoch < self.epoch or record.takes < self.record.takes else record
