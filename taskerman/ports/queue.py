"""The transport of work: queues that deliver at least once, late, twice, and in any order.

A message is a loan: received, it is hidden from others for a while; acknowledged, it is gone; neither, it comes
back. No custody rests here but the global queue's, until a plan exists, so an implementation may double, delay and
reorder, and must not lose what it accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

__all__ = ["Delivery", "Depth", "Letter", "Queues"]


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to send: the queue's full name and the body (text, at most 256 KiB)."""

    queue: str
    body: str


@dataclass(frozen=True, slots=True)
class Depth:
    """How much lies in a queue, approximately."""

    visible: int
    in_flight: int
    delayed: int


class Delivery(Protocol):
    """One receipt of one message. Several deliveries of one message may be alive at a time."""

    @property
    def queue(self) -> str:
        """The full name of the queue it came from."""
        ...

    @property
    def body(self) -> str:
        """The text that was sent, unchanged."""
        ...

    @property
    def sent_at(self) -> datetime:
        """When the message entered the queue, by the queue's clock; the same on every delivery."""
        ...

    @property
    def receive_count(self) -> int:
        """How often the message has been received, this time included. Approximate."""
        ...

    def ack(self) -> None:
        """Delete the message for good. Repeating it is harmless. Raises `QueuesUnavailable`; then it may come back."""
        ...

    def extend(self, loan: timedelta) -> bool:
        """Keep it hidden for `loan` from now.

        False: this delivery cannot be extended any more (expired, deleted, over the transport's longest loan); the
        message will come back as a new delivery. Raises `QueuesUnavailable`.
        """
        ...

    def requeue(self, delay: timedelta = timedelta()) -> None:
        """Give it back, to be delivered again after `delay`. Raises `QueuesUnavailable`."""
        ...


class Queues(Protocol):
    """All queues of one installation. Safe to use from several threads."""

    def ensure(self, queue: str, *, tags: Mapping[str, str] | None = None) -> None:
        """Create `queue` unless it exists. Idempotent; an existing queue keeps its attributes.

        Raises `QueuesUnavailable`, `NotPermitted`.
        """
        ...

    def exists(self, queue: str) -> bool:
        """Whether `queue` can be sent to."""
        ...

    def send(self, queue: str, body: str) -> None:
        """Accept one message. On return it is stored; an error leaves it unknown, so repeat it: receivers dedupe.

        Raises `NotFound` (no such queue), `QueuesUnavailable`, `NotPermitted`.
        """
        ...

    def send_each(self, letters: Sequence[Letter]) -> Sequence[Letter]:
        """Send many at once, in parallel; returns those that were not accepted, for the caller to repeat.

        A missing queue makes its letter one of those; it does not stop the others.
        """
        ...

    def receive(self, queue: str, *, wait: timedelta, loan: timedelta, most: int = 10) -> Sequence[Delivery]:
        """Wait up to `wait` (at most 20 s) for messages; each is hidden from other receivers for `loan`.

        Returns as soon as there is at least one, at most `most` (1 to 10); empty when none came.
        Raises `NotFound`, `QueuesUnavailable`.
        """
        ...

    def depth(self, queue: str) -> Depth:
        """Approximate counts. Raises `NotFound`, `QueuesUnavailable`."""
        ...

    def delete(self, queue: str) -> None:
        """Remove the queue and what is in it. Idempotent."""
        ...
