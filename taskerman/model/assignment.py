"""One node's share of a task, and the doorbell that points to it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import AttemptId, NodeId, TaskId

__all__ = ["Doorbell", "Progress", "ProgressState"]


class Doorbell(Noun):
    """The message in a node's queue: a pointer to the plan. It may be late, doubled or lost; it carries no custody."""

    v: Literal[1] = 1
    task_id: TaskId
    destnode: NodeId
    hash: str


class ProgressState(StrEnum):
    """What an assignment without an end is doing."""

    WAITING = "waiting"
    ACTING = "acting"
    RETRYING = "retrying"


class Progress(Noun):
    """`/tasks/<t>/progress/<n>`: how far an assignment is that has not ended.

    `k`: attempts that count towards retry_count. `deferrals`: how often pre_check said wait. `adopts`: how often a
    new agent took over the attempt in hand. `next_at`: not before. `why`: of the last end of an attempt, for people.
    """

    v: Literal[1] = 1
    k: int = Field(default=0, ge=0)
    deferrals: int = Field(default=0, ge=0)
    adopts: int = Field(default=0, ge=0)
    state: ProgressState = ProgressState.WAITING
    attempt: AttemptId | None = None
    next_at: Timestamp | None = None
    why: str = ""
