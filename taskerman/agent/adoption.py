"""What a new agent finds of an attempt that an earlier one took: asked of the journal and the machine, not guessed."""

from __future__ import annotations

from pathlib import Path

from taskerman.agent import process
from taskerman.agent.journal import Journal
from taskerman.agent.machine import boot_id, boottime, process_start
from taskerman.agent.performing import Performance
from taskerman.coordination.node_moves import Started
from taskerman.model.attempt import Attempt, Phase
from taskerman.model.task import ActionTraits
from taskerman.policy.admission import Waiting
from taskerman.policy.signals import Adopted, Situation

__all__ = ["adopt", "situation"]

_ADOPTIONS = 3


def situation(  # noqa: PLR0911  one return a situation
    journal: Journal,
    started: Started,
    attempt: Attempt,
    traits: ActionTraits,
    shut: Waiting | None,
    *,
    now: float,
    boot_id_path: str,
) -> Adopted:
    """Which of the situations it is. `shut`: what forbids the task to begin here now. `now`: monotonic seconds.

    Whether the action left a result is asked by the caller; it settles every situation in which the action began.
    """
    if started.journal != journal.uuid:
        return Adopted(
            Situation.NOBODY_KNOWS, now, "another journal's agent took it: nobody here knows how far the action came"
        )
    if started.progress is not None and started.progress.adopts > _ADOPTIONS:
        return Adopted(Situation.NOBODY_KNOWS, now, f"it was taken over {started.progress.adopts} times")
    journalled = journal.attempt
    if journalled is None or journalled.id != attempt.id or journalled.phase is Phase.PRE_CHECK:
        if shut is not None:
            return Adopted(Situation.GATES_SHUT, now, f"the agent was restarted, and now: {shut.text}")
        return Adopted(Situation.NOT_BEGUN, now)
    if journalled.boot_id != boot_id(boot_id_path):
        if traits.reboots:
            return Adopted(Situation.REBOOTED, now)
        return Adopted(Situation.NO_TRACE, now, "the machine was rebooted during the action")
    if process_start(journalled.pid) == journalled.pid_start:
        if boottime() > journalled.deadline_boottime + process.ABORT_SECONDS:
            return Adopted(Situation.OVERDUE, now, "the action ran past its hard deadline")
        return Adopted(Situation.CHILD_LIVES, now)
    return Adopted(Situation.NO_TRACE, now, "agent and action ended, and no result was left")


def adopt(performance: Performance, found: Adopted, journal: Journal, directory: Path) -> None:
    """Let `performance` go on from `found`."""
    attempt = performance.assigned.attempt
    began = found.situation not in (Situation.NOT_BEGUN, Situation.GATES_SHUT, Situation.NOBODY_KNOWS)
    result = process.read_result(directory, attempt.id) if began else None
    if result is not None:
        performance.tell(Adopted(Situation.CHILD_LIVES, found.now))
        performance.tell(performance.result_signal(result, child_gone=True))
        return
    if found.situation is Situation.CHILD_LIVES:
        assert journal.attempt is not None
        performance.watch_over(journal.attempt.pid, journal.attempt.pid_start)
    performance.tell(found)
