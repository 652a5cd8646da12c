"""END: how an attempt, or an assignment that never began, gets its recorded outcome. One transaction each.

Retried for ever by the agent: the journal has the ending before the first try, and nothing else starts on the node
before it is committed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from taskerman.coordination import layout
from taskerman.coordination.answers import as_record, open_entries
from taskerman.coordination.node_moves import NodeMoves, Over
from taskerman.errors import AnswerUnknown, Bug
from taskerman.model.assignment import Progress
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.breaker import ClusterRecord
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Plan
from taskerman.model.slot import SlotNote, SlotState
from taskerman.model.task import TaskControl, TaskState
from taskerman.policy.breaker import BreakerLimits, BreakerTurn, after_end, turned
from taskerman.policy.conclusion import Conclusion, Ending, Pace, conclude, give_up
from taskerman.ports.tree import Check, Committed, Create, Delete, Exists, Get, Op, Refusal, Set, Stat, Tree

__all__ = ["Dice", "end_attempt", "end_waiting", "is_over_after"]

_MISSING_TRIES = 20


@dataclass(frozen=True, slots=True)
class Dice:
    """What an ending needs of the world: the time, one throw in [0, 1), and the fleet's own measures."""

    now: datetime
    throw: float
    pace: Pace = field(default_factory=Pace)
    breaker: BreakerLimits = field(default_factory=BreakerLimits)


def end_attempt(moves: NodeMoves, plan: Plan, attempt: Attempt, ending: Ending, dice: Dice) -> Conclusion | None:
    """Record how `attempt` ended. None: an earlier call of this incarnation already did, and its answer was lost.

    Raises `CoordinationUnavailable` (call again), `Fenced` (another incarnation has it now), `Bug` (nothing was
    changed: the tree does not hold what the attempt took, and a person must look).
    """
    # What this incarnation knows of its record is nearly always so, and the version in the commit says whether: so it
    # is read only when it proved old. Whoever waits for the slot waits for one trip less.
    missing = 0
    while moves.record.attempt is not None and moves.record.attempt.id == attempt.id:
        found = _end(moves, plan, attempt, ending, dice)
        if found is None:  # as after an end of ours whose answer was lost
            held = moves.refresh().attempt
            if held is not None and held.id == attempt.id:
                raise Bug(f"Attempt {attempt.id} ends, and its task has no control or progress record.")
            return None
        conclusion, ops = found
        try:
            done = moves.tree.commit(ops)
        except AnswerUnknown:
            if moves.fence():
                continue  # it did not happen, and cannot any more
            if moves.record.attempt is None:
                return conclusion
            continue
        if isinstance(done, Committed):
            moves.version += 1
            moves.record = _freed(moves, attempt, conclusion)
            return conclusion
        moves.refresh()
        # Versions move as long as others do something, and that is no reason to give up. But what is not there, or is
        # there already, whenever it is read anew, was made so by nobody who keeps to the protocol.
        missing = 0 if done.why is Refusal.BAD_VERSION else missing + 1
        if missing == _MISSING_TRIES:
            raise Bug(f"Attempt {attempt.id} cannot be ended: {done.path}: {done.why.value}. Who changed it by hand?")
    return None


def is_over_after(moves: NodeMoves, plan: Plan, attempt: Attempt, ending: Ending, dice: Dice) -> bool:
    """Whether, as things stand, nothing of the task is taken any more once `attempt` has ended so: every node has ended
    then, or it is not open. A hint: who rests on it must be safe either way. Raises `CoordinationUnavailable`."""
    task, node = attempt.task, moves.node
    ctl, progress, ends = moves.tree.read(
        Get(layout.control(task)), Get(layout.progress(task, node)), Exists(layout.ends(task))
    )
    found_ctl, found_progress = as_record(ctl), as_record(progress)
    if found_ctl is None or found_progress is None or not isinstance(ends, Stat):
        return False
    control = layout.decode(TaskControl, found_ctl, layout.control(task))
    known = layout.decode(Progress, found_progress, layout.progress(task, node))
    conclusion = _conclusion(moves, plan, attempt, ending, dice, control, known)
    if (conclusion.control or control).state is not TaskState.OPEN:
        return True
    return conclusion.end is not None and ends.children + 1 == len(plan.nodes)


def _conclusion(
    moves: NodeMoves,
    plan: Plan,
    attempt: Attempt,
    ending: Ending,
    dice: Dice,
    control: TaskControl,
    progress: Progress,
) -> Conclusion:
    params = plan.task.taskerman_params
    return conclude(
        ending,
        attempt=attempt,
        node=moves.node,
        progress=progress,
        control=control,
        retry_count=params.workqueue_args.retry_count,
        max_failures=params.failure_args.max_failures,
        now=dice.now,
        dice=dice.throw,
        pace=dice.pace,
    )


def _freed(moves: NodeMoves, attempt: Attempt, conclusion: Conclusion) -> NodeRecord:
    """The node's record after the end."""
    kept = attempt.scopes if conclusion.keep is not None else ()
    return moves.record.model_copy(update={"attempt": None, "revoke": None, "journal": moves.journal, "kept": kept})


def _end(
    moves: NodeMoves, plan: Plan, attempt: Attempt, ending: Ending, dice: Dice
) -> tuple[Conclusion, list[Op]] | None:
    """What the end writes. None: there is nothing to end any more."""
    task, node = attempt.task, moves.node
    ctl, progress, ends, *clusters = moves.tree.read(
        Get(layout.control(task)),
        Get(layout.progress(task, node)),
        Exists(layout.ends(task)),
        *(Get(layout.cluster(cluster)) for cluster in attempt.clusters),
    )
    found_ctl, found_progress = as_record(ctl), as_record(progress)
    if found_ctl is None or found_progress is None or not isinstance(ends, Stat):
        return None
    control = layout.decode(TaskControl, found_ctl, layout.control(task))
    known = layout.decode(Progress, found_progress, layout.progress(task, node))
    conclusion = _conclusion(moves, plan, attempt, ending, dice, control, known)
    free = _freed(moves, attempt, conclusion)
    ops: list[Op] = [Set(layout.node(node), free.to_json(), moves.version)]
    if conclusion.end is not None:
        ops.append(Create(layout.end(task, node), conclusion.end.to_json()))
        ops.append(Delete(layout.progress(task, node), found_progress.stat.version))
    elif conclusion.progress is not None:
        ops.append(Set(layout.progress(task, node), conclusion.progress.to_json(), found_progress.stat.version))
    ops += _slots(attempt, moves, conclusion.keep, ending, dice.now)
    closing = conclusion.end is not None and ends.children + 1 == len(plan.nodes)
    if conclusion.control is not None or closing:
        # The last end also writes the control record: two ends that both believe to be the last cannot both pass.
        ops.append(Set(layout.control(task), (conclusion.control or control).to_json(), found_ctl.stat.version))
    else:
        # An alarm that this attempt is overdue may come between: nobody else would give the budget back.
        ops.append(Check(layout.control(task), found_ctl.stat.version))
    turns: list[BreakerTurn] = []
    for name, answer in zip(attempt.clusters, clusters, strict=True):
        if (found := as_record(answer)) is None:
            raise Bug(f"Attempt {attempt.id} ends, and {name} has no record.")
        before = layout.decode(ClusterRecord, found, layout.cluster(name))
        after = after_end(
            before,
            attempt=attempt.id,
            task=task,
            node=node,
            outcome=ending.outcome,
            now=dice.now,
            limits=dice.breaker,
        )
        if after is not before or conclusion.keep is not None:
            # With a slot that is kept also unchanged: takes of other tasks that are in flight there must look again.
            ops.append(Set(layout.cluster(name), after.to_json(), found.stat.version))
        if (turn := turned(name, before, after)) is not None:
            turns.append(turn)
    if closing:
        ops += close_ops(moves.tree, plan)
    return replace(conclusion, breakers=tuple(turns)), ops


def _slots(attempt: Attempt, moves: NodeMoves, keep: SlotState | None, ending: Ending, now: datetime) -> list[Op]:
    ops: list[Op] = []
    for scope in attempt.scopes:
        ops.append(Delete(layout.slot(scope, attempt.slot(moves.node, scope))))
        if keep is not None:
            note = SlotNote(task=attempt.task, attempt=attempt.id, at=now, why=ending.reason)
            ops.append(Create(layout.slot(scope, attempt.slot(moves.node, scope, keep)), note.to_json()))
    return ops


def close_ops(tree: Tree, plan: Plan) -> list[Op]:
    """CLOSE, for the move that writes the last end: delete the task's headers among the open ones, where they are."""
    return [Delete(path) for path in open_entries(tree, plan).values()]


def end_waiting(
    moves: NodeMoves, plan: Plan, outcome: Outcome | Over, *, reason: str, code: str = "", now: datetime
) -> End | None:
    """End this node's own assignment, which is not in an attempt: expired, cancelled, or rejected.

    None: it had its end already, or what was read has changed; look again. It raises the node's count of takes, so
    that the key of its dead letter is its own. Raises `CoordinationUnavailable`: call again.
    """
    task, node = plan.task.task_id, moves.node
    if plan.node(node) is None:
        raise Bug(f"{node} ends an assignment of {task} that it was never given.")
    record = moves.refresh()
    if record.attempt is not None and record.attempt.task == task:
        raise Bug(f"{node} ends its assignment of {task} beside attempt {record.attempt.id}.")
    ctl, progress, ended, ends = moves.tree.read(
        Get(layout.control(task)),
        Get(layout.progress(task, node)),
        Exists(layout.end(task, node)),
        Exists(layout.ends(task)),
    )
    found_ctl, found_progress = as_record(ctl), as_record(progress)
    if found_ctl is None or ended is not None or not isinstance(ends, Stat):
        return None
    control = layout.decode(TaskControl, found_ctl, layout.control(task))
    final = _outcome(outcome)
    if final is Outcome.CANCELLED and control.state is not TaskState.CANCELLED:
        return None
    known = layout.decode(Progress, found_progress, layout.progress(task, node)) if found_progress else Progress()
    end = End(
        outcome=final,
        attempt=record.next_attempt(node, task),
        attempts=known.k,
        reason=reason,
        code=code,
        at=now,
        dead_letter=DeadLetterState.OWED if final.owes_dead_letter else DeadLetterState.NONE,
    )
    moves.leave(task)
    closing = ends.children + 1 == len(plan.nodes)
    after = give_up(
        final, node=node, control=control, max_failures=plan.task.taskerman_params.failure_args.max_failures
    )
    ops: list[Op] = [
        Set(layout.node(node), record.model_copy(update={"takes": record.takes + 1}).to_json(), moves.version),
        (
            Set(layout.control(task), (after or control).to_json(), found_ctl.stat.version)
            if after is not None or closing
            else Check(layout.control(task), found_ctl.stat.version)
        ),
        Create(layout.end(task, node), end.to_json()),
    ]
    if found_progress is not None:
        ops.append(Delete(layout.progress(task, node), found_progress.stat.version))
    if closing:
        ops += close_ops(moves.tree, plan)
    try:
        done = moves.tree.commit(ops)
    except AnswerUnknown:
        moves.fence()
        return None
    if not isinstance(done, Committed):
        return None
    moves.refresh()
    return end


def _outcome(outcome: Outcome | Over) -> Outcome:
    match outcome:
        case Over.CANCELLED:
            return Outcome.CANCELLED
        case Over.EXPIRED:
            return Outcome.EXPIRED
        case _:
            return outcome
