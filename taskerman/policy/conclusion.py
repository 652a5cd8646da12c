"""What the end of an attempt means: one pure function from an outcome to everything that is written of it.

The truth table of outcomes, as code: whether the slot is freed, whether the node is tried again, what the failure
budget says, whether the task halts, whether a person is owed a dead letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from taskerman.model.assignment import Progress, ProgressState
from taskerman.model.attempt import Attempt
from taskerman.model.ids import NodeId
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.slot import SlotState
from taskerman.model.task import FailureMark, TaskControl, TaskState
from taskerman.policy.breaker import BreakerTurn
from taskerman.policy.retry import BACKOFF, DEFERRAL, backoff, deferral

__all__ = ["Conclusion", "Ending", "Pace", "conclude", "fail_for_good", "give_up", "spend"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, as the lifecycle found it.

    `retry`: False when trying again is pointless (a check refused). `post_check_passed`: the node was seen well
    after the action. `until`, `whole_cluster`: of a deferral.
    """

    outcome: Outcome
    reason: str
    code: str = ""
    tail: str = ""
    retry: bool = True
    post_check_passed: bool = False
    until: datetime | None = None
    whole_cluster: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast this fleet tries again."""

    backoff: timedelta = BACKOFF
    deferral: timedelta = DEFERRAL


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What END writes. Exactly one of `end` and `progress` is set.

    `keep`: the state in which the slots stay; None = they are freed. `control`: the task's control as it becomes,
    or None when it does not change. `breakers`: those of its clusters that it turns.
    """

    end: End | None
    progress: Progress | None
    keep: SlotState | None
    control: TaskControl | None
    breakers: tuple[BreakerTurn, ...] = ()


def conclude(
    ending: Ending,
    *,
    attempt: Attempt,
    node: NodeId,
    progress: Progress,
    control: TaskControl,
    retry_count: int,
    max_failures: int,
    now: datetime,
    dice: float,
    pace: Pace | None = None,
) -> Conclusion:
    """Decide what the end of `attempt` means. `progress` is as the take wrote it: `k` includes this attempt.

    Repeatable: called again with a newer `control` (somebody else's end came first) it gives the right answer anew.
    """
    pace = pace or Pace()
    keep = _kept(ending, attempt)
    again = ending.outcome is Outcome.FAILED and ending.retry and progress.k <= retry_count and _alive(control)
    after = spend(ending, node=node, control=control, again=again, kept=keep is not None, max_failures=max_failures)
    if ending.outcome is Outcome.DEFERRED:
        until = ending.until or now + deferral(dice, base=pace.deferral)
        if ending.whole_cluster:
            # Why it was halted or cancelled is worth more to a person than why it would wait if it were not.
            why = ending.reason if control.state is TaskState.OPEN else control.why
            after = (after or control).model_copy(update={"wait_until": until, "why": why})
        waiting = progress.model_copy(
            update={
                "k": max(progress.k - 1, 0),
                "deferrals": progress.deferrals + 1,
                "adopts": 0,
                "state": ProgressState.WAITING,
                "attempt": None,
                "next_at": until,
                "why": ending.reason,
            }
        )
        return Conclusion(end=None, progress=waiting, keep=keep, control=after)
    if again:
        retrying = progress.model_copy(
            update={
                "adopts": 0,
                "state": ProgressState.RETRYING,
                "attempt": None,
                "next_at": now + backoff(progress.k, dice, base=pace.backoff),
                "why": ending.reason,
            }
        )
        return Conclusion(end=None, progress=retrying, keep=keep, control=after)
    end = End(
        outcome=ending.outcome,
        attempt=attempt.id,
        attempts=progress.k,
        reason=ending.reason,
        code=ending.code,
        tail=ending.tail,
        kept=attempt.scopes if keep else (),
        at=now,
        dead_letter=DeadLetterState.OWED if ending.outcome.owes_dead_letter else DeadLetterState.NONE,
    )
    return Conclusion(end=end, progress=None, keep=keep, control=after)


def spend(
    ending: Ending, *, node: NodeId, control: TaskControl, again: bool, kept: bool, max_failures: int
) -> TaskControl | None:
    """The task's control after this end, or None when nothing of it changes.

    The budget is used from the first failure, so that fresh nodes wait while one is being retried; it is given back
    when the node ends well. The task halts when more than `max_failures` nodes have failed for good.
    """
    if not again and ending.outcome in _GIVEN_UP:
        return give_up(ending.outcome, node=node, control=control, max_failures=max_failures)
    failed = dict(control.failed)
    excused = control.excused
    if ending.outcome.uses_budget:
        failed[node] = FailureMark.RETRYING if again else FailureMark.FINAL
        excused = tuple(n for n in excused if n != node)
    elif ending.outcome.well and kept:
        # Nothing to do, and the slot that it keeps since an earlier attempt says that it may be unwell all the same.
        return give_up(ending.outcome, node=node, control=control, max_failures=max_failures)
    elif ending.outcome.well:
        failed.pop(node, None)
        excused = tuple(n for n in excused if n != node)
    if failed == control.failed and excused == control.excused:
        return None
    return _halted(
        control.model_copy(update={"failed": failed, "excused": excused}), node, ending.outcome, max_failures
    )


def give_up(outcome: Outcome, *, node: NodeId, control: TaskControl, max_failures: int) -> TaskControl | None:
    """The task's control after the assignment of `node` ended without another attempt, or None when nothing changes.

    A node that was being retried will not be: its failure is final. Else fresh nodes would wait behind it for ever,
    in a task that is open and asks no person for anything.
    """
    if control.failed.get(node) is not FailureMark.RETRYING:
        return None
    failed = {**control.failed, node: FailureMark.FINAL}
    return _halted(control.model_copy(update={"failed": failed}), node, outcome, max_failures)


def fail_for_good(outcome: Outcome, *, node: NodeId, control: TaskControl, max_failures: int) -> TaskControl:
    """The task's control after `node` came to `outcome` in the middle of an attempt, and nobody will try again."""
    failed = {**control.failed, node: FailureMark.FINAL}
    excused = tuple(n for n in control.excused if n != node)
    return _halted(control.model_copy(update={"failed": failed, "excused": excused}), node, outcome, max_failures)


def _halted(after: TaskControl, node: NodeId, outcome: Outcome, max_failures: int) -> TaskControl:
    final = after.final()
    if after.state is not TaskState.OPEN or len(final) <= max_failures:
        return after
    why = f"{node} ended {outcome.value}; {len(final)} failed for good, max_failures is {max_failures}"
    return after.model_copy(update={"state": TaskState.HALTED, "why": why})


_GIVEN_UP = frozenset({Outcome.REJECTED, Outcome.EXPIRED, Outcome.CANCELLED, Outcome.GONE})


def _alive(control: TaskControl) -> bool:
    return control.state in (TaskState.OPEN, TaskState.HALTED)


def _kept(ending: Ending, attempt: Attempt) -> SlotState | None:
    """The state in which the slot stays. An inherited one is only freed by a post_check that passed."""
    if ending.outcome is Outcome.UNSAFE:
        return SlotState.UNSAFE
    if ending.outcome is Outcome.LOST:
        return None if ending.post_check_passed else SlotState.LOST
    return None if ending.post_check_passed else attempt.inherited
