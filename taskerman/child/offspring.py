"""Everything that runs below the keeper: reaped when it dies, counted, and killed when it must be gone.

Who is here was started by the attempt, however it hides: the keeper adopts orphans. What is killed without having been
asked to be is named in the log. Where the attempt has a control group, who is in it belongs to the attempt, too.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from taskerman.child.kin import Process, command_line, descendants, find_alive, kill_until_none, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskerman.child.cgroup import Cgroup
    from taskerman.child.hand import Hand
    from taskerman.child.output import Output

__all__ = ["Offspring"]

MOST_NAMED = 50
SPARE_FOR_S = 5.0
"""Who forks faster than it is killed, beside a worker that is spared, is given up to the kernel with that worker."""


class Offspring:
    """The keeper's descendants. `max_rss_bytes`: of the largest that was reaped or said so."""

    def __init__(self, output: Output, cgroup: Cgroup | None, processes: int | None) -> None:
        """`output`: where it is said who was killed. `processes`: how many the group may have."""
        self._output = output
        self._cgroup = cgroup
        self._processes = processes
        self._named = 0
        self.max_rss_bytes = 0

    def reap(self, hand: Hand | None) -> int | None:
        """Bury the dead. The answer: how `hand` ended, if it is among them (as `os.waitstatus_to_exitcode`)."""
        ended = None
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            self.saw_rss(usage.ru_maxrss * 1024)
            if hand is not None and pid == hand.pid:
                ended = os.waitstatus_to_exitcode(status)

    def saw_rss(self, count: int) -> None:
        """One of them had so many bytes resident at its largest."""
        self.max_rss_bytes = max(self.max_rss_bytes, count)

    def kill(self, hand: Hand | None, *, spare: bool) -> int | None:
        """Kill all of them, the worker `hand` too unless it is to be spared.

        Waits until nobody is left, however long: to go on would be to say that nobody is. The answer is as of `reap`.
        """
        worker = hand.pid if hand is not None else None
        ended: list[int] = []

        def below() -> list[Process]:
            found = {process.pid: process for process in descendants(os.getpid(), processes())}
            for pid in self._cgroup.workers() if self._cgroup is not None else ():
                process = found.get(pid) or find_alive(pid)
                if process is not None:
                    found[pid] = process
            return [process for process in found.values() if not (spare and process.pid == worker)]

        def reap() -> None:
            code = self.reap(hand)
            if code is not None:
                ended.append(code)

        named: set[int] = set()

        def name(process: Process) -> None:
            if process.pid in named or not process.alive:
                return
            named.add(process.pid)
            self._named += 1
            if process.pid != worker and self._named <= MOST_NAMED:
                self._output.note(f"killing what was left: pid {process.pid}: {command_line(process)}")

        self._stop_forking(True)
        try:
            if not spare and self._cgroup is not None:
                for process in below():
                    name(process)
                with suppress(OSError):  # then one by one, below
                    self._cgroup.kill_at_once(keeper=False)
            give_up_at = time.monotonic() + SPARE_FOR_S if spare else None
            if not kill_until_none(below, reap=reap, killed=name, give_up_at=give_up_at):
                return self.kill(hand, spare=False)
        finally:
            self._stop_forking(False)
        return ended[0] if ended else None

    def _stop_forking(self, stop: bool) -> None:
        """So that killing comes to an end, however fast they fork. Where that is not possible it only takes longer."""
        if self._cgroup is not None:
            with suppress(OSError):
                self._cgroup.allow_forks(0 if stop else self._processes)
