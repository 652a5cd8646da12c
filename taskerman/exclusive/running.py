"""The command's process: made before its slot is taken, begun after, waited for, and nothing of it left behind.

This process adopts what the command leaves (it is a subreaper), so that whatever hides is found; what was a child of
ours before the command was there is left alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from taskerman.child.kin import Process, carries_marker, command_line, descendants, kill_until_none, processes
from taskerman.exclusive.host import COMMAND_MARKER
from taskerman.exclusive.output import Passing, Tail
from taskerman.model.ids import NodeId

__all__ = ["Running", "leftover_line"]

_GATE = Path(__file__).with_name("gate.py")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_KILL_FOR_S = 30.0


class Running:
    """One command. `pid`: its process, its session and its process group."""

    def __init__(self, holder: NodeId, program: str, argv: Sequence[str]) -> None:
        """Makes its process, which waits for `go`. Raises `OSError`."""
        self._holder = holder
        self.tail = Tail()
        self.status: int | None = None
        """How it ended, as `os.waitstatus_to_exitcode` says; None: it has not."""
        self.max_rss_bytes = 0
        ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)
        self._before = {(one.pid, one.start) for one in descendants(os.getpid(), processes())}
        go, self._go = os.pipe()
        self._told, told = os.pipe()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        for inherited in (go, told):
            os.set_inheritable(inherited, True)
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(_GATE), str(go), str(told), program, *argv],
                _environment(holder),
                file_actions=[(os.POSIX_SPAWN_DUP2, out_end, 1), (os.POSIX_SPAWN_DUP2, err_end, 2)],
                setsid=True,
                setsigmask=(),
            )
        finally:
            for theirs in (go, told, out_end, err_end):
                os.close(theirs)
        self._passing = (Passing(out, 1, self.tail), Passing(err, 2, self.tail))

    def go(self) -> None:
        """Let it become the command."""
        os.write(self._go, b"g")
        os.close(self._go)
        self._go = -1

    def drop(self) -> None:
        """It is not to begin: its process ends."""
        if self._go >= 0:
            os.close(self._go)
            self._go = -1
        while self.status is None:
            self.reap()
            time.sleep(0.001)
        self.finish(None)

    def reap(self) -> None:
        """Bury the dead, the command among them."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = os.waitstatus_to_exitcode(status)
            self.max_rss_bytes = max(self.max_rss_bytes, usage.ru_maxrss * 1024)

    def send(self, signum: int) -> None:
        """Send a signal to the command's process group, while the command is there."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signum)

    def kill_all(self, name: Callable[[Process], None] = lambda process: None) -> bool:
        """Kill the command and whatever it left. `name`: called for each. False: some of it cannot be killed."""

        def reap() -> None:
            self.reap()

        return kill_until_none(self._below, give_up_at=time.monotonic() + _KILL_FOR_S, reap=reap, killed=name)

    def finish(self, patience: float | None) -> bool:
        """All that it printed was passed on. False: not within so many seconds."""
        done = [passing.finish(patience) for passing in self._passing]  # each of them is told
        return all(done)

    def failed_to_begin(self) -> str:
        """Why the program could not be executed; "" when it was. After its end."""
        if self._told < 0:
            return ""
        os.set_blocking(self._told, False)
        try:
            number = os.read(self._told, 16)
        except BlockingIOError:  # somebody holds the other end, so it was executed after all
            number = b""
        os.close(self._told)
        self._told = -1
        return os.strerror(int(number)) if number else ""

    @property
    def exit_code(self) -> int:
        """As a shell gives it."""
        assert self.status is not None
        return self.status if self.status >= 0 else 128 - self.status

    def _below(self) -> list[Process]:
        table = processes()
        if not self._before:
            return descendants(os.getpid(), table)
        return [one for one in descendants(os.getpid(), table) if self._is_ours(one, table)]

    def _is_ours(self, process: Process, table: Mapping[int, Process]) -> bool:
        if (process.pid, process.start) in self._before:
            return False
        if process.session == self.pid or carries_marker(process, self._holder, COMMAND_MARKER):
            return True
        while process.parent in table and process.parent != os.getpid():
            process = table[process.parent]
            if process.pid == self.pid:
                return True
        return False


def leftover_line(process: Process) -> str:
    """What is said of one that is killed."""
    return f"killing what the command left running: pid {process.pid}: {command_line(process)}"


def _environment(holder: NodeId) -> dict[bytes, bytes]:
    """Ours, with the marker; without the locale that the interpreter adds where there is none."""
    environment = dict(os.environb)
    with suppress(OSError), open("/proc/self/environ", "rb") as file:
        if b"\0LC_CTYPE=" not in b"\0" + file.read() and environment.get(b"LC_CTYPE") == b"C.UTF-8":
            del environment[b"LC_CTYPE"]
    environment[COMMAND_MARKER.encode()] = holder.encode()
    return environment
