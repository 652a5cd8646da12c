"""Getting in: looking, waiting in turn, and taking; nothing is begun before the take is known to have happened.

Fair among commands: who waits has a place in the scope's queue, and only the first tries. Lanes of tasks that wait for
the scope go first, as long as they move; who does not go for a while is passed.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from taskerman.coordination.commands import CommandMoves, Ready, Shut, ShutBy, Wish
from taskerman.errors import AnswerUnknown, CoordinationUnavailable, RefusedByState, WaitRanOut
from taskerman.exclusive.kit import Kit, Order
from taskerman.exclusive.recovering import Recovering
from taskerman.exclusive.running import Running
from taskerman.exclusive.signals import Signals
from taskerman.model.command import CommandRecord, shown_argv
from taskerman.ports.tree import Tree

__all__ = ["Entering", "Interrupted"]

_SETTLE_S = 60.0
_RECOVER_EVERY_S = 3.0


class Interrupted(Exception):
    """A signal came before the command was begun. Its number is the argument."""


@dataclass
class Entering:
    """One command's way into its scope. `running`: its process, made when there seems to be room."""

    kit: Kit
    order: Order
    wish: Wish
    program: str
    signals: Signals
    recovering: Recovering
    running: Running | None = None
    _said: str = ""
    _unsettled: bool = False
    _recover_at: float = 0.0
    _standing_since: float = 0.0
    _standing: tuple[object, ...] = ()

    def enter(self) -> CommandRecord:
        """The record of the command, whose slot is taken; `running` waits for `go`.

        Raises `WaitRanOut`, `RefusedByState` (it is not to wait), `NotPermitted`, `GroupUnknown`, `StopNow`,
        `CoordinationUnavailable`, `Interrupted`, `OSError` (no process can be made).
        """
        patience = self.order.wait
        deadline = time.monotonic() + (patience.total_seconds() if patience is not None else 0.0)
        tree = self.kit.connect()
        try:
            moves: CommandMoves | None = None
            while True:
                if self.signals.asked:
                    raise Interrupted(self.signals.asked[0])
                try:
                    tree.open()
                    if moves is None:
                        moves = self._first(tree)
                    found = self._try(moves)
                except CoordinationUnavailable as error:
                    if self._unsettled or time.monotonic() >= deadline:
                        raise
                    self._say(str(error))
                else:
                    if isinstance(found, CommandRecord):
                        return found
                    if found is None:
                        continue
                    if time.monotonic() >= deadline:
                        raise self._gave_up(found)
                    self._say(found.text)
                    self._stand(moves)
                left = deadline - time.monotonic()
                self.signals.wait(min(0.75 + 0.5 * random.random(), max(left, 0.0)))
        finally:
            # Its session ends here, so that neither its place nor a late write that makes one outlives the waiting.
            tree.close()

    def _first(self, tree: Tree) -> CommandMoves:
        moves = CommandMoves(tree)
        moves.prepare()
        self.recovering.recover(moves)
        return moves

    def _try(self, moves: CommandMoves) -> CommandRecord | Shut | None:
        place = self.order.wait is not None
        found = moves.look(self.wish, place=place, wake=self.signals.wake)
        if isinstance(found, Shut) and found.by is ShutBy.TASKS and self._passes(found):
            found = moves.look(self.wish, place=place, courtesy=False, wake=self.signals.wake)
        if isinstance(found, Shut) and self._recovered(moves, found):
            return None
        if not isinstance(found, Ready):
            return found
        record = self._record()
        return record if self._take(moves, found, record) else None

    def _recovered(self, moves: CommandMoves, shut: Shut) -> bool:
        """Whether a slot of this host was freed: by whoever waits here, also while another host's command is first.

        Else that one would wait for ever for what only this host can prove.
        """
        now = time.monotonic()
        if shut.by is ShutBy.STOPPED or (shut.by is not ShutBy.FULL and now < self._recover_at):
            return False
        self._recover_at = now + _RECOVER_EVERY_S
        return self.recovering.recover(moves, self.wish.scope)

    def _take(self, moves: CommandMoves, ready: Ready, record: CommandRecord) -> bool:
        try:
            return moves.take(ready, record)
        except AnswerUnknown:
            give_up_at = time.monotonic() + _SETTLE_S
        while True:
            try:
                return moves.settle(ready)
            except CoordinationUnavailable as error:
                if time.monotonic() >= give_up_at:
                    self._unsettled = True
                    raise CoordinationUnavailable(
                        f"Nobody knows whether {record.holder} has its slot, so nothing was begun. {error.what}",
                        next_step="The next `taskerman exclusive` on this host frees it, if it was.",
                    ) from error
                self.signals.wait(0.5)

    def _record(self) -> CommandRecord:
        """The record, with the process in which the command will run."""
        if self.running is None:
            self.running = Running(self.wish.holder, self.program, self.order.argv)
        processes = self.kit.host.processes_of(self.running.pid)
        if processes is None:
            raise OSError("the process of the command ended before it was begun")
        return CommandRecord(
            holder=self.wish.holder,
            host=self.wish.host,
            scope=self.wish.scope,
            promise=self.wish.promise,
            group=self.wish.group,
            argv=shown_argv(self.order.argv),
            by=self.kit.by,
            processes=processes,
            began=self.kit.clock.now(),
        )

    # --- waiting -----------------------------------------------------------------------------------------

    def _stand(self, moves: CommandMoves | None) -> None:
        if moves is None:
            return
        try:
            moves.queue_up(self.wish)
        except CoordinationUnavailable:
            return  # made or not: the next look tells

    def _passes(self, shut: Shut) -> bool:
        """Whether it goes before the lanes that are let go first: nothing moved for a while for each of them."""
        now = (shut.moves, shut.ahead)
        if now != self._standing:
            self._standing, self._standing_since = now, time.monotonic()
        patience = self.kit.pass_after.total_seconds() * len(shut.ahead)
        return time.monotonic() - self._standing_since >= patience

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self.kit.say(f"waiting: {text}")

    def _gave_up(self, shut: Shut) -> RefusedByState:
        if self.order.wait is None:
            return RefusedByState(shut.text, next_step="Wait for it: --wait 10m.")
        return WaitRanOut(f"It waited as long as it was told to. {shut.text}", next_step="Nothing was begun.")
