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
        """Seconds since boot, unaffected by the time of day being set.

        Time asleep counts (CLOCK_BOOTTIME): a machine that was suspended between its check and its action must not
        believe that no time has passed.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)
