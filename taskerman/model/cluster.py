"""A node of a cluster, as discovery sees it, what may become of one, and how one tag names all clusters of a node."""

from __future__ import annotations

import re
from enum import Enum

from taskerman.model.base import Noun
from taskerman.model.ids import ID, ClusterName, NodeId

__all__ = ["Fate", "Node", "clusters_of_tag"]

_NAME = re.compile(rf"{ID}:{ID}\Z")


class Node(Noun):
    """A running instance. `az`: where it stands; empty when the source does not say. `clusters`: every cluster that it
    is of; empty when the source knows only the one that was asked for.
    """

    id: NodeId
    az: str = ""
    address: str = ""
    clusters: tuple[ClusterName, ...] = ()


def clusters_of_tag(value: str) -> tuple[ClusterName, ...]:
    """The clusters that a tag's value names, sorted: `redis:a`, or several with spaces or commas between them.

    Raises `ValueError` for anything else: a node whose clusters are unclear must not be left out of one.
    """
    names = sorted({name for name in re.split(r"[\s,]+", value) if name})
    for name in names:
        if not _NAME.match(name):
            raise ValueError(f"{name[:130]!r} is not a cluster's name (kind:name)")
    if not names:
        raise ValueError("it names no cluster")
    return tuple(names)


class Fate(Enum):
    """What its source says of one node id."""

    THERE = "there"
    """It exists, in whatever state: running, stopped, being ended."""
    TERMINATED = "terminated"
    """It ended for good, and its source says so of that very id. It never comes back."""
    ABSENT = "absent"
    """Its source named others in the same answer, and not this one."""
