"""The two clocks of an attempt: the one that deadlines are on, and the one that people read."""

from __future__ import annotations

import time

__all__ = ["boottime", "wall_clock"]


def boottime() -> float:
    """Seconds since boot, time asleep included (CLOCK_BOOTTIME): never jumps, and is the same for every process."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_clock() -> str:
    """RFC 3339, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
