"""Announcing a dead letter: one message for whoever listens, made from the record, which is the letter itself.

An announcement may be repeated: readers know it by its key. Who sends it notes in the record that it was sent.
"""

from __future__ import annotations

from taskerman.errors import NotFound
from taskerman.model.ids import QueueNames
from taskerman.model.outcome import DeadLetter
from taskerman.policy.letters import announcement
from taskerman.ports.queue import Queues

__all__ = ["announce"]


def announce(queues: Queues, names: QueueNames, letter: DeadLetter) -> None:
    """Send `letter` to the dead-letter queue, which is made if it is missing.

    Raises `QueuesUnavailable`, `NotPermitted`: it may or may not be sent; send it again.
    """
    text = announcement(letter)
    try:
        queues.send(names.dead_letter, text)
    except NotFound:
        queues.ensure(names.dead_letter)
        queues.send(names.dead_letter, text)
