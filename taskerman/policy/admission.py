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
from datetime import datetime

from taskerman.model.ids import NodeId
from taskerman.model.task import TaskState
from taskerman.policy import breaker, windows
from taskerman.policy.snapshot import (
    Admission,
    Admitted,
    Reason,
    Snapshot,
    Waiting,
)

__all__ = [
    "admit",
    "behind",
    "first_line",
    "gate",
    "others_ahead",
    "room",
]


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
            most = min([scope.capacity or 0, *scope.promises()])
            taken = f"{len(scope.slots)} of {most} places in scope {scope.name} are taken"
            names = _some({slot.node for slot in scope.slots})
            shut = f"The capacity of scope {scope.name} is 0: nothing starts in it."
            return Waiting(Reason.SCOPE_FULL, f"{taken} ({names})." if names else shut)
    return None


def _some(nodes: Iterable[NodeId]) -> str:
    """The first few by name; thousands are no sentence."""
    names = sorted(nodes)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
