"""What the journal says about the installation that this node belongs to, and of what action only it knows."""

from __future__ import annotations

from taskerman.agent.journal import Journal, JournalledAttempt
from taskerman.agent.killing import kill_attempt
from taskerman.agent.machine import boot_id, boottime, process_start
from taskerman.child import ABORT_SECONDS
from taskerman.coordination.belonging import Unrecorded
from taskerman.errors import InstallationRefused
from taskerman.model.attempt import Phase
from taskerman.model.ids import AttemptId, ClusterName, attempt_takes
from taskerman.model.outcome import Outcome
from taskerman.policy.belonging import Known

__all__ = ["end_forgotten", "known", "nothing_runs_on", "unrecorded"]

_KILL_S = 10.0
_KEPT = (Outcome.UNSAFE, Outcome.LOST)


def known(journal: Journal) -> Known:
    """Lower bounds of what is recorded of this node, wherever it is recorded."""
    takes = max(journal.takes, attempt_takes(journal.attempt.id) if journal.attempt else 0)
    return Known(journal.installation, journal.epoch, takes)


def unrecorded(journal: Journal, clusters: tuple[ClusterName, ...]) -> Unrecorded | None:
    """The attempt whose action began and did not, as far as is known here, end well. None: there is none."""
    attempt, end = journal.attempt, journal.end
    if attempt is None or attempt.phase is Phase.PRE_CHECK:
        return None
    if end is not None and end.outcome not in _KEPT and (end.outcome.well or end.post_check_passed):
        return None
    return Unrecorded(attempt.id, attempt.task, clusters)


def nothing_runs_on(journal: Journal, boot_id_path: str) -> None:
    """Return when the journalled attempt has no process any more; one past its deadline is killed.

    Raises `InstallationRefused` while it runs: nothing else may start on this node. Look again.
    """
    attempt = journal.attempt
    if attempt is None or not attempt.pid or attempt.boot_id != boot_id(boot_id_path):
        return
    lives = process_start(attempt.pid) == attempt.pid_start
    if lives and boottime() <= attempt.deadline_boottime + ABORT_SECONDS:
        raise InstallationRefused(
            f"The action of {attempt.id} still runs here, and ZooKeeper does not know of it.",
            next_step="When it has ended this node goes on by itself.",
        )
    _kill(attempt)


def end_forgotten(journal: Journal, recorded: AttemptId | None, boot_id_path: str) -> None:
    """Make sure that the journalled attempt has no process, unless it is the one that is `recorded` of the node.

    Its end was recorded without this node: a person said that the node was off, and it was only cut off. Raises
    `InstallationRefused` when it cannot be stopped: nothing else may start on this node. Look again.
    """
    attempt = journal.attempt
    if attempt is None or attempt.id == recorded or not attempt.pid or attempt.boot_id != boot_id(boot_id_path):
        return
    _kill(attempt)


def _kill(attempt: JournalledAttempt) -> None:
    if not kill_attempt(attempt.id, attempt.pid, attempt.pid_start, _KILL_S, attempt.cgroup):
        raise InstallationRefused(
            f"The action of {attempt.id} cannot be stopped, and ZooKeeper does not know of it.",
            next_step="Look at its processes on this node.",
        )
