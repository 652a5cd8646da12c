"""One attempt played to its end: the hooks of a runner, and between them the very decisions that an agent makes.

`policy.lifecycle` says what is done next; this does it, at once, with a harness in place of a child process. What an
agent needs besides (slots, a journal, ZooKeeper) is taken to work: an author's test is about the runner.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, assert_never

from taskerman.model.outcome import Outcome
from taskerman.policy.conclusion import Ending
from taskerman.policy.lifecycle import AttemptState, Limits, step
from taskerman.policy.signals import (
    ActionEnded,
    Adopted,
    Ask,
    AskAbort,
    BracketAnswered,
    BracketBegun,
    CheckFailed,
    CheckGiven,
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
    Signal,
    Situation,
    StartChild,
    Taken,
    Tick,
    WakeAt,
)
from taskerman.runner import ActionInterrupted, Check
from taskerman.runner import Go as SaidGo
from taskerman.runner import Refuse as SaidRefuse
from taskerman.runner import Skip as SaidSkip
from taskerman.runner import Wait as SaidWait
from taskerman.testing.dying import Mortal
from taskerman.testing.passing_time import PassingTime

__all__ = ["MACHINE_DOWN", "Played", "Player"]

MACHINE_DOWN = "the machine went down"
_CHECK_S = 60.0
_CLEANS_UP_S = 120.0
_NO_RESULT = "agent and action ended, and no result was left"


@dataclass(frozen=True, slots=True)
class Played:
    """How an attempt ended.

    `outcome`: "succeeded", "skipped", "deferred", "failed", "unsafe" or "lost". `reason`: as a person would read it.
    `hooks`: those that were called, in order; of a runner with a bracket cluster_begin and cluster_end as well, as on a
    node that is the first and the last. `recovered`: what recover() said: "done", "not_done" or "unknown"; empty when
    nobody asked it. `again`: a failed one is tried again, as often as its task says. `until`: of one deferred.
    `settled_s`: how long post_check was asked, by the clock of the test. `error`: what the action raised.
    """

    outcome: str
    reason: str
    hooks: tuple[str, ...]
    recovered: str = ""
    again: bool = False
    until: datetime | None = None
    settled_s: float = 0.0
    error: BaseException | None = field(default=None, compare=False)


@dataclass(slots=True)
class Player:
    """Plays one attempt of `harness`, once. `die_at`: at which point of the action its process dies; None: at none.
    `died`: the process that acted."""

    harness: Any  # a RunnerHarness; it imports us
    passing: PassingTime
    soft_s: float
    limits: Limits
    reboots: bool
    die_at: int | None = None
    died: Mortal | None = None
    _hooks: list[str] = field(default_factory=list)
    _signals: deque[Signal] = field(default_factory=deque)
    _ending: Ending | None = None
    _recovered: str = ""
    _acted_at: float = 0.0
    _inside: bool = False

    def __post_init__(self) -> None:
        self._acted_at = self.passing.now()

    def begin(self) -> Played:
        """From pre_check on."""
        return self._play(Taken(self.passing.now()))

    def act(self) -> None:
        """pre_check and the action, and no further: `died` says where it ended. Raises `AssertionError` when
        pre_check does not say Go."""
        with self.passing.passing():
            answer = self._check("pre_check")
            assert isinstance(answer, CheckGiven), f"pre_check failed: {answer}"
            assert answer.kind == "go", f"pre_check said {answer.kind} ({answer.reason}): nothing to die in"
            if self.limits.bracketed:
                begun = self._ask(Question.CLUSTER_BEGIN)
                assert isinstance(begun, HookReturned), f"cluster_begin failed: {begun}"
            self._act()

    def go_on(self, *, noticed: bool) -> Played:
        """After the death of a process that acted. `noticed`: its keeper lives, and saw it."""
        now, self._inside = self.passing.now(), True
        if noticed:
            self._signals += (Adopted(Situation.CHILD_LIVES, now), self._killed("the process of the action was killed"))
            return self._play()
        return self._play(self._adopted())

    def _adopted(self) -> Adopted:
        """What a new agent finds."""
        now, rebooted = self.passing.now(), self.harness.boot_id != self.harness.acted_in_boot
        if rebooted and self.reboots:
            return Adopted(Situation.REBOOTED, now)
        why = "the machine was rebooted during the action" if rebooted else _NO_RESULT
        return Adopted(Situation.NO_TRACE, now, why)

    def _play(self, *signals: Signal) -> Played:
        self._signals += signals
        state = AttemptState(self.limits)
        with self.passing.passing():
            while self._ending is None:
                signal = self._signals.popleft()
                if isinstance(signal, Adopted):
                    state = AttemptState(self.limits)  # another agent, which knows nothing but what it finds
                state, commands = step(state, signal)
                for command in commands:
                    self._do(command)
            if self.limits.bracketed and self._inside:
                self._hooks.append("cluster_end")  # what it raises is for the author to see
                self.harness.cluster_end()
        if self.died is not None:
            self.died.let_go()
        ending = self._ending
        return Played(
            outcome=ending.outcome.value,
            reason=ending.reason,
            hooks=tuple(self._hooks),
            recovered=self._recovered,
            again=ending.outcome is Outcome.FAILED and ending.retry,
            until=ending.until,
            settled_s=round(self.passing.now() - self._acted_at, 1) if "post_check" in self._hooks else 0.0,
            error=None if self.died is None else self.died.how,
        )

    def _do(self, command: Command) -> None:
        match command:
            case Ask():
                self._signals.append(self._ask(command.question))
            case Go():
                self._signals.append(self._act())
            case KillAll():
                self._signals.append(KilledAll(none_left=True, now=self.passing.now()))
            case WakeAt():
                self.passing.pass_until(command.at)
                self._signals.append(Tick(self.passing.now()))
            case EnterBracket():  # as of the first node of its cluster
                self._signals.append(BracketAnswered("begin", self.passing.now()))
            case BracketBegun():
                self._signals.append(BracketAnswered("stands", self.passing.now()))
            case Finish():
                self._ending = command.ending
            case StartChild() | Fence() | RecordBegin() | RecordPhase() | AskAbort():
                return  # of the agent: every hook of a harness is called in a new instance anyway
            case _ as never:
                assert_never(never)

    # --- hooks -------------------------------------------------------------------------------------------

    def _ask(self, question: Question) -> Signal:
        match question:
            case Question.PRE_CHECK:
                return self._check("pre_check")
            case Question.POST_CHECK:
                self.harness.let_come()
                return self._check("post_check")
            case Question.RECOVER:
                return self._recover()
            case Question.CLUSTER_BEGIN:
                self._inside = True
                said = self._asked("cluster_begin")
                return said if isinstance(said, CheckFailed) else HookReturned(self.passing.now())
            case _ as never:
                assert_never(never)

    def _check(self, hook: str) -> CheckGiven | CheckFailed:
        said = self._asked(hook)
        now = self.passing.now()
        match said:
            case SaidGo():
                return CheckGiven("go", now)
            case SaidWait():
                return CheckGiven("wait", now, said.reason, said.until, said.of == "cluster")
            case SaidRefuse():
                return CheckGiven("refuse", now, said.reason)
            case SaidSkip():
                return CheckGiven("skip", now, said.reason)
            case CheckFailed():
                return said
            case _:
                raise TypeError(f"{hook} answered {said!r:.100}, which is no check")

    def _recover(self) -> Recovered | CheckFailed:
        said = self._asked("recover")
        self.harness.let_come()  # as late as it can hurt: after recover() has looked
        if isinstance(said, CheckFailed):
            return said
        self._recovered = said.value
        return Recovered(said.value, self.passing.now())

    def _asked(self, hook: str) -> Any:
        """What it says; one that raises, or takes too long, has failed."""
        self._hooks.append(hook)
        self.passing.ring(_CHECK_S, _too_long)
        try:
            answer: Check = getattr(self.harness, hook)()
        except _TooLong:
            return CheckFailed(f"{hook} took more than {_CHECK_S:g} s", self.passing.now())
        except Exception as error:
            return CheckFailed(f"{hook} raised {_said(error)}", self.passing.now())
        finally:
            self.passing.silence()
        return answer

    # --- the action --------------------------------------------------------------------------------------

    def _act(self) -> Signal:
        self._hooks.append("execute_action")
        self.harness.acted_in_boot = self.harness.boot_id
        self.died = mortal = Mortal(self.die_at, self.passing)
        self.passing.ring(self.soft_s, self._interrupt)
        self.harness.mortal = mortal
        try:
            mortal.live(self._action)
        finally:
            self.harness.mortal = None
            self.passing.silence()
        self._acted_at = self.passing.now()
        return self._adopted() if mortal.where else self._ended(mortal.how)

    def _action(self) -> None:
        assert self.died is not None
        self.died.point("as the action begins")
        self.harness.execute_action()
        self.died.point("as the action ends, before its end was kept")

    def _ended(self, how: BaseException | None) -> Signal:
        now = self.passing.now()
        if isinstance(how, ActionInterrupted) or (how is None and self.harness.interrupted):
            self._hooks.append("abort")
            return ActionEnded(ok=False, now=now, why="the action ended with timeout: it was asked to stop")
        match how:
            case None:
                return ActionEnded(ok=True, now=now)
            case _Killed():
                return self._killed("it ran into its hard timeout")
            case Exception() | SystemExit():
                return ActionEnded(ok=False, now=now, why=f"the action ended with error: {_said(how)}")
            case _:
                raise how

    def _killed(self, why: str) -> Signal:
        """Its keeper saw it die, and calls abort() in a new process."""
        self._hooks.append("abort")
        try:
            self.harness.abort()
        except Exception as error:
            why = f"{why}; abort() failed: {_said(error)}"
        return ActionEnded(
            ok=False, now=self.passing.now(), why=f"the action ended with killed: {why}", child_gone=True
        )

    def _interrupt(self) -> None:
        self.passing.ring(_CLEANS_UP_S, _kill)
        self.harness.interrupted = True
        raise ActionInterrupted("it took longer than its soft timeout")


class _TooLong(BaseException):
    pass


class _Killed(BaseException):
    pass


def _too_long() -> None:
    raise _TooLong


def _kill() -> None:
    raise _Killed


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
