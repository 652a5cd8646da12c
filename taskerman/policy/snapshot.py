"""What admission decides on, and what it answers: values, and nothing that decides.

Kept apart from the questions, because whoever reads the tree, prints an answer or counts reasons needs these and no
rule. An expected "no" is a value, with one sentence for a person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from taskerman.model.assignment import Progress
from taskerman.model.attempt import NodeRecord
from taskerman.model.breaker import ClusterRecord
from taskerman.model.hold import Hold
from taskerman.model.ids import ClusterName, NodeId, Owner, ScopeName, TaskId
from taskerman.model.outcome import Outcome
from taskerman.model.plan import LANE
from taskerman.model.slot import Slot
from taskerman.model.task import TaskControl
from taskerman.model.window import WindowArgs

__all__ = [
    "COURTESY",
    "IN_TURN",
    "Admission",
    "Admitted",
    "ClusterSeen",
    "LaneAhead",
    "Reason",
    "ScopeSeen",
    "Snapshot",
    "Waiting",
]


class Reason(StrEnum):
    """Why an assignment waits. Part of `--json` and of metrics: a bounded set."""

    ENDED = "ended"
    NODE_GONE = "node_gone"
    EXPIRED = "expired"
    NOT_OPEN = "not_open"
    PARKED = "parked"
    HOLD = "hold"
    CLUSTER_WAITS = "cluster_waits"
    BREAKER = "breaker"
    KEPT_SLOT = "kept_slot"
    BUDGET = "budget"
    CLOCK = "clock"
    WINDOW = "window"
    BACKOFF = "backoff"
    NODE_BUSY = "node_busy"
    REVOKED = "revoked"
    OLDER_TASK = "older_task"
    NOT_IN_LINE = "not_in_line"
    PLACE = "place"
    SCOPE_UNKNOWN = "scope_unknown"
    SCOPE_TURN = "scope_turn"
    EXCLUSIVE = "exclusive"
    NO_ROOM = "no_room"
    SCOPE_FULL = "scope_full"


COURTESY = frozenset({Reason.OLDER_TASK, Reason.PLACE, Reason.SCOPE_TURN})
"""For these it only waits for others to go first: not for ever."""
IN_TURN = COURTESY | {Reason.EXCLUSIVE, Reason.NO_ROOM, Reason.SCOPE_FULL}
"""For these it waits with open gates: it keeps its place among those who wait."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Everything allows it: take."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not now. `text`: one sentence for a person. `until`: when time alone may change it, if so. `place`: how many of
    its task's nodes stand before it, where that is the reason."""

    reason: Reason
    text: str
    until: datetime | None = None
    place: int = 0


Admission = Admitted | Waiting


@dataclass(frozen=True, slots=True)
class LaneAhead:
    """A lane of a task that goes before, with a node in its line and a cluster in common with ours, and what its
    head's own gates say. `priority`: its task's. `turn`: in its named scope, if it has one, it goes next and has room.
    `drains`: its gates are open, and it waits for the slots of others in its clusters."""

    task: TaskId
    head: NodeId
    gate: Waiting | None
    lane: str = LANE
    priority: int = 5
    turn: bool = True
    drains: bool = False

    @property
    def binds(self) -> bool:
        """Whether others wait for it. One whose turn in a named scope has not come binds nobody in its cluster: it and
        the lane whose turn it is would wait for each other."""
        return self.gate is None and self.turn


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """One cluster in which the node takes a slot: every slot in its scope, and its record."""

    name: ClusterName
    slots: tuple[Slot, ...] = ()
    record: ClusterRecord = field(default_factory=ClusterRecord)


@dataclass(frozen=True, slots=True)
class ScopeSeen:
    """A named scope in which the node takes a slot. `capacity` None: nobody declared it. `waiting`: the lanes that have
    a place in its queue, in their order."""

    name: ScopeName
    capacity: int | None
    slots: tuple[Slot, ...] = ()
    waiting: tuple[tuple[TaskId, str], ...] = ()

    def promises(self) -> tuple[int, ...]:
        """What the commands there promised. They bind tasks, too."""
        return tuple(slot.cap for slot in self.slots if slot.cap is not None)

    def has_room(self, node: NodeId) -> bool:
        """Whether `node` finds a place; one that keeps a slot there takes no other."""
        most = min([self.capacity or 0, *self.promises()])
        return any(slot.node == node for slot in self.slots) or len(self.slots) < most


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that admission depends on, as read. Reads are hints: the versions beside them decide.

    `cluster`: the task's own. `clusters`: all in which the node takes a slot; what is asked of a cluster is asked of
    each. `scopes`: the named ones. `lane`: the node's in its task. `place`: how many stand before the node in its lane;
    None = it does not stand in it. `ahead`: the lanes that go before, in their order. `window`: when it may start, if
    not at any time. `clock_off`: how far its node's clock is ahead of the tree's, where a window depends on it.
    """

    task: TaskId
    node: NodeId
    cluster: ClusterName
    owner: Owner
    cap: int
    max_failures: int
    not_after: datetime
    control: TaskControl
    record: NodeRecord
    progress: Progress
    exclusive: bool = False
    priority: int = 5
    holds: tuple[Hold, ...] = ()
    clusters: tuple[ClusterSeen, ...] = ()
    scopes: tuple[ScopeSeen, ...] = ()
    lane: str = LANE
    place: int | None = 0
    ahead: tuple[LaneAhead, ...] = ()
    ended: Outcome | None = None
    window: WindowArgs | None = None
    clock_off: timedelta | None = None

    def others(self, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        """The slots of other nodes: a node's own kept slot is inherited, it never stands in its own way."""
        return tuple(slot for slot in slots if slot.node != self.node)

    def holding(self) -> tuple[Hold, ...]:
        """The holds that stand on it: on everything, its owner, or any of its clusters."""
        names = {self.cluster, *(seen.name for seen in self.clusters)}
        return tuple(hold for hold in self.holds if any(hold.stops(name, self.owner) for name in names))

    def before(self, scope: ScopeSeen) -> tuple[tuple[TaskId, str], ...]:
        """The lanes that go before ours in the queue of a named scope; none where the node inherits a slot."""
        if any(slot.node == self.node for slot in scope.slots):
            return ()
        mine = (self.task, self.lane)
        return scope.waiting[: scope.waiting.index(mine)] if mine in scope.waiting else scope.waiting
