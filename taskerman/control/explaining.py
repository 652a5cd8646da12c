"""EXPLAIN: why a task stands where it stands, by the very function that the agents ask, and what may be typed next.

The reasons are admission's own; only the commands are thought of here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from taskerman.control.brackets import left_over, open_brackets
from taskerman.control.desk import Desk
from taskerman.control.naming import check_node
from taskerman.control.places import list_slots
from taskerman.control.status import named, node_status
from taskerman.control.values import Explanation, HeldPlace, NodeExplanation, NodeState
from taskerman.coordination import overview as reading
from taskerman.coordination.belonging import strangers
from taskerman.coordination.overview import SeenAssignment, SeenTask
from taskerman.coordination.snapshot import read_snapshot
from taskerman.errors import NotFound
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.task import TaskState
from taskerman.policy.admission import admit, first_line
from taskerman.policy.snapshot import Admission, Reason, Snapshot, Waiting

__all__ = ["advise", "explain"]


def explain(desk: Desk, task: TaskId, node: NodeId | None = None) -> Explanation:
    """Why each node of `task` (or one) has not ended, or how it did; who holds the cluster's slots; what may help.

    Raises `TaskUnknown`, which says what became of a document without a plan, and `NotFound` for a node that is not
    in the plan.
    """
    if node is not None:
        check_node(node)
    with named(desk, task):
        seen = reading.see_task(desk.opened(), task)
    assignments = [assignment for assignment in seen.assignments if node in (None, assignment.planned.id)]
    if not assignments:
        raise NotFound(f"{node} is not in the plan of {task}.", next_step=f"`taskerman status {task}` lists its nodes.")
    places = tuple(place for scope in _scopes(seen) for place in list_slots(desk, scope))
    refusing = {stranger.node: stranger for stranger in strangers(desk.opened())}
    explained: list[NodeExplanation] = []
    commands: list[str] = []
    for assignment in assignments:
        if assignment.end is not None:
            explained.append(_ended(assignment, assignment.end))
            commands += _after(task, assignment.planned.id, assignment.end)
            continue
        snapshot = read_snapshot(desk.opened(), seen.plan, assignment.planned.id, desk.now())
        answer = admit(snapshot, desk.now())
        stranger = refusing.get(snapshot.node)
        if stranger is not None and isinstance(answer, Waiting) and answer.reason is Reason.NOT_IN_LINE:
            # Its agent is there, and will not come.
            answer = replace(answer, text=f"It starts nothing until a person accepts it: {stranger.why}.")
            commands.append('taskerman init --accept-installation --why "..."')
        explained.append(_open(assignment, answer))
        commands += advise(snapshot, answer, places)
    brackets = open_brackets(desk, task)
    for one in brackets:
        if left_over(one):
            commands.append(f'taskerman brackets close {one.cluster_name} {one.name} --why "..."')
    return Explanation(
        task_id=task,
        cluster_name=seen.plan.task.cluster_name,
        state=seen.control.state,
        why=seen.control.why,
        nodes=tuple(explained),
        slots=places,
        next=tuple(dict.fromkeys([*commands, *_of_the_task(seen)])),
        brackets=brackets,
    )


def advise(snapshot: Snapshot, answer: Admission, places: Sequence[HeldPlace] = ()) -> tuple[str, ...]:
    """What may be typed about a node that waits, the harmless first. Pure. Empty when waiting is all there is to do.

    `places`: the cluster's slots, for the names of who keeps one.
    """
    if not isinstance(answer, Waiting):
        return ()
    commands: Iterable[str]
    match answer.reason:
        case Reason.HOLD:
            commands = (f"taskerman unhold {hold.id}" for hold in snapshot.holding())
        case Reason.KEPT_SLOT:
            kept = [place for place in places if place.state.kept and place.node != snapshot.node]
            commands = [command for place in kept for command in _about_kept(place)]
        case Reason.BREAKER:
            stopped = [seen.name for seen in snapshot.clusters if seen.record.open_until is not None]
            commands = [f"taskerman breaker show {name}" for name in stopped]
            commands += [f'taskerman breaker reset {name} --why "..."' for name in stopped]
        case Reason.NODE_BUSY if (attempt := snapshot.record.attempt) is not None:
            other = attempt.task != snapshot.task
            commands = [f"taskerman explain {attempt.task} {snapshot.node}"] if other else []
        case Reason.OLDER_TASK:
            commands = (f"taskerman explain {lane.task}" for lane in snapshot.ahead if lane.binds)
        case Reason.NO_ROOM | Reason.EXCLUSIVE:
            commands = (f"taskerman slots {seen.name}" for seen in snapshot.clusters if snapshot.others(seen.slots))
        case Reason.EXPIRED | Reason.NODE_GONE:
            commands = [f'taskerman cancel {snapshot.task} --why "..."']
        case Reason.BUDGET:
            commands = (f"taskerman explain {snapshot.task} {failed}" for failed in sorted(snapshot.control.counted()))
        case Reason.SCOPE_TURN | Reason.SCOPE_FULL:
            before = [snapshot.before(scope)[:1] for scope in snapshot.scopes]
            commands = [
                "taskerman scopes list",
                *(f"taskerman explain {task}" for first in before for task, _ in first),
            ]
        case Reason.SCOPE_UNKNOWN:
            undeclared = (scope.name for scope in snapshot.scopes if scope.capacity is None)
            commands = (f'taskerman scopes set {name} CAPACITY --why "..."' for name in undeclared)
        case _:
            commands = []
    return tuple(commands)


def _scopes(seen: SeenTask) -> Sequence[str]:
    return tuple(dict.fromkeys(scope for lane in seen.plan.header.lanes for scope in lane.scopes))


def _about_kept(place: HeldPlace) -> list[str]:
    return [
        f"taskerman explain {place.task_id} {place.node}",
        f"taskerman dlq redrive {place.task_id} {place.node}",
        f'taskerman slots release {place.node} --why "..."',
    ]


def _of_the_task(seen: SeenTask) -> list[str]:
    task = seen.plan.task.task_id
    match seen.control.state:
        case TaskState.HALTED:
            return [f"taskerman resume {task}", f'taskerman cancel {task} --why "..."']
        case TaskState.PARKED:
            return [
                f"taskerman status {task}",
                f'taskerman approve {task} --why "..."',
                f'taskerman cancel {task} --why "..."',
            ]
        case _:
            return []


def _after(task: TaskId, node: NodeId, end: End) -> list[str]:
    """About a node that has ended, if its dead letter is still open."""
    if end.dead_letter not in (DeadLetterState.OWED, DeadLetterState.SENT):
        return []
    commands = [f"taskerman dlq show {task} {node}"]
    if end.outcome is Outcome.GONE:  # nobody is there to try it again, and the letter keeps the task in ZooKeeper
        commands.append(f'taskerman dlq discard {task} {node} --why "..."')
    else:
        commands.append(f"taskerman dlq redrive {task} {node}")
    if end.kept:
        commands.append(f'taskerman slots release {node} --why "..."')
    return commands


def _ended(seen: SeenAssignment, end: End) -> NodeExplanation:
    text = f"Ended {end.outcome.value}" + (f": {first_line(end.reason)}" if end.reason else "")
    if end.kept:
        text = f"{text.rstrip('.')}. Its slot in {', '.join(end.kept)} was kept"
    return NodeExplanation(
        node=seen.planned.id,
        state=NodeState.ENDED,
        reason=None,
        text=text.rstrip(".") + ".",
        outcome=end.outcome,
    )


def _open(seen: SeenAssignment, answer: Admission) -> NodeExplanation:
    status = node_status(seen)
    if not isinstance(answer, Waiting):
        return NodeExplanation(node=status.node, state=status.state, reason=None, text="It may begin now.")
    if status.state is NodeState.ACTING and answer.reason in (Reason.NOT_OPEN, Reason.EXPIRED):
        text = f"{status.node} still acts: attempt {status.attempt}. {answer.text}"
    else:
        text = answer.text
    return NodeExplanation(
        node=status.node, state=status.state, reason=answer.reason.value, text=text, until=answer.until
    )
