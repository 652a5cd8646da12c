"""Every error of Taskerman, split by who must act.

    TaskermanError                    never raised itself
    +-- OperatorError                 a person must change something: a document, a command, a setting
    |   +-- DocumentError             E-DOC-*: the task document cannot be accepted as it stands
    |   +-- NotFound                  there is no such thing
    |   +-- RefusedByState            the thing is there, and its state forbids the verb
    |   +-- NotPermitted              somebody's rights, or the node's allow list, forbid it
    +-- TransientError                nobody: it is retried at the edge, and waiting is the cure
    |   +-- AnswerUnknown             a write whose answer was lost: it may have happened, or may still happen
    +-- StopNow                       this process must not go on (fenced, foreign layout)
    |   +-- InstallationRefused       not under this ZooKeeper: a daemon stays, starts nothing, and waits for a person
    +-- Bug                           E-BUG: an invariant of ours is broken

The text of an error is useful without a traceback: what is wrong, with which thing, and the next step.
Codes are part of the wire (dead letters, `--json`) and never change their meaning.
"""

from __future__ import annotations

# Not `from typing import`: the process that runs one attempt imports this, and would pay 10 ms for one annotation.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

__all__ = [
    "ActionArgsInvalid",
    "ActionForbidden",
    "ActionUnknown",
    "AnswerUnknown",
    "Bug",
    "ClusterEmpty",
    "ClusterForeign",
    "ClusterMissing",
    "CommandNotExecutable",
    "CommandNotFound",
    "CoordinationUnavailable",
    "DiscoveryFailed",
    "DocumentError",
    "DocumentFieldInvalid",
    "DocumentIdInvalid",
    "DocumentNotJson",
    "DocumentTooLarge",
    "DocumentVersionUnsupported",
    "Ec2Unavailable",
    "Fenced",
    "GroupUnknown",
    "HistorySchema",
    "HistoryUnavailable",
    "InstallationRefused",
    "LayoutUnsupported",
    "LimitsNotKept",
    "LockedByAnother",
    "NodeActing",
    "NodeUnknown",
    "NotFound",
    "NotPermitted",
    "OperatorError",
    "QueuesUnavailable",
    "RefusedByState",
    "RunnerMisconfigured",
    "ScheduleExists",
    "ScheduleUnknown",
    "SchedulesInvalid",
    "SchedulesUnavailable",
    "ScopeUnknown",
    "SignatureRefused",
    "StopNow",
    "TaskEnded",
    "TaskExists",
    "TaskUnknown",
    "TaskermanError",
    "TransientError",
    "UsageError",
    "WaitRanOut",
]


class TaskermanError(Exception):
    """Root of the tree. `code` is stable; `exit_code` is what the CLI ends with."""

    code: ClassVar[str] = "E-BUG"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, next_step: str = "") -> None:
        """`what`: the thing and the reason, one sentence. `next_step`: what the reader can do about it."""
        super().__init__(what)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what} {self.next_step}".strip()


# --- a person must act -----------------------------------------------------------------------------------


class OperatorError(TaskermanError):
    """A person must change something before this can work."""

    exit_code = 2


class UsageError(OperatorError):
    """The command or a setting is wrong."""

    code = "E-USAGE"


class DocumentError(OperatorError):
    """The task document cannot be accepted; the same document will never be."""

    code = "E-DOC-FIELD"

    def __init__(
        self, what: str, *, next_step: str = "", problems: tuple[tuple[tuple[str | int, ...], str], ...] = ()
    ) -> None:
        """`problems`: each field that is wrong, as the way to it, and why; where they are known one by one."""
        super().__init__(what, next_step=next_step)
        self.problems = problems


class DocumentNotJson(DocumentError):
    """The body is not one JSON object (syntax, duplicate key, NaN)."""

    code = "E-DOC-JSON"


class DocumentTooLarge(DocumentError):
    """The body is over the limit of the wire format."""

    code = "E-DOC-SIZE"


class DocumentFieldInvalid(DocumentError):
    """A field is unknown, missing, or of a wrong type or value."""

    code = "E-DOC-FIELD"


class DocumentIdInvalid(DocumentError):
    """An id is missing or cannot be a znode and a queue name."""

    code = "E-DOC-ID"


class DocumentVersionUnsupported(DocumentError):
    """The format's version is one that this build does not speak."""

    code = "E-DOC-VERSION"


class ActionUnknown(DocumentError):
    """No runner is installed here under that name."""

    code = "E-ACTION-UNKNOWN"


class ActionArgsInvalid(DocumentError):
    """The runner's own typed arguments refuse `action_args`."""

    code = "E-ACTION-ARGS"


class RunnerMisconfigured(OperatorError):
    """A node's configuration for a runner does not fit what the runner declares."""

    code = "E-RUNNER-CONFIG"


class SignatureRefused(DocumentError):
    """The document's signature is missing, wrong, or by nobody whose word is taken here."""

    code = "E-SIGNATURE"
    exit_code = 6


class SchedulesInvalid(OperatorError):
    """Declared schedules that cannot be accepted: each fault by file, line and field. None of them is taken."""

    code = "E-SCHEDULE"

    def __init__(self, faults: tuple[str, ...], *, next_step: str = "") -> None:
        """`faults`: one line each, at least one."""
        shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        super().__init__(f"{shown}.", next_step=next_step)
        self.faults = faults


class CommandNotFound(OperatorError):
    """There is no such program; nothing was taken for it. The exit code is the one that shells give."""

    code = "E-COMMAND"
    exit_code = 127


class CommandNotExecutable(OperatorError):
    """The program is there and may not be executed; nothing was taken for it."""

    code = "E-COMMAND"
    exit_code = 126


class ClusterEmpty(DocumentError):
    """Discovery answered, and the cluster has no running node."""

    code = "E-CLUSTER-EMPTY"


class NodeUnknown(DocumentError):
    """A node that the document names is neither discovered nor ever registered, or is of another cluster."""

    code = "E-NODE-UNKNOWN"


class ScopeUnknown(DocumentError):
    """Nobody declared the capacity of the named scope that the document names."""

    code = "E-SCOPE-UNKNOWN"


class NotFound(OperatorError):
    """There is no such thing."""

    code = "E-NOT-FOUND"
    exit_code = 3


class TaskUnknown(NotFound):
    """No plan, no tombstone, no refusal under that id."""

    code = "E-TASK-UNKNOWN"


class ScheduleUnknown(NotFound):
    """No schedule of that name is declared."""

    code = "E-SCHEDULE-UNKNOWN"


class GroupUnknown(NotFound):
    """No group of that name was ever set."""

    code = "E-GROUP-UNKNOWN"


class RefusedByState(OperatorError):
    """The thing is there, but its state forbids this; nothing was changed."""

    code = "E-STATE"
    exit_code = 4


class WaitRanOut(RefusedByState):
    """It could not begin within the time that it was given to wait; nothing was begun."""

    code = "E-WAIT"
    exit_code = 13


class LockedByAnother(RefusedByState):
    """Another agent has the journal: there is one agent a node."""

    code = "E-LOCKED"


class TaskExists(RefusedByState):
    """The id is taken by a task with other content."""

    code = "E-TASK-EXISTS"


class ScheduleExists(RefusedByState):
    """The name is taken by another schedule."""

    code = "E-SCHEDULE-EXISTS"


class TaskEnded(RefusedByState):
    """The task has ended; what is over cannot be changed."""

    code = "E-TASK-ENDED"


class NodeActing(RefusedByState):
    """The node is in an attempt right now."""

    code = "E-NODE-ACTING"


class NotPermitted(OperatorError):
    """Rights or an allow list forbid it."""

    code = "E-DENIED"
    exit_code = 6


class ActionForbidden(NotPermitted):
    """The action is installed, and this node's allow list does not name it."""

    code = "E-ACTION-FORBIDDEN"


class ClusterForeign(NotPermitted):
    """The assignment is for a cluster that this node does not belong to."""

    code = "E-CLUSTER-FOREIGN"


class ClusterMissing(NotPermitted):
    """The node belongs to a cluster in which the plan takes no slot."""

    code = "E-CLUSTER-MISSING"


class LimitsNotKept(NotPermitted):
    """The task asks for a limit that this node cannot keep, so nothing was begun here."""

    code = "E-LIMITS"


# --- nobody must act -------------------------------------------------------------------------------------


class TransientError(TaskermanError):
    """The outside world did not answer; the same call may succeed later."""

    exit_code = 5


class CoordinationUnavailable(TransientError):
    """ZooKeeper cannot be reached; a read was not answered."""

    code = "E-ZK"


class AnswerUnknown(CoordinationUnavailable):
    """A write got no answer. It happened, or did not, or still will: settle it with a fence write, never guess."""


class QueuesUnavailable(TransientError):
    """SQS cannot be reached or refuses for now."""

    code = "E-SQS"


class Ec2Unavailable(TransientError):
    """EC2 cannot be reached or refuses for now."""

    code = "E-EC2"


class ObjectsUnavailable(TransientError):
    """S3 does not answer, or not now."""

    code = "E-S3"


class HistoryUnavailable(TransientError):
    """The history's database cannot be reached or refuses for now; what was to be stored may be stored or not."""

    code = "E-HISTORY"


class HistorySchema(HistoryUnavailable):
    """The history's tables are not those of this build; a person upgrades one of the two. Nothing is lost meanwhile."""

    code = "E-HISTORY-SCHEMA"
    exit_code = 4


class SchedulesUnavailable(TransientError):
    """Declared schedules cannot be looked at, or are being changed: never the same as none being declared."""

    code = "E-SCHEDULE-SOURCE"


class DiscoveryFailed(TransientError):
    """Discovery could not say what the cluster is: never the same as an empty cluster."""

    code = "E-DISCOVERY"


# --- this process must stop ------------------------------------------------------------------------------


class StopNow(TaskermanError):
    """Going on would break a promise."""

    exit_code = 4


class Fenced(StopNow):
    """Another incarnation of this node's agent has started, or the node was declared gone."""

    code = "E-FENCED"


class LayoutUnsupported(StopNow):
    """The tree in ZooKeeper has a layout that this build does not speak."""

    code = "E-LAYOUT"


class InstallationRefused(StopNow):
    """ZooKeeper holds no installation, another one, or an older state of this one: it was emptied or restored.

    Nothing may start under it until a person has looked. A daemon does not end: it says so and waits.
    """

    code = "E-INSTALLATION"


class Bug(TaskermanError):
    """An invariant of ours does not hold. The message says which, and on what."""

    code = "E-BUG"
