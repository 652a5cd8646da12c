"""What a command prints: passed on as it comes, and the end of it kept."""

from __future__ import annotations

import os
import select
import threading

from taskerman.model.command import TAIL_BYTES
from taskerman.runner.context import text_tail

__all__ = ["Passing", "Tail"]

_CHUNK = 64 * 1024


class Tail:
    """The end of what several streams print, in the order in which it was read."""

    def __init__(self) -> None:
        """Empty."""
        self._lock = threading.Lock()
        self._kept = b""
        self._cut = False

    def add(self, chunk: bytes) -> None:
        """Keep the end of it."""
        most = 2 * TAIL_BYTES
        with self._lock:
            self._cut = self._cut or len(self._kept) + len(chunk) > most
            self._kept = (self._kept + chunk[-most:])[-most:]

    def text(self) -> str:
        """Whole lines that are safe to print, at most `TAIL_BYTES`."""
        with self._lock:
            return text_tail(self._kept, TAIL_BYTES, cut=self._cut)


class Passing:
    """A thread from one stream of the command to the same one of ours.

    If nobody reads ours any more, nobody reads the command's: it gets a SIGPIPE, as it would without us. If whoever
    reads is slow, the command waits, as it would without us.
    """

    def __init__(self, source: int, target: int, tail: Tail) -> None:
        """`source`: ours from now on. `target`: left open."""
        self._source, self._target, self._tail = source, target, tail
        self._over, self._say_over = os.pipe()
        os.set_blocking(source, False)
        self._thread = threading.Thread(target=self._run, name=f"passing on {target}", daemon=True)
        self._thread.start()

    def finish(self, patience: float | None) -> bool:
        """All that the command printed is read, and passed on. False: not within so many seconds; call it again."""
        if self._say_over >= 0:
            os.close(self._say_over)
            self._say_over = -1
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while True:
                ready, _, _ = select.select([self._source, self._over], [], [])
                try:
                    chunk = os.read(self._source, _CHUNK)
                except BlockingIOError:
                    if self._over in ready:
                        return
                    continue
                if not chunk:
                    return
                self._tail.add(chunk)
                self._pass_on(chunk)
        except OSError:
            return  # nobody reads ours any more
        finally:
            os.close(self._source)
            os.close(self._over)

    def _pass_on(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            try:
                view = view[os.write(self._target, view) :]
            except BlockingIOError:  # somebody gave us one that does not wait
                select.select([], [self._target], [])
