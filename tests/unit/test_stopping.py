"""Asking a daemon to stop, also at the one moment at which an Event would hang it."""

from __future__ import annotations

import signal
import threading
import time

from taskerman.stopping import StopSign


def test_it_waits_until_it_is_asked_and_never_again() -> None:
    """From another thread; every later wait returns at once."""
    sign = StopSign()
    assert not sign.wait(0.0)
    asker = threading.Timer(0.01, sign.ask)
    asker.start()
    assert sign.wait(30)
    assert sign.wait(30)
    assert sign.asked
    asker.join()


def test_a_signal_handler_may_ask_whatever_the_thread_is_doing() -> None:
    """A handler on the waiting thread, at moments all over its wait: it never hangs, and the wait always ends."""
    before = signal.signal(signal.SIGALRM, lambda *_: sign.ask())
    try:
        for k in range(300):
            sign = StopSign()
            signal.setitimer(signal.ITIMER_REAL, 1e-6 + k * 1e-6)
            deadline = time.monotonic() + 10
            while not sign.wait(0.0001):
                assert time.monotonic() < deadline
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
