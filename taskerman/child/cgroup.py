"""One attempt's control groups, as both its keeper and its agent use them: who is in, who is killed, what was met.

An attempt has one directory that says who belongs to it (of cgroup v2, whose kernel kills a whole group at once, or
else of a v1 hierarchy), and for every limit that v1 keeps apart, one more. In the first there are two leaves: the
keeper stands beside what it watches, so that no limit of the work can throttle, starve or kill the keeper itself.

Nothing is decided here, and no directory is made: `taskerman.agent.isolation` does that.
"""

from __future__ import annotations

import errno
import os
import signal
import time

from taskerman.child.kin import find_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cgroup", "Counters"]

KEEPER = "keeper"
WORK = "work"


class Counters:
    """What the kernel has counted so far: processes killed for memory, refused forks, seconds held back."""

    __slots__ = ("held_back_s", "oom_kills", "refused_forks")

    def __init__(self, oom_kills: int = 0, refused_forks: int = 0, held_back_s: float = 0.0) -> None:
        self.oom_kills = oom_kills
        self.refused_forks = refused_forks
        self.held_back_s = held_back_s


class Cgroup:
    """Some directories that exist, or did. `str()` of it is what a journal keeps, and `parse` reads it."""

    def __init__(self, directories: Sequence[str]) -> None:
        """`directories`: absolute; the first is the one with the two leaves."""
        self.directories = tuple(directories)
        first, *rest = self.directories
        self.keeper = os.path.join(first, KEEPER)
        self.work = (os.path.join(first, WORK), *rest)
        """Where the worker and all that it starts are."""

    @classmethod
    def parse(cls, text: str) -> Cgroup | None:
        """As written by `str()`; None for an empty one: the attempt has no group."""
        return cls(text.split(":")) if text else None

    def __str__(self) -> str:
        return ":".join(self.directories)

    # --- who is in ---------------------------------------------------------------------------------------

    def enter_as_keeper(self) -> None:
        """Put this process beside the work. Raises `OSError`."""
        _write(os.path.join(self.keeper, "cgroup.procs"), "0")

    def enter_as_worker(self) -> None:
        """Put this process, and with it all that it will start, under the limits. Raises `OSError`."""
        for directory in self.work:
            _write(os.path.join(directory, "cgroup.procs"), "0")

    def workers(self) -> list[int]:
        """The pids in it, without the keeper's, of those that can still do something."""
        found = {pid for directory in self.work for pid in _pids(directory)}
        return sorted(pid for pid in found if find_alive(pid) is not None)

    def members(self) -> list[int]:
        """The same, with the keeper's."""
        keeper = [pid for pid in _pids(self.keeper) if find_alive(pid) is not None]
        return sorted({*keeper, *self.workers()})

    # --- killing -----------------------------------------------------------------------------------------

    def allow_forks(self, most: int | None) -> None:
        """Let there be `most` processes (None: any number; 0: no new one, so that killing comes to an end)."""
        for directory in self.work:
            path = os.path.join(directory, "pids.max")
            if os.path.exists(path):
                _write(path, "max" if most is None else str(most))

    def kill_at_once(self, *, keeper: bool) -> None:
        """Where the kernel can, kill all of it in one step, the `keeper` too or not."""
        path = os.path.join(self.directories[0] if keeper else self.work[0], "cgroup.kill")
        if os.path.exists(path):
            _write(path, "1")

    def kill(self, give_up_at: float) -> bool:
        """Kill all of it, the keeper too; True only if nobody is left. `give_up_at`: on `time.monotonic`.

        Idempotent. A group that is not there any more is empty: one with members cannot be removed. Where the whole
        hierarchy is not there (it is not mounted here any more), nobody can say.
        """
        if not os.path.isdir(os.path.dirname(self.directories[0])):
            return False
        pause = 0.001
        while True:
            try:
                self.allow_forks(0)
                self.kill_at_once(keeper=True)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    return False  # it cannot be said that nobody is left
            try:
                members = self.members()
                if not members:
                    return True
                self._kill_each(members)
            except OSError:
                return False  # nor here
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(pause)
            pause = min(pause * 2, 0.1)

    def _kill_each(self, pids: list[int]) -> None:
        """A handle first, then the membership again: a number that was given to a stranger meanwhile kills nobody."""
        handles: dict[int, int] = {}
        try:
            for pid in pids:
                try:
                    handles[pid] = os.pidfd_open(pid)
                except ProcessLookupError:
                    continue
            for pid in set(self.members()) & set(handles):
                try:
                    signal.pidfd_send_signal(handles[pid], signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    continue  # gone; or still a member at the next look, which is the answer
        finally:
            for handle in handles.values():
                os.close(handle)

    def remove(self) -> bool:
        """Remove its directories; False: somebody is in there. Nothing there is fine."""
        removed = True
        for directory in (*self.work[:1], self.keeper, *self.directories):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                removed = False
        return removed

    # --- what was met ------------------------------------------------------------------------------------

    def counters(self) -> Counters:
        """As of now; what this machine does not count is 0."""
        oom = _table(self._read("memory.events") + self._read("memory.oom_control"))
        forks = _table(self._read("pids.events"))
        cpu = _table(self._read("cpu.stat"))
        held_back_s = cpu.get("throttled_usec", 0) / 1e6 or cpu.get("throttled_time", 0) / 1e9
        return Counters(oom.get("oom_kill", 0), forks.get("max", 0), held_back_s)

    def peak_bytes(self) -> int:
        """The most memory that the work had at once, files in the page cache included; 0: not counted here."""
        text = self._read("memory.peak") or self._read("memory.max_usage_in_bytes")
        return int(text) if text.strip().isdigit() else 0

    def _read(self, name: str) -> str:
        """That file of each directory that has one: the unified hierarchy counts a little of what v1 binds, too."""
        text = ""
        for directory in self.work:
            try:
                with open(os.path.join(directory, name), encoding="ascii") as file:
                    text += file.read()
            except OSError:
                continue
        return text


def _pids(directory: str) -> list[int]:
    try:
        with open(os.path.join(directory, "cgroup.procs"), encoding="ascii") as file:
            return [int(line) for line in file]
    except FileNotFoundError:
        return []
    except OSError as error:
        if error.errno == errno.ENODEV:  # it was removed while it was open
            return []
        raise


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _table(text: str) -> dict[str, int]:
    words = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}
