"""What is kept of a task when it is over and its records are put away: the past, as the history stores it."""

from __future__ import annotations

from taskerman.model.base import Noun
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.outcome import End
from taskerman.model.plan import Plan
from taskerman.model.task import TaskControl

__all__ = ["PastAssignment", "TaskHistory"]


class PastAssignment(Noun):
    """One node's share and how it ended. `end.attempt` is the key of this end: a redrive makes another one."""

    node: NodeId
    end: End


class TaskHistory(Noun):
    """A task of which every node has an end: its plan, its control record as it stood, and the ends.

    The same task may be recorded again, with other ends after a redrive, or with the same ends whose dead letters
    were sent or settled meanwhile.
    """

    plan: Plan
    control: TaskControl
    assignments: tuple[PastAssignment, ...]

    @property
    def task_id(self) -> TaskId:
        """Whose history it is."""
        return self.plan.task.task_id
