"""A process that can be killed at any step, in a test that is one process: `kill -9` for an agent that is a thread.

Everything that an agent does to the world goes through one `Life`: commits, messages, its journal. When the life is
over, nothing goes through any more: not one more write, whatever the thread would still like to do. Its children see
their pipes close, as they would. Steps are counted, so that a test can end a life before or after each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from taskerman.agent import JournalFile
from taskerman.agent.journal import Journal
from taskerman.ports.queue import Delivery, Depth, Letter, Queues
from taskerman.ports.tree import Committed, Link, Names, Op, Read, Record, Refused, Stat, Tree, Wake

__all__ = ["Killed", "Life", "MortalJournal", "MortalQueues", "MortalTree"]


class Killed(BaseException):
    """The process is no more."""


class Life:
    """`steps`: what was done so far. `die_at`: before the step of that number (from 1), or after it."""

    def __init__(self, *, die_at: int | None = None, after: bool = False) -> None:
        self.dead = False
        self.steps: list[str] = []
        self._counting = Lock()
        self.die_at = die_at
        self.die_after = after

    def step(self, what: str, do: Callable[[], Any]) -> Any:
        self.check()
        with self._counting:  # the mailbox has a thread of its own, and two must not be the same step
            self.steps.append(what)
            mine = len(self.steps) == self.die_at
        if mine and not self.die_after:
            self.end()
        done = do()
        if mine:
            self.end()
        return done

    def end(self) -> None:
        self.dead = True
        raise Killed

    def check(self) -> None:
        if self.dead:
            raise Killed


class MortalTree:
    """A `Tree` of a process with that life."""

    def __init__(self, inner: Tree, life: Life) -> None:
        self.inner = inner
        self._life = life

    def open(self) -> None:
        self._life.check()
        self.inner.open()

    def close(self) -> None:
        if not self._life.dead:  # who was killed says no good-bye: the session runs out by itself
            self.inner.close()

    @property
    def session(self) -> int | None:
        return self.inner.session

    @property
    def link(self) -> Link:
        return self.inner.link

    def on_link(self, listener: Callable[[Link], None]) -> None:
        self.inner.on_link(listener)

    def read(self, *reads: Read) -> tuple[Record | Stat | Names | None, ...]:
        self._life.check()
        return self.inner.read(*reads)

    def get(self, path: str, wake: Wake | None = None) -> Record | None:
        self._life.check()
        return self.inner.get(path, wake)

    def children(self, path: str, wake: Wake | None = None) -> Names | None:
        self._life.check()
        return self.inner.children(path, wake)

    def commit(self, ops: Sequence[Op]) -> Committed | Refused:
        done: Committed | Refused = self._life.step(f"commit {ops[0].path}", lambda: self.inner.commit(ops))
        return done

    def ensure(self, *paths: str) -> None:
        self._life.check()
        self.inner.ensure(*paths)

    def sync(self, path: str) -> None:
        self._life.check()
        self.inner.sync(path)


class MortalQueues:
    """The `Queues` of a process with that life. What it receives while it dies is in flight until its loan ends."""

    def __init__(self, inner: Queues, life: Life) -> None:
        self._inner = inner
        self.life = life

    def ensure(self, queue: str, *, tags: Mapping[str, str] | None = None) -> None:
        self.life.check()
        self._inner.ensure(queue, tags=tags)

    def exists(self, queue: str) -> bool:
        return self._inner.exists(queue)

    def send(self, queue: str, body: str) -> None:
        self.life.step(f"send {queue}", lambda: self._inner.send(queue, body))

    def send_each(self, letters: Sequence[Letter]) -> Sequence[Letter]:
        self.life.check()
        return self._inner.send_each(letters)

    def receive(self, queue: str, *, wait: timedelta, loan: timedelta, most: int = 10) -> Sequence[Delivery]:
        if self.life.dead:  # on the mailbox's own thread, which ends by itself
            return ()
        received = self._inner.receive(queue, wait=wait, loan=loan, most=most)
        return () if self.life.dead else tuple(_MortalDelivery(delivery, self.life) for delivery in received)

    def depth(self, queue: str) -> Depth:
        return self._inner.depth(queue)

    def delete(self, queue: str) -> None:
        self._inner.delete(queue)


class _MortalDelivery:
    def __init__(self, inner: Delivery, life: Life) -> None:
        self._inner = inner
        self._life = life

    @property
    def queue(self) -> str:
        return self._inner.queue

    @property
    def body(self) -> str:
        return self._inner.body

    @property
    def sent_at(self) -> datetime:
        return self._inner.sent_at

    @property
    def receive_count(self) -> int:
        return self._inner.receive_count

    def ack(self) -> None:
        self._life.step("ack", self._inner.ack)

    def extend(self, loan: timedelta) -> bool:
        return not self._life.dead and self._inner.extend(loan)

    def requeue(self, delay: timedelta = timedelta()) -> None:
        if not self._life.dead:
            self._inner.requeue(delay)


class MortalJournal(JournalFile):
    """The journal of a process with that life. `fail`: raises what it returns, instead of the write (a full disk)."""

    def __init__(self, folder: Path, node: str, life: Life) -> None:
        self._life = life
        self.fail: Callable[[Journal], OSError | None] = lambda journal: None
        super().__init__(folder, node)

    def _store(self, journal: Journal) -> None:
        what = ",".join(name for name in ("accepted", "attempt", "end") if getattr(journal, name))
        broken = self.fail(journal)
        if broken is not None:
            raise broken
        self._life.step(f"journal {what}", lambda: super(MortalJournal, self)._store(journal))
