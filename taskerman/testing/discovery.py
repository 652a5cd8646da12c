"""Clusters that a test declares, and a source of truth that fails when a test says so."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from taskerman.errors import Bug, DiscoveryFailed
from taskerman.model.cluster import Fate, Node

__all__ = ["MemoryDiscovery"]


class MemoryDiscovery:
    """The `Discovery` of a test: what `declare` said, or the error that `fail` set."""

    def __init__(self, clusters: Mapping[str, Iterable[Node]] | None = None) -> None:
        """`clusters`: the running nodes by cluster name (`kind:name`)."""
        self._clusters = {name: tuple(nodes) for name, nodes in (clusters or {}).items()}
        self._failure: str | None = None
        self._ended: dict[str, Fate] = {}
        self._ill: dict[str, str] = {}
        self.questions = 0
        """How often it was asked, answered or not."""

    def declare(self, cluster: str, nodes: Iterable[Node]) -> None:
        """From now on `cluster` has exactly these running nodes; none makes it an empty cluster."""
        self._clusters[cluster] = tuple(nodes)

    def stop(self, node: str) -> None:
        """The node does not run any more, in any cluster; it is still there."""
        if self._running([node]):
            self._ended[node] = Fate.THERE
        self._clusters = {cluster: tuple(n for n in nodes if n.id != node) for cluster, nodes in self._clusters.items()}

    def terminate(self, node: str) -> None:
        """The node ended for good, and the source says so."""
        self.stop(node)
        self._ended[node] = Fate.TERMINATED

    def forget(self, node: str) -> None:
        """The source does not know the node any more."""
        self.stop(node)
        self._ended[node] = Fate.ABSENT

    def take_out_of_service(self, node: str, why: str) -> None:
        """The node runs, and its group says that it does not serve; an empty `why`: it serves again."""
        self._ill[node] = why

    def fail(self, why: str = "the source does not answer") -> None:
        """Every question from now on raises `DiscoveryFailed`, until `recover`."""
        self._failure = why

    def recover(self) -> None:
        """Answer again."""
        self._failure = None

    def nodes(self, cluster: str) -> Sequence[Node]:
        """See `Discovery.nodes`."""
        if not cluster:
            raise Bug("Discovery was asked for the cluster without a name, which would be any instance's.")
        self._ask(f"the nodes of {cluster}")
        return tuple(self._named(node) for node in self._clusters.get(cluster, ()))

    def known(self, nodes: Collection[str]) -> Sequence[Node]:
        """See `Discovery.known`."""
        self._ask(f"{len(nodes)} nodes by id")
        wanted = set(nodes)
        found = {node.id: node for group in self._clusters.values() for node in group if node.id in wanted}
        return tuple(self._named(node) for node in found.values())

    def _named(self, node: Node) -> Node:
        """With every cluster that was declared to have it."""
        clusters = sorted(name for name, nodes in self._clusters.items() if any(n.id == node.id for n in nodes))
        return node.model_copy(update={"clusters": tuple(clusters)})

    def fates(self, nodes: Collection[str], *, control: Collection[str]) -> Mapping[str, Fate]:
        """See `Discovery.fates`."""
        self._ask(f"what became of {len(nodes)} nodes by")
        running = self._running([*nodes, *control])
        found = {node: Fate.THERE if node in running else self._ended.get(node, Fate.ABSENT) for node in nodes}
        sees = any(node in running for node in control)
        return {node: fate for node, fate in found.items() if fate is not Fate.ABSENT or sees}

    def in_service(self, nodes: Collection[str]) -> Mapping[str, str]:
        """See `InService.in_service`."""
        self._ask(f"whether {len(nodes)} nodes are in service")
        return {node: self._ill.get(node, "") for node in nodes}

    def _running(self, nodes: Collection[str]) -> set[str]:
        return {node.id for group in self._clusters.values() for node in group} & set(nodes)

    def _ask(self, what: str) -> None:
        self.questions += 1
        if self._failure is not None:
            raise DiscoveryFailed(f"Cannot discover {what}: {self._failure}.", next_step="It is asked again.")
