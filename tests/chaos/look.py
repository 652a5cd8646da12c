"""A look at what there is, for people to choose from and for the run to wait on. Nothing is judged by it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.coordination import layout, overview
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.errors import CoordinationUnavailable, NotFound, RefusedByState, TaskEnded, TaskUnknown
from taskerman.model.task import TaskControl, TaskState
from tests.chaos.town import SESSION_S

__all__ = ["Look"]


class Look:
    """A client of its own. Where ZooKeeper does not answer, there is nothing to be seen."""

    def __init__(self, hosts: str, root: str) -> None:
        self._tree = ZookeeperTree(hosts, root=root, session_timeout=timedelta(seconds=SESSION_S))

    def open(self) -> None:
        self._tree.open()

    def close(self) -> None:
        self._tree.close()

    def open_by_cluster(self) -> dict[str, int] | None:
        """How many tasks are open in each; None: nobody can say."""
        try:
            return dict(Counter(cluster for cluster, _ in overview.open_tasks(self._tree)))
        except CoordinationUnavailable:
            return None

    def tasks(self, *states: TaskState) -> list[str]:
        """The open tasks; those in one of `states`, if any are given."""
        found = [header.task for _, header in self._open()]
        return [task for task in found if not states or self._state(task) in states]

    def letters(self) -> list[tuple[str, str]]:
        """Open dead letters: task, node."""
        try:
            return [(plan.task.task_id, node) for plan, node, _ in overview.undelivered(self._tree)]
        except CoordinationUnavailable:
            return []

    def holders(self) -> list[str]:
        """Nodes that hold a slot."""
        return sorted({held.slot.node for held in self._slots()})

    def keepers(self) -> list[str]:
        """Nodes that keep one and do not act."""
        return sorted({held.slot.node for held in self._slots() if held.slot.state.kept})

    def acting(self) -> list[str]:
        """Nodes in an attempt."""
        return sorted({held.slot.node for held in self._slots() if not held.slot.state.kept})

    def holds(self) -> list[str]:
        """Ids of those that stand."""
        try:
            return [hold.id for hold in overview.installation(self._tree).holds]
        except CoordinationUnavailable:
            return []

    def unended(self) -> list[tuple[str, str]]:
        """Every assignment of every task without an end: task, node."""
        found = []
        for task in self._names(layout.TASKS):
            try:
                seen = overview.see_task(self._tree, task)
            except (TaskUnknown, TaskEnded):
                continue  # put away
            found += [(task, one.planned.id) for one in seen.assignments if one.end is None]
        return found

    def names(self, path: str) -> tuple[str, ...]:
        """Children of a record."""
        return self._names(path)

    def owed(self) -> int:
        """Announcements that are still to be sent."""
        return sum(end.dead_letter.value == "owed" for _, _, end in overview.undelivered(self._tree))

    def settle_letters(self) -> None:
        """As a person who has seen them all: no dead letter is open any more."""
        moves = OperatorMoves(self._tree, "tester@chaos", lambda: datetime.now(UTC))
        for task, node in self.letters():
            with suppress(RefusedByState, NotFound):  # put away, or noted as sent, since we looked
                moves.discard(task, node, "seen")

    def not_put_away(self) -> list[str]:
        """What is still there of tasks, besides tombstones, and whatever stands around them."""
        tasks = [f"/tasks/{task}: {', '.join(names)}" for task in self._names(layout.TASKS)
                 if (names := self._names(f"{layout.TASKS}/{task}"))]  # fmt: skip
        entries = [f"/clusters/{name}/open: {', '.join(names)}" for name in self._names(layout.CLUSTERS)
                   if (names := self._names(f"{layout.CLUSTERS}/{name}/open"))]  # fmt: skip
        waits = [f"/waits/{name}: {', '.join(names)}" for name in self._names(layout.WAITS)
                 if (names := self._names(f"{layout.WAITS}/{name}"))]  # fmt: skip
        return [*tasks, *entries, *waits]

    def _open(self):
        try:
            return overview.open_tasks(self._tree)
        except CoordinationUnavailable:
            return []

    def _slots(self):
        try:
            return overview.slots(self._tree)
        except CoordinationUnavailable:
            return []

    def _state(self, task: str) -> TaskState | None:
        try:
            record = self._tree.get(layout.control(task))
        except CoordinationUnavailable:
            return None
        return None if record is None else layout.decode(TaskControl, record, layout.control(task)).state

    def _names(self, path: str) -> tuple[str, ...]:
        found = self._tree.children(path)
        return () if found is None else tuple(sorted(found.names))
