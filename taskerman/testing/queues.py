"""Queues in memory, with the semantics of SQS that matter: loans, receive counts, redrive, deliveries that grow stale.

Faults are not here but in `taskerman.testing.queue_faults`, which wraps these and the real ones alike. This module
refuses to be kinder than SQS: a message whose loan is over comes back whatever its receiver believes, and order is
nobody's right (it is first in, first out here only because a test must be repeatable).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from taskerman.errors import NotFound
from taskerman.ports.clock import Clock
from taskerman.ports.queue import Delivery, Depth, Letter, check_body
from taskerman.testing.clock import ManualClock

__all__ = ["MemoryQueues"]

LONGEST_LOAN = timedelta(hours=12)
LONGEST_WAIT = timedelta(seconds=20)
MOST = 10


@dataclass(eq=False, slots=True)
class _Message:
    body: str
    sent_at: datetime
    visible_at: float
    receives: int = 0
    lent_at: float = 0.0


@dataclass(eq=False, slots=True)
class _Queue:
    tags: Mapping[str, str]
    messages: list[_Message] = field(default_factory=list)


class MemoryQueues:
    """The `Queues` of a test.

    With a `ManualClock`, `receive` never blocks: no time passes in it, so an empty queue is an empty answer. With
    any other clock it waits, and returns as soon as a message is sent, comes back, or the wait is over.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        dead_letter: str | None = None,
        max_receives: int = 1000,
        stale_acks_delete: bool = True,
    ) -> None:
        """`dead_letter`: the queue that takes a message received `max_receives` times and wanted once more.

        `stale_acks_delete`: whether an `ack` whose message has been lent to somebody else since deletes it. SQS
        promises neither; False is the harder of the two for a receiver.
        """
        self._clock = clock
        self._blocks = not isinstance(clock, ManualClock)
        self._dead_letter = dead_letter
        self._max_receives = max_receives
        self._stale_acks_delete = stale_acks_delete
        self._queues: dict[str, _Queue] = {}
        self._changed = threading.Condition()

    # --- the port ----------------------------------------------------------------------------------------

    def ensure(self, queue: str, *, tags: Mapping[str, str] | None = None) -> None:
        """See `Queues.ensure`."""
        with self._changed:
            if self._dead_letter is not None:
                self._queues.setdefault(self._dead_letter, _Queue({}))
            self._queues.setdefault(queue, _Queue(dict(tags or {})))

    def exists(self, queue: str) -> bool:
        """See `Queues.exists`."""
        with self._changed:
            return queue in self._queues

    def send(self, queue: str, body: str) -> None:
        """See `Queues.send`."""
        check_body(body)
        with self._changed:
            self._find(queue).messages.append(_Message(body, self._clock.now(), self._clock.monotonic()))
            self._changed.notify_all()

    def send_each(self, letters: Sequence[Letter]) -> Sequence[Letter]:
        """See `Queues.send_each`."""
        for letter in letters:
            check_body(letter.body)
        refused = []
        for letter in letters:
            try:
                self.send(letter.queue, letter.body)
            except NotFound:
                refused.append(letter)
        return tuple(refused)

    def receive(self, queue: str, *, wait: timedelta, loan: timedelta, most: int = MOST) -> Sequence[Delivery]:
        """See `Queues.receive`."""
        if not timedelta() <= wait <= LONGEST_WAIT or not 1 <= most <= MOST or not timedelta() <= loan <= LONGEST_LOAN:
            raise ValueError(f"receive(wait={wait}, loan={loan}, most={most}) is more than SQS can do")
        with self._changed:
            give_up = self._clock.monotonic() + wait.total_seconds()
            while True:
                lent = self._lend(queue, loan, most)
                left = give_up - self._clock.monotonic()
                if lent or left <= 0 or not self._blocks:
                    return lent
                self._changed.wait(timeout=min(left, self._until_next(queue)))

    def depth(self, queue: str) -> Depth:
        """See `Queues.depth`."""
        with self._changed:
            now = self._clock.monotonic()
            messages = self._find(queue).messages
            hidden = sum(1 for m in messages if m.visible_at > now)
            return Depth(visible=len(messages) - hidden, in_flight=hidden, delayed=0)

    def delete(self, queue: str) -> None:
        """See `Queues.delete`."""
        with self._changed:
            gone = self._queues.pop(queue, None)
            if gone is not None:
                gone.messages.clear()  # deliveries that are still about have nothing left to settle
            self._changed.notify_all()

    # --- what only a test may ask ------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Every queue there is, sorted."""
        with self._changed:
            return tuple(sorted(self._queues))

    def bodies(self, queue: str) -> tuple[str, ...]:
        """The body of every message in the queue, lent ones too, oldest first. Receives nothing."""
        with self._changed:
            return tuple(message.body for message in self._find(queue).messages)

    def tags(self, queue: str) -> Mapping[str, str]:
        """The tags that the queue was created with."""
        with self._changed:
            return self._find(queue).tags

    # --- inside, with the lock held ----------------------------------------------------------------------

    def _find(self, queue: str) -> _Queue:
        if queue not in self._queues:
            raise NotFound(f"There is no queue {queue!r}.", next_step="Create it, or correct the queue prefix.")
        return self._queues[queue]

    def _lend(self, queue: str, loan: timedelta, most: int) -> tuple[Delivery, ...]:
        now = self._clock.monotonic()
        found = self._find(queue)
        lent: list[Delivery] = []
        for message in [m for m in found.messages if m.visible_at <= now]:
            if len(lent) == most:
                break
            poisoned = message.receives >= self._max_receives
            if poisoned and self._dead_letter in self._queues and queue != self._dead_letter:
                found.messages.remove(message)
                self._queues[self._dead_letter].messages.append(message)
                self._changed.notify_all()
                continue
            message.receives += 1
            message.lent_at = now
            message.visible_at = now + loan.total_seconds()
            lent.append(_MemoryDelivery(self, queue, found, message))
        return tuple(lent)

    def _until_next(self, queue: str) -> float:
        now = self._clock.monotonic()
        return min((m.visible_at - now for m in self._find(queue).messages if m.visible_at > now), default=3600.0)

    def _ack(self, home: _Queue, message: _Message, receipt: int) -> None:
        with self._changed:
            stale = message.receives != receipt
            if message in home.messages and (self._stale_acks_delete or not stale):
                home.messages.remove(message)

    def _hide(self, home: _Queue, message: _Message, receipt: int, loan: timedelta) -> bool:
        with self._changed:
            now = self._clock.monotonic()
            if message not in home.messages or message.receives != receipt or message.visible_at <= now:
                return False
            if now + loan.total_seconds() > message.lent_at + LONGEST_LOAN.total_seconds():
                return False
            message.visible_at = now + loan.total_seconds()
            self._changed.notify_all()
            return True


class _MemoryDelivery:
    """One receipt. The receive count of the moment is the receipt: a later one makes this delivery stale."""

    def __init__(self, queues: MemoryQueues, queue: str, home: _Queue, message: _Message) -> None:
        self._queues = queues
        self._queue = queue
        self._home = home
        self._message = message
        self._receipt = message.receives

    @property
    def queue(self) -> str:
        return self._queue

    @property
    def body(self) -> str:
        return self._message.body

    @property
    def sent_at(self) -> datetime:
        return self._message.sent_at

    @property
    def receive_count(self) -> int:
        return self._receipt

    def ack(self) -> None:
        self._queues._ack(self._home, self._message, self._receipt)

    def extend(self, loan: timedelta) -> bool:
        return self._queues._hide(self._home, self._message, self._receipt, loan)

    def requeue(self, delay: timedelta = timedelta()) -> None:
        self._queues._hide(self._home, self._message, self._receipt, delay)
