"""Everything that runs below the keeper: reaped when it dies, counted, and killed when it must be gone.

Who is here was started by the attempt, however it hides: the keeper adopts orphans. What is killed without having been
asked to be is named in the log.
"""

from __future__ import annotations

import os

from taskerman.child.kin import Process, command_line, descendants, kill_until_none, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskerman.child.hand import Hand
    from taskerman.child.output import Output

__all__ = ["Offspring"]

MOST_NAMED = 50


class Offspring:
    """The keeper's descendants. `max_rss_bytes`: of the largest that was reaped or said so."""

    def __init__(self, output: Output) -> None:
        """`output`: where it is said who was killed."""
        self._output = output
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
            found = descendants(os.getpid(), processes())
            return [process for process in found if not (spare and process.pid == worker)]

        def reap() -> None:
            code = self.reap(hand)
            if code is not None:
                ended.append(code)

        def name(process: Process) -> None:
            self._named += 1
            if process.pid != worker and self._named <= MOST_NAMED:
                self._output.note(f"killing what was left: pid {process.pid}: {command_line(process)}")

        kill_until_none(below, reap=reap, killed=name)
        return ended[0] if ended else None
