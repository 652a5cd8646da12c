"""The machine's clocks. Everything above receives them as an argument and never asks the machine itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["SystemClock"]


class SystemClock:
    """The `Clock` of a running process."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC. It may jump when the machine's clock is set."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment before this process; unaffected by the time of day being set."""
        return time.monotonic()
