"""The breaker of failures in a row: a cluster in which node after node fails is left alone, and then tried by one.

Where a kept slot says "this node is not well", the breaker says "perhaps it is not the nodes": a bad package, a full
network, a control plane that answers no one. It opens by failures across tasks, because budgets are a task's own and
the next task would walk on. Opened, it is closed by the success of one probe or by a person, and by nobody else: what
began before it opened proves nothing about now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from taskerman.model.breaker import ClusterRecord, RecentFailure
from taskerman.model.ids import AttemptId, ClusterName, NodeId, TaskId, attempt_node
from taskerman.model.outcome import Outcome

__all__ = ["BreakerLimits", "BreakerTurn", "after_end", "claimed", "given_back", "objection", "reset", "turned"]

_REMEMBERED = 20


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """`failures`: how many in a row open it; 0: it never opens. `cool_down`: how long the cluster is left alone."""

    failures: int = 3
    cool_down: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class BreakerTurn:
    """What an end did to the breaker of `cluster`. `until`: it is open, and until then nobody tries; None: it closed.

    `failures`: the row that opened it, or that it was opened by.
    """

    cluster: ClusterName
    failures: int
    until: datetime | None


def turned(cluster: ClusterName, before: ClusterRecord, after: ClusterRecord) -> BreakerTurn | None:
    """For those who watch: whether it opened, was opened for another cool-down by its own probe, or closed."""
    if after.open_until is None:
        return None if before.open_until is None else BreakerTurn(cluster, len(before.recent), None)
    probe_failed = before.probe is not None and after.probe is None and after.recent != before.recent
    if before.open_until is None or probe_failed:
        return BreakerTurn(cluster, len(after.recent), after.open_until)
    return None


def after_end(
    record: ClusterRecord,
    *,
    attempt: AttemptId,
    task: TaskId,
    node: NodeId,
    outcome: Outcome,
    now: datetime,
    limits: BreakerLimits,
) -> ClusterRecord:
    """The cluster's record after `attempt` ended so; `record` itself when the breaker has nothing to note.

    An ordinary success of a cluster without recent failures has nothing to note, so it costs nothing.
    """
    probing = record.probe == attempt
    if outcome is Outcome.SUCCEEDED and (probing or record.open_until is None):
        return reset(record)
    if outcome.uses_budget:
        before = [failure for failure in record.recent if (failure.task, failure.node) != (task, node)]
        recent = (*before, RecentFailure(task=task, node=node, outcome=outcome, at=now))[-_REMEMBERED:]
        opens = record.open_until is not None or 0 < limits.failures <= len(recent)
        return record.model_copy(
            update={
                "recent": recent,
                "open_until": now + limits.cool_down if opens else None,
                "probe": None if probing else record.probe,
            }
        )
    return given_back(record, attempt)


def objection(cluster: ClusterName, record: ClusterRecord, now: datetime) -> tuple[str, datetime | None] | None:
    """Why nothing may start in `cluster` at `now`, as one sentence, and until when, if time alone ends it; None: it is
    closed, or one may try."""
    if record.open_until is None:
        return None
    nodes = [failure.node for failure in record.recent]
    names = ", ".join(nodes[-3:])
    row = f"The breaker of {cluster} is open: {len(nodes)} failures in a row ({names})"
    if now < record.open_until:
        return f"{row}.", record.open_until
    if record.probe is None:
        return None
    return f"{row}, and {attempt_node(record.probe)} tries first.", None


def claimed(record: ClusterRecord, attempt: AttemptId) -> ClusterRecord:
    """The record as the take of an admitted `attempt` leaves it: with an open breaker, this is the one that tries."""
    return record if record.open_until is None else record.model_copy(update={"probe": attempt})


def given_back(record: ClusterRecord, attempt: AttemptId) -> ClusterRecord:
    """The record without `attempt` as its probe: it will not say anything any more, and another may try."""
    return record.model_copy(update={"probe": None}) if record.probe == attempt else record


def reset(record: ClusterRecord) -> ClusterRecord:
    """Closed, and no failure remembered."""
    if not record.recent and record.open_until is None and record.probe is None:
        return record
    return record.model_copy(update={"recent": (), "open_until": None, "probe": None})
