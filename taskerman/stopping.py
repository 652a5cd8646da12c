"""Asking a daemon to stop: from any thread, and from a signal handler.

`threading.Event` takes a lock that its own waiter may hold at the very moment the handler runs on the same thread: a
SIGTERM could then hang the daemon that it should end. `SimpleQueue.put` is made to be called there.
"""

from __future__ import annotations

import queue

__all__ = ["StopSign"]


class StopSign:
    """Asked once, asked for ever."""

    def __init__(self) -> None:
        self._asked = False
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    @property
    def asked(self) -> bool:
        """Whether somebody asked."""
        return self._asked

    def ask(self) -> None:
        """Ask it to stop. From any thread, and from a signal handler. Idempotent."""
        self._asked = True
        self._bell.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait for that long, or until somebody asks; the answer is whether somebody did. One thread waits."""
        if not self._asked:
            try:
                self._bell.get(timeout=max(seconds, 0.0))
            except queue.Empty:
                return self._asked
        return self._asked
