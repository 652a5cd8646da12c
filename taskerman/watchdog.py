"""The watchdog: a daemon whose threads live and whose loop does not is ended, so that its supervisor starts it anew.

Ending it is safe because nothing of what a daemon knows is only in it: an action goes on in its own process, and the
next agent adopts it; a message that was in hand comes back. It looks at a pulse and at nothing else, and it never ends
a process that was itself frozen: then the loop had no time either. What it cannot see is a loop that never lets go of
the interpreter: then it has no time itself.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from taskerman.model.event import Event, Listener
from taskerman.pulse import Pulse

__all__ = ["EXIT_CODE", "Watchdog", "end_process", "watched"]

EXIT_CODE = 1
"""What a hung daemon exits with: a loop that hangs is a bug, ours or a library's."""

_LOOKS = 20
_LONGEST_LOOK_S = 5.0
_TELL_WITHIN_S = 5.0


class Watchdog:
    """Judges a pulse. `look` is called every `every_s` seconds or so; it answers whether the loop hangs."""

    def __init__(self, pulse: Pulse, limit: timedelta) -> None:
        """`limit`: of lag, longer than any call that the loop may rightly wait for."""
        self._pulse = pulse
        self._limit_s = limit.total_seconds()
        self.every_s = min(self._limit_s / _LOOKS, _LONGEST_LOOK_S)
        self._late_s = 0.0

    def look(self, since_s: float) -> bool:
        """`since_s`: seconds since the last look. Time in which nobody could look is not held against the loop: of a
        long while only as much is counted as should have passed."""
        lag = self._pulse.lag
        self._late_s = min(self._late_s + min(since_s, 2 * self.every_s), lag) if lag > 0 else 0.0
        return self._late_s >= self._limit_s


@contextmanager
def watched(
    pulse: Pulse, limit: timedelta, emit: Listener, *, end: Callable[[Event, Listener], None] | None = None
) -> Iterator[None]:
    """Watch the pulse for as long as the block lasts. `end`: what is done when the loop hangs; `end_process`."""
    stop = threading.Event()
    thread = threading.Thread(
        target=_watch,
        args=(pulse, Watchdog(pulse, limit), emit, stop, end or end_process),
        name="watchdog",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def end_process(event: Event, emit: Listener) -> None:
    """Say it, show where every thread stands, and end, without any clean-up: it could hang as well.

    Even when nobody reads what we say: after some seconds the process ends in mid-sentence; by SIGALRM, which is the
    kernel's, when not even the stacks can be written, because standard error is a pipe that is full.
    """
    try:
        signal.setitimer(signal.ITIMER_REAL, 2 * _TELL_WITHIN_S)
        errors = sys.__stderr__ or 2
        faulthandler.dump_traceback_later(_TELL_WITHIN_S, exit=True, file=errors)
        emit(event)
        faulthandler.dump_traceback(file=errors, all_threads=True)
    finally:
        os._exit(EXIT_CODE)


def _watch(
    pulse: Pulse, watchdog: Watchdog, emit: Listener, stop: threading.Event, end: Callable[[Event, Listener], None]
) -> None:
    looked_at = pulse.clock()
    while not stop.wait(watchdog.every_s):
        now = pulse.clock()
        if watchdog.look(now - looked_at):
            end(Event("loop_hung", {"lag_s": round(pulse.lag, 3)}, "error"), emit)
            return
        looked_at = now
