"""The bad days of a queue, on demand, over any `Queues`: in memory, a local cloud, or the real one.

A local cloud never doubles, never reorders and never loses an answer, and SQS does all of it rarely: a receiver that
was only shown good days is not tested. This module only makes what the contract of `Queues` allows.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from taskerman.errors import QueuesUnavailable, TransientError
from taskerman.ports.queue import Delivery, Depth, Letter, Queues

__all__ = ["FaultyQueues", "QueueFaults"]


@dataclass
class QueueFaults:
    """What goes wrong; a test changes it at any time. Counters count down to zero by themselves.

    `copies`: how often each message is stored. `late`: every message's first delivery is given back with this delay
    (its receive count shows it). `shuffle`: the dice by which each receipt is drawn out of the ten that come first.
    `fail_sends`, `fail_receives`, `fail_acks`, `fail_extends`: the next so many raise, and nothing happened.
    `lose_answers`: the next so many sends are stored, and raise. `lose_acks`: the next so many return as if done,
    and the message comes back. `refuse_extends`: the next so many answer False.
    """

    copies: int = 1
    late: timedelta = timedelta()
    shuffle: random.Random | None = None
    fail_sends: int = 0
    fail_receives: int = 0
    fail_acks: int = 0
    fail_extends: int = 0
    lose_answers: int = 0
    lose_acks: int = 0
    refuse_extends: int = 0


class FaultyQueues:
    """The `Queues` given, with `faults`. Everything that they do not name passes through."""

    def __init__(self, inner: Queues, faults: QueueFaults | None = None) -> None:
        """`inner`: what it wraps. `faults`: shared with the test, which sets them as it goes."""
        self.faults = faults if faults is not None else QueueFaults()
        self._inner = inner
        self._lock = threading.Lock()

    def ensure(self, queue: str, *, tags: Mapping[str, str] | None = None) -> None:
        """Passes through."""
        self._inner.ensure(queue, tags=tags)

    def exists(self, queue: str) -> bool:
        """Passes through."""
        return self._inner.exists(queue)

    def depth(self, queue: str) -> Depth:
        """Passes through."""
        return self._inner.depth(queue)

    def delete(self, queue: str) -> None:
        """Passes through."""
        self._inner.delete(queue)

    def send(self, queue: str, body: str) -> None:
        """See `Queues.send`; `fail_sends`, `copies` and `lose_answers` apply."""
        if self._due("fail_sends"):
            raise _unavailable(f"sending to {queue}")
        for _ in range(self.faults.copies):
            self._inner.send(queue, body)
        if self._due("lose_answers"):
            raise _unavailable(f"sending to {queue} (the message was stored, the answer was lost)")

    def send_each(self, letters: Sequence[Letter]) -> Sequence[Letter]:
        """See `Queues.send_each`; each letter meets the faults of `send`."""
        lost = [letter for letter in letters if self._due("fail_sends")]
        going = [letter for letter in letters if letter not in lost]
        refused = list(self._inner.send_each([letter for letter in going for _ in range(self.faults.copies)]))
        unanswered = [letter for letter in going if letter not in refused and self._due("lose_answers")]
        return tuple(letter for letter in letters if letter in lost or letter in refused or letter in unanswered)

    def receive(self, queue: str, *, wait: timedelta, loan: timedelta, most: int = 10) -> Sequence[Delivery]:
        """See `Queues.receive`; `fail_receives`, `late` and `shuffle` apply, the others to what it returns."""
        if self._due("fail_receives"):
            raise _unavailable(f"receiving from {queue}")
        dice = self.faults.shuffle
        received = list(self._inner.receive(queue, wait=wait, loan=loan, most=10 if dice else most))
        if self.faults.late:
            early = [delivery for delivery in received if delivery.receive_count == 1]
            for delivery in early:
                delivery.requeue(self.faults.late)
            received = [delivery for delivery in received if delivery not in early]
        if dice:
            dice.shuffle(received)
            for delivery in received[most:]:
                delivery.requeue()
        return tuple(_FaultyDelivery(self, delivery) for delivery in received[:most])

    def _due(self, fault: str) -> bool:
        with self._lock:
            left: int = getattr(self.faults, fault)
            if left > 0:
                setattr(self.faults, fault, left - 1)
            return left > 0


class _FaultyDelivery:
    def __init__(self, queues: FaultyQueues, inner: Delivery) -> None:
        self._queues = queues
        self._inner = inner

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
        if self._queues._due("fail_acks"):
            raise _unavailable(f"deleting a message of {self.queue}")
        if not self._queues._due("lose_acks"):
            self._inner.ack()

    def extend(self, loan: timedelta) -> bool:
        if self._queues._due("fail_extends"):
            raise _unavailable(f"extending a loan of {self.queue}")
        return not self._queues._due("refuse_extends") and self._inner.extend(loan)

    def requeue(self, delay: timedelta = timedelta()) -> None:
        self._inner.requeue(delay)


def _unavailable(doing: str) -> TransientError:
    return QueuesUnavailable(f"SQS did not answer when {doing}: a fault of this test.", next_step="Repeat it.")
