"""Settling an assignment that has ended, from its record only: announce what is owed, note it, delete the doorbells.

Each step may be repeated, and a crash after any of them is: the record says what is still owed, and the doorbell that
was not deleted comes back. A doorbell is never deleted for what was only once so: a redrive opens an ended assignment
again, and its doorbell may be the one in hand.
"""

from __future__ import annotations

from taskerman.agent.holding import Held, Holding
from taskerman.agent.kit import Kit
from taskerman.agent.mailbox import Mailbox
from taskerman.agent.sessions import Session
from taskerman.announcing import announce
from taskerman.coordination import layout
from taskerman.coordination.node_moves import Ended
from taskerman.errors import TaskermanError
from taskerman.model.outcome import DeadLetterState, End
from taskerman.model.plan import Plan
from taskerman.policy.letters import dead_letter
from taskerman.ports.queue import Delivery

__all__ = ["Settling"]

_SEND_AGAIN_S = 2.0
_SEND_AGAIN_MOST_S = 60.0


class Settling:
    """Used on the agent's one thread."""

    def __init__(self, kit: Kit, holding: Holding, mailbox: Mailbox) -> None:
        """`holding`: from which what is settled is dropped."""
        self._kit = kit
        self._holding = holding
        self._mailbox = mailbox

    def settle(self, session: Session, plan: Plan, ended: Ended, held: Held, before: tuple[Delivery, ...]) -> None:
        """Settle `held`. `before`: the doorbells that came in before `ended` was read; later ones are left alone.

        Raises `CoordinationUnavailable`: look again.
        """
        kit = self._kit
        now = kit.clock.monotonic()
        if ended.end.dead_letter is DeadLetterState.OWED:
            if now < held.send_at:
                held.look_at = held.send_at
                return
            if not self._announce(plan, ended.end, held):
                held.unsent += 1
                wait = min(_SEND_AGAIN_S * 2.0 ** min(held.unsent - 1, 10), _SEND_AGAIN_MOST_S)
                held.look_at = held.send_at = now + wait * (0.5 + kit.throw() / 2)
                return
            session.moves.announced(held.task, ended)
        if before and held.ended_here != ended.end.attempt and not self._still_ended(session, held, ended.end):
            held.look_at = now
            return
        kit.say("assignment_settled", task=held.task, outcome=ended.end.outcome.value)
        self.drop(held, before)

    def drop(self, held: Held, settled: tuple[Delivery, ...]) -> None:
        """Forget the assignment, but for doorbells that came in after `settled`, which are deleted."""
        for delivery in settled:
            self._mailbox.settle(delivery)
        self._holding.drop(held, settled)
        self._kit.note_down(accepted=self._holding.accepted())

    def _announce(self, plan: Plan, end: End, held: Held) -> bool:
        kit = self._kit
        try:
            announce(kit.queues, kit.names, dead_letter(plan, kit.node, end))
        except TaskermanError as error:
            kit.say("dead_letter_not_sent", "error", task=held.task, why=str(error))
            return False
        kit.say("dead_letter_sent", "warning", task=held.task, origin="assignment")
        return True

    def _still_ended(self, session: Session, held: Held, end: End) -> bool:
        """Whether that end stands, on a server that lags behind nobody: ours may not have seen the redrive yet."""
        path = layout.end(held.task, self._kit.node)
        session.tree.sync(path)
        record = session.tree.get(path)
        return record is not None and layout.decode(End, record, path).attempt == end.attempt
