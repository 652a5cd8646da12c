"""Signals to a process that waits: noted, and then looked at where it is safe to act on them."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from types import FrameType, TracebackType

__all__ = ["Signals"]

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """While entered: SIGTERM, SIGINT and SIGHUP are only noted, and any of them, a child's death or `wake` ends `wait`.

    What was ignored before (as by `nohup`) stays ignored. In the main thread only.
    """

    def __init__(self) -> None:
        """Nothing is changed before it is entered."""
        self.asked: list[int] = []
        """What came, in order."""
        self._before: dict[int, object] = {}
        self._woken, self._waker = -1, -1

    def __enter__(self) -> Signals:
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._fd_before = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for signum in (*_PASSED_ON, signal.SIGCHLD):
            if signum is signal.SIGCHLD or signal.getsignal(signum) is not signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]
        woken, waker = self._woken, self._waker
        self._woken = self._waker = -1
        os.close(woken)
        os.close(waker)

    def wake(self) -> None:
        """End a `wait`, from any thread. Does not block."""
        with suppress(OSError):  # it is full, which wakes as well; or it is over
            os.write(self._waker, b"w")

    def wait(self, seconds: float) -> None:
        """Until something comes, at most so long."""
        select.select([self._woken], [], [], max(seconds, 0.0))
        with suppress(BlockingIOError):
            while os.read(self._woken, 512):
                pass

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum != signal.SIGCHLD:
            self.asked.append(signum)
