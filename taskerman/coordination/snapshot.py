"""Reading what admission decides on: the same values for the agent, which watches them, and for `explain`.

Reads are hints. Every value that admission depends on comes with the version that the take will check, and, for an
agent, with a watch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names, as_record
from taskerman.coordination.known import Known
from taskerman.coordination.lanes import lanes_ahead, lanes_before
from taskerman.coordination.scopes import NOT_THERE, OWN_CAPACITY, ScopeRead, read_scopes
from taskerman.errors import TaskUnknown
from taskerman.model.assignment import Progress
from taskerman.model.attempt import NodeRecord
from taskerman.model.breaker import ClusterRecord
from taskerman.model.hold import Hold
from taskerman.model.ids import ClusterName, NodeId, ScopeName, is_cluster
from taskerman.model.outcome import End, Outcome
from taskerman.model.plan import Plan, PlannedNode
from taskerman.model.task import TaskControl
from taskerman.policy.snapshot import ClusterSeen, LaneAhead, Snapshot
from taskerman.ports.tree import Children, Get, Names, Read, Reader, Record, Wake

__all__ = ["Around", "ClusterRead", "as_names", "as_record", "read_snapshot", "snapshot_of", "survey", "survey_reads"]


@dataclass(frozen=True, slots=True)
class ClusterRead:
    """A cluster as it was seen. `version`, `children_version`: of its scope, read with its slots in one read.
    `record_version`: of its record."""

    seen: ClusterSeen
    version: int
    children_version: int
    record_version: int

    @property
    def name(self) -> ClusterName:
        """Which cluster."""
        return self.seen.name


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around an assignment, with the versions read: holds, each cluster and named scope in which its node
    takes a slot, and the lanes that go before. First those of the plan, then those in which the node keeps a slot."""

    installation: str
    holds: tuple[Hold, ...]
    control_version: int
    strangers_version: int | None
    clusters: tuple[ClusterRead, ...]
    scopes: tuple[ScopeRead, ...]
    ahead: tuple[LaneAhead, ...]

    def with_declared(self, own: ScopeName | None) -> Around:
        """As it will stand when a router has declared a runner's `own` scope, where nobody else has."""
        scopes = tuple(
            replace(read, seen=replace(read.seen, capacity=OWN_CAPACITY))
            if read.name == own and read.seen.capacity is None
            else read
            for read in self.scopes
        )
        return replace(self, scopes=scopes)

    @property
    def versions(self) -> tuple[tuple[str, int, int], ...]:
        """What changes whenever a slot in one of its scopes is taken or freed."""
        return tuple((read.name, read.version, read.children_version) for read in self.reads)

    @property
    def reads(self) -> tuple[ClusterRead | ScopeRead, ...]:
        """Its clusters and named scopes, for what is the same in both."""
        return (*self.clusters, *self.scopes)


def survey(
    tree: Reader,
    plan: Plan,
    planned: PlannedNode,
    record: NodeRecord,
    now: datetime,
    *,
    wake: Wake | None = None,
    known: Known | None = None,
    hypothetical: bool = False,
) -> Around:
    """Read what stands around the assignment of `planned`. `record`: its node's.

    `hypothetical`: the plan is not written; a cluster without a record counts as empty, and no take rests on it. Else
    such a cluster raises `TaskUnknown`.
    """
    known = known or Known()
    names = _around(planned, record, cluster=True)
    control, strangers, *answers = tree.read(*survey_reads(planned, record, wake))
    reports = as_record(strangers)
    stopped = layout.strangers(reports).stopped
    installation = layout.check_layout(as_record(control))
    if stopped is not None:
        installation = installation.model_copy(update={"holds": (stopped, *installation.holds)})
    assert isinstance(control, Record)
    clusters: list[ClusterRead] = []
    open_names: dict[ClusterName, Names] = {}
    for i, name in enumerate(names):
        found, slots, entries = as_record(answers[3 * i]), as_names(answers[3 * i + 1]), as_names(answers[3 * i + 2])
        if found is None or slots is None or entries is None:
            if not hypothetical:
                raise TaskUnknown(f"{name} has no record: no task was ever planned for it.")
            clusters.append(ClusterRead(ClusterSeen(name), NOT_THERE, NOT_THERE, NOT_THERE))
            continue
        seen = ClusterSeen(
            name=name,
            slots=layout.slots(slots.names),
            record=layout.decode(ClusterRecord, found, layout.cluster(name)),
        )
        clusters.append(ClusterRead(seen, slots.stat.version, slots.stat.children_version, found.stat.version))
        if name in planned.scopes:
            open_names[name] = entries
    task = plan.task.task_id
    before = lanes_before(tree, open_names, task, known)
    mine = {read.name: read.seen for read in clusters}
    return Around(
        installation=installation.installation,
        holds=installation.holds,
        control_version=control.stat.version,
        strangers_version=None if reports is None else reports.stat.version,
        clusters=tuple(clusters),
        scopes=tuple(read_scopes(tree, _around(planned, record, cluster=False), known, wake).values()),
        ahead=lanes_ahead(tree, before, installation.holds, mine, now, known, wake),
    )


def survey_reads(planned: PlannedNode, record: NodeRecord, wake: Wake | None) -> tuple[Read, ...]:
    """What `survey` asks for first."""
    reads: list[Read] = [Get(layout.CONTROL, wake), Get(layout.STRANGERS, wake)]
    for name in _around(planned, record, cluster=True):
        reads += (
            Get(layout.cluster(name), wake),
            Children(layout.scope(name), wake),
            Children(layout.open_tasks(name), wake),
        )
    return tuple(reads)


def _around(planned: PlannedNode, record: NodeRecord, *, cluster: bool) -> list[str]:
    """The clusters, or the named scopes, of the assignment, and then those in which its node keeps a slot."""
    everywhere = dict.fromkeys([*planned.scopes, *record.kept])
    return [scope for scope in everywhere if is_cluster(scope) is cluster]


def snapshot_of(
    plan: Plan,
    planned: PlannedNode,
    *,
    control: TaskControl,
    record: NodeRecord,
    progress: Progress,
    place: int | None,
    around: Around | None = None,
    entry: Record | None = None,
    ended: Outcome | None = None,
) -> Snapshot:
    """What admission decides on, from what was read. Without `around` nothing stands around it. `entry`: the node's in
    its line."""
    task = plan.task
    return Snapshot(
        task=task.task_id,
        node=planned.id,
        cluster=task.cluster_name,
        owner=task.owner,
        cap=plan.cap,
        max_failures=task.taskerman_params.failure_args.max_failures,
        not_after=plan.accepted.not_after,
        control=control,
        record=record,
        progress=progress,
        exclusive=task.taskerman_params.lease_args.exclusive,
        priority=task.taskerman_params.lease_args.priority,
        holds=around.holds if around else (),
        clusters=tuple(read.seen for read in around.clusters) if around else (),
        scopes=tuple(read.seen for read in around.scopes if _concerns(read, planned)) if around else (),
        lane=planned.lane,
        place=place,
        ahead=around.ahead if around else (),
        ended=ended,
        window=plan.window,
        clock_off=layout.clock_off(entry) if entry else None,
    )


def _concerns(read: ScopeRead, planned: PlannedNode) -> bool:
    """Of a named scope in which the plan takes no slot only a slot that the node keeps there does."""
    return read.name in planned.scopes or any(slot.node == planned.id for slot in read.seen.slots)


def read_snapshot(tree: Reader, plan: Plan, node: NodeId, now: datetime) -> Snapshot:
    """What admission decides on for one assignment, read without taking part. Raises `TaskUnknown`."""
    task = plan.task.task_id
    planned = plan.node(node)
    if planned is None:
        raise TaskUnknown(f"{node} is not in the plan of {task}.")
    end, control, progress, found, line = tree.read(
        Get(layout.end(task, node)),
        Get(layout.control(task)),
        Get(layout.progress(task, node)),
        Get(layout.node(node)),
        Children(layout.line(task, planned.lane)),
    )
    found_end, found_control = as_record(end), as_record(control)
    if found_control is None:
        raise TaskUnknown(f"Task {task} has no control record any more.")
    found_progress, found_record, names = as_record(progress), as_record(found), as_names(line)
    entries = names.names if names else ()
    own = f".{layout.own_end(planned.rank)}"
    place = next((i for i, name in enumerate(entries) if name.endswith(own)), None)
    # Only where a window depends on it: the entry tells how the node's clock goes.
    timed = plan.window is not None and place is not None
    entry = tree.get(f"{layout.line(task, planned.lane)}/{entries[place or 0]}") if timed else None
    record = layout.decode(NodeRecord, found_record, layout.node(node)) if found_record else NodeRecord()
    return snapshot_of(
        plan,
        planned,
        control=layout.decode(TaskControl, found_control, layout.control(task)),
        record=record,
        progress=(
            layout.decode(Progress, found_progress, layout.progress(task, node)) if found_progress else Progress()
        ),
        place=place,
        around=survey(tree, plan, planned, record, now),
        entry=entry,
        ended=layout.decode(End, found_end, layout.end(task, node)).outcome if found_end else None,
    )
