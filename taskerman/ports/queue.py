"""The transport of work: queues that deliver at least once, late, twice, and in any order.

A message is a loan: received, it is hidden from others for a while; acknowledged, it is gone; neither, it comes
back. No custody rests here but the global queue's, until a plan exists, so an implementation may double, delay and
reorder, and must not lose what it accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from taskerman.errors import Bug

__all__ = ["Delivery", "Depth", "Letter", "Queues", "check_body"]

MAX_BODY_BYTES = 256 * 1024

_NO_TEXT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_body(body: str) -> None:
    """Raise `Bug` unless `body` can be a message: 1 byte to 256 KiB of text as XML 1.0 has it.

    JSON may hold what a message may not: U+FFFE, U+FFFF, halves of surrogate pairs. Write it as ASCII. Every
    implementation asks here before it sends, because a message that is refused for ever must not look like an outage.
    """
    if found := _NO_TEXT.search(body):
        raise Bug(f"A message cannot have the character U+{ord(found[0]):04X} (at {found.start()}).")
    if not 1 <= len(body.encode()) <= MAX_BODY_BYTES:
        raise Bug(f"A message cannot have {len(body.encode())} bytes; it has 1 to {MAX_BODY_BYTES}.")


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to send: the queue's full name and the body, which `check_body` must not refuse."""

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
        """Delete the message for good. Repeating it is harmless. Raises `QueuesUnavailable`; then it may come back.

        Once the loan is over, this may do nothing, and say so to nobody: the message comes back as a new delivery.
        """
        ...

    def extend(self, loan: timedelta) -> bool:
        """Keep it hidden for `loan` from now.

        False: this delivery cannot be extended any more (expired, deleted, over the transport's longest loan); the
        message will come back as a new delivery. Raises `QueuesUnavailable`.
        """
        ...

    def requeue(self, delay: timedelta = timedelta()) -> None:
        """Give it back, to be delivered again after `delay`. Raises `QueuesUnavailable`.

        Harmless for a delivery that is over. A delay that the transport cannot keep (over 12 hours after the receipt)
        leaves the message to the end of its loan.
        """
        ...


class Queues(Protocol):
    """All queues of one installation. Safe to use from several threads."""

    def ensure(self, queue: str, *, tags: Mapping[str, str] | None = None) -> None:
        """Create `queue` unless it exists. Idempotent; an existing queue keeps its attributes.

        Raises `QueuesUnavailable`, `NotPermitted`.
        """
        ...

    def exists(self, queue: str) -> bool:
        """Whether `queue` can be sent to. Raises `QueuesUnavailable`, `NotPermitted`."""
        ...

    def send(self, queue: str, body: str) -> None:
        """Accept one message. On return it is stored; an error leaves it unknown, so repeat it: receivers dedupe.

        Raises `NotFound` (no such queue), `QueuesUnavailable`, `NotPermitted`; `Bug` as `check_body` does.
        """
        ...

    def send_each(self, letters: Sequence[Letter]) -> Sequence[Letter]:
        """Send many at once, in parallel; returns those that were not accepted, for the caller to repeat.

        A missing queue makes its letter one of those, as does a missing right; it does not stop the others.
        Raises `Bug` as `check_body` does, and has sent nothing then.
        """
        ...

    def receive(self, queue: str, *, wait: timedelta, loan: timedelta, most: int = 10) -> Sequence[Delivery]:
        """Wait up to `wait` (at most 20 s) for messages; each is hidden from other receivers for `loan`.

        Times count in whole seconds, rounded up. A call that waits cannot be interrupted.

        Returns as soon as there is at least one, at most `most` (1 to 10); empty when none came.
        Raises `NotFound`, `QueuesUnavailable`, `NotPermitted`.
        """
        ...

    def depth(self, queue: str) -> Depth:
        """Approximate counts. Raises `NotFound`, `QueuesUnavailable`."""
        ...

    def delete(self, queue: str) -> None:
        """Remove the queue and what is in it. Idempotent. A queue of that name may be refused for the next 60 s.

        Raises `QueuesUnavailable`, `NotPermitted`.
        """
        ...
