"""The pulse of a daemon's loop: it says when it turns and how long it means to wait, so that others can tell a loop
that waits from one that hangs.

A loop that hangs looks alive from outside: its threads go on receiving, its session goes on living, and nothing is
done. This knows no threads to end and no metrics; the watchdog and the metrics read it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pulse"]


class Pulse:
    """Beaten by one loop, read by anybody. Times are monotonic seconds, but for `last_success`."""

    def __init__(
        self, *, monotonic: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        """`now`: Unix time."""
        self.clock = monotonic
        """Seconds, on the clock by which it is judged."""
        self._now = now
        self._due = monotonic()
        self._began: float | None = None
        self.turns = 0
        """Turns that ended, well or not."""
        self.busy_s = 0.0
        """Seconds spent in them."""
        self.last_success: float | None = None
        """Unix time at which a turn last ended well. None: none did yet."""

    def beat(self) -> None:
        """The loop does something now: a turn begins, or a long one gets on. Call it at least once in every call that
        may take long, and in every loop that may go on for long."""
        self._due = self.clock()
        if self._began is None:
            self._began = self._due

    def pause(self, seconds: float) -> None:
        """Nothing is to be done for `seconds`: in the middle of a turn, a long poll for instance."""
        now = self.clock()
        if self._began is not None:
            self.busy_s += now - self._began
            self._began = None
        self._due = now + max(seconds, 0.0)

    def rest(self, seconds: float, *, well: bool = True) -> None:
        """A turn ended (`well`: without an error), and nothing is to be done for `seconds`."""
        self.pause(seconds)
        self.turns += 1
        if well:
            self.last_success = self._now()

    @property
    def lag(self) -> float:
        """For how many seconds the loop has not moved although it should have; 0 when it is in time."""
        return max(self.clock() - self._due, 0.0)
