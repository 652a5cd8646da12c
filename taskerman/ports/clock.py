"""Time, as an argument. Nothing above the adapters asks the machine for it directly."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Two clocks that must not be confused."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC. It may jump; nothing safe may depend on it."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for waiting and timeouts within this process."""
        ...
