"""The keeper's end of a worker: forking it, telling it which hook to run, reading what it says."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

from taskerman.child.cgroup import Cgroup
from taskerman.child.worker import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

__all__ = ["Hand", "adopt_orphans"]

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
OOM_SCORE = 500

_LIBC = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that none gets out of sight."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) was refused")


class Hand:
    """One worker, alive or dead. `pid` is its own until the keeper reaps it."""

    def __init__(self, spec: Mapping[str, Any], saved: Mapping[str, Any], output: int) -> None:
        """Fork it. It imports the runner at once, and then says `ready` or `failed`."""
        commands, self._commands = os.pipe()
        self.reports, reports = os.pipe()
        keeper = os.getpid()
        try:
            self.pid = os.fork()
        except OSError:
            for end in (commands, self._commands, self.reports, reports):
                os.close(end)
            raise
        if self.pid == 0:
            _become_worker(spec, saved, output, commands, reports, keeper)
        os.close(commands)
        os.close(reports)
        os.set_blocking(self.reports, False)
        self._partial = b""
        self.mute = False
        """It closed its end of the pipe: nothing more will be heard of it."""

    def tell(self, hook: str, fence: int) -> None:
        """Run `hook` under the fencing token `fence`. What it does comes back through `heard`."""
        try:
            os.write(self._commands, json.dumps({"do": hook, "fence": fence}).encode() + b"\n")
        except BrokenPipeError:
            return  # it is dead; the keeper is about to notice, and reports it as the hook's end

    def heard(self) -> list[dict[str, Any]]:
        """What it has said since the last time; never waits."""
        while True:
            try:
                chunk = os.read(self.reports, 64 * 1024)
            except BlockingIOError:
                break
            if not chunk:
                self.mute = True
                break
            self._partial += chunk
        *lines, self._partial = self._partial.split(b"\n")
        return [json.loads(line) for line in lines]

    def interrupt(self) -> None:
        """Ask the action to clean up and end."""
        os.kill(self.pid, signal.SIGTERM)  # not reaped yet, so the number is still its own

    def kill(self) -> None:
        """End it, whatever it does."""
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Forget a dead worker."""
        os.close(self._commands)
        os.close(self.reports)


def _become_worker(
    spec: Mapping[str, Any], saved: Mapping[str, Any], output: int, commands: int, reports: int, keeper: int
) -> NoReturn:
    """In the forked process: leave the keeper's signals, descriptors and group behind, then run hooks to the end."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        for signum in signal.valid_signals():
            if callable(signal.getsignal(signum)):
                signal.signal(signum, signal.SIG_DFL)
        # Without the keeper nobody enforces the deadline: then there must be no worker either.
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(code)
        # A group of its own: a runner that signals its whole group does not reach the keeper.
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) not in (commands, reports):
                _close(int(name))
        _bind(spec)
        Worker(spec, saved, commands, reports).work()
        code = 0
    except BaseException:  # what escapes here would run the keeper's own code in a second process
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)


def _bind(spec: Mapping[str, Any]) -> None:
    """Under the attempt's limits, before the first line of a runner's code. Raises `OSError`: then nothing is run."""
    cgroup = Cgroup.parse(spec["cgroup"])
    if cgroup is not None:
        cgroup.enter_as_worker()
    if spec["rlimit_memory_mb"] is not None:
        # Private writable memory, of each process: what is only mapped or reserved does not count, as in RLIMIT_AS.
        most = spec["rlimit_memory_mb"] * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        # When the whole machine runs out of memory, the maintenance goes before the datastore that it maintains.
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(OOM_SCORE))
    except OSError:
        return  # good to have, and not needed


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return  # it was the listing's own
