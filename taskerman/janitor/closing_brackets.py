"""The chore that finds brackets which nobody has ended, and asks a node to: what was silenced is never forgotten.

It ends none by itself, for only a runner knows how: it says in the record that the bracket is to be ended, and rings
nodes of the tasks that stand in it, one after the other, ever less often. A bracket in which an attempt stands is left
alone, however long: it ends after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from taskerman.coordination import brackets as moves
from taskerman.coordination.brackets import BracketAt
from taskerman.coordination.overview import node_records
from taskerman.coordination.plans import read_plan
from taskerman.janitor.kit import Kit, Turn
from taskerman.model.bracket import BracketState
from taskerman.model.ids import NodeId
from taskerman.model.plan import Plan
from taskerman.policy import brackets as policy
from taskerman.policy.brackets import SeenBracket
from taskerman.ringing import ring

__all__ = ["ClosingBrackets"]

_MOST_DOUBLINGS = 6


@dataclass(slots=True)
class _Watched:
    """A bracket that has not changed since `since`, on this janitor's own clock. `rung`: how often, since; `ring_at`:
    when to ring again. `alone_since`: since when nobody stood inside whenever it was looked at."""

    version: int | None
    since: float
    alone_since: float | None = None
    rung: int = 0
    ring_at: float = 0.0
    stuck: bool = False


class ClosingBrackets:
    """Keeps what it has seen since it leads: a new leader watches anew."""

    name = "close brackets"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.turn_s
        self._term = 0
        self._watched: dict[str, _Watched] = {}
        self._turns: dict[str, int] = {}

    def do(self, turn: Turn) -> None:
        """See `Chore.do`."""
        if turn.term != self._term:
            self._term = turn.term
            self._watched.clear()
        found = [at for at in moves.read_brackets(self._kit.tree) if at.bracket.state is not BracketState.CLOSED]
        paths = {at.path for at in found}
        self._watched = {path: one for path, one in self._watched.items() if path in paths}
        self._kit.each(self.name, found, lambda at: self._look(at, turn), lambda at: at.path)

    def _look(self, at: BracketAt, turn: Turn) -> None:
        kit, bracket, now = self._kit, at.bracket, self._kit.clock.monotonic()
        watched = self._watched.get(at.path)
        if watched is None or watched.version != at.version:
            watched = self._watched[at.path] = _Watched(at.version, now, ring_at=now + self._pause_s(bracket.tries - 1))
        seen = moves.see(kit.tree, at, turn.tree_time)
        goes_on = moves.going_on(kit.tree, bracket.cluster, bracket.tasks)
        if seen.inside():
            watched.alone_since = None
            self._let_go(at, goes_on)
            return
        watched.alone_since = now if watched.alone_since is None else watched.alone_since
        if bracket.state is BracketState.CLOSING:
            self._ask(at, seen, watched, now)
            return
        idle_s = now - watched.alone_since
        if not goes_on:
            why = "its tasks are over"
        elif idle_s >= kit.upkeep.bracket_idle_s:
            why = f"nobody acted in it for {idle_s:.0f} s"
        else:
            self._let_go(at, goes_on)
            return
        after = policy.to_be_closed(bracket, kit.clock.now(), why)
        if moves.change(kit.tree, at, after):
            kit.say("bracket_left_over", "warning", cluster=bracket.cluster, bracket=bracket.name, why=why)
            watched.version = (at.version or 0) + 1
            self._ask(replace(at, bracket=after), replace(seen, bracket=after), watched, now)

    def _pause_s(self, times: int) -> float:
        """How long to wait after so many calls or rings in vain, from 0; none before the first."""
        return 0.0 if times < 0 else float(self._kit.upkeep.turn_s * 2.0 ** min(times, _MOST_DOUBLINGS))

    def _let_go(self, at: BracketAt, goes_on: frozenset[str]) -> None:
        """Tasks that are over need not stand in a bracket in which others do: they may be put away."""
        left = tuple(task for task in at.bracket.tasks if task in goes_on)
        if left and left != at.bracket.tasks:
            moves.change(self._kit.tree, at, at.bracket.model_copy(update={"tasks": left}))

    def _ask(self, at: BracketAt, seen: SeenBracket, watched: _Watched, now: float) -> None:
        kit, bracket, claim = self._kit, at.bracket, seen.claim()
        if claim is not None:
            if claim.attempt is None and now - watched.since >= kit.upkeep.bracket_claim_s:
                why = f"{claim.node} was ending it, and said nothing for {now - watched.since:.0f} s"
                if moves.change(kit.tree, at, policy.dropped(bracket, why)):
                    kit.say(
                        "bracket_unclaimed", "warning", node=claim.node, cluster=bracket.cluster, bracket=bracket.name
                    )
            return
        if now < watched.ring_at:
            return
        plans = [plan for task in bracket.tasks if isinstance(plan := read_plan(kit.tree, task), Plan)]
        candidates = self._candidates(plans)
        if not candidates:
            if not watched.stuck:
                watched.stuck = True
                kit.say("bracket_stuck", "error", cluster=bracket.cluster, bracket=bracket.name)
            return
        turn = self._turns[at.path] = self._turns.get(at.path, -1) + 1
        plan, node = candidates[turn % len(candidates)]
        unreached = ring(kit.queues, kit.names, plan, [node], beat=kit.pulse.beat)
        watched.ring_at = now + self._pause_s(max(bracket.tries, watched.rung // len(candidates)))
        watched.rung += 1
        kit.say(
            "bracket_rung",
            "warning" if unreached else "info",
            node=node,
            cluster=bracket.cluster,
            bracket=bracket.name,
            tries=bracket.tries,
            unreached=len(unreached),
        )

    def _candidates(self, plans: Sequence[Plan]) -> list[tuple[Plan, NodeId]]:
        """The nodes whose runner may know how: known and not gone, those that do nothing else first."""
        named = [(plan, planned.id) for plan in plans for planned in plan.nodes]
        records = node_records(self._kit.tree, [node for _, node in named])
        there = [
            (record.attempt is not None, plan, node)
            for (plan, node), record in zip(named, records, strict=True)
            if record is not None and not record.gone
        ]
        return [(plan, node) for _, plan, node in sorted(there, key=lambda one: one[0])]
