"""The chore that frees what terminated machines held: by proof from where nodes are discovered, and by no clock.

Only nodes that the router saw in that source are asked about: of a node that a person named, its absence says
nothing. A source that does not answer for one cluster leaves that cluster as it is, and the others are looked at.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable

from taskerman.coordination.overview import node_records, slots
from taskerman.coordination.plans import read_plan
from taskerman.coordination.reclaiming import Capped, NotYet, end_gone, reclaim
from taskerman.coordination.router_moves import RouterMoves
from taskerman.janitor.kit import Kit, Turn
from taskerman.janitor.succession import NotReplaced, succession
from taskerman.model.ids import AttemptId, NodeId, TaskId
from taskerman.model.plan import Plan
from taskerman.model.slot import SlotNote
from taskerman.policy.reclaiming import Proof, prove

__all__ = ["EndingTheGone", "Reclaiming"]

_CONTROLS = 5


class Reclaiming:
    """Keeps who was absent since when, as long as it leads."""

    name = "reclaim"

    def __init__(self, kit: Kit, *, choose: Callable[[list[NodeId], int], list[NodeId]] = random.sample) -> None:
        """`choose`: so many of a list, at random."""
        self._kit = kit
        self._choose = choose
        self.every_s = kit.upkeep.reclaim_every_s
        self._term = 0
        self._absent: dict[str, dict[NodeId, float]] = {}
        self._awaited: dict[AttemptId, str] = {}

    def do(self, turn: Turn) -> None:
        """See `Chore.do`."""
        if turn.term != self._term:
            self._term = turn.term
            self._absent.clear()
            self._awaited.clear()
        wanted = self._wanted()
        self._absent = {name: self._absent.get(name, {}) for name in wanted}
        self._kit.each(self.name, sorted(wanted), lambda name: self._ask(name, wanted[name], turn), str)

    def _wanted(self) -> dict[str, dict[str, set[NodeId]]]:
        """The nodes about which it would help to know, by discovery and cluster."""
        kit = self._kit
        wanted: dict[str, dict[str, set[NodeId]]] = defaultdict(lambda: defaultdict(set))

        def add(plan: Plan, nodes: Iterable[NodeId]) -> None:
            seen = {one.id for one in plan.nodes if one.source == "ec2"}
            wanted[plan.task.discovery][plan.task.cluster_name] |= seen & set(nodes)

        for plan in kit.open_plans():
            add(plan, RouterMoves(kit.tree).unended(plan))
        holders: dict[TaskId, set[NodeId]] = defaultdict(set)
        for held in slots(kit.tree):
            if isinstance(held.note, SlotNote):  # of a command nobody is terminated: its host is no node
                holders[held.note.task].add(held.slot.node)

        def add_holders(task: TaskId) -> None:
            plan = read_plan(kit.tree, task)
            if isinstance(plan, Plan):
                add(plan, holders[task])

        kit.each(self.name, sorted(holders), add_holders, str)
        # What is kept may outlast its plan: the node's own record says where it was seen.
        nodes = sorted(set().union(*holders.values()))
        for node, record in zip(nodes, node_records(kit.tree, nodes), strict=True):
            if record is not None and record.seen is not None:
                wanted[record.seen.discovery][record.seen.cluster].add(node)
        return wanted

    def _ask(self, name: str, clusters: dict[str, set[NodeId]], turn: Turn) -> None:
        kit = self._kit
        discovery = kit.discoveries.get(name)
        if discovery is None:
            kit.say("discovery_unknown", "error", discovery=name)
            return
        running: set[NodeId] = set()
        asked: set[NodeId] = set()

        def look(cluster: str) -> None:
            if clusters[cluster]:
                running.update(node.id for node in discovery.nodes(cluster))
                asked.update(clusters[cluster])

        kit.each(self.name, sorted(clusters), look, str)
        suspects = self._not_gone(sorted(asked - running))
        control = self._choose(sorted(running), min(_CONTROLS, len(running)))
        fates = discovery.fates(suspects, control=control) if suspects else {}
        before = self._absent[name]
        proofs, absent = prove(before, suspects, fates, kit.clock.monotonic(), apart_s=kit.upkeep.absent_apart_s)
        for node in sorted(absent.keys() - before.keys()):
            kit.say("node_absent", "warning", node=node)
        # Of a cluster that could not be asked nothing new is known.
        self._absent[name] = {**{node: since for node, since in before.items() if node not in asked}, **absent}
        kit.each(self.name, proofs, lambda proof: self._reclaim(proof, turn), lambda proof: proof.node)

    def _not_gone(self, nodes: list[NodeId]) -> list[NodeId]:
        records = node_records(self._kit.tree, nodes)
        return [node for node, record in zip(nodes, records, strict=True) if record is None or not record.gone]

    def _reclaim(self, proof: Proof, turn: Turn) -> None:
        kit = self._kit
        replaced = None
        if (found := self._replacing(proof.node)) is not None:
            attempt, plan, acts = found
            said = succession(kit, plan, proof.node)
            if isinstance(said, NotReplaced):
                self._await(attempt, plan.task.task_id, said.why)
                return
            replaced = (attempt, said.why) if acts else None
        done = reclaim(kit.tree, proof, at=turn.tree_time, an_hour=kit.upkeep.reclaims_an_hour, replaced=replaced)
        if isinstance(done, Capped):
            kit.say("reclaim_capped", "error", node=proof.node, why=proof.why, an_hour=done.an_hour)
            return
        if isinstance(done, NotYet):
            return
        if replaced is not None:
            kit.say("node_replaced", node=proof.node, attempt=replaced[0], why=replaced[1], freed=len(done.freed))
            return
        kit.say(
            "node_gone",
            "error" if done.attempt else "warning",
            node=proof.node,
            why=proof.why,
            freed=len(done.freed),
            attempt=done.attempt.id if done.attempt else None,
        )

    def _replacing(self, node: NodeId) -> tuple[AttemptId, Plan, bool] | None:
        """The attempt whose action it is to terminate this very machine, its plan, and whether it has not ended.

        One that has kept its slot: its machine was asked to end, and did so when nobody waited for it any more.
        """
        (record,) = node_records(self._kit.tree, [node])
        if record is None:
            return None
        if record.attempt is not None:
            found = {(record.attempt.id, record.attempt.task)}
        elif record.kept:
            notes = [held.note for held in slots(self._kit.tree) if held.slot.node == node]
            found = {(note.attempt, note.task) for note in notes if isinstance(note, SlotNote)}
        else:
            return None
        for attempt, task in sorted(found):
            plan = read_plan(self._kit.tree, task)
            if isinstance(plan, Plan) and plan.accepted.replaces:
                return attempt, plan, record.attempt is not None
        return None

    def _await(self, attempt: AttemptId, task: TaskId, why: str) -> None:
        """Say what is missing, once for each reason."""
        if self._awaited.get(attempt) != why:
            self._awaited[attempt] = why
            self._kit.say("successor_awaited", "warning", attempt=attempt, task=task, why=why)


class EndingTheGone:
    """Ends the assignments of nodes that were declared gone: also of plans that name them later."""

    name = "end what is gone"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.reclaim_every_s

    def do(self, turn: Turn) -> None:
        """See `Chore.do`."""
        self._kit.each(self.name, self._kit.open_plans(), lambda plan: self._look(plan, turn), _task)

    def _look(self, plan: Plan, turn: Turn) -> None:
        kit = self._kit
        nodes = list(RouterMoves(kit.tree).unended(plan))
        for node, record in zip(nodes, node_records(kit.tree, nodes), strict=True):
            if record is not None and record.gone and end_gone(kit.tree, plan, node, turn.tree_time):
                kit.say("assignment_gone", "warning", node=node, task=plan.task.task_id)


def _task(plan: Plan) -> str:
    return plan.task.task_id
