"""What is kept of a task when it is over and its records are put away: as it is recorded, and as it is read."""

from __future__ import annotations

from pydantic import Field, JsonValue

from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import ClusterName, NodeId, Owner, TaskId
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Plan
from taskerman.model.task import TaskControl, TaskState

__all__ = ["PastAssignment", "PastEnd", "PastTask", "TaskHistory", "further_letter"]


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


class PastEnd(Noun):
    """One end of one node's share, as the history has it. A node that was redriven has several."""

    node: NodeId
    az: str
    rank: int
    end: End


class PastTask(Noun):
    """A task as the history has it. `counts`: nodes by the outcome that each ended with last.

    `document` and `ends` are filled in when they were asked for; `ends` by rank, those of one node oldest first.
    """

    task_id: TaskId
    planned_at: Timestamp
    ended_at: Timestamp
    cluster_name: ClusterName
    owner: Owner
    action: str
    state: TaskState
    why: str
    cap: int
    nodes: int
    not_after: Timestamp
    counts: dict[Outcome, int]
    document: dict[str, JsonValue] | None = None
    ends: tuple[PastEnd, ...] = Field(default=())


_LETTER_ORDER = (DeadLetterState.NONE, DeadLetterState.OWED, DeadLetterState.SENT)


def further_letter(there: DeadLetterState, given: DeadLetterState) -> DeadLetterState:
    """Of two states of one dead letter the later one: it is owed, sent, and then settled by a person.

    Two may record the same end, and the slower one has read it earlier. Of two settlements the given one counts.
    """
    order = [_LETTER_ORDER.index(state) if state in _LETTER_ORDER else len(_LETTER_ORDER) for state in (there, given)]
    return there if order[0] > order[1] else given
