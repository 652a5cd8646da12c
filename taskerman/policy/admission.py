"""Admission: may this node begin this task now, and if not, why, and until when?

One pure function of a snapshot. The agent asks it before it takes, `explain` and `--dry-run` print its answer, and
the property tests compare them. It decides on what was read; the taking transaction then checks, by versions, that
all of it is still so. An expected "no" is a value; what cannot be known never reaches this function.

The questions are asked in the order in which a careful operator would: is there anything to do, is the task allowed
to go on, is the node free for it, does anybody object, is the cluster well, is it my turn, is there room? What keeps
a node out of its line comes before what it would only have to look around for: so the agent, which does not look
around before it stands in the line, and `explain`, which does, give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable
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
from taskerman.model.task import TaskControl, TaskState
from taskerman.model.window import WindowArgs
from taskerman.policy import breaker, windows

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
    "admit",
    "behind",
    "first_line",
    "gate",
    "others_ahead",
    "room",
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

    def has_room(self, node: NodeId) -> bool:
        """Whether `node` finds a place; one that keeps a slot there takes no other."""
        return any(slot.node == node for slot in self.slots) or len(self.slots) < (self.capacity or 0)


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


def admit(snapshot: Snapshot, now: datetime, *, courtesy: bool = True) -> Admission:
    """Whether `snapshot.node` may take its slots for `snapshot.task` at `now`.

    Without `courtesy`: whoever else goes first.
    """
    return (
        _over(snapshot, now)
        or _stopped(snapshot)
        or _own(snapshot, now)
        or gate(snapshot, now)
        or _turn(snapshot, courtesy)
        or room(snapshot)
        or _named(snapshot)
        or Admitted()
    )


def gate(s: Snapshot, now: datetime) -> Waiting | None:
    """What forbids the task to act on this node, whoever's turn it is: a lane whose gate is shut lets others pass."""
    return _stopped(s) or _objected(s, now) or _unwell(s, now) or _shut(s, now)


def _objected(s: Snapshot, now: datetime) -> Waiting | None:
    if holding := s.holding():
        hold, more = holding[0], holding[1:]
        text = f"Hold {hold.id} stands on {hold.target}, by {hold.by}: {hold.why.rstrip('.')}."
        if hold.until is not None and hold.until <= now:
            text = f"{text} Its time is over, and it stands until a janitor lifts it."
        if more:
            text = f"{text} So does {', '.join(f'{one.id} on {one.target}' for one in more)}."
        times = [one.until for one in holding if one.until is not None]
        return Waiting(Reason.HOLD, text, until=max(times) if len(times) == len(holding) else None)
    if s.control.wait_until is not None and now < s.control.wait_until:
        return Waiting(
            Reason.CLUSTER_WAITS,
            f"A pre-check asked the whole cluster to wait{': ' + s.control.why if s.control.why else ''}.",
            until=s.control.wait_until,
        )
    return None


def _unwell(s: Snapshot, now: datetime) -> Waiting | None:
    for cluster in s.clusters:
        if (shut := breaker.objection(cluster.name, cluster.record, now)) is not None:
            return Waiting(Reason.BREAKER, shut[0], until=shut[1])
    for cluster in s.clusters:
        for slot in s.others(cluster.slots):
            if slot.state.kept:
                return Waiting(
                    Reason.KEPT_SLOT,
                    f"{slot.node} ended {slot.state.value} and keeps its slot in {cluster.name}: no other node of it "
                    "starts until that one is redriven or released.",
                )
    counted = s.control.counted()
    if s.node not in s.control.failed and len(counted) > s.max_failures:
        return Waiting(
            Reason.BUDGET,
            f"Fresh nodes wait for {_some(counted)}: {len(counted)} failed and not settled, max_failures is "
            f"{s.max_failures}.",
        )
    return _undeclared(s)


def _undeclared(s: Snapshot) -> Waiting | None:
    for scope in s.scopes:
        if scope.capacity is None and not any(slot.node == s.node for slot in scope.slots):
            return Waiting(
                Reason.SCOPE_UNKNOWN,
                f"Nobody declared the capacity of scope {scope.name}: it waits until somebody does.",
            )
    return None


def _shut(s: Snapshot, now: datetime) -> Waiting | None:
    if s.window is None:
        return None
    if (wrong := windows.clock_objection(s.node, s.clock_off)) is not None:
        return Waiting(Reason.CLOCK, wrong)
    shut = windows.objection(s.window, now)
    return None if shut is None else Waiting(Reason.WINDOW, shut[0], until=shut[1])


def _stopped(s: Snapshot) -> Waiting | None:
    if s.control.state is TaskState.OPEN:
        return None
    why = f": {s.control.why}" if s.control.why else ""
    if s.control.state is TaskState.PARKED:
        return Waiting(Reason.PARKED, f"The task is parked until a person approves it{why}.")
    return Waiting(Reason.NOT_OPEN, f"The task is {s.control.state.value}{why}.")


def _over(s: Snapshot, now: datetime) -> Waiting | None:
    if s.ended is not None:
        return Waiting(Reason.ENDED, f"Its outcome is recorded: {s.ended.value}.")
    if s.record.gone:
        return Waiting(Reason.NODE_GONE, f"{s.node} was proved terminated: a janitor ends it as gone.")
    if now >= s.not_after:
        return Waiting(
            Reason.EXPIRED,
            f"not_after ({s.not_after:%Y-%m-%dT%H:%M:%SZ}) has passed: its agent, or a janitor, ends it as expired.",
        )
    return None


def _own(s: Snapshot, now: datetime) -> Waiting | None:
    if s.record.attempt is not None:
        other = "" if s.record.attempt.task == s.task else ", of another task"
        asked = " It was asked to stop." if s.record.revoke is not None else ""
        return Waiting(Reason.NODE_BUSY, f"{s.node} acts: attempt {s.record.attempt.id}{other}.{asked}")
    if s.record.revoke is not None:
        return Waiting(Reason.REVOKED, f"A person asked {s.node} to stop ({s.record.revoke}).")
    if s.progress.next_at is not None and now < s.progress.next_at:
        return Waiting(
            Reason.BACKOFF,
            f"It {'tries again' if s.progress.k else 'looks again'} later"
            + (f": {first_line(s.progress.why)}." if s.progress.why else "."),
            until=s.progress.next_at,
        )
    return None


def behind(place: int) -> Waiting:
    """It waits for its place in the line, with so many before it."""
    stand = "stands" if place == 1 else "stand"
    return Waiting(Reason.PLACE, f"{place} of the task's nodes {stand} before it in the line.", place=place)


def first_line(text: str) -> str:
    """What tells most of a reason that somebody's code wrote, without the traceback below it; one sentence's worth."""
    return (text.strip().splitlines() or [""])[0].rstrip(".: ")


def others_ahead(s: Snapshot) -> int:
    """How many go before it: in its line, lanes of its clusters, places in the queue of its named scope."""
    lanes = {(lane.task, lane.lane) for lane in s.ahead if lane.binds}
    return (s.place or 0) + len(lanes.union(*(s.before(scope) for scope in s.scopes)))


def _turn(s: Snapshot, courtesy: bool) -> Waiting | None:
    for lane in s.ahead if courtesy else ():
        if lane.binds:
            why = "has a higher priority" if lane.priority > s.priority else "is older"
            return Waiting(Reason.OLDER_TASK, f"Task {lane.task} {why} and goes first; {lane.head} heads its line.")
    if s.place is None:
        return Waiting(
            Reason.NOT_IN_LINE,
            "It does not stand in the line: its doorbell has not arrived, or its agent is away (`taskerman doctor` on "
            "it says more).",
        )
    if not courtesy:
        return None
    if s.place > 0:
        return behind(s.place)
    for scope in s.scopes:
        if before := s.before(scope):
            return Waiting(
                Reason.SCOPE_TURN,
                f"Task {before[0][0]} goes first in scope {scope.name}"
                + (f"; {len(before)} lanes stand before it in its queue." if len(before) > 1 else "."),
            )
    return None


def room(s: Snapshot) -> Waiting | None:
    """What the slots of other nodes leave no place for, in any of its clusters: it waits until they have drained."""
    for cluster in s.clusters:
        others = s.others(cluster.slots)
        names = _some({slot.node for slot in others})
        alone = {slot.exclusive for slot in others} - {None, s.task}
        if alone:
            return Waiting(
                Reason.EXCLUSIVE,
                f"Task {alone.pop()} acts in {cluster.name} and admits no other beside it ({names}).",
            )
        if s.exclusive and any(slot.exclusive != s.task for slot in others):
            return Waiting(
                Reason.EXCLUSIVE,
                f"The task admits no other beside it in {cluster.name}, and another one acts there ({names}).",
            )
        tightest = min([s.cap, *(slot.cap for slot in others if slot.cap is not None)])
        if len(others) + 1 > tightest:
            return Waiting(
                Reason.NO_ROOM,
                f"{len(others)} of {tightest} places in {cluster.name} are taken ({names}).",
            )
    return None


def _named(s: Snapshot) -> Waiting | None:
    for scope in s.scopes:
        if not scope.has_room(s.node):
            taken = f"{len(scope.slots)} of {scope.capacity} places in scope {scope.name} are taken"
            names = _some({slot.node for slot in scope.slots})
            shut = f"The capacity of scope {scope.name} is 0: nothing starts in it."
            return Waiting(Reason.SCOPE_FULL, f"{taken} ({names})." if names else shut)
    return None


def _some(nodes: Iterable[NodeId]) -> str:
    """The first few by name; thousands are no sentence."""
    names = sorted(nodes)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
