"""STATUS: what is going on, and how one task stands. Reads only, and says what is recorded, not what may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from taskerman.control.brackets import open_brackets
from taskerman.control.breakers import show_breakers
from taskerman.control.desk import Desk
from taskerman.control.naming import check_task
from taskerman.control.values import BreakerState, NodeState, NodeStatus, OpenTaskLine, Overview, TaskStatus, Verdict
from taskerman.coordination import overview as reading
from taskerman.coordination.belonging import strangers
from taskerman.coordination.overview import SeenAssignment, SeenTask
from taskerman.errors import NotFound, NotPermitted, QueuesUnavailable, TaskUnknown
from taskerman.model.assignment import Progress, ProgressState
from taskerman.model.ids import TaskId
from taskerman.model.outcome import Outcome
from taskerman.model.task import TaskState

__all__ = ["describe", "named", "node_status", "overview", "refusal_of", "task_status", "waiting_documents"]

_STATES = {
    ProgressState.WAITING: NodeState.WAITING,
    ProgressState.ACTING: NodeState.ACTING,
    ProgressState.RETRYING: NodeState.RETRYING,
}


def overview(desk: Desk) -> Overview:
    """The holds, the breakers that are not closed, and every open task by cluster, oldest first.

    Raises `LayoutUnsupported`.
    """
    tree = desk.opened()
    control = reading.installation(tree)
    lines = []
    for cluster, header in reading.open_tasks(tree):
        try:
            seen = reading.see_task(tree, header.task)
        except TaskUnknown:
            continue  # put away since its header was read
        task = seen.plan.task
        lines.append(
            OpenTaskLine(
                task_id=header.task,
                cluster_name=cluster,
                owner=task.owner,
                action=task.action,
                state=seen.control.state,
                why=seen.control.why,
                cap=seen.plan.cap,
                nodes=len(seen.plan.nodes),
                counts=_counts(map(node_status, seen.assignments)),
            )
        )
    return Overview(
        installation=control.installation,
        holds=control.holds,
        tasks=tuple(lines),
        waiting_documents=waiting_documents(desk),
        strangers=tuple(strangers(tree)),
        breakers=tuple(one for one in show_breakers(desk) if one.state is not BreakerState.CLOSED),
        brackets=open_brackets(desk),
    )


def task_status(desk: Desk, task: TaskId) -> TaskStatus:
    """Each node of `task`. Raises `TaskUnknown`, which says what became of a document that has no plan."""
    with named(desk, task):
        seen = describe(reading.see_task(desk.opened(), task))
        return seen.model_copy(update={"brackets": open_brackets(desk, task)})


@contextmanager
def named(desk: Desk, task: str) -> Iterator[TaskId]:
    """Around whatever a verb does with the task that a person named: the name can be one, and an unknown one is told
    what is known of it. Raises `UsageError`, `TaskUnknown`."""
    checked = check_task(task)
    try:
        yield checked
    except TaskUnknown:
        raise _unplanned(desk, checked) from None


def describe(seen: SeenTask) -> TaskStatus:
    """The status of a task that was read."""
    task = seen.plan.task
    nodes = tuple(node_status(assignment) for assignment in seen.assignments)
    return TaskStatus(
        task_id=task.task_id,
        cluster_name=task.cluster_name,
        owner=task.owner,
        action=task.action,
        state=seen.control.state,
        why=seen.control.why,
        verdict=_verdict(seen.control.state, nodes),
        cap=seen.plan.cap,
        max_failures=task.taskerman_params.failure_args.max_failures,
        planned_at=seen.plan.accepted.at,
        not_after=seen.plan.accepted.not_after,
        counts=_counts(nodes),
        nodes=nodes,
    )


def node_status(seen: SeenAssignment) -> NodeStatus:
    """One node's share."""
    end, progress = seen.end, seen.progress or Progress()
    state = NodeState.PLANNED if seen.progress is None else _STATES[progress.state]
    if end is not None:
        return NodeStatus(
            node=seen.planned.id,
            az=seen.planned.az,
            rank=seen.planned.rank,
            state=NodeState.ENDED,
            attempts=end.attempts,
            attempt=end.attempt,
            outcome=end.outcome,
            code=end.code,
            reason=end.reason,
            since=end.at,
            kept=end.kept,
            dead_letter=end.dead_letter,
        )
    return NodeStatus(
        node=seen.planned.id,
        az=seen.planned.az,
        rank=seen.planned.rank,
        state=state,
        attempts=progress.k,
        deferrals=progress.deferrals,
        attempt=progress.attempt,
        reason=progress.why,
        since=seen.since,
        next_at=progress.next_at,
    )


def waiting_documents(desk: Desk) -> int | None:
    """How many documents lie in the global queue, approximately. None: the queue does not say."""
    try:
        depth = desk.queues.depth(desk.names.tasks)
    except (QueuesUnavailable, NotFound, NotPermitted):
        return None
    return depth.visible + depth.in_flight + depth.delayed


def refusal_of(desk: Desk, task: TaskId) -> tuple[str, str] | None:
    """The sha256 and the reason of the document that was refused under that id, if one was."""
    refused = [refusal for refusal in reading.refusals(desk.opened()) if refusal.task_id == task]
    if not refused:
        return None
    last = max(refused, key=lambda refusal: refusal.at)
    return last.sha256, f"{last.code}: {last.reason}"


def _unplanned(desk: Desk, task: TaskId) -> TaskUnknown:
    """What is known of an id without a plan, as the error that says so."""
    if (refused := refusal_of(desk, task)) is not None:
        return TaskUnknown(
            f"Task {task} was refused: {refused[1]}",
            next_step=f"`taskerman dlq show {refused[0]}` prints the document.",
        )
    waiting = waiting_documents(desk)
    if waiting is None:
        return TaskUnknown(
            f"There is no task {task}, and {desk.names.tasks} cannot be looked at.",
            next_step="`taskerman doctor` says why; `taskerman status` lists the open tasks.",
        )
    if waiting == 0:
        return TaskUnknown(
            f"There is no task {task}, and no document waits in {desk.names.tasks}.",
            next_step=f"`taskerman status` lists the open tasks, `taskerman history --task {task}` what was put away.",
        )
    return TaskUnknown(
        f"There is no task {task} yet; about {waiting} documents wait in {desk.names.tasks}.",
        next_step="If it stays so, no router is running: `taskerman router`.",
    )


def _counts(nodes: Iterable[NodeStatus]) -> dict[str, int]:
    found = Counter(str(node.outcome or node.state) for node in nodes)
    order = [*map(str, NodeState), *map(str, Outcome)]
    return {name: found[name] for name in order if found[name]}


def _verdict(state: TaskState, nodes: Sequence[NodeStatus]) -> Verdict:
    """How the task stands as a whole. While a node acts it is going on, whatever else was decided."""
    if any(node.state is NodeState.ACTING for node in nodes):
        return Verdict.GOING_ON
    open_nodes = [node for node in nodes if node.outcome is None]
    if state in (TaskState.CANCELLED, TaskState.EXPIRED):
        return Verdict.CANCELLED if not open_nodes else Verdict.GOING_ON
    if open_nodes:
        return Verdict.HALTED if state in (TaskState.HALTED, TaskState.PARKED) else Verdict.GOING_ON
    outcomes = {node.outcome for node in nodes}
    if outcomes & {Outcome.FAILED, Outcome.UNSAFE, Outcome.LOST, Outcome.REJECTED, Outcome.GONE}:
        return Verdict.DEAD_LETTERS
    return Verdict.CANCELLED if outcomes & {Outcome.EXPIRED, Outcome.CANCELLED} else Verdict.DONE
