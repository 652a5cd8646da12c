"""Reports on their way to the agent: an agent that does not read, or is gone, must not hold the keeper up."""

from __future__ import annotations

import os
import select
import time

__all__ = ["Outbox"]

FLUSH_SECONDS = 5.0


class Outbox:
    """What could not be written yet, in order. `descriptor` is made non-blocking, and not passed on to anybody."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        os.set_inheritable(descriptor, False)
        self.descriptor = descriptor
        self._unsent = b""
        self._nobody_reads = False

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._unsent)

    def put(self, line: bytes) -> None:
        """Send `line` as soon as it can be; forget it when nobody reads any more."""
        if not self._nobody_reads:
            self._unsent += line
            self.send()

    def send(self) -> None:
        """Send what can be sent without waiting."""
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self.descriptor, self._unsent) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            # The agent died. What it must know it finds in the result file.
            self._nobody_reads, self._unsent = True, b""

    def flush(self) -> None:
        """Send the rest before the end, but do not wait for ever for an agent that is frozen."""
        give_up_at = time.monotonic() + FLUSH_SECONDS
        while self._unsent and (left := give_up_at - time.monotonic()) > 0:
            select.select([], [self.descriptor], [], left)
            self.send()
