"""Where an assignment stands: every answer that a look at its line can have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from taskerman.coordination.snapshot import Around
from taskerman.model.outcome import End
from taskerman.policy.snapshot import Snapshot, Waiting

__all__ = ["Ended", "Left", "Over", "Ready", "Standing"]


@dataclass(frozen=True, slots=True)
class Ended:
    """The assignment has its outcome."""

    end: End
    version: int


class Over(Enum):
    """The task is over for every node that is not acting; this node's assignment is to be ended so."""

    CANCELLED = auto()
    EXPIRED = auto()


@dataclass(frozen=True, slots=True)
class Left:
    """There is nothing to do here any more, and nothing to record: the task is being put away, or is unknown."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Admitted. Everything that the take needs, with the versions on which the answer rests. `places`: in queues of
    named scopes, to be left. `passes`: it is not its turn; those ahead did not go for too long."""

    snapshot: Snapshot
    around: Around
    entry: str
    places: tuple[str, ...]
    passes: bool
    node_version: int
    ctl_version: int
    progress_version: int


Standing = Ready | Waiting | Ended | Over | Left
