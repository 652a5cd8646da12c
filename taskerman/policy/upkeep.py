"""How a janitor keeps house: every period and limit of it, in one value.

The defaults are for a fleet; tests and trials make them short. None of them frees a slot: that takes proof.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from taskerman.model.base import Noun

__all__ = ["Upkeep"]

_HOUR = 3600.0
_DAY = 24 * _HOUR


def _every(default: float, about: str) -> Any:
    return Field(default=default, gt=0, le=366 * _DAY, description=about)


def _span(default: float, about: str) -> Any:
    return Field(default=default, ge=0, le=366 * _DAY, description=about)


class Upkeep(Noun):
    """What a janitor does how often, and how long things are kept. Everything in seconds, but for counts."""

    turn_s: float = _every(20, "between two turns: holds that end, tasks past their time, tasks that ended, slots")
    skew_s: float = _every(
        30, "how far this clock may be from ZooKeeper's, beyond which nothing is done that time decides"
    )
    margin_s: float = _span(600, "how long a slot may last beyond its task's hard and settle times")
    reclaim_every_s: float = _every(120, "between two questions about nodes that do not run")
    absent_apart_s: float = _span(600, "how far apart two absences are that prove a node's end")
    reclaims_an_hour: int = Field(default=10, ge=0, le=10_000, description="how many nodes may be declared gone")
    ring_every_s: float = _every(_DAY, "between two rounds of doorbells for what is open")
    bracket_idle_s: float = _span(
        900, "how long nobody need act in a bracket before it is ended although its tasks go on"
    )
    bracket_claim_s: float = _span(
        600, "how long a node without a slot may be ending a bracket before another one is asked to"
    )
    settle_every_s: float = _every(60, "between two looks for dead letters that nobody sent")
    settle_grace_s: float = _span(120, "how long an agent has for its own dead letter before the janitor sends it")
    put_away_every_s: float = _every(300, "between two looks for tasks to record and to put away")
    ended_kept_s: float = _span(_HOUR, "how long an ended task stays where `status` shows it")
    letters_kept_s: float = _span(7 * _DAY, "how long a task with an open dead letter stays after its not_after")
    retention_s: float = _span(14 * _DAY, "of the global queue; a tombstone outlives every late copy of a document")
    tombstone_margin_s: float = _span(_HOUR, "by how much it does")
    refused_kept_s: float = _span(14 * _DAY, "how long the record of a refused document is kept")
    audit_kept_s: float = _span(_DAY, "how long audit entries stay in ZooKeeper; at least an hour is wise")
    node_queue_kept_s: float = _span(_DAY, "how long the queue of a gone node is kept")
