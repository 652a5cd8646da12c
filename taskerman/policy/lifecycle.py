"""The lifecycle of an attempt: a pure state machine, `step(state, signal) -> (state, commands)`.

Performed by the agent, in order; it decides nothing itself. What holds in every reachable state:

- the action only begins after "action begins" is on disk (`RecordBegin` comes before `Go` in one answer), and only
  when the slots are known to be held;
- a bracketed action begins only after its bracket was answered to stand, and this attempt to be inside;
- an action that began is ended by its result, by asking, or by admitting that nobody knows: never forgotten;
- `Finish` is given exactly once, and nothing after it;
- a node is called well only by a post_check that said so after the action.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto
from typing import assert_never

from taskerman.model.attempt import Phase
from taskerman.model.outcome import Outcome
from taskerman.model.task import WhenLost
from taskerman.policy.conclusion import Ending
from taskerman.policy.signals import (
    ActionEnded,
    ActionLost,
    Adopted,
    Ask,
    AskAbort,
    BracketAnswered,
    BracketBegun,
    CheckFailed,
    CheckGiven,
    ChildFailed,
    Command,
    EnterBracket,
    Fence,
    Finish,
    Go,
    HookReturned,
    KillAll,
    KilledAll,
    Question,
    RecordBegin,
    RecordPhase,
    Recovered,
    RevokeAsked,
    Signal,
    Situation,
    StartChild,
    Taken,
    Tick,
    WakeAt,
)

__all__ = ["AttemptState", "Limits", "step"]

_FENCE_AFTER = timedelta(seconds=10)
_FIRST_LOOK_AGAIN = 0.2
_LAST_LOOK_AGAIN = 5.0
_REPEATS = 3
"""An action whose process always vanishes, and that never happened, would else be begun for ever in one attempt."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the document and the runner say of this attempt. `settle_s`: seconds of post_check. `bracketed`: something
    must be so in the whole cluster while it acts."""

    settle_s: float
    when_lost: WhenLost = "verify"
    bracketed: bool = False


class _Action(Enum):
    """What is known of the action."""

    NOT_BEGUN = auto()
    UNDER_WAY = auto()
    DONE = auto()
    FAILED = auto()
    UNKNOWN = auto()


class _Bracket(Enum):
    """How far the attempt is at its bracket. Past it, it acts."""

    NOT_ASKED = auto()
    ASKED = auto()
    BEGINNING = auto()


@dataclass(frozen=True, slots=True)
class AttemptState:
    """Where the attempt is. Times are seconds of one monotonic clock, the one that signals carry.

    `repeats`: how often the action was begun anew because it was lost and had not happened.
    """

    limits: Limits
    phase: Phase = Phase.WAITING
    action: _Action = _Action.NOT_BEGUN
    bracket: _Bracket = _Bracket.NOT_ASKED
    asked_at: float = 0.0
    settle_until: float | None = None
    look_again_s: float = _FIRST_LOOK_AGAIN
    repeats: int = 0
    revoked: str = ""
    reason: str = ""
    tail: str = ""

    @property
    def ended(self) -> bool:
        """Whether `Finish` was given."""
        return self.phase is Phase.ENDED


Step = tuple[AttemptState, tuple[Command, ...]]


def step(state: AttemptState, signal: Signal) -> Step:
    """The next state, and what to do now, in order. Signals that come too late change nothing."""
    if state.ended:
        return state, ()
    match signal:
        case Taken():
            return _begin(state, signal.now, fence=signal.late)
        case Adopted():
            return _adopt(state, signal) if state.phase is Phase.WAITING else (state, ())
        case CheckGiven():
            if state.phase is Phase.PRE_CHECK:
                return _pre_checked(state, signal)
            if state.phase is Phase.POST_CHECK:
                return _post_checked(state, signal)
            return state, ()
        case CheckFailed() | ChildFailed():
            return _check_failed(state, signal.why, signal.now)
        case ActionEnded():
            return _action_ended(state, signal)
        case ActionLost():
            if state.phase is Phase.EXECUTE_ACTION and state.action is _Action.UNDER_WAY:
                return state, (KillAll(),)
            return _check_failed(state, "the process that checked ended by itself", signal.now)
        case KilledAll():
            return _killed(state, signal)
        case Recovered():
            return _recovered(state, signal)
        case RevokeAsked():
            return _revoked(state, signal)
        case BracketAnswered():
            return _bracket_answered(state, signal)
        case HookReturned():
            return _cluster_begun(state)
        case Tick():
            if state.phase is Phase.SETTLING:
                return _ask_post_check(state, signal.now)
            return state, ()
        case _ as never:
            assert_never(never)


# --- before the action -----------------------------------------------------------------------------------


def _begin(state: AttemptState, now: float, *, fence: bool) -> Step:
    if state.phase is not Phase.WAITING:
        return state, ()
    if state.revoked:
        return _finish(state, Outcome.CANCELLED, state.revoked)
    begun = replace(state, phase=Phase.PRE_CHECK, asked_at=now)
    first: tuple[Command, ...] = (Fence(),) if fence else ()
    return begun, (*first, StartChild(), Ask(Question.PRE_CHECK))


def _pre_checked(state: AttemptState, signal: CheckGiven) -> Step:
    if state.bracket is not _Bracket.NOT_ASKED:
        return state, ()
    if state.revoked:
        return _finish(state, Outcome.CANCELLED, state.revoked)
    match signal.kind:
        case "go":
            if not state.limits.bracketed:
                return _act(state, signal.now)
            # Before the cluster is told as well: what may not begin any more is not to be prepared for.
            entering = replace(state, bracket=_Bracket.ASKED, asked_at=signal.now)
            return entering, (*_fence(state, signal.now), EnterBracket())
        case "wait":
            ended = replace(state, phase=Phase.ENDED)
            ending = Ending(
                Outcome.DEFERRED, signal.reason, until=signal.until, whole_cluster=signal.whole_cluster, tail=state.tail
            )
            return ended, (Finish(ending),)
        case "skip":
            return _finish(state, Outcome.SKIPPED, signal.reason)
        case "refuse":
            return _finish(state, Outcome.FAILED, f"pre_check refused: {signal.reason}", retry=False)
        case _ as never:
            assert_never(never)


def _act(state: AttemptState, now: float) -> Step:
    acting = replace(state, phase=Phase.EXECUTE_ACTION, action=_Action.UNDER_WAY)
    return acting, (*_fence(state, now), RecordBegin(), Go())


def _fence(state: AttemptState, now: float) -> tuple[Command, ...]:
    return (Fence(),) if now - state.asked_at > _FENCE_AFTER.total_seconds() else ()


def _bracket_answered(state: AttemptState, signal: BracketAnswered) -> Step:
    if state.phase is not Phase.PRE_CHECK or state.bracket is not _Bracket.ASKED:
        return state, ()
    if state.revoked:
        return _finish(state, Outcome.CANCELLED, state.revoked)
    match signal.kind:
        case "stands":
            return _act(state, signal.now)
        case "begin":
            return replace(state, bracket=_Bracket.BEGINNING), (Ask(Question.CLUSTER_BEGIN),)
        case "wait":
            # All of the task wait, for each of them would find the same.
            ending = Ending(Outcome.DEFERRED, signal.reason, until=signal.until, whole_cluster=True, tail=state.tail)
            return replace(state, phase=Phase.ENDED), (Finish(ending),)
        case _ as never:
            assert_never(never)


def _cluster_begun(state: AttemptState) -> Step:
    if state.phase is not Phase.PRE_CHECK or state.bracket is not _Bracket.BEGINNING:
        return state, ()
    return replace(state, bracket=_Bracket.ASKED), (BracketBegun(),)


def _check_failed(state: AttemptState, why: str, now: float) -> Step:
    if state.phase is Phase.PRE_CHECK:
        if state.revoked:
            return _finish(state, Outcome.CANCELLED, state.revoked)
        hook = "cluster_begin" if state.bracket is _Bracket.BEGINNING else "pre_check"
        return _finish(state, Outcome.FAILED, f"{hook} failed: {why}")
    if state.phase is Phase.POST_CHECK:
        return _not_yet(state, f"post_check failed: {why}", now)
    if state.phase is Phase.EXECUTE_ACTION and state.action is _Action.UNKNOWN:  # recover() itself failed
        return _ask_post_check(replace(state, reason=f"{state.reason}; recover failed: {why}"), now, start=True)
    return state, ()


# --- the action ------------------------------------------------------------------------------------------


def _action_ended(state: AttemptState, signal: ActionEnded) -> Step:
    if state.phase is not Phase.EXECUTE_ACTION:
        return state, ()
    action = _Action.DONE if signal.ok else _Action.FAILED
    known = replace(state, action=action, reason=signal.why, tail=signal.tail)
    if not signal.stopped:
        return _finish(known, Outcome.UNSAFE, f"the action could not be stopped: {signal.why}")
    return _ask_post_check(known, signal.now, start=signal.child_gone)


def _killed(state: AttemptState, signal: KilledAll) -> Step:
    if state.phase is not Phase.EXECUTE_ACTION or state.action is not _Action.UNDER_WAY:
        return state, ()
    lost = replace(state, action=_Action.UNKNOWN, reason=state.reason or "the process that acted left no result")
    if not signal.none_left:
        return _finish(lost, Outcome.LOST, f"{lost.reason}, and what it started could not be stopped")
    if state.limits.when_lost == "never":
        return _ask_post_check(lost, signal.now, start=True)
    return lost, (StartChild(), Ask(Question.RECOVER))


def _recovered(state: AttemptState, signal: Recovered) -> Step:
    if state.phase is not Phase.EXECUTE_ACTION or state.action is not _Action.UNKNOWN:
        return state, ()
    match signal.answer:
        case "done":
            return _ask_post_check(replace(state, action=_Action.DONE), signal.now)
        case "not_done":
            if state.limits.when_lost == "retry" and not state.revoked and state.repeats < _REPEATS:
                again = replace(state, action=_Action.UNDER_WAY, repeats=state.repeats + 1)
                return again, (Fence(begins=False), RecordBegin(), Go())
            failed = replace(
                state, action=_Action.FAILED, reason=f"{state.reason}; recover says that it did not happen"
            )
            return _ask_post_check(failed, signal.now)
        case "unknown":
            return _ask_post_check(state, signal.now)
        case _ as never:
            assert_never(never)


def _revoked(state: AttemptState, signal: RevokeAsked) -> Step:
    if state.revoked:
        return state, ()
    told = replace(state, revoked=signal.why)
    match state.phase:
        case Phase.PRE_CHECK:
            return _finish(told, Outcome.CANCELLED, signal.why)
        case Phase.EXECUTE_ACTION if state.action is _Action.UNDER_WAY:
            return told, (AskAbort(),)
        case _:
            return told, ()


# --- after the action ------------------------------------------------------------------------------------


def _ask_post_check(state: AttemptState, now: float, *, start: bool = False) -> Step:
    until = now + state.limits.settle_s if state.settle_until is None else state.settle_until
    asking = replace(state, phase=Phase.POST_CHECK, settle_until=until)
    first: tuple[Command, ...] = (StartChild(),) if start else ()
    return asking, (RecordPhase(Phase.POST_CHECK), *first, Ask(Question.POST_CHECK))


def _post_checked(state: AttemptState, signal: CheckGiven) -> Step:
    match signal.kind:
        case "go":
            return _well(state)
        case "wait":
            return _not_yet(state, f"post_check waits: {signal.reason}", signal.now)
        case "refuse":
            return _finish(state, Outcome.UNSAFE, _and(state.reason, f"post_check refused: {signal.reason}"))
        case "skip":
            return _finish(state, Outcome.UNSAFE, "post_check said skip, which only pre_check may: a bug in the runner")
        case _ as never:
            assert_never(never)


def _not_yet(state: AttemptState, why: str, now: float) -> Step:
    if state.settle_until is None:
        raise AssertionError("post_check was asked without a settle time")
    if now >= state.settle_until:
        return _finish(state, Outcome.UNSAFE, _and(state.reason, f"{why} (settle time over)"))
    again = min(now + state.look_again_s, state.settle_until)
    slower = min(state.look_again_s * 1.5, _LAST_LOOK_AGAIN)
    return replace(state, phase=Phase.SETTLING, look_again_s=slower), (WakeAt(again),)


def _well(state: AttemptState) -> Step:
    match state.action:
        case _Action.DONE:
            return _finish(state, Outcome.SUCCEEDED, "", passed=True)
        case _Action.FAILED if state.revoked:
            return _finish(state, Outcome.CANCELLED, state.revoked, passed=True)
        case _Action.FAILED:
            return _finish(state, Outcome.FAILED, state.reason, passed=True)
        case _Action.UNKNOWN:
            return _finish(state, Outcome.LOST, f"{state.reason}; the node is well", passed=True)
        case _Action.NOT_BEGUN | _Action.UNDER_WAY:
            raise AssertionError("post_check passed while the action was not over")
        case _ as never:
            assert_never(never)


# --- taking over -----------------------------------------------------------------------------------------


def _adopt(state: AttemptState, signal: Adopted) -> Step:
    acting = replace(state, phase=Phase.EXECUTE_ACTION, action=_Action.UNDER_WAY)
    match signal.situation:
        case Situation.NOT_BEGUN:
            return _begin(state, signal.now, fence=True)
        case Situation.CHILD_LIVES:
            return acting, ()
        case Situation.OVERDUE | Situation.NO_TRACE:
            return replace(acting, reason=signal.why), (KillAll(),)
        case Situation.REBOOTED:
            return _ask_post_check(replace(acting, action=_Action.DONE), signal.now, start=True)
        case Situation.NOBODY_KNOWS:
            return _finish(acting, Outcome.LOST, signal.why)
        case Situation.GATES_SHUT if state.revoked:
            return _finish(state, Outcome.CANCELLED, state.revoked)
        case Situation.GATES_SHUT:
            ended = replace(state, phase=Phase.ENDED)
            return ended, (Finish(Ending(Outcome.DEFERRED, signal.why)),)
        case _ as never:
            assert_never(never)


def _finish(state: AttemptState, outcome: Outcome, reason: str, *, retry: bool = True, passed: bool = False) -> Step:
    ending = Ending(outcome, reason, tail=state.tail, retry=retry, post_check_passed=passed)
    return replace(state, phase=Phase.ENDED), (Finish(ending),)


def _and(first: str, second: str) -> str:
    return f"{first}; {second}" if first else second
