"""Who waits behind one that does not go: when to look around although it is not the head, and when to pass.

What was seen is kept here between looks; what follows from it is the policy's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from taskerman.coordination.lanes import lanes_ahead, lanes_of_places
from taskerman.coordination.snapshot import Around
from taskerman.coordination.waits import Waits
from taskerman.model.ids import NodeId, TaskId
from taskerman.policy.patience import A_PLACE, Still, be_patient
from taskerman.policy.snapshot import COURTESY, Admission, Snapshot, Waiting
from taskerman.ports.tree import Tree

__all__ = ["Passing"]

_EARLY = 0.7
"""Of the time after which one looks around that is not the head: what wakes it may come early by its jitter."""


class Passing(Waits):
    """What this incarnation saw of those ahead of it, by task."""

    def __init__(
        self,
        tree: Tree,
        node: NodeId,
        journal: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        patience: timedelta = A_PLACE,
    ) -> None:
        """As `Incarnation`. `monotonic`: seconds, for `patience`: how long each that stands ahead is waited for."""
        super().__init__(tree, node, journal)
        self._monotonic = monotonic
        self._patience = patience
        self._still: dict[TaskId, Still] = {}
        self._looked: dict[TaskId, float] = {}

    def patient_until(self, task: TaskId) -> float | None:
        """When it may pass those ahead of it, if nothing happens until then (monotonic seconds); None: it may not."""
        still = self._still.get(task)
        return None if still is None else still.over_at

    def _is_long_ago(self, task: TaskId, place: int) -> bool:
        """Whether it is time for one that is not the head to look around: the p-th after p times the patience."""
        at = self._monotonic()
        if (until := self.patient_until(task)) is not None and at >= until:
            return True
        if at - self._looked.setdefault(task, at) < _EARLY * place * self._patience.total_seconds():
            return False
        self._looked[task] = at
        return True

    def _may_pass(self, seen: Snapshot, around: Around, answer: Admission, now: datetime) -> bool:
        """Whether courtesy ends here: those ahead of it could have gone, and have not, for too long."""
        still = None
        if isinstance(answer, Waiting) and answer.reason in COURTESY:
            before = {of for scope in seen.scopes for of in seen.before(scope)}
            queued = [place for read in around.scopes for place in read.places.values() if place.of in before]
            mine = {read.name: read.seen for read in around.clusters}
            ahead = lanes_ahead(self.tree, lanes_of_places(queued), around.holds, mine, now, self.known)
            drains = any(lane.drains for lane in (*ahead, *(lane for lane in seen.ahead if lane.binds)))
            still = be_patient(
                self._still.get(seen.task),
                seen,
                around.versions,
                now,
                self._monotonic(),
                drains=drains,
                a_place=self._patience,
            )
        if still is None:
            self._still.pop(seen.task, None)
            return False
        self._still[seen.task] = still
        return self._monotonic() >= still.over_at

    def _forget_others(self, task: TaskId | None = None) -> None:
        """It waits no more for those ahead of it, in the line of `task` or in any."""
        for seen in (self._still, self._looked):
            for each in [task] if task is not None else list(seen):
                seen.pop(each, None)
