"""What a daemon's process tells of itself, put together: its log, its metrics and its watchdog, from start to end.

Only for a process of our own: the loggers of libraries are caught, which is global.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from taskerman.model.event import Event, Listener
from taskerman.pulse import Pulse
from taskerman.telemetry.logging import Form, log_libraries, log_listener
from taskerman.watchdog import watched

if TYPE_CHECKING:
    from taskerman.telemetry.declarations import Role
    from taskerman.telemetry.metrics import Metrics

__all__ = ["Told", "telling"]


@dataclass(frozen=True, slots=True)
class Told:
    """What a daemon is given to tell by. `metrics`: None when nobody asked for them."""

    emit: Listener
    pulse: Pulse
    metrics: Metrics | None = None


@contextmanager
def telling(
    role: Role,
    *,
    form: Form,
    level: str,
    address: tuple[str, int] | None = None,
    file: Path | None = None,
    watchdog: timedelta,
) -> Iterator[Told]:
    """Tell of a daemon for as long as the block lasts.

    `form`, `level`: of the log, on standard error. `address`: where metrics are served. `file`: where they are left
    at the end, however it comes. Without either nothing is counted, and the library is not imported. `watchdog`: the
    longest that the loop may hang.
    """
    log = log_listener(form, level)
    pulse = Pulse()
    with ExitStack() as closing:
        metrics = None
        emit = log
        if address is not None or file is not None:
            metrics = _metrics(role, pulse)
            emit = _both(metrics.listen, log)
        handler = log_libraries(emit)
        closing.callback(logging.getLogger().removeHandler, handler)
        if metrics is not None:
            from taskerman.telemetry.serving import serving, write  # noqa: PLC0415

            if address is not None:
                closing.enter_context(serving(metrics.registry, address, emit))
            if file is not None:
                closing.callback(write, metrics.registry, file, emit)
        closing.enter_context(watched(pulse, watchdog, emit))
        yield Told(emit, pulse, metrics)


def _metrics(role: Role, pulse: Pulse) -> Metrics:
    """Metrics of this process, with what the library knows of every process."""
    from prometheus_client import (  # noqa: PLC0415  a tenth of a second that only those pay who want metrics
        CollectorRegistry,
        GCCollector,
        PlatformCollector,
        ProcessCollector,
        disable_created_metrics,
    )

    from taskerman.telemetry.metrics import Metrics  # noqa: PLC0415

    disable_created_metrics()  # type: ignore[no-untyped-call]  # else each counter has a second series, of when it was made
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = Metrics(role, registry)
    metrics.watch(pulse)
    return metrics


def _both(first: Listener, then: Listener) -> Listener:
    def listen(event: Event) -> None:
        first(event)
        then(event)

    return listen
