"""The chore that sends the dead letters that nobody sent: of agents that are away, of nodes that are gone, of sweeps.

An agent settles its own; it is given some time for it. A letter that is sent twice is one letter: its key says so.
"""

from __future__ import annotations

from datetime import timedelta

from taskerman.announcing import announce
from taskerman.coordination import layout
from taskerman.coordination.notes import note_sent
from taskerman.coordination.overview import refusals
from taskerman.coordination.plans import read_plan
from taskerman.coordination.reading import get_each
from taskerman.coordination.router_moves import RouterMoves
from taskerman.janitor.kit import Kit, Turn
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.outcome import DeadLetterState, End
from taskerman.model.plan import Plan, Refusal
from taskerman.policy.letters import dead_letter, dead_letter_of_document

__all__ = ["Settling", "settle"]


class Settling:
    """Remembers which ends of a task owe something, so that a task at which nothing happens costs one read."""

    name = "settle dead letters"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.settle_every_s
        self._owing: dict[TaskId, tuple[int, frozenset[NodeId]]] = {}

    def do(self, turn: Turn) -> None:
        """See `Chore.do`. What cannot be sent is tried again by the next one, for ever."""
        kit = self._kit
        kit.each(self.name, refusals(kit.tree), self._settle_refusal, lambda refusal: refusal.sha256)
        listing = kit.tree.children(layout.TASKS)
        tasks = listing.names if listing else ()
        self._owing = {task: known for task, known in self._owing.items() if task in set(tasks)}
        kit.each(self.name, tasks, self._look, str)

    def _settle_refusal(self, refusal: Refusal) -> None:
        kit = self._kit
        if refusal.dead_letter != "owed" or not self._is_late(refusal.at.timestamp()):
            return
        announce(kit.queues, kit.names, dead_letter_of_document(refusal))
        RouterMoves(kit.tree).announced(refusal.sha256)
        kit.say("dead_letter_sent", "warning", sha256=refusal.sha256, origin="document")

    def _look(self, task: TaskId) -> None:
        kit = self._kit
        names = kit.tree.children(layout.ends(task))
        if names is None:
            self._owing.pop(task, None)  # a tombstone
            return
        seen, nodes = self._owing.get(task, (-1, frozenset()))
        # An end that is written or taken back changes the version; that a letter was sent does not, and matters less.
        wanted = sorted(nodes) if seen == names.stat.children_version else list(names.names)
        owing: dict[NodeId, End] = {}
        for node, record in zip(wanted, get_each(kit.tree, [layout.end(task, n) for n in wanted]), strict=True):
            end = None if record is None else layout.decode(End, record, layout.end(task, node))
            if end is not None and end.dead_letter is DeadLetterState.OWED:
                owing[node] = end
        self._owing[task] = names.stat.children_version, frozenset(owing)
        late = {node: end for node, end in owing.items() if self._is_late(end.at.timestamp())}
        plan = read_plan(kit.tree, task) if late else None
        if isinstance(plan, Plan):
            kit.each(self.name, late.items(), lambda item: settle(kit, plan, *item), lambda item: f"{task}/{item[0]}")

    def _is_late(self, since: float) -> bool:
        now = self._kit.clock.now()
        return now.timestamp() - since >= timedelta(seconds=self._kit.upkeep.settle_grace_s).total_seconds()


def settle(kit: Kit, plan: Plan, node: NodeId, end: End) -> bool:
    """Send the dead letter of that end, and note it. False: it was sent, and not noted yet."""
    announce(kit.queues, kit.names, dead_letter(plan, node, end))
    noted = note_sent(kit.tree, plan.task.task_id, node, end)
    kit.say("dead_letter_sent", "warning", node=node, task=plan.task.task_id, origin="assignment")
    return noted
