"""What the judge knows of the gates that failures, time and discovery shut: breakers, windows, parked tasks.

Written a second time, from what was seen: which attempts were taken and how they ended, which sizes were discovered.
The records must say the same, after every commit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from taskerman.coordination import layout
from taskerman.model.attempt import Attempt
from taskerman.model.breaker import ClusterRecord
from taskerman.model.outcome import Outcome
from taskerman.model.plan import Plan
from taskerman.model.task import TaskState
from taskerman.policy.windows import open_at

__all__ = ["GateJudge", "Seen"]

COOL_DOWN = timedelta(minutes=15)
ROW = 3
TOLERANCE = timedelta(seconds=31)
FAILED = (Outcome.FAILED, Outcome.UNSAFE, Outcome.LOST)

cluster_record = lru_cache(4096)(ClusterRecord.model_validate_json)


@dataclass
class Seen:
    """One cluster, as it must be."""

    row: list[tuple[str, str]] = field(default_factory=list)
    is_open: bool = False
    until: datetime | None = None
    probe: str | None = None
    size: int | None = None


@dataclass
class GateJudge:
    """Told by the judge what was committed. Each method answers with what is wrong, or None."""

    now: Callable[[], datetime]
    clusters: dict[str, Seen] = field(default_factory=lambda: defaultdict(Seen))

    def planned(self, plan: Plan, state: TaskState) -> str | None:
        """A plan was written."""
        seen, size = self.clusters[plan.task.cluster_name], plan.accepted.discovered
        if size is None:
            return None if state is TaskState.OPEN else f"a task that names its nodes was planned {state.value}"
        jumped = seen.size is not None and abs(size - seen.size) > 3 and not seen.size <= 2 * size <= 4 * seen.size
        if jumped != (state is TaskState.PARKED):
            return f"S6 {seen.size} nodes were known, {size} were found, and the task was planned {state.value}"
        if not jumped:
            seen.size = size
        return None

    def approved(self, plan: Plan) -> None:
        """A person looked at it."""
        self.clusters[plan.task.cluster_name].size = plan.accepted.discovered

    def reset(self, cluster: str) -> None:
        """A person closed the breaker."""
        self._close(self.clusters[cluster])

    def taken(self, attempt: Attempt, plan: Plan) -> str | None:
        """A TAKE."""
        now = self.now()
        if plan.window is not None and not any(open_at(plan.window, now + k * TOLERANCE) for k in (-1, 0, 1)):
            return f"S2 TAKE of {attempt.id} while its window is shut"
        for cluster in attempt.clusters:
            seen = self.clusters[cluster]
            if seen.is_open:
                if seen.until is None or now < seen.until:
                    return f"S2 TAKE of {attempt.id} while the breaker of {cluster} is open"
                if seen.probe is not None:
                    return f"S2 TAKE of {attempt.id} beside the probe {seen.probe}"
                seen.probe = attempt.id
        return None

    def ended(self, attempt: Attempt, node: str, outcome: Outcome | None) -> None:
        """An attempt ended; without an outcome: its machine is off."""
        for cluster in attempt.clusters:
            seen = self.clusters[cluster]
            probing = seen.probe == attempt.id
            if outcome is Outcome.SUCCEEDED and (probing or not seen.is_open):
                self._close(seen)
            if outcome in FAILED:
                seen.row = [*(one for one in seen.row if one != (attempt.task, node)), (attempt.task, node)]
                seen.is_open = seen.is_open or len(seen.row) >= ROW
                seen.until = None  # anew: the record says until when
            if probing:
                seen.probe = None

    @staticmethod
    def _close(seen: Seen) -> None:
        seen.row, seen.is_open, seen.until, seen.probe = [], False, None, None

    def agree(self, data: Mapping[str, bytes]) -> str | None:
        """Whether the records say what was seen."""
        for cluster, seen in self.clusters.items():
            found = data.get(layout.cluster(cluster))
            record = ClusterRecord() if found is None else cluster_record(found)
            if record.size != seen.size:
                return f"S6 the size of {cluster} is {record.size}, and {seen.size} is believed"
            if [(failure.task, failure.node) for failure in record.recent] != seen.row[-20:]:
                return f"S7 {cluster} remembers {record.recent}, and {seen.row} failed"
            if (record.open_until is not None) != seen.is_open or record.probe != seen.probe:
                return f"S7 the breaker of {cluster} is {record}, and should be {seen}"
            if record.open_until is not None and record.open_until > self.now() + COOL_DOWN:
                return f"S7 the breaker of {cluster} is open for longer than its cool-down"
            seen.until = record.open_until
        return None
