"""What a cluster is: its running nodes and where they stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from taskerman.model.cluster import Fate, Node

__all__ = ["Discovery"]


class Discovery(Protocol):
    """Answers from a source of truth outside Taskerman. An error is an error, never an empty cluster."""

    def nodes(self, cluster: str) -> Sequence[Node]:
        """Every *running* node of `cluster` (`kind:name`), each once, in no particular order, with all its clusters.

        Raises `DiscoveryFailed` when the source does not answer, answers partly, or refuses. An answer that the
        cluster has no running node is an empty sequence; whoever plans refuses that. A cluster without a name is
        refused (`Bug`): as a selector it would mean any instance.
        """
        ...

    def known(self, nodes: Collection[str]) -> Sequence[Node]:
        """Those of the node ids that the source knows and that run. Raises `DiscoveryFailed`."""
        ...

    def fates(self, nodes: Collection[str], *, control: Collection[str]) -> Mapping[str, Fate]:
        """What became of each of `nodes`. Of whom nothing can be said is left out. Raises `DiscoveryFailed`.

        `control`: some ids (a handful) that are known to run. They are asked for in every question that this takes,
        and an absence counts only in an answer that names one of them as running: a source that has lost sight of
        everything proves nothing. Without `control` nobody is ever absent. A source that cannot tell what ended from
        what it cannot see leaves everybody out.
        """
        ...
