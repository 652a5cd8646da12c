"""Everything that can happen to one attempt, in turn: its process dies at each point of its action; each of its
commands fails in each way. For an author's test, which says what the right answer is.

    for death in deaths(a_node):
        assert death.resume().outcome == ("succeeded" if death.harness.saved.get("asked") else "failed"), death

`make` (here `a_node`) makes a fresh harness with a fresh world, whatever its scripts change with it; it is called once
for each. What a runner does beside its context (a file, a connection) is done, too, and is the test's to make anew.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Literal, assert_never

from taskerman.runner import ActionInterrupted, CommandFailed, CommandResult, Context
from taskerman.testing.harness import RunnerHarness
from taskerman.testing.playing import Played
from taskerman.testing.scripts import Script, shown

__all__ = ["Death", "Failure", "deaths", "failures"]

Way = Literal["exit 1", "cannot be started", "took too long", "interrupted"]
_WAYS: tuple[Way, ...] = ("exit 1", "cannot be started", "took too long", "interrupted")
_MOST = 1000


class Death:
    """The process of an action died. `where`: at which point. `harness`: its world, as it was left."""

    def __init__(self, harness: RunnerHarness[Any], where: str) -> None:
        self.harness = harness
        self.where = where

    def resume(self, *, rebooted: bool = False, noticed: bool = False) -> Played:
        """What the engine does next, and what comes of it.

        As it stands, the whole machine's memory of it is gone but for what was saved: a new agent asks `recover` as
        `when_lost` says, then `post_check`. `rebooted`: the machine is in another boot besides. `noticed`: only the
        action's own process died, and its keeper saw it: `abort` is called, and the action has failed.
        """
        if rebooted:
            self.harness.to_come = None
            self.harness.boot_id = f"{self.harness.boot_id}+1"
        return self.harness.player().go_on(noticed=noticed)

    def __repr__(self) -> str:
        return f"<died {self.where}>"


class Failure:
    """A command that will fail. `where`: which one, and how. `hook`: whose it is. `harness`: a fresh one, in which
    nothing happened yet."""

    def __init__(self, harness: RunnerHarness[Any], where: str, hook: str) -> None:
        self.harness = harness
        self.where = where
        self.hook = hook

    def run(self) -> Played:
        """The whole attempt. Every other command answers as its script says."""
        return self.harness.run()

    def __repr__(self) -> str:
        return f"<{self.where}>"


def deaths(make: Callable[[], RunnerHarness[Any]]) -> Iterator[Death]:
    """One for each point of the action, in order: as it begins, before and after each command and each `ctx.save`, at
    each `ctx.log`, and as it ends. What a command does is done before the point after it.

    A command whose script is a function (`by=`) has one more: in the midst of it, with its effect still to come. Who
    asked is dead, and what was asked goes on, as a service manager does: `resume` lets it happen when `recover` has
    answered. A runner that then says *not done* has lied.

    Raises `AssertionError` when pre_check does not say Go, or the action has more than a thousand points.
    """
    for at in itertools.count(1):
        assert at <= _MOST, f"the action has more than {_MOST:,} points: does it loop?"
        harness = make()
        player = harness.player(die_at=at)
        player.act()
        assert player.died is not None
        if not player.died.where:
            return
        death = Death(harness, player.died.where)
        weakref.finalize(death, player.died.let_go)
        yield death


def failures(make: Callable[[], RunnerHarness[Any]]) -> Iterator[Failure]:
    """One for each command of a whole attempt and each way in which it fails: it ends with 1, cannot be started, takes
    too long (where it has a timeout), or is interrupted (in the action, by the soft timeout). The first two have no
    effect. What takes too long, or is interrupted, may have had its effect or not: there is one of each.
    """
    ran: list[tuple[str, str, bool]] = []
    first = make()
    first.plan = lambda ctx, words, check, timeout: ran.append((ctx.phase, shown(words), timeout is not None))
    first.run()
    for place, (phase, words, timed) in enumerate(ran):
        for way in _WAYS:
            if (way == "interrupted" and phase != "execute_action") or (way == "took too long" and not timed):
                continue
            for had_effect in (False, True) if way in ("took too long", "interrupted") else (False,):
                harness = make()
                harness.plan = _Plan(harness, place, way, had_effect)
                effect = ", and has had its effect" if had_effect else ""
                yield Failure(harness, f"command {place + 1}, {words}, of {phase}: {way}{effect}", phase)


class _Plan:
    """Lets the command at `place` fail, and no other."""

    def __init__(self, harness: RunnerHarness[Any], place: int, way: Way, had_effect: bool) -> None:
        self._harness, self._way, self._had_effect = harness, way, had_effect
        self._left = place

    def __call__(
        self, ctx: Context, words: tuple[str, ...], check: bool, timeout: timedelta | None
    ) -> CommandResult | None:
        self._left -= 1
        if self._left != -1:
            return None
        if self._had_effect:
            self._harness._run(words, False)
        else:
            self._harness.commands.append(words)
        match self._way:
            case "exit 1":
                return Script(words, exit=1).end(words, check)
            case "cannot be started":
                raise CommandFailed(words, None, "", f"cannot be started: No such file or directory: {words[0]}")
            case "took too long":
                raise CommandFailed(words, None, "", "took longer than it may and was ended")
            case "interrupted":
                self._harness.interrupted = True
                raise ActionInterrupted("the action was asked to stop")
            case _ as never:
                assert_never(never)
