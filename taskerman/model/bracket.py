"""A bracket: what must be so in a whole cluster while any node of some tasks works, and how far that is.

Alerts are silenced, repairs paused, allocation is off: done once, before the first node acts, and undone once, after
the last. The record says more than was done, never less: it is written before the hook that it tells of is called.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from taskerman.model.attempt import NodeRecord
from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import ActionName, AttemptId, BracketName, ClusterName, NodeId, TaskId

__all__ = ["Bracket", "BracketClaim", "BracketState"]


class BracketState(StrEnum):
    """What is known of the cluster.

    `opening`: cluster_begin may have been called, and is not known to have ended well. `open`: it has. `closing`:
    cluster_end is to be called, or may have been, and is not known to have ended well. `closed`: nothing is to be
    undone.
    """

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"


class BracketClaim(Noun):
    """Who may be calling a hook of it now: a node, in an attempt, or, where no slot is to be had, without one.

    It stands until its attempt has ended; without one, until its node's agent has begun anew or a janitor dropped it.
    """

    node: NodeId
    epoch: int = Field(ge=0)
    attempt: AttemptId | None = None

    def stands(self, record: NodeRecord | None) -> bool:
        """Whether the hook may still be running. `record`: of its node, read after the claim.

        False stays false: attempts have an id of their own each, epochs only grow, and what is gone does not return.
        """
        if record is None or record.gone:
            return False
        if self.attempt is not None:
            return record.attempt is not None and record.attempt.id == self.attempt
        return record.epoch == self.epoch


class Bracket(Noun):
    """`/brackets/<cluster>~<name>`: one record for all tasks that share it. Everything that begins or ends goes through
    its version. Never deleted: its versions must not begin anew.

    `tasks`: for which it was begun and which may not be put away before it is closed. `inside`: the attempts that may
    act under it, by node; one that has ended since counts no more, whether or not it was taken out. `claim`: who runs
    a hook of it. `action`: with which it was last begun. `since`: when it came into its state, by the clock of whoever
    wrote that. `tries`: how often cluster_end has failed in a row; `why`: how it did the last time, or why it is being
    closed.
    """

    v: Literal[1] = 1
    cluster: ClusterName
    name: BracketName
    state: BracketState = BracketState.CLOSED
    tasks: tuple[TaskId, ...] = ()
    inside: dict[NodeId, AttemptId] = Field(default_factory=dict)
    claim: BracketClaim | None = None
    action: ActionName | None = None
    since: Timestamp
    tries: int = Field(default=0, ge=0)
    why: str = ""
