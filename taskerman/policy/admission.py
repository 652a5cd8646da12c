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

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from taskerman.model.assignment import Progress
from taskerman.model.attempt import NodeRecord
from taskerman.model.hold import Hold
from taskerman.model.ids import ClusterName, NodeId, Owner, TaskId
from taskerman.model.outcome import Outcome
from taskerman.model.slot import Slot
from taskerman.model.task import TaskControl, TaskState

__all__ = ["Admission", "Admitted", "LaneAhead", "Reason", "Snapshot", "Waiting", "admit", "gate"]


class Reason(StrEnum):
    """Why an assignment waits. Part of `--json` and of metrics: a bounded set."""

    ENDED = "ended"
    NODE_GONE = "node_gone"
    EXPIRED = "expired"
    NOT_OPEN = "not_open"
    PARKED = "parked"
    HOLD = "hold"
    CLUSTER_WAITS = "cluster_waits"
    KEPT_SLOT = "kept_slot"
    BUDGET = "budget"
    BACKOFF = "backoff"
    NODE_BUSY = "node_busy"
    REVOKED = "revoked"
    OLDER_TASK = "older_task"
    NOT_IN_LINE = "not_in_line"
    PLACE = "place"
    NO_ROOM = "no_room"


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
    """An older open task of the cluster with a node in its line, and what its head's own gates say."""

    task: TaskId
    head: NodeId
    gate: Waiting | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that admission depends on, as read. Reads are hints: the versions beside them decide.

    `slots`: everything in the cluster's scope. `place`: how many stand before the node in its lane; None = it does
    not stand in it. `ahead`: the older open tasks of the cluster, oldest first.
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
    holds: tuple[Hold, ...] = ()
    slots: tuple[Slot, ...] = ()
    place: int | None = 0
    ahead: tuple[LaneAhead, ...] = ()
    ended: Outcome | None = None

    @property
    def others(self) -> tuple[Slot, ...]:
        """The slots of other nodes: a node's own kept slot is inherited, it never stands in its own way."""
        return tuple(slot for slot in self.slots if slot.node != self.node)


def admit(snapshot: Snapshot, now: datetime) -> Admission:
    """Whether `snapshot.node` may take a slot for `snapshot.task` at `now`."""
    return (
        _over(snapshot, now)
        or _stopped(snapshot)
        or _own(snapshot, now)
        or gate(snapshot, now)
        or _turn(snapshot)
        or _room(snapshot)
        or Admitted()
    )


def gate(s: Snapshot, now: datetime) -> Waiting | None:
    """What forbids the task to act on this node, whoever's turn it is: a lane whose gate is shut lets others pass."""
    if (stopped := _stopped(s)) is not None:
        return stopped
    for hold in s.holds:
        if hold.stops(s.cluster, s.owner):
            return Waiting(
                Reason.HOLD, f"Hold {hold.id} stands on {hold.on}, by {hold.by}: {hold.why}.", until=hold.until
            )
    if s.control.wait_until is not None and now < s.control.wait_until:
        return Waiting(
            Reason.CLUSTER_WAITS,
            f"A pre-check asked the whole cluster to wait{': ' + s.control.why if s.control.why else ''}.",
            until=s.control.wait_until,
        )
    for slot in s.others:
        if slot.state.kept:
            return Waiting(
                Reason.KEPT_SLOT,
                f"{slot.node} ended {slot.state.value} and keeps its slot in {s.cluster}: no other node of it starts.",
            )
    counted = s.control.counted()
    if s.node not in s.control.failed and len(counted) > s.max_failures:
        names = ", ".join(sorted(counted)[:3])
        return Waiting(
            Reason.BUDGET,
            f"{len(counted)} of its nodes failed or are being retried ({names}); max_failures is {s.max_failures}.",
        )
    return None


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
        return Waiting(Reason.NODE_GONE, f"{s.node} was proved terminated.")
    if now >= s.not_after:
        return Waiting(Reason.EXPIRED, f"not_after ({s.not_after:%Y-%m-%dT%H:%M:%SZ}) has passed.")
    return None


def _own(s: Snapshot, now: datetime) -> Waiting | None:
    if s.record.attempt is not None:
        own = s.record.attempt.task == s.task
        return Waiting(
            Reason.NODE_BUSY,
            f"{s.node} is in attempt {s.record.attempt.id}" + ("." if own else ", of another task."),
        )
    if s.record.revoke is not None:
        return Waiting(Reason.REVOKED, f"A person asked {s.node} to stop ({s.record.revoke}).")
    if s.progress.next_at is not None and now < s.progress.next_at:
        return Waiting(
            Reason.BACKOFF,
            f"It {'tries again' if s.progress.k else 'looks again'} later"
            + (f": {s.progress.why}." if s.progress.why else "."),
            until=s.progress.next_at,
        )
    return None


def _turn(s: Snapshot) -> Waiting | None:
    for lane in s.ahead:
        if lane.gate is None:
            return Waiting(Reason.OLDER_TASK, f"Task {lane.task} is older and goes first; {lane.head} heads its line.")
    if s.place is None:
        return Waiting(
            Reason.NOT_IN_LINE,
            f"{s.node} does not stand in the line: its doorbell has not arrived, or its agent is away.",
        )
    if s.place > 0:
        return Waiting(Reason.PLACE, f"{s.place} of the task's nodes stand before it in the line.", place=s.place)
    return None


def _room(s: Snapshot) -> Waiting | None:
    others = s.others
    tightest = min([s.cap, *(slot.cap for slot in others)])
    if len(others) + 1 > tightest:
        names = ", ".join(sorted(slot.node for slot in others)[:5])
        return Waiting(
            Reason.NO_ROOM,
            f"{len(others)} of at most {tightest} places in {s.cluster} are taken ({names}).",
        )
    return None
