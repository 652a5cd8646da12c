"""The janitor's loop: lead if nobody does, and then every chore in its turn.

What a chore cannot do (EC2 does not answer, the history is away) it says, and the others are done all the same; only
without ZooKeeper nothing is. A janitor that does not lead does nothing but ask whether it should.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import timedelta

from taskerman.coordination.belonging import InstallationGuard
from taskerman.coordination.leading import Leadership, Leading
from taskerman.errors import CoordinationUnavailable, InstallationRefused, StopNow, TaskermanError
from taskerman.janitor.closing_brackets import ClosingBrackets
from taskerman.janitor.counting import Counting
from taskerman.janitor.keeping_time import Closing, Expiring, LiftingHolds
from taskerman.janitor.kit import Chore, Kit, Turn
from taskerman.janitor.putting_away import PuttingAway
from taskerman.janitor.reclaiming import EndingTheGone, Reclaiming
from taskerman.janitor.ringing_again import RingingAgain
from taskerman.janitor.settling import Settling
from taskerman.janitor.sweeping_up import DeletingQueues, SweepingAudit, SweepingCommands, SweepingRefused
from taskerman.janitor.watching import WatchingSlots
from taskerman.stopping import StopSign

__all__ = ["Janitor"]

_STAND_BY_S = 2.0
_REFUSED_S = 10.0
ROLE = "janitor"


class Janitor:
    """One janitor. `run` returns when it was asked to stop; raises `StopNow` when it must not go on."""

    def __init__(self, kit: Kit, *, throw: Callable[[], float] = random.random) -> None:
        """`kit.tree` need not be open. `throw`: uniform in [0, 1)."""
        self._kit = kit
        self._throw = throw
        self._stop = StopSign()
        self._leadership = Leadership(kit.tree, ROLE, kit.by)
        self._chores: Sequence[Chore] = (
            LiftingHolds(kit),
            Expiring(kit),
            Reclaiming(kit),
            EndingTheGone(kit),
            Closing(kit),
            WatchingSlots(kit),
            ClosingBrackets(kit),
            RingingAgain(kit),
            Settling(kit),
            PuttingAway(kit),
            SweepingAudit(kit),
            SweepingRefused(kit),
            SweepingCommands(kit),
            DeletingQueues(kit),
            *([Counting(kit)] if kit.counts else []),
        )
        self._done_at: dict[str, float] = {}
        self._term = 0
        self._guard = InstallationGuard(kit.tree, ROLE)
        self._clock_was_right = True

    def stop(self) -> None:
        """Ask it to finish the chore in hand and return. From any thread, and from a signal handler."""
        self._stop.ask()

    def run(self) -> None:
        """Keep house until `stop`."""
        self._kit.say("janitor_started", by=self._kit.by)
        refused = ""
        while not self._stop.asked:
            self._kit.pulse.beat()
            try:
                leads, well, refused = self.turn(), True, ""
                wait = self._rest_s() if leads else min(_STAND_BY_S, self._kit.upkeep.turn_s)
            except InstallationRefused as error:  # a person must look; until then nothing is reclaimed or put away
                if refused != str(error):
                    refused = str(error)
                    self._kit.say("installation_refused", "error", why=refused)
                wait, well = _REFUSED_S * (0.75 + 0.5 * self._throw()), False
            except StopNow:
                raise
            except TaskermanError as error:
                self._kit.say("janitor_waits", "warning", why=str(error), code=error.code)
                wait, well = 0.5 + self._throw(), False
            self._kit.pulse.rest(wait, well=well)
            self._stop.wait(wait)
        self._resign()
        self._kit.say("janitor_stopped")

    def run_once(self) -> bool:
        """Do every chore once, and resign. False: another janitor leads, and nothing was done.

        Raises `CoordinationUnavailable`, `StopNow`.
        """
        self._kit.pulse.beat()
        try:
            led = self.turn()
            self._kit.pulse.rest(0)
            return led
        finally:
            self._resign()

    def turn(self) -> bool:
        """Every chore that is due, if we lead; False: we do not."""
        kit = self._kit
        kit.tree.open()
        self._guard.check(kit.clock.now())
        leading = self._leadership.seek(kit.clock.now())
        if leading is None:
            self._done_at.clear()
            return False
        if leading.term != self._term:
            self._term = leading.term
            self._done_at.clear()
            kit.say("janitor_leads", by=kit.by, term=leading.term)
        turn = self._turn(leading)
        for chore in self._chores:
            if self._stop.asked:
                break
            done = self._done_at.get(chore.name)
            now = kit.clock.monotonic()
            if done is None or now - done >= chore.every_s:
                self._done_at[chore.name] = now
                self._do(chore, turn)
        return True

    def _do(self, chore: Chore, turn: Turn) -> None:
        self._kit.pulse.beat()
        try:
            chore.do(turn)
        except (CoordinationUnavailable, StopNow):
            raise
        except Exception as error:  # what nobody foresaw stops one chore, not the house, and is told
            self._kit.failed(chore.name, error)

    def _turn(self, leading: Leading) -> Turn:
        """This turn; a clock that differs is said once."""
        skew = abs(self._kit.clock.now() - leading.tree_time)
        right = skew <= timedelta(seconds=self._kit.upkeep.skew_s)
        if right is not self._clock_was_right:
            self._clock_was_right = right
            name, level = ("clock_is_right", "info") if right else ("clock_differs", "error")
            self._kit.say(name, level, skew_s=round(skew.total_seconds(), 1))
        return Turn(leading.term, leading.tree_time, right)

    def _rest_s(self) -> float:
        """Until the next chore is due."""
        now = self._kit.clock.monotonic()
        due = [self._done_at[chore.name] + chore.every_s for chore in self._chores if chore.name in self._done_at]
        return max(min([*due, now + self._kit.upkeep.turn_s]) - now, 0.05)

    def _resign(self) -> None:
        try:
            self._leadership.resign()
        except TaskermanError as error:
            self._kit.say("janitor_not_resigned", "warning", why=str(error))  # the end of its session does it
