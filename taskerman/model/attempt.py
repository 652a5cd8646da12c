"""An attempt: one run of a runner for an assignment, and what is recorded of it while it lasts."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, JsonValue

from taskerman.model.base import Noun
from taskerman.model.ids import (
    AttemptId,
    ClusterName,
    DiscoveryName,
    NodeId,
    TaskId,
    attempt_id,
    clusters_among,
    is_cluster,
)
from taskerman.model.slot import Slot, SlotState

__all__ = ["Attempt", "NodeRecord", "Phase", "Result", "SeenIn"]


class Phase(StrEnum):
    """Where an attempt is."""

    WAITING = "waiting"
    PRE_CHECK = "pre_check"
    EXECUTE_ACTION = "execute_action"
    SETTLING = "settling"
    POST_CHECK = "post_check"
    ENDED = "ended"


class Attempt(Noun):
    """The attempt that a node is in. `k`: the how-manieth that counts, from 1. `cluster`: its task's. `scopes`: where
    its slots are: every cluster of the node, and what else it was planned with or had kept a slot in.

    `inherited`: the state of the kept slot that it took over, if the node had one. What was promised for that one goes
    on with it, because the node is not known to be well: `cap` is the least of all, and `beside` names the exclusive
    task for whose sake no other acts, if it is not the attempt's own. `fence`: the fencing token, the
    version of its cluster's scope after the take: it grows with every take of that cluster.
    """

    id: AttemptId
    task: TaskId
    cluster: ClusterName
    k: int = Field(ge=1)
    cap: int = Field(ge=1)
    exclusive: bool = False
    scopes: tuple[str, ...]
    inherited: SlotState | None = None
    beside: TaskId | None = None
    fence: int = 0

    @property
    def clusters(self) -> tuple[ClusterName, ...]:
        """The clusters among its scopes."""
        return clusters_among(self.scopes)

    def slot(self, node: NodeId, scope: str, state: SlotState = SlotState.ACTING) -> Slot:
        """Its slot in one of its scopes."""
        if not is_cluster(scope):
            return Slot(node=node, cap=None, state=state)
        return Slot(node=node, cap=self.cap, state=state, exclusive=self.task if self.exclusive else self.beside)


class SeenIn(Noun):
    """Where a node was discovered: whom to ask whether its machine is still there."""

    discovery: DiscoveryName
    cluster: ClusterName


class NodeRecord(Noun):
    """`/nodes/<n>`: everything that makes a node act goes through its version.

    `epoch`: the incarnation of the agent. `takes`: attempts ever taken; never goes back. `journal`: uuid of the
    agent's journal. `revoke`: the attempt that a person asked to stop. `gone`: proved terminated; nothing starts.
    `kept`: the scopes in which it keeps a slot; the next attempt inherits all of them, whichever its task's are.
    `seen`: where its last task that discovered it did so; what it keeps may outlast every plan that knows. None: it was
    only ever named by a person.
    """

    v: Literal[1] = 1
    epoch: int = Field(default=0, ge=0)
    takes: int = Field(default=0, ge=0)
    journal: str = ""
    attempt: Attempt | None = None
    revoke: AttemptId | None = None
    gone: bool = False
    kept: tuple[str, ...] = ()
    seen: SeenIn | None = None

    def next_attempt(self, node: NodeId, task: TaskId) -> AttemptId:
        """The id that the next take of this node gets."""
        return attempt_id(task, node, self.takes + 1)


class Result(Noun):
    """What the child wrote of its action: the file that settles a crash.

    `max_rss_bytes`: the most memory of all its processes at once, as their control group counts it (files in the page
    cache included); without one, of the largest process. `limits`: those that it met, in words.
    """

    v: Literal[1] = 1
    attempt: AttemptId
    phase: Literal["execute_action"] = "execute_action"
    status: Literal["ok", "error", "timeout", "killed"]
    exit: int | None = None
    error: str = ""
    saved: dict[str, JsonValue] = Field(default_factory=dict)
    began: str = ""
    ended: str = ""
    max_rss_bytes: int = 0
    limits: tuple[str, ...] = ()
    tail: str = ""
