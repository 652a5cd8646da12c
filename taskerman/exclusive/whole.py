"""The whole of it, in order: find the program, get in, begin, wait, leave nothing behind, record the end.

From "go" on ZooKeeper may be away: the command runs on, and its end is recorded when it can be, here or by the next
command on this host. Whatever cannot be recorded keeps the slot, which is the safe side.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from taskerman.child.kin import Process
from taskerman.coordination.commands import CommandMoves, Ending, Wish
from taskerman.errors import CommandNotExecutable, TaskermanError
from taskerman.exclusive.entering import Entering, Interrupted
from taskerman.exclusive.kit import Kit, Order
from taskerman.exclusive.notes import Notes
from taskerman.exclusive.program import find_program
from taskerman.exclusive.recovering import Recovering
from taskerman.exclusive.running import Running, leftover_line
from taskerman.exclusive.signals import Signals
from taskerman.exclusive.watching import GroupWatch
from taskerman.model.command import CommandEnd, CommandHow, CommandRecord, draw_holder

__all__ = ["run_exclusively"]

_TERM, _LOOK_S = 15, 1.0
_MOST_NAMED = 50


def run_exclusively(kit: Kit, order: Order) -> int:
    """Run it, and answer with its exit code, as a shell gives it. In the main thread only.

    Raises what `find_program` and `Entering.enter` do, but for `Interrupted`; then nothing was begun.
    """
    program = find_program(order.argv, kit.path)
    holder = draw_holder(kit.host.id)
    wish = Wish(holder=holder, host=kit.host.id, scope=order.scope, promise=order.promise, group=order.group)
    notes = Notes(kit.notes)
    with Signals() as signals:
        entering = Entering(kit, order, wish, program, signals, Recovering(kit, notes))
        try:
            record = entering.enter()
        except Interrupted as interrupted:
            _drop(entering.running)
            return 128 + int(interrupted.args[0])
        except OSError as error:
            _drop(entering.running)
            raise CommandNotExecutable(f"No process could be made: {error}.", next_step="Nothing was begun.") from None
        except BaseException:
            _drop(entering.running)
            raise
        running = entering.running
        assert running is not None
        return _Course(kit, order, record, running, signals, notes).run()


def _drop(running: Running | None) -> None:
    if running is not None:
        running.drop()


class _Course:
    """One command from "go" to its recorded end."""

    def __init__(
        self, kit: Kit, order: Order, record: CommandRecord, running: Running, signals: Signals, notes: Notes
    ) -> None:
        self._kit, self._order, self._record, self._running = kit, order, record, running
        self._signals, self._notes = signals, notes
        self._why = ""

    def run(self) -> int:
        """Its exit code."""
        running = self._running
        if self._signals.asked:
            running.drop()
            code = 128 + self._signals.asked[0]
            self._why = f"signal {self._signals.asked[0]} came before it was begun"
        else:
            running.go()
            self._wait()
            code = running.exit_code
        if not running.kill_all(self._namer()):
            self._kit.say(f"some of it cannot be killed: {self._record.holder} keeps its slot until it is gone")
            return code
        failed = running.failed_to_begin()
        if failed:
            self._kit.say(f"{self._record.argv[0]} could not be executed: {failed}")
            self._why = f"it could not be executed: {failed}"
        passed_on = running.finish(2.0)
        self._record_end(
            CommandEnd(
                at=self._kit.clock.now(),
                how=CommandHow.ENDED,
                exit=code,
                max_rss_bytes=running.max_rss_bytes,
                tail=running.tail.text(),
                why=self._why,
            )
        )
        asked = len(self._signals.asked)
        while not passed_on and len(self._signals.asked) == asked:
            passed_on = running.finish(_LOOK_S)  # whoever reads our output is slow; nothing of it is lost for that
        return code

    # --- running -----------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Until the command ended. Signals are passed on; its host's leaving its group stops it."""
        running, signals = self._running, self._signals
        watch = None
        if self._order.group is not None:
            watch = GroupWatch(self._kit.connect, self._order.group, self._record.host, signals.wake)
        kill_at = None
        done = 0
        try:
            while True:
                running.reap()
                if running.status is not None:
                    return
                for signum in signals.asked[done:]:
                    running.send(signum)
                    done += 1
                if watch is not None and watch.out and kill_at is None:
                    self._why = f"{self._record.host} is not in group {self._order.group} any more"
                    self._kit.say(f"stopping it: {self._why}")
                    running.send(_TERM)
                    kill_at = time.monotonic() + self._order.grace.total_seconds()
                if kill_at is not None and time.monotonic() >= kill_at:
                    running.kill_all()
                    continue
                left = _LOOK_S if kill_at is None else min(_LOOK_S, kill_at - time.monotonic())
                signals.wait(left)
        finally:
            if watch is not None:
                watch.stop()

    def _namer(self) -> Callable[[Process], None]:
        named = 0

        def name(process: Process) -> None:
            nonlocal named
            named += 1
            if named <= _MOST_NAMED:
                self._kit.say(leftover_line(process))

        return name

    # --- its end -----------------------------------------------------------------------------------------

    def _record_end(self, end: CommandEnd) -> None:
        """In the tree, for as long as that is tried; else in a note for the next one here."""
        holder = self._record.holder
        give_up_at = time.monotonic() + self._kit.end_patience.total_seconds()
        pause, noted, tree = 0.2, False, self._kit.connect()
        try:
            while True:
                try:
                    tree.open()
                    self._tell(CommandMoves(tree).end(holder, end))
                    if noted:
                        self._notes.remove(holder)
                    return
                except TaskermanError as error:
                    if not noted:
                        self._kit.say(f"its end could not be recorded yet: {error}")
                        noted = self._notes.write(holder, end)
                    if time.monotonic() >= give_up_at:
                        kept = "It is noted on this disk. " if noted else ""
                        self._kit.say(
                            f"its end was not recorded, and {holder} keeps its slot. {kept}The next `taskerman "
                            "exclusive` on this host records it."
                        )
                        return
                time.sleep(pause * (0.75 + 0.5 * random.random()))
                pause = min(pause * 2, 5.0)
        finally:
            tree.close()

    def _tell(self, ending: Ending) -> None:
        if ending is Ending.ALREADY:
            self._kit.say(f"somebody freed the slot of {self._record.holder} while it ran; see `taskerman history`")
        elif ending is Ending.GONE:
            self._kit.say(
                f"the record of {self._record.holder} is gone: ZooKeeper was emptied or restored while it ran, and "
                "others may have been in its scope"
            )
