"""What nodes report when ZooKeeper is not the one that they know: emptied, exchanged, or restored from a backup."""

from __future__ import annotations

from typing import Literal

from taskerman.model.base import Noun, Timestamp
from taskerman.model.hold import Hold
from taskerman.model.ids import AttemptId, NodeId

__all__ = ["Stranger", "Strangers"]


class Stranger(Noun):
    """`/strangers/<n>`: a node that starts nothing until a person has looked. It deletes this when it goes on.

    `installation`: the one that its journal knows. `went_back`: it is this one, but what is recorded of the node here
    is older than what its journal knows. `acting`: the attempt of which the journal knows, and nobody here.
    """

    v: Literal[1] = 1
    node: NodeId
    installation: str
    went_back: bool
    acting: AttemptId | None = None
    why: str
    at: Timestamp


class Strangers(Noun):
    """`/strangers`: checked by every take. `stopped`: nothing is taken, because somebody knows a later state."""

    v: Literal[1] = 1
    stopped: Hold | None = None
