"""The answers of a tree by their kind, and what a task's records among them are."""

from __future__ import annotations

from collections.abc import Mapping

from taskerman.coordination import layout
from taskerman.model.ids import ClusterName
from taskerman.model.plan import OpenTask, Plan
from taskerman.ports.tree import Children, Get, Names, Record, Stat, Tree

__all__ = ["Answer", "as_names", "as_record", "open_entries"]

Answer = Record | Stat | Names | None


def as_record(answer: Answer) -> Record | None:
    """The answer to a `Get`."""
    assert answer is None or isinstance(answer, Record)
    return answer


def as_names(answer: Answer) -> Names | None:
    """The answer to a `Children`."""
    assert answer is None or isinstance(answer, Names)
    return answer


def open_entries(tree: Tree, plan: Plan) -> Mapping[ClusterName, str]:
    """The paths of the task's header among the open tasks of its clusters; where it is not, there is none."""
    clusters = plan.clusters
    listings = tree.read(*(Children(layout.open_tasks(cluster)) for cluster in clusters))
    paths = [
        (cluster, f"{layout.open_tasks(cluster)}/{name}")
        for cluster, listing in zip(clusters, listings, strict=True)
        if (names := as_names(listing))
        for name in names.names
    ]
    records = tree.read(*(Get(path) for _, path in paths))
    return {
        cluster: path
        for (cluster, path), answer in zip(paths, records, strict=True)
        if (record := as_record(answer)) and layout.decode(OpenTask, record, path).task == plan.task.task_id
    }
