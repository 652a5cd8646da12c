"""The chore that watches slots: an alarm for each that outlasts its term, on this janitor's own monotonic clock."""

from __future__ import annotations

from taskerman.coordination.overdue import ActingNode, acting_nodes, mark_overdue
from taskerman.coordination.plans import read_plan
from taskerman.janitor.kit import Kit, Turn
from taskerman.model.ids import AttemptId, NodeId
from taskerman.model.plan import Plan
from taskerman.policy.overdue import Sighting, look, term_s, told

__all__ = ["WatchingSlots"]


class WatchingSlots:
    """Keeps what it has seen since it leads; a new leader watches anew. Frees nothing."""

    name = "watch slots"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.turn_s
        self._term = 0
        self._seen: dict[NodeId, Sighting] = {}
        self._terms: dict[AttemptId, float] = {}

    def do(self, turn: Turn) -> None:
        """See `Chore.do`."""
        kit = self._kit
        if turn.term != self._term:
            self._term = turn.term
            self._seen.clear()
        acting = {one.node: one for one in acting_nodes(kit.tree)}
        self._terms = {one.attempt.id: self._terms.get(one.attempt.id, 0.0) for one in acting.values()}
        kit.each(self.name, acting.values(), self._know_term, lambda one: one.attempt.id)
        watched = {
            node: (one.attempt.id, self._terms[one.attempt.id])
            for node, one in acting.items()
            if self._terms[one.attempt.id] > 0
        }
        self._seen, overdue = look(self._seen, watched, kit.clock.monotonic())
        kit.each(self.name, [acting[node] for node in overdue], self._overdue, lambda one: one.attempt.id)

    def _know_term(self, one: ActingNode) -> None:
        if not self._terms[one.attempt.id]:
            plan = read_plan(self._kit.tree, one.attempt.task)
            if isinstance(plan, Plan):
                self._terms[one.attempt.id] = max(term_s(plan.task, self._kit.upkeep.margin_s), 0.001)

    def _overdue(self, one: ActingNode) -> None:
        if not mark_overdue(self._kit.tree, one):
            return
        watched_s = self._kit.clock.monotonic() - self._seen[one.node].since
        self._seen = told(self._seen, one.node)
        self._kit.say(
            "slot_overdue",
            "error",
            node=one.node,
            task=one.attempt.task,
            attempt=one.attempt.id,
            cluster=one.attempt.cluster,
            watched_s=round(watched_s),
        )
