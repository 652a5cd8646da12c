"""Performing one attempt: the lifecycle decides, this does; then it tells the lifecycle what came of it.

Between the pure machine and the child process stands nothing but translation. Used by the agent's loop only, on its
one thread; reports of the child arrive through the agent's inbox.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Protocol, assert_never

from taskerman.agent.assigned import Assigned, directory_of
from taskerman.agent.attempt_files import read_result
from taskerman.agent.child_in_hand import CHECK_TIMEOUT, HOOK_TIMEOUT, ChildInHand, ChildReport, NotStarted
from taskerman.agent.child_talk import ChildGone, Ended, Ready
from taskerman.agent.early import EarlyChild
from taskerman.agent.hearing import result_signal, signal_of
from taskerman.agent.journal import JournalledAttempt
from taskerman.agent.kit import Kit
from taskerman.agent.machine import boot_id, boottime
from taskerman.child import ABORT_SECONDS, IMPORT_SECONDS
from taskerman.child.action import TOO_LONG
from taskerman.child.limits import kind_of
from taskerman.model.attempt import Phase, Result
from taskerman.model.outcome import Outcome
from taskerman.policy import windows
from taskerman.policy.conclusion import Ending
from taskerman.policy.lifecycle import AttemptState, Limits, step
from taskerman.policy.signals import (
    ActionEnded,
    ActionLost,
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
    KillAll,
    KilledAll,
    Question,
    RecordBegin,
    RecordPhase,
    Signal,
    StartChild,
    Tick,
    WakeAt,
)

__all__ = ["Door", "Performance"]

CHECK_TIMEOUT_S = CHECK_TIMEOUT.total_seconds()
_OVERDUE_S = 15.0
"""So long after its last deadline a child that reports nothing is taken for hung: a stopped keeper keeps nothing."""
_LAST_WORD_S = 2.0
"""So long after that what it reported may still arrive: this process may have been the one that was stopped."""


class Door(Protocol):
    """The bracket of one attempt, as its agent knows it."""

    def enter(self) -> BracketAnswered:
        """Go in before the action; returns when somebody has answered."""
        ...

    def begun(self) -> BracketAnswered:
        """Record that cluster_begin has returned."""
        ...


class Performance:
    """One attempt, from its slots to its ending. `ending` is set when it is over, exactly once."""

    def __init__(
        self,
        assigned: Assigned,
        kit: Kit,
        *,
        fence: Callable[[], None],
        post: Callable[[ChildReport], None],
        early: EarlyChild | None = None,
        door: Door | None = None,
    ) -> None:
        """`fence` returns when the slots are confirmed, else raises. `post` hands a report to the loop, from any
        thread. `early`: a child that already waits for this attempt. `door`: of the action's bracket, if it has one."""
        params = assigned.plan.task.taskerman_params
        self.assigned = assigned
        self.ending: Ending | None = None
        self._kit = kit
        self._journal = kit.journal
        self._clock = kit.clock
        self._fence = fence
        self._door = door
        self._child = ChildInHand(assigned, kit, post, early)
        self._look_at: float | None = None
        self._overdue_at: float | None = None
        self._last_word = False
        self._asked: Question | None = None
        self._timeouts = params.timeout_args
        self._state = AttemptState(
            Limits(
                settle_s=params.timeout_args.settle_s,
                when_lost=params.failure_args.when_lost or assigned.traits.when_lost,
                bracketed=door is not None,
            )
        )
        self._in_phase_since = kit.clock.monotonic()
        self.woken_at: float | None = None
        """When the agent was told of what let it take the slots, until pre_check began; monotonic seconds."""
        self.left_bracket = False
        """Whether it was asked, after its ending, if the bracket of its action is to be ended."""
        self.called_end = False
        """Whether it was, and cluster_end was called."""

    @property
    def phase(self) -> Phase:
        """Where it is."""
        return self._state.phase

    # --- what happens ------------------------------------------------------------------------------------

    def tell(self, signal: Signal) -> None:
        """Let the lifecycle know, and do what it asks."""
        before = self._state.phase
        self._state, commands = step(self._state, signal)
        if self._state.phase is not before:
            self._overdue_at = None
            self._say_phase(before)
        try:
            for command in commands:
                if self.ending is None:
                    self._do(command)
        except NotStarted as error:
            self.tell(ChildFailed(str(error), self._clock.monotonic()))

    def hear(self, heard: ChildReport) -> None:
        """A report of the child came in."""
        if not self._child.is_of(heard) or self.ending is not None:
            return
        now = self._clock.monotonic()
        if isinstance(heard.report, Ready) and self.phase is Phase.PRE_CHECK:
            self._say_began(now)
        if isinstance(heard.report, Ended):
            self.say_limits(heard.report.result)
        gone = isinstance(heard.report, ChildGone)
        timeout = HOOK_TIMEOUT if self._asked is Question.CLUSTER_BEGIN else CHECK_TIMEOUT
        signal = self._child_gone(now) if gone else signal_of(heard.report, now, timeout)
        if signal is not None:
            self.tell(signal)

    def _say_phase(self, before: Phase) -> None:
        kit, now = self._kit, self._clock.monotonic()
        ids = kit.ids(self.assigned.attempt, self.assigned.plan.task.action)
        if before is not Phase.WAITING:  # which no attempt is in that has its slots
            kit.say("phase_left", "debug", **ids, phase=before.value, s=round(now - self._in_phase_since, 6))
        begins = before is Phase.PRE_CHECK and self._state.phase is Phase.EXECUTE_ACTION  # and was not taken over
        late = {"late_s": self._late_s()} if begins else {}
        kit.say("phase_entered", **ids, phase=self._state.phase.value, **late)
        self._in_phase_since = now

    def _late_s(self) -> float | None:
        """How long ago the task was due, of a schedule: by this node's clock, against that of the scheduler."""
        due = self.assigned.plan.task.scheduled_for
        return None if due is None else round((self._kit.clock.now() - due).total_seconds(), 3)

    def _say_began(self, now: float) -> None:
        """The child has its runner and has been asked: whatever was to be done before pre_check is done."""
        woken_at, self.woken_at = self.woken_at, None
        took = None if woken_at is None else round(now - woken_at, 6)
        ids = self._kit.ids(self.assigned.attempt, self.assigned.plan.task.action)
        self._kit.say("pre_check_began", "debug", **ids, phase=self.phase.value, handover_s=took)

    def say_limits(self, result: Result) -> None:
        """Tell of the limits that the action met, also when it ended well."""
        met = [(kind_of(limit), limit) for limit in result.limits]
        if TOO_LONG in result.error:
            met.append(("time", result.error))
        ids = self._kit.ids(self.assigned.attempt, self.assigned.plan.task.action)
        for kind, why in met:
            self._kit.say("limit_met", "warning", **ids, phase=result.phase, limit=kind, why=why)

    @property
    def wake_at(self) -> float | None:
        """When `look_at_clock` has something to do, in monotonic seconds."""
        return min((at for at in (self._look_at, self._overdue_at) if at is not None), default=None)

    def look_at_clock(self) -> None:
        """Wake what waits for the time, and give up what should have ended long ago."""
        now = self._clock.monotonic()
        if self._overdue_at is not None and now >= self._overdue_at:
            if self._last_word:
                self._give_up(now)
            else:
                self._overdue_at, self._last_word = now + _LAST_WORD_S, True
        if self._look_at is not None and now >= self._look_at:
            self._look_at = None
            self.tell(Tick(now))

    def _give_up(self, now: float) -> None:
        """The child is silent beyond every deadline. What it has written counts; what it has not is asked anew."""
        self._overdue_at = None
        self._kit.say("child_overdue", "error", **self._kit.ids(self.assigned.attempt), phase=self.phase.value)
        if self.phase is Phase.PRE_CHECK:
            self.tell(CheckFailed("its process hangs", now))  # which ends the attempt, and the child with it
            return
        attempt = self.assigned.attempt.id
        result = read_result(directory_of(self._kit, attempt), attempt) if self.phase is Phase.EXECUTE_ACTION else None
        if result is None and self._asked is None:
            self.tell(ActionLost(now))
            return
        stopped = self._child.kill_all()
        if result is not None:
            self.say_limits(result)
            self.tell(replace(result_signal(result, now, child_gone=True), stopped=stopped))
        elif stopped:
            self.tell(CheckFailed("its process hung and was killed", now))
        elif self.phase is Phase.POST_CHECK:
            self.tell(CheckGiven("refuse", now, reason="its process hangs and could not be stopped"))
        else:
            self.tell(ActionEnded(ok=False, now=now, why="recover hangs", stopped=False))

    def watch_over(self, journalled: JournalledAttempt) -> None:
        """Adopt the living child of an earlier agent; `ChildGone` will tell of its end."""
        self._child.adopt(journalled)
        self._expect_end_by(journalled.deadline_boottime)

    def let_go(self) -> None:
        """Leave the child to itself, as this agent's death would: an action goes on, anything else ends."""
        self._child.let_go()

    def abandon(self) -> None:
        """Stop acting, and let go: an action is interrupted and may clean up, within its own deadlines."""
        self._child.abort()
        self._child.let_go()

    # --- doing what the lifecycle asks -------------------------------------------------------------------

    def _do(self, command: Command) -> None:  # noqa: PLR0912  one branch a command
        match command:
            case StartChild():
                self._child.start()
            case Ask():
                self._ask(command.question)
            case Fence():
                self._fence()
                if command.begins:
                    self._begin_in_time()
            case EnterBracket():
                assert self._door is not None
                self.tell(self._door.enter())
            case BracketBegun():
                assert self._door is not None
                self.tell(self._door.begun())
            case RecordBegin():
                self._record_begin()
            case RecordPhase():
                self._record_phase(command.phase)
            case Go():
                self._go()
            case AskAbort():
                self._child.abort()
            case KillAll():
                self._overdue_at = None
                self.tell(KilledAll(self._child.kill_all(), self._clock.monotonic()))
            case WakeAt():
                self._look_at = command.at
            case Finish():
                self._finish(command.ending)
            case _ as never:
                assert_never(never)

    def _begin_in_time(self) -> None:
        """What was taken in its window may have waited for an answer until the window was shut: then it does not begin.
        A hold that was put meanwhile named this attempt as taken; a window tells nobody."""
        plan, now = self.assigned.plan, self._kit.clock.now()
        if now >= plan.accepted.not_after:
            self._finish(Ending(Outcome.DEFERRED, "nobody answered until not_after had passed"))
        elif plan.window is not None and (shut := windows.objection(plan.window, now)) is not None:
            self._finish(Ending(Outcome.DEFERRED, f"it was taken in its window, and now: {shut[0]}", until=shut[1]))

    def _record_begin(self) -> None:
        child = self._child.started
        try:
            begins = JournalledAttempt(
                id=self.assigned.attempt.id,
                task=self.assigned.attempt.task,
                fence=self.assigned.attempt.fence,
                phase=Phase.EXECUTE_ACTION,
                boot_id=boot_id(self._kit.profile.boot_id_path),
                pid=child.pid,
                pid_start=child.pid_start,
                cgroup=child.cgroup,
                deadline_boottime=boottime() + self._timeouts.hard.total_seconds(),
            )
            # An end that an earlier attempt left there, when the disk was full, would be taken for this one's.
            self._journal.write(attempt=begins, end=None)
        except OSError as error:
            # What cannot be remembered must not begin. Ending it here also keeps `Go`, the next command, from it.
            self._finish(Ending(Outcome.FAILED, f"the journal cannot be written, so nothing was begun: {error}"))

    def _record_phase(self, phase: Phase) -> None:
        journalled = self._journal.now.attempt
        if journalled is not None:
            self._kit.note_down(attempt=journalled.model_copy(update={"phase": phase}))

    def _ask(self, question: Question) -> None:
        self._child.ask(question)
        self._asked = question
        timeout_s = HOOK_TIMEOUT.total_seconds() if question is Question.CLUSTER_BEGIN else CHECK_TIMEOUT_S
        self._expect_within(IMPORT_SECONDS + timeout_s)

    def _go(self) -> None:
        journalled = self._journal.now.attempt
        assert journalled is not None
        assert journalled.phase is Phase.EXECUTE_ACTION
        self._child.go(timedelta(seconds=self._timeouts.soft_s), journalled.deadline_boottime)
        self._expect_end_by(journalled.deadline_boottime)

    def _expect_end_by(self, deadline_boottime: float) -> None:
        self._asked = None
        self._expect_within(deadline_boottime + ABORT_SECONDS - boottime())

    def _expect_within(self, seconds: float) -> None:
        self._overdue_at, self._last_word = self._clock.monotonic() + seconds + _OVERDUE_S, False

    def _finish(self, ending: Ending) -> None:
        """The child goes first: what has ended acts no more when its slot is freed."""
        if not self._child.end():
            why = f"{ending.reason}; its processes could not be stopped".removeprefix("; ")
            outcome = Outcome.LOST if ending.outcome is Outcome.LOST else Outcome.UNSAFE
            ending = replace(ending, outcome=outcome, reason=why, post_check_passed=False)
        self.ending = ending

    def _child_gone(self, now: float) -> Signal | None:
        if self._state.phase is not Phase.EXECUTE_ACTION:
            self._child.forget()
            checking = self._state.phase in (Phase.PRE_CHECK, Phase.POST_CHECK)
            return CheckFailed("the child ended by itself", now) if checking else None
        attempt = self.assigned.attempt.id
        result = read_result(directory_of(self._kit, attempt), attempt)
        if result is None:
            return ActionLost(now)  # what it may have left is killed through it
        self._child.forget()
        self.say_limits(result)
        return result_signal(result, now, child_gone=True)
