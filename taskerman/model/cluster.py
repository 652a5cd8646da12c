"""A node of a cluster, as discovery sees it."""

from __future__ import annotations

from taskerman.model.base import Noun
from taskerman.model.ids import NodeId

__all__ = ["Node"]


class Node(Noun):
    """A running instance. `az`: where it stands; empty when the source does not say."""

    id: NodeId
    az: str = ""
    address: str = ""
