"""Reading for people: what is open, who holds which slot, how a task stands, what needs somebody.

Hints, as every read is: nothing here takes part, waits or changes anything, and no verb decides on it. What a verb
rests on it reads again, in its own transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from taskerman.coordination import layout
from taskerman.coordination.known import Known
from taskerman.coordination.plans import read_plan, the_plan
from taskerman.coordination.reading import get_each
from taskerman.coordination.scopes import read_scopes
from taskerman.coordination.snapshot import as_names, as_record
from taskerman.errors import TaskUnknown
from taskerman.model.assignment import Progress
from taskerman.model.attempt import NodeRecord
from taskerman.model.breaker import ClusterRecord
from taskerman.model.command import CommandNote
from taskerman.model.hold import Control
from taskerman.model.ids import ClusterName, NodeId, ScopeName, TaskId, is_cluster
from taskerman.model.outcome import DeadLetterState, End
from taskerman.model.plan import OpenTask, Plan, PlannedNode, Refusal, ScopePlace
from taskerman.model.slot import Slot, SlotNote
from taskerman.model.task import TaskControl
from taskerman.ports.tree import Children, Get, Names, Record, Tree

__all__ = [
    "HeldSlot",
    "SeenAssignment",
    "SeenScope",
    "SeenTask",
    "clusters",
    "installation",
    "is_known",
    "named_scopes",
    "node_records",
    "open_tasks",
    "refusals",
    "see_task",
    "slots",
    "undelivered",
]


@dataclass(frozen=True, slots=True)
class SeenAssignment:
    """One node's share as it is now. Neither `end` nor `progress`: its agent has not joined yet.

    `since`: when that record was last written, by the tree's clock.
    """

    planned: PlannedNode
    end: End | None
    progress: Progress | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class SeenTask:
    """A task as it is now, its nodes in rank order."""

    plan: Plan
    control: TaskControl
    assignments: tuple[SeenAssignment, ...]


@dataclass(frozen=True, slots=True)
class HeldSlot:
    """A slot and what its taker wrote on it: a node for its attempt, a host for its command."""

    scope: str
    slot: Slot
    note: SlotNote | CommandNote


def installation(tree: Tree) -> Control:
    """The installation's control record, with its holds; a stop that a node put is shown as one of them.

    Raises `InstallationRefused`, `LayoutUnsupported`.
    """
    control, reports = map(as_record, tree.read(Get(layout.CONTROL), Get(layout.STRANGERS)))
    found, stopped = layout.check_layout(control), layout.strangers(reports).stopped
    return found if stopped is None else found.model_copy(update={"holds": (stopped, *found.holds)})


def clusters(tree: Tree) -> Mapping[ClusterName, ClusterRecord]:
    """The record of every cluster that a task was ever planned for."""
    names = _names(tree, layout.CLUSTERS)
    records = get_each(tree, [layout.cluster(name) for name in names])
    return {
        name: layout.decode(ClusterRecord, record, layout.cluster(name))
        for name, record in zip(names, records, strict=True)
        if record is not None
    }


def open_tasks(tree: Tree) -> Sequence[tuple[ClusterName, OpenTask]]:
    """Every open task, by cluster, oldest first."""
    clusters = _names(tree, layout.CLUSTERS)
    listings = tree.read(*(Children(layout.open_tasks(cluster)) for cluster in clusters))
    paths = [
        (cluster, f"{layout.open_tasks(cluster)}/{name}")
        for cluster, listing in zip(clusters, listings, strict=True)
        for name in _of(as_names(listing))
    ]
    records = get_each(tree, [path for _, path in paths])
    return [
        (cluster, layout.decode(OpenTask, record, path))
        for (cluster, path), record in zip(paths, records, strict=True)
        if record is not None
    ]


def see_task(tree: Tree, task: TaskId) -> SeenTask:
    """The task with everything that is recorded of its nodes. Raises `TaskUnknown`, `TaskEnded` (it was put away)."""
    tree.sync(layout.task(task))
    plan, control_record = the_plan(tree, task), tree.get(layout.control(task))
    if control_record is None:
        plan = the_plan(tree, task)  # it was put away in between
        raise TaskUnknown(f"There is no task {task}.", next_step="`taskerman status` lists the open ones.")
    # The ends last: an assignment that ends in between is then seen twice, where the other order would lose it.
    progresses = get_each(tree, [layout.progress(task, node.id) for node in plan.nodes])
    ends = get_each(tree, [layout.end(task, node.id) for node in plan.nodes])
    return SeenTask(
        plan=plan,
        control=layout.decode(TaskControl, control_record, layout.control(task)),
        assignments=tuple(
            _assignment(task, planned, end, progress)
            for planned, end, progress in zip(plan.nodes, ends, progresses, strict=True)
        ),
    )


def node_records(tree: Tree, nodes: Sequence[NodeId]) -> Sequence[NodeRecord | None]:
    """Their records, in the order given; None for a node whose agent never registered."""
    return [
        None if record is None else layout.decode(NodeRecord, record, layout.node(node))
        for node, record in zip(nodes, get_each(tree, [layout.node(node) for node in nodes]), strict=True)
    ]


def slots(tree: Tree, scope: str | None = None) -> Sequence[HeldSlot]:
    """Every slot that is held, or those of one scope."""
    scopes = _names(tree, layout.SCOPES) if scope is None else (scope,)
    listings = tree.read(*(Children(layout.scope(name)) for name in scopes))
    held = [
        (name, slot)
        for name, listing in zip(scopes, listings, strict=True)
        for slot in layout.slots(_of(as_names(listing)))
    ]
    notes = get_each(tree, [layout.slot(name, slot) for name, slot in held])
    return [
        HeldSlot(name, slot, _note(name, slot, note))
        for (name, slot), note in zip(held, notes, strict=True)
        if note is not None  # freed since the names were read
    ]


def _note(scope: str, slot: Slot, note: Record) -> SlotNote | CommandNote:
    path = layout.slot(scope, slot)
    return layout.decode(CommandNote, note, path) if slot.of_command(scope) else layout.decode(SlotNote, note, path)


def is_known(tree: Tree, cluster: ClusterName) -> bool:
    """Whether a task was ever planned for the cluster."""
    return tree.get(layout.cluster(cluster)) is not None


@dataclass(frozen=True, slots=True)
class SeenScope:
    """A named scope and its queue, first come first. `capacity` None: undeclared, and commands are in it."""

    name: ScopeName
    capacity: int | None
    places: tuple[ScopePlace, ...]


def named_scopes(tree: Tree) -> Sequence[SeenScope]:
    """Every named scope that was declared, and the others in which commands are."""
    names = [name for name in _names(tree, layout.SCOPES) if not is_cluster(name)]
    found = read_scopes(tree, names, Known())
    return [
        SeenScope(name, found[name].seen.capacity, tuple(found[name].places.values()))
        for name in names
        if found[name].seen.capacity is not None or found[name].seen.slots
    ]


def undelivered(tree: Tree, *, everything: bool = False) -> Sequence[tuple[Plan, NodeId, End]]:
    """The assignments that need a person: owed or announced dead letters; with `everything`, settled ones too."""
    found = []
    for task in _names(tree, layout.TASKS):
        nodes = _names(tree, layout.ends(task))
        paths = [layout.end(task, node) for node in nodes]
        letters = [
            (node, end)
            for node, path, record in zip(nodes, paths, get_each(tree, paths), strict=True)
            if record is not None and _is_letter(end := layout.decode(End, record, path), everything)
        ]
        plan = read_plan(tree, task) if letters else None
        if isinstance(plan, Plan):
            found += [(plan, node, end) for node, end in letters]
    return found


def refusals(tree: Tree) -> Sequence[Refusal]:
    """Every document that was not accepted and is still kept."""
    paths = [layout.refused(name) for name in _names(tree, layout.REFUSED)]
    return [
        layout.decode(Refusal, record, path)
        for path, record in zip(paths, get_each(tree, paths), strict=True)
        if record is not None
    ]


def _is_letter(end: End, everything: bool) -> bool:
    if everything:
        return end.dead_letter is not DeadLetterState.NONE
    return end.dead_letter in (DeadLetterState.OWED, DeadLetterState.SENT)


def _assignment(task: TaskId, planned: PlannedNode, end: Record | None, progress: Record | None) -> SeenAssignment:
    if end is not None:  # a progress record read beside it was deleted by the same commit
        ended = layout.decode(End, end, layout.end(task, planned.id))
        return SeenAssignment(planned, end=ended, progress=None, since=ended.at)
    if progress is None:
        return SeenAssignment(planned, end=None, progress=None, since=None)
    return SeenAssignment(
        planned,
        end=None,
        progress=layout.decode(Progress, progress, layout.progress(task, planned.id)),
        since=datetime.fromtimestamp(progress.stat.changed_ms / 1000, UTC),
    )


def _names(tree: Tree, path: str) -> tuple[str, ...]:
    return _of(tree.children(path))


def _of(names: Names | None) -> tuple[str, ...]:
    return () if names is None else names.names
