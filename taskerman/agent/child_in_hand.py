"""The child of the attempt in hand: at most one, started or adopted, asked, and gone before its slots are freed.

It decides nothing: when something is done is the lifecycle's, through `Performance`. Reports of a child that was let
go are not passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from taskerman.agent import process
from taskerman.agent.assigned import Assigned, child_spec, directory_of
from taskerman.agent.child_talk import Abort, ClusterBegin, ExecuteAction, Exit, PostCheck, PreCheck, Recover, Report
from taskerman.agent.early import EarlyChild
from taskerman.agent.journal import JournalledAttempt
from taskerman.agent.killing import kill_attempt
from taskerman.agent.kit import Kit
from taskerman.agent.machine import boot_id
from taskerman.policy.signals import Question

__all__ = ["CHECK_TIMEOUT", "HOOK_TIMEOUT", "ChildInHand", "ChildReport", "NotStarted"]

CHECK_TIMEOUT = timedelta(seconds=60)
HOOK_TIMEOUT = timedelta(minutes=2)
"""Of cluster_begin and cluster_end."""
_CHILD_ENDS_IN = 5.0
_KILL_WITHIN_S = 10.0


class NotStarted(Exception):
    """There is no child to ask."""


@dataclass(frozen=True, slots=True)
class ChildReport:
    """A report, and of which child it is: those of earlier ones, also of other attempts, are not listened to."""

    child: object
    report: Report


class ChildInHand:
    """Used on the agent's one thread; reports come through `post`, from any."""

    def __init__(
        self, assigned: Assigned, kit: Kit, post: Callable[[ChildReport], None], early: EarlyChild | None
    ) -> None:
        """`early`: a child that already waits for this attempt."""
        self._assigned = assigned
        self._kit = kit
        self._post = post
        self._early = early
        self._child: process.ChildProcess | process.AdoptedChild | None = None
        self._listened_to = object()

    def is_of(self, heard: ChildReport) -> bool:
        """Whether it is this child that reports, and not one before it."""
        return heard.child is self._listened_to

    @property
    def started(self) -> process.ChildProcess:
        """The child that this agent started. Only when there is one."""
        assert isinstance(self._child, process.ChildProcess)
        return self._child

    # --- having one --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have a new one; an earlier one is let go before. Raises `NotStarted`."""
        self._dismiss()
        report = self._reporting()
        early, self._early = self._early, None
        if early is not None:
            self._child = early.process
            early.hand_over(report)
            return
        attempt, plan = self._assigned.attempt, self._assigned.plan
        try:
            spec = child_spec(self._kit, plan, attempt.id, self._assigned.target, fence=attempt.fence)
            self._child = process.start(spec, directory_of(self._kit, attempt.id), report)
        except OSError as error:
            raise NotStarted(f"the attempt's process could not be started: {error}") from error

    def adopt(self, journalled: JournalledAttempt) -> None:
        """Watch the living child of an earlier agent; `ChildGone` will tell of its end."""
        self._child = process.AdoptedChild(
            self._assigned.attempt.id, journalled.pid, journalled.pid_start, journalled.cgroup, self._reporting()
        )

    def forget(self) -> bool:
        """It is gone by itself. The answer: whether it was an adopted one."""
        child, self._child = self._child, None
        return isinstance(child, process.AdoptedChild)

    def _reporting(self) -> Callable[[Report], None]:
        """For a new child. Counted would not do: the last word of another attempt's may still lie in the inbox."""
        child = self._listened_to = object()

        def report(said: Report) -> None:
            self._post(ChildReport(child, said))

        return report

    def _dismiss(self) -> None:
        """Let go of one that has nothing more to do: two of one attempt would be one too many."""
        child, self._child = self._child, None
        if isinstance(child, process.ChildProcess):
            child.ask(Exit())
            child.close()
            if not child.wait(_CHILD_ENDS_IN):
                child.kill_all(_KILL_WITHIN_S)

    # --- asking it ---------------------------------------------------------------------------------------

    def ask(self, question: Question) -> None:
        """Ask; the answer comes as a report. One that cannot be asked is replaced first. Raises `NotStarted`."""
        if not isinstance(self._child, process.ChildProcess):
            self.start()
        child = self.started
        match question:
            case Question.PRE_CHECK:
                child.ask(PreCheck(CHECK_TIMEOUT, fence=self._assigned.attempt.fence))
            case Question.POST_CHECK:
                child.ask(PostCheck(CHECK_TIMEOUT))
            case Question.RECOVER:
                child.ask(Recover(CHECK_TIMEOUT))
            case Question.CLUSTER_BEGIN:
                child.ask(ClusterBegin(HOOK_TIMEOUT))
            case _ as never:
                assert_never(never)

    def go(self, soft: timedelta, deadline_boottime: float) -> None:
        """Let it act."""
        self.started.ask(ExecuteAction(soft, deadline_boottime))

    def abort(self) -> None:
        """Ask the action to stop and clean up. Without a child, nothing."""
        if isinstance(self._child, process.ChildProcess):
            self._child.ask(Abort())
        elif self._child is not None:
            self._child.abort()

    # --- being rid of it ---------------------------------------------------------------------------------

    def let_go(self) -> None:
        """Leave it to itself, as this agent's death would: an action goes on, anything else ends."""
        self._dismiss_early()
        if isinstance(self._child, process.ChildProcess):
            self._child.close()

    def _dismiss_early(self) -> None:
        """One that was to be the child, and nothing was begun."""
        early, self._early = self._early, None
        if early is not None:
            early.dismiss()

    def kill_all(self) -> bool:
        """Kill it, or what the journal says of one that nobody watches; True only if nothing is left."""
        child, self._child = self._child, None
        if child is not None:
            return child.kill_all(_KILL_WITHIN_S)
        journalled = self._kit.journal.now.attempt
        if journalled is None or not journalled.pid or journalled.boot_id != boot_id(self._kit.profile.boot_id_path):
            return True  # nothing outlives a reboot
        return kill_attempt(
            self._assigned.attempt.id, journalled.pid, journalled.pid_start, _KILL_WITHIN_S, journalled.cgroup
        )

    def end(self) -> bool:
        """Let it end, or else kill it; True only if nothing is left: what has ended acts no more when its slot is
        freed."""
        self._dismiss_early()
        child, self._child = self._child, None
        if isinstance(child, process.ChildProcess):
            child.ask(Exit())
            child.close()
        gone = child is None or child.wait(_CHILD_ENDS_IN) or child.kill_all(_KILL_WITHIN_S)
        return gone and self._kit.isolation.empty(self._assigned.attempt.id, _KILL_WITHIN_S)
