"""The chores that time decides: holds that end, tasks whose time has passed; and what both leave over."""

from __future__ import annotations

from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.router_moves import RouterMoves
from taskerman.coordination.sweeping import expire, sweep
from taskerman.janitor.kit import Kit, Turn
from taskerman.model.plan import Plan

__all__ = ["Closing", "Expiring", "LiftingHolds"]


class LiftingHolds:
    """Removes holds at their expiry, audited as the janitor's."""

    name = "lift holds"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.turn_s

    def do(self, turn: Turn) -> None:
        """See `Chore.do`."""
        if not turn.clock_is_right:
            return
        for hold in OperatorMoves(self._kit.tree, self._kit.by, self._kit.clock.now).lift_expired():
            self._kit.say("hold_ended", hold=hold.id, on=hold.on, by=hold.by)


class Expiring:
    """Makes tasks expired at their not_after, and ends what neither acts nor ended of tasks that are over."""

    name = "expire tasks"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.turn_s

    def do(self, turn: Turn) -> None:
        """See `Chore.do`. What a person cancelled is swept whatever the clock says."""
        self._kit.each(self.name, self._kit.open_plans(), lambda plan: self._look(plan, turn), _task)

    def _look(self, plan: Plan, turn: Turn) -> None:
        kit, task = self._kit, plan.task.task_id
        if turn.clock_is_right and expire(kit.tree, plan, kit.clock.now()):
            kit.say("task_expired", "warning", task=task, cluster=plan.task.cluster_name)
        sweep(kit.tree, plan, kit.clock.now())


class Closing:
    """Removes the headers of tasks that ended, as routers do: those that no end of an agent's own removed."""

    name = "close tasks"

    def __init__(self, kit: Kit) -> None:
        """As handed."""
        self._kit = kit
        self.every_s = kit.upkeep.turn_s

    def do(self, turn: Turn) -> None:
        """See `Chore.do`."""
        for task in RouterMoves(self._kit.tree).close_ended():
            self._kit.say("task_closed", task=task)


def _task(plan: Plan) -> str:
    return plan.task.task_id
