"""The installation as one daemon counted it last: gauges that are read from the tree for everybody.

A count that is old is not shown: the daemon that counts may have lost the lead, and two that both tell of the present
would contradict each other. A cluster that is gone is gone from here with the next count.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from taskerman.telemetry.declarations import METRICS, PREFIX
from taskerman.telemetry.labels import Bounds

__all__ = ["GOOD_FOR_S", "Counted"]

GOOD_FOR_S = 180.0
"""Three counts may fail before nothing is shown any more."""

_LARGEST = frozenset({"oldest_open_task_seconds", "oldest_dead_letter_seconds", "breaker_open"})
"""What is put together under `other` is added up, but for these, of which the largest says most."""


class Counted(Collector):
    """The last count, for as long as it is good. Safe to use from several threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._at = 0.0
        self._counts: Mapping[str, object] = {}

    def take(self, counts: Mapping[str, object]) -> None:
        """`counts`: for each metric, by its name without the prefix, rows of its labels' values and the number."""
        with self._lock:
            self._at, self._counts = self._monotonic(), counts

    def collect(self) -> Iterator[Metric]:
        """The gauges of the last count; none when it is too old."""
        with self._lock:
            counts = self._counts if self._monotonic() - self._at <= GOOD_FOR_S else {}
        bounds = Bounds()
        for metric in METRICS:
            if metric.source != "census":
                continue
            name = metric.name.removeprefix(PREFIX)
            family = GaugeMetricFamily(metric.name, metric.about, labels=metric.labels)
            together: dict[tuple[str, ...], list[float]] = defaultdict(list)
            for labels, number in _rows(counts.get(name), len(metric.labels)):
                given = dict(zip(metric.labels, labels, strict=True))
                together[bounds.admit(name, metric.labels, given)].append(number)
            for values, numbers in together.items():
                family.add_metric(values, max(numbers) if name in _LARGEST else sum(numbers))
            yield family


def _rows(given: object, labels: int) -> list[tuple[tuple[str, ...], float]]:
    """The rows that are whole, by name: so that the same clusters are admitted each time."""
    if not isinstance(given, Sequence):
        return []
    return sorted(
        (tuple(map(str, row[:-1])), float(row[-1]))
        for row in given
        if isinstance(row, Sequence) and len(row) == labels + 1 and isinstance(row[-1], int | float)
    )
