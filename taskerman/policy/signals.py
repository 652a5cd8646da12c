"""What the lifecycle of an attempt is told, and what it asks to be done: its whole vocabulary, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Literal

from taskerman.model.attempt import Phase
from taskerman.policy.conclusion import Ending

__all__ = [
    "ActionEnded",
    "ActionLost",
    "Adopted",
    "Ask",
    "AskAbort",
    "BracketAnswered",
    "BracketBegun",
    "CheckFailed",
    "CheckGiven",
    "CheckKind",
    "ChildFailed",
    "Command",
    "EnterBracket",
    "Fence",
    "Finish",
    "Go",
    "HookReturned",
    "KillAll",
    "KilledAll",
    "Question",
    "RecordBegin",
    "RecordPhase",
    "Recovered",
    "RecoveryAnswer",
    "RevokeAsked",
    "Signal",
    "Situation",
    "StartChild",
    "Taken",
    "Tick",
    "WakeAt",
]

CheckKind = Literal["go", "wait", "refuse", "skip"]
RecoveryAnswer = Literal["done", "not_done", "unknown"]

# --- signals: `now` is seconds of one monotonic clock ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """The slots were taken. `late`: so long ago that they must be confirmed before anything begins."""

    now: float
    late: bool = False


class Situation(Enum):
    """What a new agent finds of an attempt that an earlier one took."""

    NOT_BEGUN = auto()  # the action had not begun
    GATES_SHUT = auto()  # it had not begun, and may not any more
    CHILD_LIVES = auto()  # the child acts on, within its time
    OVERDUE = auto()  # the child lives past its hard deadline
    NO_TRACE = auto()  # no child and no result
    REBOOTED = auto()  # the action declares reboots, and the machine has another boot id
    NOBODY_KNOWS = auto()  # another journal, or taken over too often


@dataclass(frozen=True, slots=True)
class Adopted:
    """A new agent took over. An attempt that left a result file is adopted as CHILD_LIVES, then `ActionEnded`."""

    situation: Situation
    now: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class CheckGiven:
    """pre_check or post_check answered. `until`, `whole_cluster`: of a Wait."""

    kind: CheckKind
    now: float
    reason: str = ""
    until: datetime | None = None
    whole_cluster: bool = False


@dataclass(frozen=True, slots=True)
class CheckFailed:
    """A check or recover() raised, ran out of time, or its process died."""

    why: str
    now: float


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """The child cannot work at all: its runner does not import, or refuses the arguments."""

    why: str
    now: float


@dataclass(frozen=True, slots=True)
class ActionEnded:
    """The action's result is known.

    `stopped`: nothing that it started is left running. `child_gone`: a new child is needed for the post_check.
    """

    ok: bool
    now: float
    why: str = ""
    tail: str = ""
    stopped: bool = True
    child_gone: bool = False


@dataclass(frozen=True, slots=True)
class ActionLost:
    """The child is gone, and it left no result."""

    now: float


@dataclass(frozen=True, slots=True)
class KilledAll:
    """The answer to `KillAll`."""

    none_left: bool
    now: float


@dataclass(frozen=True, slots=True)
class Recovered:
    """recover() answered."""

    answer: RecoveryAnswer
    now: float


@dataclass(frozen=True, slots=True)
class RevokeAsked:
    """A person cancelled the task or asked for the slot back."""

    why: str


@dataclass(frozen=True, slots=True)
class BracketAnswered:
    """The answer to `EnterBracket` and to `BracketBegun`.

    `kind`: "stands", it is begun and this attempt is inside; "begin", this attempt is to begin it; "wait", somebody
    else opens or closes it. `until`: of a wait.
    """

    kind: Literal["stands", "begin", "wait"]
    now: float
    reason: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class HookReturned:
    """cluster_begin has returned."""

    now: float


@dataclass(frozen=True, slots=True)
class Tick:
    """The time of a `WakeAt` has come."""

    now: float


Signal = (
    Taken
    | Adopted
    | CheckGiven
    | CheckFailed
    | ChildFailed
    | ActionEnded
    | ActionLost
    | KilledAll
    | Recovered
    | RevokeAsked
    | BracketAnswered
    | HookReturned
    | Tick
)

# --- commands ----------------------------------------------------------------------------------------------


class Question(Enum):
    """What the child is asked between the actions."""

    PRE_CHECK = "pre_check"
    POST_CHECK = "post_check"
    RECOVER = "recover"
    CLUSTER_BEGIN = "cluster_begin"


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start a new child for the attempt, with what earlier ones saved."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the child; the answer comes as a signal."""

    question: Question


@dataclass(frozen=True, slots=True)
class Fence:
    """Confirm by a write that the slots are still held; if not, stop everything: this is no longer our node.

    `begins`: nothing has begun yet. The take was long ago then, so it ends deferred where its window has shut or its
    time has passed meanwhile.
    """

    begins: bool = True


@dataclass(frozen=True, slots=True)
class EnterBracket:
    """Go into the bracket of the action; `BracketAnswered` tells how."""


@dataclass(frozen=True, slots=True)
class BracketBegun:
    """Record that cluster_begin has returned; `BracketAnswered` tells whether the attempt may act."""


@dataclass(frozen=True, slots=True)
class RecordBegin:
    """Write "action begins" to the journal, and do not go on before it is on disk."""


@dataclass(frozen=True, slots=True)
class RecordPhase:
    """Note the phase in the journal."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class Go:
    """Let the child act. From here on it ends itself, with or without the agent."""


@dataclass(frozen=True, slots=True)
class AskAbort:
    """Ask the action to stop and clean up."""


@dataclass(frozen=True, slots=True)
class KillAll:
    """Kill the child and everything that it started; `KilledAll` tells whether nothing is left."""


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send a `Tick` at that time."""

    at: float


@dataclass(frozen=True, slots=True)
class Finish:
    """It is over: record the end, then let the child go."""

    ending: Ending


Command = (
    StartChild
    | Ask
    | Fence
    | EnterBracket
    | BracketBegun
    | RecordBegin
    | RecordPhase
    | Go
    | AskAbort
    | KillAll
    | WakeAt
    | Finish
)
