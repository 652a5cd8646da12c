"""What a daemon's pulse says, as metrics: asked when somebody looks, so that the loop pays nothing for it."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from taskerman.pulse import Pulse
from taskerman.telemetry.declarations import METRICS, PREFIX, Role

__all__ = ["Looping"]


class Looping(Collector):
    """One daemon's loop. Safe to ask from several threads."""

    def __init__(self, role: Role, pulse: Pulse) -> None:
        self._role = role
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        """Every metric that is declared to come from the pulse. Without a first success there is none to tell of."""
        pulse = self._pulse
        told = {
            "last_success_timestamp_seconds": pulse.last_success,
            "loop_turns_total": float(pulse.turns),
            "loop_busy_seconds_total": pulse.busy_s,
            "loop_lag_seconds": pulse.lag,
        }
        for metric in METRICS:
            if metric.source != "pulse":
                continue
            counts = metric.kind == "counter"
            family = (CounterMetricFamily if counts else GaugeMetricFamily)(
                metric.name, metric.about, labels=metric.labels
            )
            value = told[metric.name.removeprefix(PREFIX)]
            if value is not None:
                family.add_metric([self._role], value)
            yield family
