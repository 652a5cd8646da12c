"""What the verbs answer: frozen values, the same for `--json` and for the eye. Their JSON is part of the interface.

A field is added, never renamed; times are RFC 3339 in UTC.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from taskerman.model.base import Noun, Timestamp
from taskerman.model.bracket import BracketState
from taskerman.model.breaker import RecentFailure
from taskerman.model.hold import Hold
from taskerman.model.ids import AttemptId, BracketName, ClusterName, NodeId, ScopeName, TaskId
from taskerman.model.installation import Stranger
from taskerman.model.outcome import DeadLetter, DeadLetterState, Outcome
from taskerman.model.slot import SlotState
from taskerman.model.task import TaskState

__all__ = [
    "Approved",
    "BracketShown",
    "BreakerReset",
    "BreakerShown",
    "BreakerState",
    "Cancelled",
    "Discarded",
    "Examination",
    "Explanation",
    "Finding",
    "Held",
    "HeldPlace",
    "Initialised",
    "LetterLine",
    "NodeExplanation",
    "NodeState",
    "NodeStatus",
    "OpenTaskLine",
    "Overview",
    "Preview",
    "PreviewedNode",
    "Redriven",
    "ReleaseDone",
    "Resumed",
    "ScopeDeclared",
    "ScopeStatus",
    "ShownLetter",
    "Submitted",
    "TaskStatus",
    "Unheld",
    "Verdict",
    "WaitingLane",
]


class NodeState(StrEnum):
    """How one node's share stands. `planned`: its agent has not joined the line yet."""

    PLANNED = "planned"
    WAITING = "waiting"
    ACTING = "acting"
    RETRYING = "retrying"
    ENDED = "ended"


class Verdict(StrEnum):
    """How a task stands as a whole; a submit that waits ends with the exit code of it."""

    GOING_ON = "going_on"
    DONE = "done"
    DEAD_LETTERS = "dead_letters"
    HALTED = "halted"
    CANCELLED = "cancelled"

    @property
    def exit_code(self) -> int:
        """What the command ends with; going on means that the wait ran out."""
        return {
            Verdict.DONE: 0,
            Verdict.DEAD_LETTERS: 10,
            Verdict.HALTED: 11,
            Verdict.CANCELLED: 12,
            Verdict.GOING_ON: 13,
        }[self]


class Submitted(Noun):
    """A document that is in the global queue. `nodes`, `cap`: of the plan that routers would make now, if checked.

    `hash`: of its content, as the plan keeps it. `sha256`: of its bytes, as a refusal keeps it. `planned_before`: the
    same document has a plan already; its nodes are rung again, and nothing is done twice.
    """

    task_id: TaskId
    queue: str
    at: Timestamp
    hash: str
    sha256: str
    nodes: int | None = None
    cap: int | None = None
    planned_before: bool = False


class PreviewedNode(Noun):
    """One node of the plan that would be made, and what holds it now. `reason` None: it could begin at once."""

    node: NodeId
    az: str
    rank: int
    reason: str | None
    text: str
    until: Timestamp | None = None


class Preview(Noun):
    """What `--dry-run` found; nothing was sent."""

    task_id: TaskId
    cluster_name: ClusterName
    action: str
    cap: int
    discovered: int
    not_after: Timestamp
    nodes: tuple[PreviewedNode, ...]


class NodeStatus(Noun):
    """How one node's share stands. `since`: when that was recorded."""

    node: NodeId
    az: str
    rank: int
    state: NodeState
    attempts: int = 0
    deferrals: int = 0
    attempt: AttemptId | None = None
    outcome: Outcome | None = None
    code: str = ""
    reason: str = ""
    since: Timestamp | None = None
    next_at: Timestamp | None = None
    kept: tuple[str, ...] = ()
    dead_letter: DeadLetterState = DeadLetterState.NONE


class TaskStatus(Noun):
    """A task and each of its nodes, in rank order. `counts`: nodes by state, the ended ones by outcome. `brackets`:
    those in which it stands."""

    task_id: TaskId
    cluster_name: ClusterName
    owner: str
    action: str
    state: TaskState
    why: str
    verdict: Verdict
    cap: int
    max_failures: int
    planned_at: Timestamp
    not_after: Timestamp
    counts: dict[str, int]
    nodes: tuple[NodeStatus, ...]
    brackets: tuple[BracketShown, ...] = ()


class OpenTaskLine(Noun):
    """An open task in its cluster. `counts` as in its status."""

    task_id: TaskId
    cluster_name: ClusterName
    owner: str
    action: str
    state: TaskState
    why: str
    cap: int
    nodes: int
    counts: dict[str, int]


class BreakerState(StrEnum):
    """`kept`: a node keeps its slot, which stops the cluster whatever failed in a row. `half_open`: the cool-down is
    over, and the first node that may go tries."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    PROBING = "probing"
    KEPT = "kept"


class BreakerShown(Noun):
    """What stops a cluster by itself. `until`: of failures in a row; nothing starts before. `probe`: the attempt that
    tries. `failures`: since the last success, oldest first. `kept`: the nodes that keep their slots."""

    cluster_name: ClusterName
    state: BreakerState
    until: Timestamp | None
    probe: AttemptId | None
    failures: tuple[RecentFailure, ...]
    kept: tuple[NodeId, ...]


class BracketShown(Noun):
    """What is so in a whole cluster while nodes of some tasks act, and how far that is. `inside`: the nodes that act in
    it. `closer`: the node that ends it now. `since`: when it came into its state. `tries`: how often ending it has
    failed; `why`: how, or why it is being ended."""

    cluster_name: ClusterName
    name: BracketName
    state: BracketState
    since: Timestamp
    tasks: tuple[TaskId, ...]
    inside: tuple[NodeId, ...]
    closer: NodeId | None
    tries: int
    why: str


class Overview(Noun):
    """Everything that is going on: the holds, and the open tasks by cluster, oldest first. `waiting_documents`: in
    the global queue, approximately; None when the queue does not say. `strangers`: nodes that start nothing, because
    they know another installation, or a later state of this one. `breakers`, `brackets`: those that are not closed.
    """

    installation: str
    holds: tuple[Hold, ...]
    tasks: tuple[OpenTaskLine, ...]
    waiting_documents: int | None = None
    strangers: tuple[Stranger, ...] = ()
    breakers: tuple[BreakerShown, ...] = ()
    brackets: tuple[BracketShown, ...] = ()


class HeldPlace(Noun):
    """A slot that is held, and by what. A kept one (`unsafe`, `lost`) stops its whole cluster. `cap` None: of a task in
    a named scope, where the declared capacity binds it. `command`: what runs there under a slot; then there is neither
    a task nor an attempt, and `node` is the holder's id."""

    scope: str
    node: NodeId
    cap: int | None
    state: SlotState
    task_id: TaskId | None
    attempt: AttemptId | None
    since: Timestamp
    why: str
    command: str | None = None


class WaitingLane(Noun):
    """A lane's place in the queue of a named scope. `node`: who made it; whoever heads the lane uses it."""

    task_id: TaskId
    lane: str
    node: NodeId
    clusters: tuple[ClusterName, ...]


class ScopeStatus(Noun):
    """A named scope: how many may be in it, who is, and who waits, first come first. `capacity` None: nobody declared
    it, and commands are in it by what they promised one another."""

    name: ScopeName
    capacity: int | None
    taken: tuple[HeldPlace, ...]
    waiting: tuple[WaitingLane, ...]


class ScopeDeclared(Noun):
    """A capacity that was declared. `before`: what it was; None: nobody had declared it. `taken`: who is in it now;
    while that is no less than the capacity, nothing starts."""

    name: ScopeName
    capacity: int
    before: int | None
    taken: int


class NodeExplanation(Noun):
    """Why a node has not ended, as admission says it, or how it ended. `reason` None: it may begin now."""

    node: NodeId
    state: NodeState
    reason: str | None
    text: str
    until: Timestamp | None = None
    outcome: Outcome | None = None


class Explanation(Noun):
    """Why a task stands where it stands. `next`: commands that may help, the harmless first. `brackets`: those in which
    it stands."""

    task_id: TaskId
    cluster_name: ClusterName
    state: TaskState
    why: str
    nodes: tuple[NodeExplanation, ...]
    slots: tuple[HeldPlace, ...]
    next: tuple[str, ...]
    brackets: tuple[BracketShown, ...] = ()


class Held(Noun):
    """A hold that stands: nothing is taken after it. `acting`: what had been taken before, and goes on.

    `known`: False when it stands on a cluster for which no task was ever planned; its name may be misspelt.
    """

    hold: Hold
    acting: tuple[HeldPlace, ...]
    known: bool = True


class Unheld(Noun):
    """A hold that was removed; what waited for it goes on by itself. `left`: the holds that still stand."""

    hold: Hold
    left: tuple[Hold, ...]


class Cancelled(Noun):
    """A task of which nothing is taken any more. `acting`: who still acts; each is asked by its agent to abort."""

    task_id: TaskId
    acting: tuple[HeldPlace, ...]
    ended: int
    nodes: int


class Resumed(Noun):
    """A task that goes on. `excused`: failures that do not count any more. `unreached`: nodes that were not rung.
    `kept`: nodes with a kept slot in its cluster, for whose sake no other starts all the same."""

    task_id: TaskId
    excused: tuple[NodeId, ...]
    rung: int
    unreached: tuple[NodeId, ...]
    kept: tuple[NodeId, ...] = ()


class Approved(Noun):
    """A parked task that a person looked at. `size`: what its cluster's size is believed to be from now on.

    `unreached`: nodes that were not rung.
    """

    task_id: TaskId
    size: int | None
    rung: int
    unreached: tuple[NodeId, ...]


class ReleaseDone(Noun):
    """What a release did. `asked`: the attempt that its agent was asked to end; its slot is freed when it has.

    `freed`: scopes in which the slot is gone now. `ended`: the task of which its attempt counts as lost.
    """

    node: NodeId
    asked: AttemptId | None
    freed: tuple[str, ...]
    ended: TaskId | None


class BreakerReset(Noun):
    """A breaker that was closed by hand. `forgotten`: its failures. `kept`: nodes that go on stopping the cluster."""

    cluster_name: ClusterName
    forgotten: tuple[RecentFailure, ...]
    kept: tuple[NodeId, ...]


class LetterLine(Noun):
    """A dead letter in a list. `key`: what `show` and `discard` take."""

    key: str
    kind: Literal["assignment", "document"]
    task_id: TaskId | None
    node: NodeId | None
    cluster_name: str | None
    outcome: Outcome
    code: str
    reason: str
    at: Timestamp
    state: str


class ShownLetter(Noun):
    """A dead letter, whole, and what was done about it."""

    state: str
    letter: DeadLetter


class Redriven(Noun):
    """An assignment that is tried again: in its own task, or, when that is over, as a task of its own.

    `dropped`: fields of the document that the new task does not have, because they are over.
    """

    task_id: TaskId
    node: NodeId
    new_task: TaskId | None = None
    reached: bool = True
    dropped: tuple[str, ...] = ()


class Discarded(Noun):
    """A dead letter about which nothing more is to be done."""

    key: str
    task_id: TaskId | None = None
    node: NodeId | None = None


class Initialised(Noun):
    """The installation as it stands, with its holds. `queues`: those that every installation has. `accepted`: the
    installations that were accepted now. `strangers`: the nodes that have reported one, and do not go on yet.
    `secured`: how many records were given their rights."""

    installation: str
    holds: tuple[Hold, ...]
    queues: tuple[str, ...]
    accepted: tuple[str, ...] = ()
    strangers: tuple[Stranger, ...] = ()
    secured: int | None = None


class Finding(Noun):
    """One thing that `doctor` looked at. `exit_code`: what a failure of it ends the command with."""

    what: str
    level: Literal["ok", "warn", "fail"]
    text: str
    next_step: str = ""
    exit_code: int = 0


class Examination(Noun):
    """What `doctor` found."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """5 if anything cannot be reached, else that of the first failure, else 0."""
        codes = [finding.exit_code for finding in self.findings if finding.level == "fail"]
        return 5 if 5 in codes else next(iter(codes), 0)
