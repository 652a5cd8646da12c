"""Whose turn it is among the members of an ensemble: the leader goes last, and one backup is one for all of them.

Both are manners and not safety: a leader that goes early costs one election more, and a second backup some bytes. So
they end by patience, where nothing has moved on for long: a node that is gone, or one that ended before it acted, does
not keep the others waiting for ever.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from runners.backups import Backup, Backups
from taskerman import Check, Go, Skip, Wait

__all__ = ["CLOCKS_S", "backup_turn", "begun_at", "leader_last", "made_for"]

CLOCKS_S = 2.0
"""How far apart the clocks may be of who planned the task and of a member; and etcd's starts are to the second."""


def begun_at(accepted_at: str) -> float | None:
    """When the task was accepted, in seconds since 1970; None when nobody says."""
    return datetime.fromisoformat(accepted_at).timestamp() if accepted_at else None


def leader_last(
    starts: Collection[float | None], *, others_planned: int, began: float | None, now: float, patience_s: float
) -> Check:
    """Whether the leader may be restarted: `Go`, or `Wait` while the task has not restarted so many others.

    `starts`: when each other member that answers was started (None: it does not say). `others_planned`: nodes of the
    task besides this one. `began`: the task; None: nothing can be told, so it goes. `patience_s`: since the task began,
    or since another member was last restarted.
    """
    if began is None:
        return Go()
    done = [at for at in starts if at is not None and at > began - CLOCKS_S]
    wanted = min(others_planned, len(starts))
    if len(done) >= wanted or now - max([began, *(at for at in done if at <= now)]) >= patience_s:
        return Go()
    return Wait(f"the leader goes last: {len(done)} of {wanted} others have been restarted since the task began")


def made_for(backups: Backups, task: str) -> Backup | None:
    """The whole backup that some node made for this task. Raises `StoreUnavailable`, `Damaged`."""
    return next((made for made in reversed(backups.whole()) if made.facts.get("task") == task), None)


def backup_turn(
    made: Backup | None, *, leads: bool, others_planned: int, began: float | None, now: float, patience_s: float
) -> Check:
    """Whether this node makes the task's one backup: `Skip` when it is `made`; a leader leaves it to a follower."""
    if made is not None:
        return Skip(f"the backup of this task is made: {made.name}")
    if leads and others_planned and began is not None and now - began < patience_s:
        return Wait("a follower makes the backup; the leader has enough to do")
    return Go()
