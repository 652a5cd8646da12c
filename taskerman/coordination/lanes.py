"""Who goes before: the lanes of tasks with a higher priority or a greater age, in the clusters that a node is of.

Only reading; whether such a lane binds is admission's to say. A task stands in every cluster of its nodes, by one
transaction, so that two tasks stand in the same order wherever they meet, and no two can wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names, as_record
from taskerman.model.assignment import Progress
from taskerman.model.attempt import NodeRecord
from taskerman.model.hold import Hold
from taskerman.model.ids import ClusterName, TaskId
from taskerman.model.plan import ClusterRecord, Lane, OpenTask
from taskerman.model.task import TaskControl
from taskerman.policy.admission import ClusterSeen, LaneAhead, Snapshot, gate
from taskerman.ports.tree import Children, Get, Names, Read, Reader, Wake

__all__ = ["Headers", "LaneBefore", "lanes_ahead", "lanes_before", "see_clusters"]

Headers = MutableMapping[str, OpenTask]
"""A cache of open tasks' headers by their paths; a header never changes."""


@dataclass(frozen=True, slots=True)
class LaneBefore:
    """A lane whose task stands before ours in a cluster that both are of."""

    header: OpenTask
    lane: Lane
    priority: int


def lanes_before(
    tree: Reader, open_names: Mapping[ClusterName, Names], task: TaskId, headers: Headers
) -> tuple[LaneBefore, ...]:
    """The lanes that stand before `task`, in their order. `open_names`: what was read of each of its clusters."""
    paths = {
        cluster: [f"{layout.open_tasks(cluster)}/{name}" for name in names.names]
        for cluster, names in open_names.items()
    }
    missing = [path for some in paths.values() for path in some if path not in headers]
    for path, answer in zip(missing, tree.read(*(Get(path) for path in missing)), strict=True):
        record = as_record(answer)
        if record is not None:
            headers[path] = layout.decode(OpenTask, record, path)
    found: dict[tuple[TaskId, str], LaneBefore] = {}
    for cluster, some in paths.items():
        parent = layout.open_tasks(cluster) + "/"
        for path in [path for path in headers if path.startswith(parent) and path not in some]:
            del headers[path]
        for path in some:
            header = headers.get(path)
            if header is None:
                continue  # closed since the names were read
            if header.task == task:
                break
            priority = layout.priority_of(path.removeprefix(parent))
            for lane in header.lanes_in(cluster):
                found.setdefault((header.task, lane.name), LaneBefore(header, lane, priority))
    return tuple(found.values())


def see_clusters(tree: Reader, names: Iterable[ClusterName], wake: Wake | None) -> dict[ClusterName, ClusterSeen]:
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
    wake: Wake | None,
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
    seen = {**mine, **see_clusters(tree, sorted(theirs), wake)}
    ahead = []
    for (lane, _, state), answer in zip(waiting, heads, strict=True):
        head = as_record(answer)
        if head is None:
            continue  # it took or left since; its line's watch tells of the next one
        header = lane.header
        as_its_head = Snapshot(
            task=header.task,
            node=head.data.decode(),
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
        )
        ahead.append(
            LaneAhead(
                task=header.task,
                head=as_its_head.node,
                gate=gate(as_its_head, now),
                lane=lane.lane.name,
                priority=lane.priority,
            )
        )
    return tuple(ahead)
