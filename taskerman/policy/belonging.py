"""Whether a node may work under the ZooKeeper that it finds: decided from its journal and what is recorded there.

An id alone does not do: a restored backup has the same one. But everything that a node counts only ever grows, so a
record that is behind the node's own journal is an old one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from taskerman.model.attempt import NodeRecord
from taskerman.model.hold import Control

__all__ = ["Belongs", "Known", "judge"]


@dataclass(frozen=True, slots=True)
class Known:
    """What a node's journal knows, all of it lower bounds. `installation`: empty before its first start."""

    installation: str = ""
    epoch: int = 0
    takes: int = 0


class Belongs(Enum):
    """What the node may do."""

    HERE = auto()  # go on
    ACCEPTED = auto()  # a person let the nodes of its installation go on here; its counts go on from the journal's
    WENT_BACK = auto()  # the same installation, in an older state: start nothing
    FOREIGN = auto()  # another installation: start nothing


def judge(known: Known, control: Control, record: NodeRecord | None) -> Belongs:
    """`record`: the node's own; None when there is none."""
    if not known.installation:
        return Belongs.HERE
    if known.installation != control.installation:
        return Belongs.ACCEPTED if known.installation in control.accepts else Belongs.FOREIGN
    found = record or NodeRecord()
    if found.epoch < known.epoch or found.takes < known.takes:
        return Belongs.WENT_BACK
    return Belongs.HERE
