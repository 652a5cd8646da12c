"""Reading what admission decides on: the same values for the agent, which watches them, and for `explain`.

Reads are hints. Every value that admission depends on comes with the version that the take will check, and, for an
agent, with a watch.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime

from taskerman.coordination import layout
from taskerman.errors import TaskUnknown
from taskerman.model.assignment import Progress
from taskerman.model.attempt import NodeRecord
from taskerman.model.hold import Control, Hold
from taskerman.model.ids import ClusterName, NodeId, TaskId
from taskerman.model.outcome import End
from taskerman.model.plan import LANE, OpenTask, Plan
from taskerman.model.slot import Slot
from taskerman.model.task import TaskControl
from taskerman.policy.admission import LaneAhead, Snapshot, gate
from taskerman.ports.tree import Children, Get, Names, Read, Record, Stat, Tree, Wake

__all__ = ["Around", "as_names", "as_record", "read_snapshot", "survey"]

Answer = Record | Stat | Names | None


def as_record(answer: Answer) -> Record | None:
    """The answer to a `Get`."""
    assert answer is None or isinstance(answer, Record)
    return answer


def as_names(answer: Answer) -> Names | None:
    """The answer to a `Children`."""
    assert answer is None or isinstance(answer, Names)
    return answer


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around an assignment: holds, the cluster's slots, the older tasks; with the versions read.

    `own_entry`: the path of the task's own header among the cluster's open tasks, if it is there.
    """

    installation: str
    holds: tuple[Hold, ...]
    control_version: int
    cluster_version: int
    scope_version: int
    slots: tuple[Slot, ...]
    ahead: tuple[LaneAhead, ...]
    own_entry: str | None


def survey(
    tree: Tree,
    plan: Plan,
    now: datetime,
    *,
    wake: Wake | None = None,
    headers: MutableMapping[str, OpenTask] | None = None,
) -> Around:
    """Read what stands around the task of `plan`. `headers`: a cache of open tasks' headers, which never change."""
    task = plan.task
    cluster = task.cluster_name
    control, record, scope, entries = tree.read(
        Get(layout.CONTROL, wake),
        Get(layout.cluster(cluster), wake),
        Children(layout.scope(cluster), wake),
        Children(layout.open_tasks(cluster), wake),
    )
    installation = layout.check_layout(as_record(control))
    cluster_record, scope_names, open_names = as_record(record), as_names(scope), as_names(entries)
    if cluster_record is None or scope_names is None or open_names is None:
        raise TaskUnknown(f"{cluster} has no record: no task was ever planned for it.")
    assert isinstance(control, Record)
    slots = layout.slots(scope_names.names)
    older, own = _older(tree, cluster, open_names.names, task.task_id, {} if headers is None else headers)
    return Around(
        installation=installation.installation,
        holds=installation.holds,
        control_version=control.stat.version,
        cluster_version=cluster_record.stat.version,
        scope_version=scope_names.stat.version,
        slots=slots,
        ahead=_lanes(tree, cluster, older, installation, slots, now, wake),
        own_entry=own,
    )


def read_snapshot(tree: Tree, plan: Plan, node: NodeId, now: datetime) -> Snapshot:
    """What admission decides on for one assignment, read without taking part. Raises `TaskUnknown`."""
    task = plan.task
    planned = plan.node(node)
    if planned is None:
        raise TaskUnknown(f"{node} is not in the plan of {task.task_id}.")
    end, control, progress, record, line = tree.read(
        Get(layout.end(task.task_id, node)),
        Get(layout.control(task.task_id)),
        Get(layout.progress(task.task_id, node)),
        Get(layout.node(node)),
        Children(layout.line(task.task_id, planned.lane)),
    )
    found_end, found_control = as_record(end), as_record(control)
    if found_control is None:
        raise TaskUnknown(f"Task {task.task_id} has no control record any more.")
    found_progress, found_record, names = as_record(progress), as_record(record), as_names(line)
    entries = names.names if names else ()
    place = next((i for i, name in enumerate(entries) if name.endswith(f".{layout.own_end(planned.rank)}")), None)
    around = survey(tree, plan, now)
    return Snapshot(
        task=task.task_id,
        node=node,
        cluster=task.cluster_name,
        owner=task.owner,
        cap=plan.cap,
        max_failures=task.taskerman_params.failure_args.max_failures,
        not_after=plan.accepted.not_after,
        control=layout.decode(TaskControl, found_control, layout.control(task.task_id)),
        record=layout.decode(NodeRecord, found_record, layout.node(node)) if found_record else NodeRecord(),
        progress=(
            layout.decode(Progress, found_progress, layout.progress(task.task_id, node))
            if found_progress
            else Progress()
        ),
        holds=around.holds,
        slots=around.slots,
        place=place,
        ahead=around.ahead,
        ended=layout.decode(End, found_end, layout.end(task.task_id, node)).outcome if found_end else None,
    )


def _older(
    tree: Tree,
    cluster: ClusterName,
    names: tuple[str, ...],
    task: TaskId,
    headers: MutableMapping[str, OpenTask],
) -> tuple[list[OpenTask], str | None]:
    """The headers of the open tasks before `task`, oldest first, and the path of its own."""
    parent = layout.open_tasks(cluster)
    paths = [f"{parent}/{name}" for name in names]
    missing = [path for path in paths if path not in headers]
    for path, answer in zip(missing, tree.read(*(Get(path) for path in missing)), strict=True):
        record = as_record(answer)
        if record is not None:
            headers[path] = layout.decode(OpenTask, record, path)
    for path in [path for path in headers if path not in paths]:
        del headers[path]
    older: list[OpenTask] = []
    for path in paths:
        header = headers.get(path)
        if header is None:
            continue  # closed since the names were read
        if header.task == task:
            return older, path
        older.append(header)
    return older, None


def _lanes(
    tree: Tree,
    cluster: ClusterName,
    older: list[OpenTask],
    installation: Control,
    slots: tuple[Slot, ...],
    now: datetime,
    wake: Wake | None,
) -> tuple[LaneAhead, ...]:
    """The older tasks with somebody in their line, and what the gates of their heads say."""
    reads: list[Read] = []
    for header in older:
        reads += (Children(layout.line(header.task, LANE), wake), Get(layout.control(header.task), wake))
    answers = tree.read(*reads)
    waiting: list[tuple[OpenTask, str, TaskControl]] = []
    for i, header in enumerate(older):
        line, control = as_names(answers[2 * i]), as_record(answers[2 * i + 1])
        if line and line.names and control:
            path = f"{layout.line(header.task, LANE)}/{line.names[0]}"
            waiting.append((header, path, layout.decode(TaskControl, control, layout.control(header.task))))
    heads = tree.read(*(Get(path) for _, path, _ in waiting))
    lanes = []
    for (header, _, state), answer in zip(waiting, heads, strict=True):
        head = as_record(answer)
        if head is None:
            continue  # it took or left since; its line's watch tells of the next one
        node = head.data.decode()
        as_its_head = Snapshot(
            task=header.task,
            node=node,
            cluster=cluster,
            owner=header.owner,
            cap=header.cap,
            max_failures=header.max_failures,
            not_after=now,
            control=state,
            record=NodeRecord(),
            progress=Progress(),
            holds=installation.holds,
            slots=slots,
        )
        lanes.append(LaneAhead(task=header.task, head=node, gate=gate(as_its_head, now)))
    return tuple(lanes)
