"""The cluster's own record: the size that is believed, and the failures in a row that open its breaker."""

from __future__ import annotations

from typing import Literal

from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import AttemptId, NodeId, TaskId
from taskerman.model.outcome import Outcome

__all__ = ["ClusterRecord", "RecentFailure"]


class RecentFailure(Noun):
    """The last failed attempt of a node for a task. `at`: by the clock of the agent that recorded it."""

    task: TaskId
    node: NodeId
    outcome: Outcome
    at: Timestamp


class ClusterRecord(Noun):
    """`/clusters/<c>`: checked by every take of the cluster.

    `size`: how many nodes it had when that was last believed: by a plan that nobody had to look at, or by the person
    who looked. None: nothing was planned for it yet.
    `recent`: the failures since the last success, oldest first, one for each node of each task: a list and no counter,
    so that a person sees what it is made of, and a node that fails and fails is one failure. `open_until`: the breaker
    is open; from then on one node may try. `probe`: the attempt in which it tries.
    """

    v: Literal[1] = 1
    size: int | None = None
    recent: tuple[RecentFailure, ...] = ()
    open_until: Timestamp | None = None
    probe: AttemptId | None = None
