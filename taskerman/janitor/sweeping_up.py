"""The chores that delete what nobody needs where it is: audit entries, refused documents, commands, queues.

What is worth knowing for years goes to the history first, and what the history did not say yes to is not deleted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from taskerman.coordination import layout
from taskerman.coordination.reading import BATCH, get_each
from taskerman.janitor.kit import Kit, Turn
from taskerman.model.attempt import NodeRecord
from taskerman.model.audit import AuditEntry
from taskerman.model.command import CommandRecord
from taskerman.model.ids import NodeId
from taskerman.model.plan import Refusal
from taskerman.ports.tree import Delete, Record

__all__ = ["DeletingQueues", "SweepingAudit", "SweepingCommands", "SweepingRefused"]

_QUEUES_EVERY_S = 3600.0
_QUEUES_TRIED = timedelta(days=7)


class SweepingAudit:
    """Audit entries: to the history at once; deleted some time later.

    A verb whose answer was lost looks for its own entry to know whether it was done: so entries stay for a while.
    """

    name = "sweep the audit"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.put_away_every_s
        self._recorded: set[str] = set()

    def do(self, turn: Turn) -> None:
        """See `Chore.do`. Raises `HistoryUnavailable`."""
        kit = self._kit
        listing = kit.tree.children(layout.AUDIT)
        if kit.history is None or listing is None:
            return
        paths = [f"{layout.AUDIT}/{name}" for name in listing.names]
        self._recorded &= set(paths)
        old: list[str] = []
        for start in range(0, len(paths), BATCH):
            found = _there(kit, paths[start : start + BATCH])
            fresh = [(path, record) for path, record in found if path not in self._recorded]
            if fresh:
                kit.history.record_audit([layout.decode(AuditEntry, record, path) for path, record in fresh])
                self._recorded |= {path for path, _ in fresh}
            before = turn.tree_time - timedelta(seconds=kit.upkeep.audit_kept_s)
            old += [path for path, record in found if _created(record) < before]
        for start in range(0, len(old), BATCH):
            kit.tree.commit([Delete(path, 0) for path in old[start : start + BATCH]])


class SweepingRefused:
    """The records of documents that were not accepted: to the history; deleted when no copy of them can come."""

    name = "sweep refused documents"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.put_away_every_s
        self._recorded: dict[str, int] = {}

    def do(self, turn: Turn) -> None:
        """See `Chore.do`. Raises `HistoryUnavailable`. One that is still owed is never deleted."""
        kit = self._kit
        listing = kit.tree.children(layout.REFUSED)
        if kit.history is None or listing is None:
            return
        found = [
            (path, record, layout.decode(Refusal, record, path))
            for path, record in _there(kit, [layout.refused(name) for name in listing.names])
        ]
        paths = {path for path, _, _ in found}
        self._recorded = {path: known for path, known in self._recorded.items() if path in paths}
        fresh = [(path, record, one) for path, record, one in found if self._recorded.get(path) != hash(record.data)]
        if fresh:
            kit.history.record_refusals([one for _, _, one in fresh])
            self._recorded |= {path: hash(record.data) for path, record, _ in fresh}
        if not turn.clock_is_right:
            return
        before = turn.tree_time - timedelta(seconds=kit.upkeep.refused_kept_s)
        for path, record, one in found:
            if one.dead_letter != "owed" and max(one.at, one.sent_at or one.at) < before:
                kit.tree.commit([Delete(path, record.stat.version)])  # refused: it was replaced; it is looked at again


class SweepingCommands:
    """Commands that have ended under a slot: to the history at once; deleted some time later.

    A host whose end was recorded without an answer looks for the record to know it: so that stays for a while. One
    without an end is never touched: its slot is held.
    """

    name = "sweep commands"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.put_away_every_s
        self._recorded: set[str] = set()

    def do(self, turn: Turn) -> None:
        """See `Chore.do`. Raises `HistoryUnavailable`."""
        kit = self._kit
        listing = kit.tree.children(layout.COMMANDS)
        if kit.history is None or listing is None:
            return
        paths = [layout.command(name) for name in listing.names]
        self._recorded &= set(paths)
        before = turn.tree_time - timedelta(seconds=kit.upkeep.ended_kept_s)
        for start in range(0, len(paths), BATCH):
            ended = [
                (path, record, one)
                for path, record in _there(kit, paths[start : start + BATCH])
                if (one := layout.decode(CommandRecord, record, path)).end is not None
            ]
            fresh = [(path, one) for path, _, one in ended if path not in self._recorded]
            if fresh:
                kit.history.record_commands([one for _, one in fresh])
                self._recorded |= {path for path, _ in fresh}
            old = [Delete(path, record.stat.version) for path, record, _ in ended if _changed(record) < before]
            if old:
                kit.tree.commit(old)


class DeletingQueues:
    """The queues of nodes that were declared gone, some time after that."""

    name = "delete queues"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = min(_QUEUES_EVERY_S, kit.upkeep.node_queue_kept_s or _QUEUES_EVERY_S)
        self._deleted: set[NodeId] = set()

    def do(self, turn: Turn) -> None:
        """See `Chore.do`. For a week it makes sure, whoever leads; a queue that is not there costs one request."""
        kit = self._kit
        listing = kit.tree.children(layout.NODES)
        nodes = [name for name in (listing.names if listing else ()) if name not in self._deleted]
        before = turn.tree_time - timedelta(seconds=kit.upkeep.node_queue_kept_s)
        ripe: list[NodeId] = []
        for path, record in _there(kit, [layout.node(name) for name in nodes]):
            changed = datetime.fromtimestamp(record.stat.changed_ms / 1000, UTC)
            if layout.decode(NodeRecord, record, path).gone and before - _QUEUES_TRIED < changed <= before:
                ripe.append(path.rpartition("/")[2])
        kit.each(self.name, ripe, self._delete, str)

    def _delete(self, node: NodeId) -> None:
        kit = self._kit
        queue = kit.names.node(node)
        if kit.queues.exists(queue):
            kit.queues.delete(queue)
            kit.say("queue_deleted", queue=queue)
        self._deleted.add(node)


def _there(kit: Kit, paths: list[str]) -> list[tuple[str, Record]]:
    """The records that are there, with their paths."""
    return [(path, record) for path, record in zip(paths, get_each(kit.tree, paths), strict=True) if record is not None]


def _changed(record: Record) -> datetime:
    return datetime.fromtimestamp(record.stat.changed_ms / 1000, UTC)


def _created(record: Record) -> datetime:
    return datetime.fromtimestamp(record.stat.created_ms / 1000, UTC)
