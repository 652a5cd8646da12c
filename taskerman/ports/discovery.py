"""What a cluster is: its running nodes and where they stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pydantic import JsonValue

from taskerman.model.cluster import Fate, Node

__all__ = ["Discovery", "InService", "Setup"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a source of discovery is built from; it reads nothing else of its surroundings.

    `settings`: its own table, `[discoveries.<name>]` of the settings file; it refuses what it does not know by raising
    `UsageError`. `aws`: the process's shared door to AWS, for the sources that come with Taskerman.
    """

    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    aws: Any = None


class Discovery(Protocol):
    """Answers from a source of truth outside Taskerman. An error is an error, never an empty cluster.

    One that has a method `close` is closed when its daemon ends. It is used from one thread at a time.
    """

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


@runtime_checkable
class InService(Protocol):
    """What a `Discovery` may have as well: whether those that run are in service, by whoever keeps their number."""

    def in_service(self, nodes: Collection[str]) -> Mapping[str, str]:
        """For each of `nodes`: why it is not in service, in a few words; empty when it is. Raises `DiscoveryFailed`."""
        ...
