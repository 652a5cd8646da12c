"""The doorbell side of an agent: one thread that receives from the node's queue, and keeps loans alive.

It puts what it received into the agent's inbox and extends what the agent still holds. It never settles anything:
that is the loop's, from the recorded outcome.
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from taskerman.errors import NotFound, TaskermanError
from taskerman.model.event import Event, Listener
from taskerman.model.ids import NodeId, QueueNames
from taskerman.ports.clock import Clock
from taskerman.ports.queue import Delivery, Queues
from taskerman.ringing import ensure_node_queue

__all__ = ["LOAN", "Mailbox"]

LOAN = timedelta(minutes=15)
_FIRST_LOAN = timedelta(seconds=60)
"""Short at first: when this agent dies with a message in its hands, the next one should not wait for it long."""
_EXTEND_AT = 1 / 3
_POLL = timedelta(seconds=20)


@dataclass(slots=True)
class _Loan:
    delivery: Delivery
    renewed: float
    length: timedelta


class Mailbox:
    """Receives until closed. Deliveries are handed over on its own thread."""

    def __init__(
        self,
        queues: Queues,
        names: QueueNames,
        node: NodeId,
        *,
        clock: Clock,
        deliver: Callable[[Delivery], None],
        broken: Callable[[BaseException], None],
        emit: Listener,
        poll: timedelta = _POLL,
    ) -> None:
        """`deliver` must not block. `broken`: told of an error of ours, after which nothing is received any more.
        `poll`: how long one receive waits, at most 20 s."""
        self._queues = queues
        self._names = names
        self._node = node
        self._queue = names.node(node)
        self._clock = clock
        self._deliver = deliver
        self._broken = broken
        self._emit = emit
        self._poll = poll
        self._closed = threading.Event()
        self._polled_empty = threading.Event()
        self._lock = threading.Lock()
        self._loans: dict[int, _Loan] = {}
        self._settled: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._unsettled = 0
        self._threads = (
            threading.Thread(target=self._until_broken, args=(self._receive,), name=f"mailbox {node}", daemon=True),
            threading.Thread(target=self._until_broken, args=(self._delete,), name=f"settled {node}", daemon=True),
        )

    def open(self) -> None:
        """Start receiving; the queue is created when it is missing."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop. A poll under way is left to end by itself; what it still receives is given back."""
        self._closed.set()

    def finish(self, wait: timedelta) -> None:
        """At the end: wait until what is settled is deleted too, no longer than `wait`. What is left comes back."""
        self._settled.put(None)
        self._threads[1].join(wait.total_seconds())

    @property
    def all_settled(self) -> bool:
        """Whether every message that was settled is deleted, or will come back."""
        with self._lock:
            return not self._unsettled

    @property
    def polled_empty(self) -> bool:
        """Whether a whole poll has brought nothing since this was opened."""
        return self._polled_empty.is_set()

    def settle(self, delivery: Delivery) -> None:
        """Delete the message, soon, for its outcome is recorded: an SQS that is slow, or away, holds nobody up.

        Never raises: undeleted it comes back, to the same end.
        """
        self.forget(delivery)
        with self._lock:
            self._unsettled += 1
        self._settled.put(delivery)

    def forget(self, delivery: Delivery) -> None:
        """Extend it no more: it comes back when its loan is over."""
        with self._lock:
            self._loans.pop(id(delivery), None)

    def _until_broken(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # an agent that hears nothing must not look as if it had nothing to do
            self._broken(error)

    def _delete(self) -> None:
        while (delivery := self._settled.get()) is not None:
            try:
                delivery.ack()
            except TaskermanError as error:
                self._emit(Event("ack_failed", {"queue": self._queue, "why": str(error)}, "warning"))
            with self._lock:
                self._unsettled -= 1

    def _receive(self) -> None:
        failures = 0
        while not self._closed.is_set():
            try:
                arrived = self._queues.receive(self._queue, wait=self._poll, loan=_FIRST_LOAN)
                failures = 0
            except NotFound:
                failures += 1
                self._create()
                if failures > 1:  # made, and still not there: it takes a moment until everybody knows of it
                    self._closed.wait(random.uniform(0.5, 1))
                continue
            except TaskermanError as error:
                failures += 1
                self._emit(Event("receive_failed", {"queue": self._queue, "why": str(error)}, "warning"))
                self._closed.wait(random.uniform(0.5, 1) * min(2.0**failures, 60))
                continue
            if self._closed.is_set():
                self._give_back(arrived)
                return
            if not arrived:
                self._polled_empty.set()
            for delivery in arrived:
                with self._lock:
                    self._loans[id(delivery)] = _Loan(delivery, self._clock.monotonic(), _FIRST_LOAN)
                self._deliver(delivery)
            self._extend()

    def _give_back(self, arrived: Sequence[Delivery]) -> None:
        for delivery in arrived:
            try:
                delivery.requeue()
            except TaskermanError as error:
                self._emit(Event("requeue_failed", {"queue": self._queue, "why": str(error)}, "warning"))

    def _create(self) -> None:
        try:
            ensure_node_queue(self._queues, self._names, self._node)
        except TaskermanError as error:
            self._emit(Event("queue_not_created", {"queue": self._queue, "why": str(error)}, "error"))
            self._closed.wait(random.uniform(5, 10))

    def _extend(self) -> None:
        now = self._clock.monotonic()
        with self._lock:
            due = [
                loan for loan in self._loans.values() if now - loan.renewed > loan.length.total_seconds() * _EXTEND_AT
            ]
        for loan in due:
            try:
                if loan.delivery.extend(LOAN):
                    loan.renewed, loan.length = now, LOAN
                else:
                    self.forget(loan.delivery)
            except TaskermanError as error:
                self._emit(Event("extend_failed", {"queue": self._queue, "why": str(error)}, "warning"))
