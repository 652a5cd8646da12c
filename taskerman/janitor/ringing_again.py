"""RE-RING: a doorbell, once a day, for whatever is open and does not act: doorbells may be lost, and nobody would know.

A doorbell carries no custody, so one too many is harmless, and a node that is not reached is rung the next day.
"""

from __future__ import annotations

from datetime import timedelta

from taskerman.coordination import layout
from taskerman.coordination.janitor_record import janitor_record, note_rung
from taskerman.coordination.overview import SeenAssignment, node_records, see_task
from taskerman.janitor.kit import Kit, Turn
from taskerman.model.assignment import ProgressState
from taskerman.model.ids import NodeId
from taskerman.model.plan import Plan
from taskerman.model.task import TaskState
from taskerman.ringing import ring

__all__ = ["RingingAgain"]

_MAY_GO_ON = (TaskState.OPEN, TaskState.HALTED)


class RingingAgain:
    """Rings every node of an open plan without an end that neither acts nor is gone."""

    name = "ring again"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = min(kit.upkeep.turn_s, kit.upkeep.ring_every_s)

    def do(self, turn: Turn) -> None:
        """See `Chore.do`. The tree remembers the last round, so that a new leader does not ring anew."""
        last = janitor_record(self._kit.tree)[0].rung_at
        every = timedelta(seconds=self._kit.upkeep.ring_every_s)
        if last is not None and last <= turn.tree_time < last + every:
            return
        self._kit.each(self.name, self._kit.open_plans(), self._ring, lambda plan: plan.task.task_id)
        note_rung(self._kit.tree, turn.tree_time)

    def _ring(self, plan: Plan) -> None:
        kit, task = self._kit, plan.task.task_id
        if kit.tree.get(layout.control(task)) is None:
            return  # put away since its header was read
        seen = see_task(kit.tree, task)
        if seen.control.state not in _MAY_GO_ON:
            return
        wanted = [one.planned.id for one in seen.assignments if _waits(one)]
        nodes = self._there(wanted)
        unreached = ring(kit.queues, kit.names, plan, nodes, beat=kit.pulse.beat)
        if nodes:
            level = "warning" if unreached else "info"
            kit.say("rung_again", level, task=task, nodes=len(nodes), unreached=len(unreached))

    def _there(self, nodes: list[NodeId]) -> list[NodeId]:
        """Those not declared gone: a doorbell would make their queues anew."""
        records = node_records(self._kit.tree, nodes)
        return [node for node, record in zip(nodes, records, strict=True) if record is None or not record.gone]


def _waits(one: SeenAssignment) -> bool:
    return one.end is None and (one.progress is None or one.progress.state is not ProgressState.ACTING)
