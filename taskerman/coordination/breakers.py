"""The breaker of a cluster, for whoever ends an attempt in its node's stead, and for a person."""

from __future__ import annotations

from taskerman.coordination import layout
from taskerman.coordination.answers import as_record
from taskerman.coordination.verbs import Verbs
from taskerman.errors import NotFound, RefusedByState
from taskerman.model.attempt import Attempt
from taskerman.model.breaker import ClusterRecord
from taskerman.model.ids import ClusterName
from taskerman.policy.breaker import given_back, reset
from taskerman.ports.tree import Get, Op, Set, Tree

__all__ = ["BreakerVerbs", "without_probe"]


def without_probe(tree: Tree, attempt: Attempt) -> list[Op]:
    """For the move that ends `attempt` although its agent did not: its clusters' records, at their versions.

    If it was a probe, another node may be it then. The records are written in any case, so that takes of other tasks
    that are in flight look again: whatever that move changes, they decided before it. Nothing is counted as a failure:
    a machine that is off or gone says nothing about its cluster.
    """
    ops: list[Op] = []
    answers = tree.read(*(Get(layout.cluster(cluster)) for cluster in attempt.clusters))
    for cluster, answer in zip(attempt.clusters, answers, strict=True):
        if (found := as_record(answer)) is not None:
            record = layout.decode(ClusterRecord, found, layout.cluster(cluster))
            ops.append(Set(layout.cluster(cluster), given_back(record, attempt.id).to_json(), found.stat.version))
    return ops


class BreakerVerbs(Verbs):
    """The verb on a breaker."""

    def reset_breaker(self, cluster: ClusterName, why: str) -> ClusterRecord:
        """Close the breaker of `cluster` and forget what failed. The record as it was.

        A slot that is kept goes on stopping the cluster: that is another breaker, and another verb. Raises `NotFound`,
        `RefusedByState` (there is nothing to reset).
        """
        path = layout.cluster(cluster)

        def build() -> tuple[list[Op], ClusterRecord]:
            found = self._tree.get(path)
            if found is None:
                raise NotFound(f"No task was ever planned for {cluster}.", next_step="`taskerman breaker show`.")
            record = layout.decode(ClusterRecord, found, path)
            after = reset(record)
            if after is record:
                raise RefusedByState(
                    f"The breaker of {cluster} is closed, and no failure is remembered.",
                    next_step=f"A kept slot stops a cluster too: `taskerman slots {cluster}`.",
                )
            return [Set(path, after.to_json(), found.stat.version)], record

        return self._commit(build, "breaker reset", cluster, why)
