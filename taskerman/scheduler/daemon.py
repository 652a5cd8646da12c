"""The scheduler's loop: lead if nobody does; then take over what is declared, and emit what is due.

A scheduler that does not lead does nothing but ask whether it should. One whose clock is not the tree's emits nothing,
and says so: it would be early or late, and could not tell. It lets another one lead, and so does one that lacks a right
or a key, or meets a bug: what keeps one from its work must not keep all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

from taskerman.coordination.belonging import InstallationGuard
from taskerman.coordination.leading import Leadership, Leading
from taskerman.errors import InstallationRefused, RefusedByState, StopNow, TaskermanError, TransientError
from taskerman.scheduler.declaring import Declaring
from taskerman.scheduler.emitting import Emitting
from taskerman.scheduler.following import Following
from taskerman.scheduler.kit import Kit
from taskerman.scheduler.table import Table
from taskerman.stopping import StopSign

__all__ = ["Scheduler"]

ROLE = "scheduler"
_REFUSED_S = 10.0
_LEAST_REST_S = 0.02
_MOST_TURNS = 100


class Scheduler:
    """One scheduler. `run` returns when it was asked to stop; raises `StopNow` when it must not go on."""

    def __init__(self, kit: Kit, *, throw: Callable[[], float] = random.random) -> None:
        """`kit.tree` need not be open. `throw`: uniform in [0, 1)."""
        self._kit = kit
        self._throw = throw
        self._stop = StopSign()
        self._leadership = Leadership(kit.tree, ROLE, kit.by)
        self._guard = InstallationGuard(kit.tree, ROLE)
        self._table = Table(kit.tree)
        self._declaring = Declaring(kit, self._table)
        self._emitting = Emitting(kit, self._table)
        self._following = Following(kit, self._table)
        self._term = 0
        self._looked_at = self._followed_at = float("-inf")
        self._clock_was_right = True

    def stop(self) -> None:
        """Ask it to finish the turn in hand and return. From any thread, and from a signal handler."""
        self._stop.ask()

    def run(self) -> None:
        """Emit what is due until `stop`."""
        kit = self._kit
        kit.say("scheduler_started", by=kit.by, sources=[source.place for source in kit.sources])
        refused = ""
        while not self._stop.asked:
            kit.pulse.beat()
            try:
                leads, well, refused = self.turn(), True, ""
                wait = self._rest_s() if leads else self._stand_by_s()
            except InstallationRefused as error:  # a person must look; until then nothing is emitted
                if refused != str(error):
                    refused = str(error)
                    kit.say("installation_refused", "error", why=refused)
                wait, well = _REFUSED_S * (0.75 + 0.5 * self._throw()), False
            except StopNow:
                raise
            except TaskermanError as error:
                kit.say("scheduler_waits", "warning", why=str(error), code=error.code)
                wait, well = 0.5 + self._throw(), False
                if not isinstance(error, TransientError):
                    self._step_back()
                    wait = _REFUSED_S * (0.75 + 0.5 * self._throw())
            kit.pulse.rest(wait, well=well)
            self._stop.wait(wait)
        self._resign()
        kit.say("scheduler_stopped")

    def run_once(self) -> bool:
        """Take over what is declared, emit what is due, look at what was emitted, and resign. False: another one leads.

        Raises `CoordinationUnavailable`, `StopNow`; `QueuesUnavailable`: something is decided and could not be sent,
        and the next one sends it; `RefusedByState`: the clock is not the tree's; and, when what is in force was done,
        what keeps something that is declared from being so (`SchedulesInvalid` with every fault, `TransientError`).
        """
        self._kit.pulse.beat()
        try:
            led = self.turn()
            if not self._clock_was_right:
                raise RefusedByState(
                    "This machine's clock is not ZooKeeper's: nothing was emitted.",
                    next_step="Set it; `taskerman doctor` says by how much it differs.",
                )
            for _ in range(_MOST_TURNS):  # one that makes up for many decides some at a time
                if not led or not self._more_is_due():
                    break
                led = self.turn()
            self._emitting.check_sent()
            self._declaring.check_taken()
            self._kit.pulse.rest(0)
            return led
        finally:
            self._resign()

    def turn(self) -> bool:
        """Everything that is due, if we lead; False: we do not, or should not. Raises `CoordinationUnavailable`,
        `StopNow`."""
        kit, rhythm = self._kit, self._kit.rhythm
        kit.tree.open()
        self._guard.check(kit.clock.now())
        leading = self._leadership.seek(kit.clock.now())
        if leading is None:
            self._lead_no_more()
            return False
        if not self._clock_is_right(leading):
            self._step_back()
            return False
        if leading.term != self._term:
            self._table.load()
            self._declaring.again()
            self._looked_at = self._followed_at = float("-inf")
            self._term = leading.term
            kit.say("scheduler_leads", by=kit.by, term=leading.term)
        else:
            self._table.refresh()
        if kit.clock.monotonic() - self._looked_at >= rhythm.look.total_seconds():
            self._declaring.look()
            self._looked_at = kit.clock.monotonic()
        self._emitting.fire()
        if kit.clock.monotonic() - self._followed_at >= rhythm.follow.total_seconds():
            self._following.look()
            self._followed_at = kit.clock.monotonic()
        return True

    def _clock_is_right(self, leading: Leading) -> bool:
        skew = abs(self._kit.clock.now() - leading.tree_time)
        right = skew <= self._kit.rhythm.skew
        if right is not self._clock_was_right:
            self._clock_was_right = right
            name, level = ("clock_is_right", "info") if right else ("clock_differs", "error")
            self._kit.say(name, level, skew_s=round(skew.total_seconds(), 1))
        return right

    def _more_is_due(self) -> bool:
        due = self._table.next_due()
        return due is not None and due <= self._kit.clock.now()

    def _rest_s(self) -> float:
        """Until something is due, or is to be sent again; a turn at the longest."""
        waits = [self._kit.rhythm.turn.total_seconds()]
        due = self._table.next_due()
        if due is not None:
            waits.append((due - self._kit.clock.now()) / timedelta(seconds=1))
        again = self._emitting.next_send_s()
        if again is not None:
            waits.append(again)
        return max(min(waits), _LEAST_REST_S)

    def _stand_by_s(self) -> float:
        """Somewhat different each time; longer for one with a wrong clock, so that another one comes to lead first."""
        some = self._kit.rhythm.stand_by.total_seconds() if self._clock_was_right else _REFUSED_S
        return some * (0.75 + 0.5 * self._throw())

    def _step_back(self) -> None:
        self._lead_no_more()
        self._resign()

    def _lead_no_more(self) -> None:
        if self._term:
            self._following.forget()
        self._term = 0

    def _resign(self) -> None:
        try:
            self._leadership.resign()
        except TaskermanError as error:
            self._kit.say("scheduler_not_resigned", "warning", why=str(error))  # the end of its session does it
