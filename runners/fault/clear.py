"""`fault_task:undo`: undoes whatever faults are left over on a node. It is allowed everywhere, and may be repeated."""

from __future__ import annotations

from datetime import timedelta

from runners.fault.journal import Unreadable
from runners.fault.operation import Node
from taskerman import Check, Go, Recovered, Refuse, Skip

__all__ = ["Undo"]


class Undo(Node):
    """For a node that was left in a fault, and before anybody trusts a cluster in which faults were done."""

    description = "undoes what faults left over on the node"
    when_lost = "retry"
    soft = timedelta(minutes=5)

    def pre_check(self) -> Check:
        """Go when something is left over."""
        try:
            entries = self.journal.entries()
        except (Unreadable, OSError) as error:
            return Refuse(str(error))
        return Go() if entries else Skip("nothing is left over")

    def execute_action(self) -> None:
        """Undo it. Raises `NotUndone`."""
        self.clear()

    def recover(self) -> Recovered:
        """Whether nothing is left over: that is all there is to it."""
        return Recovered.NOT_DONE if self.journal.entries() else Recovered.DONE
