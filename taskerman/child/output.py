"""Everything that the processes of an attempt print: read as it comes, kept in a bounded log and a bounded tail.

Reading never stops, whatever happens to the log: a process that prints into a full pipe hangs. Nothing here is held
in memory but the tail.
"""

from __future__ import annotations

import fcntl
import os

from taskerman.runner.context import text_tail
from taskerman.runner.log_line import log_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Output"]

CHUNK = 64 * 1024
NOTES_BYTES = 16 * 1024
"""Kept free in the log for the keeper's own lines, which say how the attempt ended."""


class Output:
    """The pipe that worker and descendants have as standard output and error, the log and the tail.

    `log_max_bytes` counts what earlier children of the attempt wrote, too.
    """

    def __init__(
        self,
        log_path: str,
        log_max_bytes: int,
        tail_bytes: int,
        attempt: str,
        line: Callable[[str], bytes] | None = None,
    ) -> None:
        """Opens the log, to append. `line`: makes a line of what `note` is told. Raises `OSError`."""
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self._capacity = fcntl.fcntl(self.read_end, fcntl.F_GETPIPE_SZ)
        self._log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._room = log_max_bytes - os.fstat(self._log).st_size
        self.most = log_max_bytes
        self.dropped = 0
        """Bytes that were read and not kept."""
        self._said_dropped = 0
        self._tail = b""
        self._tail_cut = False
        self._tail_bytes = tail_bytes
        self._line = line or (lambda text: log_line("human", text, {"attempt": attempt, "phase": ""}, {}))

    def pump(self) -> None:
        """Take what is in the pipe now: at most what fits in, so that an endless writer cannot hold us here."""
        left = self._capacity
        while left > 0:
            try:
                chunk = os.read(self.read_end, CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                return
            left -= len(chunk)
            self._keep(chunk)

    def note(self, text: str) -> None:
        """A line of the keeper's own, in log and tail."""
        self._keep(self._line(f"keeper: {text}"), reserved=0)

    def tail(self) -> str:
        """The end of it, as text that is safe to print: whole lines, at most `tail_bytes`."""
        return text_tail(self._tail, self._tail_bytes, cut=self._tail_cut)

    def finish(self) -> None:
        """Say in the log how much of it was dropped, if anything was."""
        if self.dropped > self._said_dropped:
            self._said_dropped = self.dropped
            self.note(f"{self.dropped} bytes of output were not kept")

    def _keep(self, chunk: bytes, reserved: int = NOTES_BYTES) -> None:
        # Twice the length, so that cutting it to whole lines later leaves enough.
        most = 2 * self._tail_bytes
        if len(self._tail) + len(chunk) > most:
            self._tail_cut = True
        self._tail = (self._tail + chunk[-most:])[-most:]
        fits = max(0, min(len(chunk), self._room - reserved))
        if fits:
            self._write(chunk[:fits])
        if fits < len(chunk):
            if not self.dropped:
                self._write(b"\n[taskerman: the log is full; output goes on being read, and is not kept]\n")
            self.dropped += len(chunk) - fits

    def _write(self, data: bytes) -> None:
        self._room -= len(data)
        try:
            os.write(self._log, data)
        except OSError:
            # A full disk must not end the action that is being watched; the tail still has the end of the output.
            self.dropped += len(data)
