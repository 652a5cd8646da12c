"""The queue of a named scope, as a lane's head uses it.

A place is the lane's: whoever heads it uses it. It is made by a head that waits with open gates and whose lane has
none, and taken away by the lane's take, or by a head that finds a gate shut. It must not outlive the wish to go: at
the head of the queue it would stop everybody for as long as its session lives.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names, as_record
from taskerman.coordination.incarnation import Incarnation
from taskerman.coordination.known import Known
from taskerman.coordination.snapshot import Around
from taskerman.errors import AnswerUnknown
from taskerman.model.ids import NodeId, ScopeName, TaskId
from taskerman.model.plan import Plan, PlannedNode, ScopePlace
from taskerman.policy.snapshot import IN_TURN, Admission, Waiting
from taskerman.ports.tree import Check, Children, Committed, Create, Delete, Get, Tree

__all__ = ["Waits"]


class Waits(Incarnation):
    """The places that this session made. `known`: what it has read of others'."""

    def __init__(self, tree: Tree, node: NodeId, journal: str) -> None:
        """As `Incarnation`."""
        super().__init__(tree, node, journal)
        self.known = Known()
        self._places: dict[str, TaskId] = {}
        self._session: int | None = None
        self._owes_fence = False
        self._owes_places: set[ScopeName] = set()

    def _queue_up(
        self, plan: Plan, planned: PlannedNode, around: Around, answer: Admission, control_version: int
    ) -> bool:
        """Make or take away the lane's place, as `answer` wants it. True: look again."""
        read = next((scope for scope in around.scopes if scope.name == planned.named), None)
        if read is None or not isinstance(answer, Waiting):
            return False
        task = plan.task.task_id
        mine = [path for path, place in read.places.items() if place.of == (task, planned.lane)]
        if answer.reason not in IN_TURN:
            for path in mine:
                self.tree.commit([Delete(path)])
                self._places.pop(path, None)
            return False
        if mine:
            return False
        place = ScopePlace(lane=planned.lane, node=self.node, header=plan.header)
        try:
            done = self.tree.commit(
                [
                    Check(layout.node(self.node), self.version),
                    Check(layout.control(task), control_version),
                    Create(f"{layout.waits(read.name)}/", place.to_json(), ephemeral=True, sequence=True),
                ]
            )
        except AnswerUnknown:
            self._owes_fence = True
            self._owes_places.add(read.name)
            self._settle()
            return True
        if isinstance(done, Committed):
            made = done.results[-1]
            assert isinstance(made, str)
            self._places[made] = task
        return True

    def _leave_queues(self, task: TaskId) -> None:
        """Take away the places that were made here for lanes of `task`."""
        for path in [path for path, of in self._places.items() if of == task]:
            self.tree.commit([Delete(path)])
            self._places.pop(path, None)

    def _places_to_leave(self, around: Around, planned: PlannedNode, task: TaskId) -> Sequence[str]:
        """What a take takes away: every place of its lane, and every other one that was made here."""
        lanes = [
            path for read in around.scopes for path, place in read.places.items() if place.of == (task, planned.lane)
        ]
        return sorted({*lanes, *self._places})

    def _settle(self) -> None:
        """After a write without an answer that made an entry or a place: no look before it is known what is there."""
        self.fence()
        for scope in sorted(self._owes_places):
            parent = layout.waits(scope)
            names = as_names(self.tree.read(Children(parent))[0])
            paths = [f"{parent}/{name}" for name in (names.names if names else ())]
            for path, answer in zip(paths, self.tree.read(*(Get(path) for path in paths)), strict=True):
                record = as_record(answer)
                if record is not None and record.stat.owner == self._session:
                    self._places[path] = layout.decode(ScopePlace, record, path).header.task
        self._owes_places.clear()
        self._owes_fence = False
