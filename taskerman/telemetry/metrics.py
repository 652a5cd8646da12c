"""Metrics: events counted under bounded labels. It listens; nothing that is counted decides anything.

Everything that there is to count is declared in `declarations`; here stands which event moves what. A registry is
given, never the library's global one, and nothing is counted that is not declared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from taskerman.errors import HistorySchema, HistoryUnavailable
from taskerman.model.event import Event
from taskerman.pulse import Pulse
from taskerman.telemetry.counted import Counted
from taskerman.telemetry.declarations import METRICS, PREFIX, Metric, Role
from taskerman.telemetry.labels import Bounds
from taskerman.telemetry.looping import Looping

__all__ = ["COUNTED_EVENT", "Metrics"]

COUNTED_EVENT = "installation_counted"

_COUNTS: Mapping[str, str] = {
    "attempt_taken": "attempts_taken_total",
    "attempt_adopted": "attempts_adopted_total",
    "attempt_ended": "attempts_ended_total",
    "assignment_waits": "assignment_waits_total",
    "assignment_settled": "assignments_settled_total",
    "document_received": "documents_received_total",
    "document_refused": "documents_refused_total",
    "document_waits": "documents_put_off_total",
    "task_planned": "tasks_planned_total",
    "task_routed": "tasks_routed_total",
    "task_closed": "tasks_closed_total",
    "dead_letter_sent": "dead_letters_sent_total",
    "limit_met": "limits_met_total",
    "breaker_opened": "breaker_opened_total",
    "breaker_probed": "breaker_probed_total",
    "breaker_closed": "breaker_closed_total",
    "bracket_begun": "brackets_begun_total",
    "bracket_closed": "brackets_closed_total",
    "bracket_not_closed": "brackets_not_closed_total",
    "node_gone": "nodes_reclaimed_total",
    "node_replaced": "nodes_replaced_total",
    "reclaim_capped": "reclaims_capped_total",
    "assignment_gone": "assignments_gone_total",
    "slot_overdue": "slots_overdue_total",
    "task_expired": "tasks_expired_total",
    "task_put_away": "tasks_put_away_total",
    "hold_ended": "holds_ended_total",
    "queue_deleted": "queues_deleted_total",
    "chore_failed": "chore_failures_total",
    "schedule_fired": "schedules_fired_total",
    "schedule_skipped": "schedules_skipped_total",
    "schedule_task_ended": "schedule_tasks_ended_total",
    "scheduler_waits": "loop_failures_total",
    "coordination_unavailable": "loop_failures_total",
    "router_waits": "loop_failures_total",
    "janitor_waits": "loop_failures_total",
}
"""One event, one more. What it is counted under are the event's fields of the labels' names."""

_ADDS: Mapping[str, tuple[str, str]] = {
    "node_gone": ("slots_reclaimed_total", "freed"),
    "rung_again": ("nodes_rung_again_total", "nodes"),
    "schedule_missed": ("schedules_missed_total", "count"),
}
"""One event, so many more: the field that says how many."""

_HISTORY = frozenset({HistoryUnavailable.code, HistorySchema.code})

_TIMES: Mapping[str, tuple[str, str]] = {
    "phase_left": ("attempt_phase_seconds", "s"),
    "pre_check_began": ("handover_seconds", "handover_s"),
    "phase_entered": ("start_delay_seconds", "late_s"),
    "document_received": ("document_age_seconds", "age_s"),
    "cluster_discovered": ("discovery_seconds", "s"),
    "schedule_fired": ("schedule_delay_seconds", "delay_s"),
}
"""An event that took time, and the field that says how long, in seconds; without it nothing is counted."""

_SHOWN: Mapping[str, tuple[str, str]] = {"cluster_discovered": ("cluster_discovered_nodes", "nodes")}
"""An event that tells how much there is of something now."""


class Metrics:
    """The metrics of one process. `listen` is a `Listener`; the other methods are told of requests."""

    def __init__(
        self,
        role: Role,
        registry: CollectorRegistry,
        *,
        bounds: Bounds | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Registers every metric that a `role` tells."""
        self.registry = registry
        self._role = role
        self._bounds = bounds or Bounds()
        told = [metric for metric in METRICS if role in metric.told_by]
        self._declared = {metric.name: metric for metric in told if metric.source in ("events", "requests")}
        self._made = {name: _make(metric, registry) for name, metric in self._declared.items()}
        self._counted = Counted(monotonic)
        self._counted_before: dict[str, set[object]] = {}
        if any(metric.source == "census" for metric in told):
            registry.register(self._counted)

    def listen(self, event: Event) -> None:
        """Count it. Never raises, whatever an event's fields are."""
        fields = {**event.fields, "role": self._role, "origin": event.fields.get("origin", "assignment")}
        self._count("events_total", {"level": event.level})
        if event.name in _COUNTS:
            self._count(_COUNTS[event.name], fields)
        if event.name in _ADDS:
            name, number = _ADDS[event.name]
            self._count(name, fields, fields.get(number))
        if event.name == "chore_failed" and fields.get("code") in _HISTORY:
            self._count("history_errors_total", fields)
        if event.name in _TIMES:
            name, seconds = _TIMES[event.name]
            self._observe(name, fields, fields.get(seconds))
        if event.name in _SHOWN:
            name, value = _SHOWN[event.name]
            self._show(name, fields, fields.get(value))
        if event.name == "assignments_counted":
            for standing in ("waiting", "acting"):
                self._show("agent_assignments", {"standing": standing}, fields.get(standing))
        if event.name == "schedules_counted":
            self._show_schedules(fields)
        if event.name == COUNTED_EVENT:
            self._counted.take(event.fields)

    def _show_schedules(self, fields: Mapping[str, object]) -> None:
        """What is not counted any more is none: a schedule that was removed must not be shown for ever."""
        for name, label in (("schedules", "schedule_standing"), ("schedules_stale", "cluster")):
            given = fields.get("standing" if name == "schedules" else "stale")
            counts = dict(given) if isinstance(given, Mapping) else {}
            for value in {*self._counted_before.get(name, ()), *counts}:
                self._show(name, {label: value}, counts.get(value, 0))
            self._counted_before[name] = set(counts)

    def watch(self, pulse: Pulse) -> None:
        """Tell of the loop whose pulse it is, as it is whenever somebody asks. Once."""
        self.registry.register(Looping(self._role, pulse))

    def zookeeper_sent(self, kind: str) -> None:
        """A request went to ZooKeeper: "read" or "write"."""
        self._count("zookeeper_requests_total", {"kind": kind})

    def zookeeper_failed(self, kind: str, code: str) -> None:
        """It got no answer, or one that is an error of ours with this code."""
        self._count("zookeeper_request_errors_total", {"kind": kind, "code": code})

    def aws_sent(self, operation: str) -> None:
        """A request went to AWS."""
        self._count("aws_requests_total", {"operation": operation})

    def aws_failed(self, operation: str, code: str) -> None:
        """It was refused with this code, or failed with an error of this name."""
        self._count("aws_request_errors_total", {"operation": operation, "aws_code": code})

    # --- one metric --------------------------------------------------------------------------------------

    def _count(self, name: str, fields: Mapping[str, object], number: object = 1) -> None:
        found = self._labelled(name, fields)
        if isinstance(found, Counter) and isinstance(number, int | float):
            found.inc(max(number, 0))

    def _observe(self, name: str, fields: Mapping[str, object], seconds: object) -> None:
        if isinstance(seconds, int | float):
            found = self._labelled(name, fields)
            if isinstance(found, Histogram):
                found.observe(max(seconds, 0.0))

    def _show(self, name: str, fields: Mapping[str, object], value: object) -> None:
        if isinstance(value, int | float):
            found = self._labelled(name, fields)
            if isinstance(found, Gauge):
                found.set(value)

    def _labelled(self, name: str, fields: Mapping[str, object]) -> Counter | Gauge | Histogram | None:
        """The series for these fields. None: this daemon does not tell it."""
        made = self._made.get(PREFIX + name)
        if made is None:
            return None
        labels = self._declared[PREFIX + name].labels
        return made.labels(*self._bounds.admit(name, labels, fields)) if labels else made


def _make(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    match metric.kind:
        case "counter":
            return Counter(metric.name, metric.about, metric.labels, registry=registry)
        case "gauge":
            return Gauge(metric.name, metric.about, metric.labels, registry=registry)
        case "histogram":
            return Histogram(metric.name, metric.about, metric.labels, buckets=metric.buckets, registry=registry)
