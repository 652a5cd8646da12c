"""BREAKER: which clusters are stopped by failures in a row or by a kept slot, and closing the former by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from taskerman.control.desk import Desk, check_why
from taskerman.control.naming import check_cluster
from taskerman.control.places import list_slots
from taskerman.control.values import BreakerReset, BreakerShown, BreakerState
from taskerman.coordination import overview as reading
from taskerman.errors import NotFound
from taskerman.model.breaker import ClusterRecord
from taskerman.model.ids import ClusterName, NodeId
from taskerman.model.slot import SlotState

__all__ = ["reset_breaker", "show_breakers"]


def show_breakers(desk: Desk, cluster: ClusterName | None = None) -> Sequence[BreakerShown]:
    """The breaker of `cluster`, or every one that is not simply closed. Raises `NotFound` for an unknown cluster."""
    if cluster is not None:
        check_cluster(cluster)
    kept: dict[ClusterName, list[NodeId]] = defaultdict(list)
    for place in list_slots(desk, cluster):
        if place.state is not SlotState.ACTING:
            kept[place.scope].append(place.node)
    records = reading.clusters(desk.opened())
    if cluster is not None and cluster not in records:
        raise NotFound(f"No task was ever planned for {cluster}.", next_step="`taskerman breaker show` lists those.")
    shown = (_shown(desk, name, record, tuple(kept[name])) for name, record in sorted(records.items()))
    if cluster is not None:
        return [one for one in shown if one.cluster_name == cluster]
    return [one for one in shown if one.state is not BreakerState.CLOSED or one.failures]


def reset_breaker(desk: Desk, cluster: ClusterName, why: str) -> BreakerReset:
    """Close the breaker of `cluster` and forget its failures; what waits for it goes on by itself.

    A kept slot goes on stopping the cluster, and is named. Raises `NotFound`, `RefusedByState` (nothing to reset),
    `UsageError` (no reason).
    """
    check_why(why)
    check_cluster(cluster)
    before = desk.moves().reset_breaker(cluster, why)
    (after,) = show_breakers(desk, cluster)
    return BreakerReset(cluster_name=cluster, forgotten=before.recent, kept=after.kept)


def _shown(desk: Desk, name: ClusterName, record: ClusterRecord, kept: tuple[NodeId, ...]) -> BreakerShown:
    return BreakerShown(
        cluster_name=name,
        state=_state(desk, record, kept),
        until=record.open_until,
        probe=record.probe,
        failures=record.recent,
        kept=kept,
    )


def _state(desk: Desk, record: ClusterRecord, kept: tuple[NodeId, ...]) -> BreakerState:
    if kept:
        return BreakerState.KEPT
    if record.open_until is None:
        return BreakerState.CLOSED
    if record.probe is not None:
        return BreakerState.PROBING
    return BreakerState.OPEN if desk.now() < record.open_until else BreakerState.HALF_OPEN
