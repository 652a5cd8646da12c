"""A clock that stands still until a test moves it: a test of minutes takes none, and proves the same each time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

__all__ = ["ManualClock"]

_START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class ManualClock:
    """The `Clock` of a test. Time passes by `advance` alone. Safe to use from several threads."""

    def __init__(self, start: datetime = _START) -> None:
        """`start`: the first time of day, aware. The monotonic clock starts at an odd value, as a machine's does."""
        if start.tzinfo is None:
            raise ValueError("a clock starts at an aware time")
        self._lock = threading.Lock()
        self._now = start.astimezone(UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """The time of day, in UTC."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Seconds; never goes back."""
        with self._lock:
            return self._monotonic

    def advance(self, by: timedelta | float) -> None:
        """Let time pass on both clocks. A number is in seconds. Raises `ValueError` when negative: see `jump`."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if step < timedelta():
            raise ValueError("time does not pass backwards; `jump` sets the time of day back")
        with self._lock:
            self._now += step
            self._monotonic += step.total_seconds()

    def jump(self, by: timedelta) -> None:
        """Set the time of day forward or back, as a clock that is corrected; the monotonic clock does not notice."""
        with self._lock:
            self._now += by
