"""A process that dies at one point of an action, as by kill -9: nothing of it goes on, and nothing of it is undone.

The action runs in a thread of its own that stops for good at that point: no `finally`, no `except` of it is executed
before somebody lets go of the death. What it had open stays open so long, which is the one thing that kill -9 does
otherwise. It refuses to be clever about what happens within a command: before it, and after it, are the two points.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from taskerman.testing.passing_time import PassingTime

__all__ = ["Dead", "Mortal"]

_LETS_GO_S = 5.0


class Dead(BaseException):
    """Raised in the thread of a process that died, when nobody looks at its world any more."""


class Mortal:
    """A process whose life ends at point `at` (1 is the first), or when it is told to. One process each.

    `where`: at which point it died, in words; empty: it came to its end, as `how` says, an exception or None.
    """

    def __init__(self, at: int | None, passing: PassingTime) -> None:
        self.where = ""
        self.how: BaseException | None = None
        self._at = at
        self._points = 0
        self._passing = passing
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._gone = threading.Event()
        self._thread: threading.Thread | None = None

    def live(self, action: Callable[[], None]) -> None:
        """Run `action` until it ends, or dies."""
        self._thread = threading.Thread(target=self._run, args=(action,), name="mortal", daemon=True)
        self._thread.start()
        self._news.get()

    def let_go(self) -> None:
        """Nobody looks at its world any more: let the thread come to an end. Idempotent."""
        self._gone.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_LETS_GO_S)

    def point(self, where: str) -> None:
        """Called by the process at each point of it."""
        if self._gone.is_set():
            raise Dead
        self._points += 1
        if self._points == self._at:
            self.die(where)

    def die(self, where: str) -> None:
        """Called by the process: it ends here."""
        self.where = where
        self._news.put(None)
        self._gone.wait()
        raise Dead

    def _run(self, action: Callable[[], None]) -> None:
        self._passing.join()
        try:
            action()
        except BaseException as error:
            self.how = error
        finally:
            self._passing.leave()
        if not self.where:
            self._news.put(None)
