"""Time that passes at once: within, `time.sleep` returns immediately, and `time.time` and `time.monotonic` have gone on
by as much. Only for the thread that asked for it: servers and fixtures of a test keep the real one.

A runner that says `import time` and `time.sleep(1)` is reached so; `from time import sleep` is not, and neither is
`datetime.now()`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["PassingTime"]

_monotonic = time.monotonic


class PassingTime:
    """How much has passed beside the real time. Used by one thread at a time."""

    def __init__(self) -> None:
        self.passed = 0.0
        self._threads: set[int] = set()
        self._alarm: tuple[float, Callable[[], None]] | None = None

    def now(self) -> float:
        """Monotonic seconds."""
        return _monotonic() + self.passed

    def pass_until(self, at: float) -> None:
        """Let it become `at`; nothing happens when it is later already."""
        self.passed += max(0.0, at - self.now())

    def ring(self, after_s: float, alarm: Callable[[], None]) -> None:
        """Call `alarm` in the sleep in which `after_s` will be over, in place of its end. An earlier alarm is off."""
        self._alarm = (self.now() + after_s, alarm)

    def silence(self) -> None:
        """No alarm any more."""
        self._alarm = None

    def join(self) -> None:
        """Let the calling thread live in it, too."""
        self._threads.add(threading.get_ident())

    def leave(self) -> None:
        """The calling thread ends."""
        self._threads.discard(threading.get_ident())

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Within, the calling thread lives in it, and each that joins."""
        before = time.sleep, time.time, time.monotonic
        here = threading.get_ident()
        joined = here in self._threads
        self._threads.add(here)
        time.sleep = self._slept(before[0])  # type: ignore[assignment]
        time.time = self._shifted(before[1])
        time.monotonic = self._shifted(before[2])
        try:
            yield
        finally:
            time.sleep, time.time, time.monotonic = before
            if not joined:
                self._threads.discard(here)

    def _slept(self, real: Callable[[float], None]) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            if threading.get_ident() not in self._threads:
                real(seconds)
                return
            until = self.now() + seconds
            if self._alarm is not None and self._alarm[0] <= until:
                (at, alarm), self._alarm = self._alarm, None
                self.pass_until(at)
                alarm()
            self.pass_until(until)

        return sleep

    def _shifted(self, real: Callable[[], float]) -> Callable[[], float]:
        return lambda: real() + (self.passed if threading.get_ident() in self._threads else 0.0)
