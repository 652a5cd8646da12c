"""What a new agent finds of an attempt that an earlier one took: asked of the journal and the machine, not guessed."""

from __future__ import annotations

from taskerman.agent.assigned import directory_of
from taskerman.agent.attempt_files import read_result
from taskerman.agent.hearing import result_signal
from taskerman.agent.journal import Journal
from taskerman.agent.kit import Kit
from taskerman.agent.machine import boot_id, boottime, process_start
from taskerman.agent.performing import Performance
from taskerman.child import ABORT_SECONDS
from taskerman.coordination.node_moves import Started
from taskerman.model.attempt import Attempt, Phase
from taskerman.model.task import ActionTraits
from taskerman.policy.signals import Adopted, Situation

__all__ = ["adopt", "situation"]

_ADOPTIONS = 3
_EMPTY_WITHIN_S = 5.0


def situation(  # noqa: PLR0911  one return a situation
    journal: Journal,
    started: Started,
    attempt: Attempt,
    traits: ActionTraits,
    shut: str,
    *,
    now: float,
    boot_id_path: str,
) -> Adopted:
    """Which of the situations it is. `shut`: why the task may not begin here now, if so. `now`: monotonic seconds.

    Whether the action left a result is asked by `adopt`; it settles every situation in which the action began, but for
    a reboot that was the action's own.
    """
    if started.journal != journal.uuid:
        return Adopted(
            Situation.NOBODY_KNOWS, now, "another journal's agent took it: nobody here knows how far the action came"
        )
    journalled = journal.attempt
    if started.accepted and (journalled is None or journalled.id != attempt.id):
        return Adopted(
            Situation.NOBODY_KNOWS, now, "ZooKeeper went back to a time when it was under way; this node is ahead of it"
        )
    began = journalled is not None and journalled.id == attempt.id and journalled.phase is not Phase.PRE_CHECK
    rebooted = journalled is not None and began and journalled.boot_id != boot_id(boot_id_path)
    if journalled is not None and began and not rebooted and process_start(journalled.pid) == journalled.pid_start:
        # Asked before how often it was taken over: a child that acts is not to be called lost, whoever watches it.
        if boottime() > journalled.deadline_boottime + ABORT_SECONDS:
            return Adopted(Situation.OVERDUE, now, "the action ran past its hard deadline")
        return Adopted(Situation.CHILD_LIVES, now)
    if rebooted and traits.reboots:
        return Adopted(Situation.REBOOTED, now)  # nor is what is known to have happened
    if started.progress is not None and started.progress.adopts > _ADOPTIONS:
        return Adopted(Situation.NOBODY_KNOWS, now, f"it was taken over {started.progress.adopts} times")
    if not began:
        if shut:
            return Adopted(Situation.GATES_SHUT, now, f"the agent was restarted, and now: {shut}")
        return Adopted(Situation.NOT_BEGUN, now)
    if rebooted:
        return Adopted(Situation.NO_TRACE, now, "the machine was rebooted during the action")
    return Adopted(Situation.NO_TRACE, now, "agent and action ended, and no result was left")


def adopt(kit: Kit, performance: Performance, found: Adopted, journal: Journal) -> None:
    """Let `performance` go on from `found`."""
    began = found.situation not in (Situation.NOT_BEGUN, Situation.GATES_SHUT, Situation.NOBODY_KNOWS)
    attempt = performance.assigned.attempt.id
    # A machine that shuts down ends the action by signals: such a result is of the way, and the reboot of the matter.
    began = began and found.situation is not Situation.REBOOTED
    result = read_result(directory_of(kit, attempt), attempt) if began else None
    if result is not None:
        performance.say_limits(result)
        performance.tell(Adopted(Situation.CHILD_LIVES, found.now))
        performance.tell(result_signal(result, found.now, child_gone=True))
        return
    if found.situation is Situation.NOT_BEGUN:
        # An earlier child of the attempt that hangs would, when it goes on, end everybody in the group they share.
        kit.isolation.empty(attempt, _EMPTY_WITHIN_S)
    if found.situation is Situation.CHILD_LIVES:
        assert journal.attempt is not None
        performance.watch_over(journal.attempt)
    performance.tell(found)
