"""Documents that are not accepted: recorded, announced, deleted, in that order, and each step may be repeated.

Whether a document is refused is decided elsewhere. A message that was refused stays refused, however often it is
delivered; the same document that is sent anew is judged anew.
"""

from __future__ import annotations

import hashlib

from taskerman.announcing import announce
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import TaskermanError
from taskerman.model.event import Event, Listener
from taskerman.model.ids import QueueNames
from taskerman.model.plan import Refusal
from taskerman.model.task import TaskDocument, parse_task_document
from taskerman.policy.letters import dead_letter_of_document
from taskerman.ports.clock import Clock
from taskerman.ports.queue import Delivery, Queues

__all__ = ["Refusals", "task_of"]

_BODY_KEPT = 16 * 1024


class Refusals:
    """What a router does with what it does not accept. Keeps nothing."""

    def __init__(self, moves: RouterMoves, queues: Queues, names: QueueNames, clock: Clock, emit: Listener) -> None:
        """As the router's own."""
        self._moves = moves
        self._queues = queues
        self._names = names
        self._clock = clock
        self._emit = emit

    def settled(self, delivery: Delivery) -> bool:
        """Whether this message was refused before; then it is gone, and its letter announced if that was owed.

        Raises `TransientError`, `NotPermitted`: call again.
        """
        refusal = self._moves.refusal(_sha256(delivery.body))
        if refusal is None or delivery.sent_at > (refusal.sent_at or refusal.at):
            return False
        self._announce(refusal)
        delivery.ack()
        return True

    def refuse(self, delivery: Delivery, error: TaskermanError) -> None:
        """Record, announce, delete: each step is repeated by the next delivery if a crash cuts in.

        Raises `TransientError`, `NotPermitted`, `StopNow`: call again.
        """
        raw = delivery.body.encode("utf-8", "surrogatepass")
        named = _named(delivery.body)
        refusal = Refusal(
            sha256=_sha256(delivery.body),
            code=error.code,
            reason=str(error),
            at=self._clock.now(),
            sent_at=delivery.sent_at,
            queue=delivery.queue,
            body=raw[:_BODY_KEPT].decode("utf-8", "replace"),
            body_bytes=len(raw),
            body_truncated=len(raw) > _BODY_KEPT,
            task_id=named.task_id if named else None,
            cluster_name=named.cluster_name if named else None,
        )
        recorded = self._moves.refuse(refusal, delivery.sent_at)
        self._announce(recorded)
        delivery.ack()
        fields = {**task_of(delivery.body), "code": error.code, "why": str(error)}
        self._emit(Event("document_refused", fields, "error"))

    def _announce(self, refusal: Refusal) -> None:
        if refusal.dead_letter != "owed":
            return
        announce(self._queues, self._names, dead_letter_of_document(refusal))
        task = {"task": refusal.task_id} if refusal.task_id else {}
        self._emit(Event("dead_letter_sent", {**task, "sha256": refusal.sha256, "origin": "document"}, "warning"))
        self._moves.announced(refusal.sha256)


def task_of(body: str) -> dict[str, object]:
    """The id that an event about this body carries, when it has one."""
    named = _named(body)
    return {} if named is None else {"task": named.task_id}


def _named(body: str) -> TaskDocument | None:
    """The document in a refused body, when it can be read that far."""
    try:
        return parse_task_document(body)[0]
    except TaskermanError:
        return None


def _sha256(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
