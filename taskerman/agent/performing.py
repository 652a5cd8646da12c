"""Performing one attempt: the lifecycle decides, this does; then it tells the lifecycle what came of it.

Between the pure machine and the child process stands nothing but translation. Used by the agent's loop only, on its
one thread; reports of the child arrive through the agent's inbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import assert_never

from pydantic import JsonValue

from taskerman.agent import process
from taskerman.agent.child_talk import (
    Abort,
    Checked,
    ChildGone,
    ChildSpec,
    Died,
    Ended,
    Errored,
    ExecuteAction,
    Exit,
    Failed,
    PostCheck,
    PreCheck,
    Ready,
    Recover,
    RecoveredAs,
    Report,
    TimedOut,
)
from taskerman.agent.journal import JournalFile, JournalledAttempt
from taskerman.agent.machine import boot_id, boottime
from taskerman.model.attempt import Attempt, Phase, Result
from taskerman.model.outcome import Outcome
from taskerman.model.plan import Plan
from taskerman.model.task import ActionTraits
from taskerman.policy.conclusion import Ending
from taskerman.policy.lifecycle import AttemptState, Limits, step
from taskerman.policy.signals import (
    ActionEnded,
    ActionLost,
    Ask,
    AskAbort,
    CheckFailed,
    CheckGiven,
    ChildFailed,
    Command,
    Fence,
    Finish,
    Go,
    KillAll,
    KilledAll,
    Question,
    RecordBegin,
    RecordPhase,
    Recovered,
    Signal,
    StartChild,
    Tick,
    WakeAt,
)
from taskerman.ports.clock import Clock
from taskerman.runner import Go as GoCheck
from taskerman.runner import Refuse, Skip, Wait

__all__ = ["Assigned", "ChildReport", "Performance"]

CHECK_TIMEOUT = timedelta(seconds=60)
_CHILD_ENDS_IN = 5.0


@dataclass(frozen=True, slots=True)
class Assigned:
    """What an attempt is about. `settings`: the node's configuration for the runner."""

    plan: Plan
    attempt: Attempt
    node: str
    target: str
    traits: ActionTraits
    settings: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ChildReport:
    """A report, and of which child of the performance it is: those of earlier ones are not listened to."""

    child: int
    report: Report


class Performance:
    """One attempt, from its slots to its ending. `ending` is set when it is over, exactly once."""

    def __init__(
        self,
        assigned: Assigned,
        journal: JournalFile,
        *,
        clock: Clock,
        fence: Callable[[], None],
        post: Callable[[ChildReport], None],
        entered: Callable[[Phase], None],
        boot_id_path: str = "/proc/sys/kernel/random/boot_id",
    ) -> None:
        """`fence` returns when the slots are confirmed, else raises. `post` hands a report to the loop, from any
        thread. `entered` is told of every new phase."""
        params = assigned.plan.task.taskerman_params
        self.assigned = assigned
        self.ending: Ending | None = None
        self.wake_at: float | None = None
        self._journal = journal
        self._clock = clock
        self._fence = fence
        self._post = post
        self._entered = entered
        self._boot_id_path = boot_id_path
        self._timeouts = params.timeout_args
        self._state = AttemptState(
            Limits(
                settle_s=params.timeout_args.settle_s,
                when_lost=params.failure_args.when_lost or assigned.traits.when_lost,
            )
        )
        self._child: process.ChildProcess | process.AdoptedChild | None = None
        self._children = 0

    @property
    def phase(self) -> Phase:
        """Where it is."""
        return self._state.phase

    @property
    def directory(self) -> Path:
        """The attempt's own folder: its log, its result, what it saved."""
        return self._journal.attempts() / self.assigned.attempt.id

    # --- what happens ------------------------------------------------------------------------------------

    def tell(self, signal: Signal) -> None:
        """Let the lifecycle know, and do what it asks."""
        before = self._state.phase
        self._state, commands = step(self._state, signal)
        if self._state.phase is not before:
            self._entered(self._state.phase)
        for command in commands:
            if self.ending is None:
                self._do(command)

    def hear(self, heard: ChildReport) -> None:
        """A report of the child came in."""
        if heard.child != self._children or self.ending is not None:
            return
        signal = self._translate(heard.report)
        if signal is not None:
            self.tell(signal)

    def look_at_clock(self) -> None:
        """Wake what waits for the time."""
        if self.wake_at is not None and self._clock.monotonic() >= self.wake_at:
            self.wake_at = None
            self.tell(Tick(self._clock.monotonic()))

    def watch_over(self, pid: int, pid_start: int) -> None:
        """Adopt the living child of an earlier agent; `ChildGone` will tell of its end."""
        self._children += 1
        number = self._children
        self._child = process.AdoptedChild(
            self.assigned.attempt.id, pid, pid_start, lambda report: self._post(ChildReport(number, report))
        )

    def result_signal(self, result: Result, *, child_gone: bool) -> ActionEnded:
        """The action's result, as the lifecycle hears it."""
        why = "" if result.status == "ok" else f"the action ended with {result.status}: {result.error or result.exit}"
        return ActionEnded(
            ok=result.status == "ok",
            now=self._clock.monotonic(),
            why=why,
            tail=result.tail,
            child_gone=child_gone,
        )

    def let_go(self) -> None:
        """Leave the child to itself, as this agent's death would: an action goes on, anything else ends."""
        if isinstance(self._child, process.ChildProcess):
            self._child.close()

    def abandon(self) -> None:
        """Stop acting, and let go: an action is interrupted and may clean up, within its own deadlines."""
        if self._child is not None:
            self._abort()
            self.let_go()

    # --- doing what the lifecycle asks -------------------------------------------------------------------

    def _do(self, command: Command) -> None:
        match command:
            case StartChild():
                self._start()
            case Ask():
                self._ask(command.question)
            case Fence():
                self._fence()
            case RecordBegin():
                self._record_begin()
            case RecordPhase():
                self._record_phase(command.phase)
            case Go():
                self._go()
            case AskAbort():
                self._abort()
            case KillAll():
                self.tell(KilledAll(self._kill(), self._clock.monotonic()))
            case WakeAt():
                self.wake_at = command.at
            case Finish():
                self._finish(command.ending)
            case _ as never:
                assert_never(never)

    def _start(self) -> None:
        assigned = self.assigned
        self._children += 1
        number = self._children
        params = assigned.plan.task.taskerman_params
        spec = ChildSpec(
            attempt=assigned.attempt.id,
            assignment=assigned.plan.assignment(assigned.node),
            node=assigned.node,
            cluster=assigned.attempt.cluster,
            nodes=[planned.id for planned in assigned.plan.nodes],
            fence=assigned.attempt.fence,
            target=assigned.target,
            args=params.action_args,
            settings=assigned.settings,
            saved=process.read_saved(self.directory),
        )
        self._child = process.start(spec, self.directory, lambda report: self._post(ChildReport(number, report)))

    def _ask(self, question: Question) -> None:
        if not isinstance(self._child, process.ChildProcess):
            self._start()
        child = self._child
        assert isinstance(child, process.ChildProcess)
        match question:
            case Question.PRE_CHECK:
                child.ask(PreCheck(CHECK_TIMEOUT))
            case Question.POST_CHECK:
                child.ask(PostCheck(CHECK_TIMEOUT))
            case Question.RECOVER:
                child.ask(Recover(CHECK_TIMEOUT))
            case _ as never:
                assert_never(never)

    def _record_begin(self) -> None:
        child = self._child
        assert isinstance(child, process.ChildProcess)
        begins = JournalledAttempt(
            id=self.assigned.attempt.id,
            task=self.assigned.attempt.task,
            fence=self.assigned.attempt.fence,
            phase=Phase.EXECUTE_ACTION,
            boot_id=boot_id(self._boot_id_path),
            pid=child.pid,
            pid_start=child.pid_start,
            deadline_boottime=boottime() + self._timeouts.hard.total_seconds(),
        )
        try:
            self._journal.write(attempt=begins)
        except OSError as error:
            # What cannot be remembered must not begin. Ending it here also keeps `Go`, the next command, from it.
            self._finish(Ending(Outcome.FAILED, f"the journal cannot be written, so nothing was begun: {error}"))

    def _record_phase(self, phase: Phase) -> None:
        journalled = self._journal.now.attempt
        if journalled is not None:
            self._journal.write(attempt=journalled.model_copy(update={"phase": phase}))

    def _go(self) -> None:
        journalled = self._journal.now.attempt
        child = self._child
        assert isinstance(child, process.ChildProcess)
        assert journalled is not None
        assert journalled.phase is Phase.EXECUTE_ACTION
        child.ask(ExecuteAction(timedelta(seconds=self._timeouts.soft_s), journalled.deadline_boottime))

    def _abort(self) -> None:
        if isinstance(self._child, process.ChildProcess):
            self._child.ask(Abort())
        elif self._child is not None:
            self._child.kill_all()  # an adopted child has no ear; its end is told by `ChildGone`

    def _kill(self) -> bool:
        if self._child is not None:
            gone = self._child.kill_all()
            self._child = None
            return gone
        journalled = self._journal.now.attempt
        if journalled is None or not journalled.pid or journalled.boot_id != boot_id(self._boot_id_path):
            return True  # nothing outlives a reboot
        return process.kill_attempt(self.assigned.attempt.id, journalled.pid, journalled.pid_start, 10.0)

    def _finish(self, ending: Ending) -> None:
        """The child goes first: what has ended acts no more when its slot is freed."""
        child, self._child = self._child, None
        if child is not None:
            if isinstance(child, process.ChildProcess):
                child.ask(Exit())
                child.close()
            if not child.wait(_CHILD_ENDS_IN) and not child.kill_all():
                ending = Ending(Outcome.UNSAFE, f"{ending.reason}; its process could not be stopped".removeprefix("; "))
        self.ending = ending

    # --- what the child said -----------------------------------------------------------------------------

    def _translate(self, report: Report) -> Signal | None:  # noqa: PLR0911  one return a report
        now = self._clock.monotonic()
        match report:
            case Ready():
                return None
            case Checked():
                return _check_signal(report, now)
            case Failed():
                return ChildFailed(f"the runner cannot work ({report.phase}): {report.error}", now)
            case Errored():
                return CheckFailed(f"{report.phase} raised {report.error}", now)
            case TimedOut():
                return CheckFailed(f"{report.phase} took more than {CHECK_TIMEOUT.total_seconds():.0f} s", now)
            case Died():
                return CheckFailed(f"the process of {report.phase} died ({report.how})", now)
            case RecoveredAs():
                return Recovered(report.answer.value, now)
            case Ended():
                return self.result_signal(report.result, child_gone=False)
            case ChildGone():
                return self._child_gone(now)
            case _ as never:
                assert_never(never)

    def _child_gone(self, now: float) -> Signal | None:
        adopted = isinstance(self._child, process.AdoptedChild)
        self._child = None if adopted else self._child
        if self._state.phase is Phase.EXECUTE_ACTION:
            result = process.read_result(self.directory, self.assigned.attempt.id)
            if result is not None:
                self._child = None
                return self.result_signal(result, child_gone=True)
            return ActionLost(now)
        self._child = None
        if self._state.phase in (Phase.PRE_CHECK, Phase.POST_CHECK):
            return CheckFailed("the child ended by itself", now)
        return None


def _check_signal(checked: Checked, now: float) -> CheckGiven:
    match checked.check:
        case GoCheck():
            return CheckGiven("go", now)
        case Wait():
            return CheckGiven(
                "wait",
                now,
                reason=checked.check.reason,
                until=checked.check.until,
                whole_cluster=checked.check.of == "cluster",
            )
        case Refuse():
            return CheckGiven("refuse", now, reason=checked.check.reason)
        case Skip():
            return CheckGiven("skip", now, reason=checked.check.reason)
        case _ as never:
            assert_never(never)
