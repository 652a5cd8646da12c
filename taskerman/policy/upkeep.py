"""How a janitor keeps house: every period and limit of it, in one value.

The defaults are for a fleet; tests and trials make them short. None of them frees a slot: that takes proof.
"""

from __future__ import annotations

from pydantic import Field

from taskerman.model.base import Noun

__all__ = ["Upkeep"]

_DAY = 86400.0
_LONGEST = 366 * _DAY


class Upkeep(Noun):
    """What a janitor does how often, and how long things are kept. Everything in seconds, but for counts.

    `turn_s`: between two turns, in which expired holds, tasks past their time, and ended tasks are looked for.
    `skew_s`: how far this machine's clock may be from ZooKeeper's before nothing is done that time decides.
    `margin_s`: what a slot may last beyond the hard and settle times of its task before it is overdue.
    `reclaim_every_s`: between two questions about nodes that do not run. `absent_apart_s`: how far apart two absences
    are that prove an end. `reclaims_an_hour`: how many nodes may be declared gone in an hour.
    `ring_every_s`: between two rounds of doorbells for what is open.
    `settle_grace_s`: how long an agent has for its own dead letter before the janitor sends it.
    `put_away_every_s`: between two looks for tasks to put away. `letters_kept_s`: how long after its not_after a task
    with an open dead letter is kept. `retention_s`: of the global queue; a tombstone outlives every late copy.
    `tombstone_margin_s`: beyond that. `refused_kept_s`, `audit_kept_s`, `node_queue_kept_s`: how long refused
    documents, audit entries and the queues of gone nodes stay.
    """

    turn_s: float = Field(default=20, gt=0, le=_DAY)
    skew_s: float = Field(default=30, gt=0, le=_DAY)
    margin_s: float = Field(default=600, ge=0, le=_LONGEST)
    reclaim_every_s: float = Field(default=120, gt=0, le=_LONGEST)
    absent_apart_s: float = Field(default=600, ge=0, le=_LONGEST)
    reclaims_an_hour: int = Field(default=10, ge=0, le=10_000)
    ring_every_s: float = Field(default=_DAY, gt=0, le=_LONGEST)
    settle_grace_s: float = Field(default=120, ge=0, le=_LONGEST)
    put_away_every_s: float = Field(default=300, gt=0, le=_LONGEST)
    letters_kept_s: float = Field(default=7 * _DAY, ge=0, le=_LONGEST)
    retention_s: float = Field(default=14 * _DAY, ge=0, le=_LONGEST)
    tombstone_margin_s: float = Field(default=3600, ge=0, le=_LONGEST)
    refused_kept_s: float = Field(default=14 * _DAY, ge=0, le=_LONGEST)
    audit_kept_s: float = Field(default=_DAY, ge=0, le=_LONGEST)
    node_queue_kept_s: float = Field(default=_DAY, ge=0, le=_LONGEST)
