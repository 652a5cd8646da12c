"""Who goes before: the lanes of tasks with a higher priority or a greater age, in the clusters that a node is of.

Only reading; whether such a lane binds is admission's to say. A task stands in every cluster of its nodes, by one
transaction, so that two tasks stand in the same order wherever they meet, and no two can wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names, as_record
from taskerman.coordination.known import Known
from taskerman.coordination.scopes import read_scopes
from taskerman.model.assignment import Progress
from taskerman.model.attempt import NodeRecord
from taskerman.model.breaker import ClusterRecord
from taskerman.model.hold import Hold
from taskerman.model.ids import ClusterName, TaskId
from taskerman.model.plan import Lane, OpenTask, ScopePlace
from taskerman.model.task import TaskControl
from taskerman.policy.admission import gate, room
from taskerman.policy.snapshot import ClusterSeen, LaneAhead, ScopeSeen, Snapshot
from taskerman.ports.tree import Children, Get, Names, Read, Reader, Wake

__all__ = ["LaneBefore", "lanes_ahead", "lanes_before", "lanes_of_places"]


@dataclass(frozen=True, slots=True)
class LaneBefore:
    """A lane whose task stands before ours in a cluster that both are of."""

    header: OpenTask
    lane: Lane
    priority: int


def lanes_before(
    tree: Reader, open_names: Mapping[ClusterName, Names], task: TaskId, known: Known
) -> tuple[LaneBefore, ...]:
    """The lanes that stand before `task`, in their order. `open_names`: what was read of each of its clusters."""
    found: dict[tuple[TaskId, str], LaneBefore] = {}
    for cluster, names in open_names.items():
        parent = layout.open_tasks(cluster)
        for path, header in known.read_headers(tree, parent, names.names).items():
            if header.task == task:
                break
            priority = layout.priority_of(path.removeprefix(f"{parent}/"))
            for lane in header.lanes_in(cluster):
                found.setdefault((header.task, lane.name), LaneBefore(header, lane, priority))
    return tuple(found.values())


def lanes_of_places(places: Iterable[ScopePlace]) -> tuple[LaneBefore, ...]:
    """The lanes whose places in a named scope's queue these are."""
    return tuple(
        LaneBefore(place.header, lane, priority=0)
        for place in places
        for lane in place.header.lanes
        if lane.name == place.lane
    )


def _its_turn(head: Snapshot, scope: ScopeSeen) -> bool:
    """Whether its place is the first one, and there is room. A lane that must wait makes itself a place."""
    return scope.waiting[:1] == ((head.task, head.lane),) and scope.has_room(head.node)


def _see_clusters(tree: Reader, names: Iterable[ClusterName], wake: Wake | None) -> dict[ClusterName, ClusterSeen]:
    """What stands in these clusters' scopes, and their records, for whoever takes nothing there."""
    wanted = list(dict.fromkeys(names))
    reads: list[Read] = []
    for name in wanted:
        reads += (Get(layout.cluster(name), wake), Children(layout.scope(name), wake))
    answers = tree.read(*reads)
    seen = {}
    for i, name in enumerate(wanted):
        record, slots = as_record(answers[2 * i]), as_names(answers[2 * i + 1])
        seen[name] = ClusterSeen(
            name=name,
            slots=layout.slots(slots.names) if slots else (),
            record=layout.decode(ClusterRecord, record, layout.cluster(name)) if record else ClusterRecord(),
        )
    return seen


def lanes_ahead(
    tree: Reader,
    before: tuple[LaneBefore, ...],
    holds: tuple[Hold, ...],
    mine: Mapping[ClusterName, ClusterSeen],
    now: datetime,
    known: Known,
    wake: Wake | None = None,
) -> tuple[LaneAhead, ...]:
    """Those of them with somebody in their line, and what the gates of their heads say.

    `mine`: the clusters that were read already; what else such a lane needs is read, and watched, here.
    """
    reads: list[Read] = []
    for lane in before:
        task = lane.header.task
        reads += (Children(layout.line(task, lane.lane.name), wake), Get(layout.control(task), wake))
    answers = tree.read(*reads)
    waiting: list[tuple[LaneBefore, str, TaskControl]] = []
    for i, lane in enumerate(before):
        line, control = as_names(answers[2 * i]), as_record(answers[2 * i + 1])
        if line and line.names and control:
            path = f"{layout.line(lane.header.task, lane.lane.name)}/{line.names[0]}"
            waiting.append((lane, path, layout.decode(TaskControl, control, layout.control(lane.header.task))))
    heads = tree.read(*(Get(path) for _, path, _ in waiting))
    theirs = {name for lane, _, _ in waiting for name in lane.lane.clusters} - mine.keys()
    seen = {**mine, **_see_clusters(tree, sorted(theirs), wake)}
    scopes = read_scopes(tree, sorted({lane.lane.named for lane, _, _ in waiting if lane.lane.named}), known, wake)
    ahead = []
    for (lane, _, state), answer in zip(waiting, heads, strict=True):
        head = as_record(answer)
        if head is None:
            continue  # it took or left since; its line's watch tells of the next one
        header, named = lane.header, lane.lane.named
        scope = scopes[named].seen if named else None
        as_its_head = Snapshot(
            task=header.task,
            node=layout.entry_node(head),
            cluster=lane.lane.scopes[0],
            owner=header.owner,
            cap=header.cap,
            max_failures=header.max_failures,
            not_after=now,
            control=state,
            record=NodeRecord(),
            progress=Progress(),
            exclusive=header.exclusive,
            priority=lane.priority,
            holds=holds,
            clusters=tuple(seen[name] for name in lane.lane.clusters),
            scopes=(scope,) if scope else (),
            lane=lane.lane.name,
            window=header.window,
            clock_off=layout.clock_off(head),
        )
        shut = gate(as_its_head, now)
        ahead.append(
            LaneAhead(
                task=header.task,
                head=as_its_head.node,
                gate=shut,
                lane=lane.lane.name,
                priority=lane.priority,
                turn=scope is None or _its_turn(as_its_head, scope),
                drains=shut is None and room(as_its_head) is not None,
            )
        )
    return tuple(ahead)
