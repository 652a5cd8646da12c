"""Routing: which nodes a task acts on, in which order, how many at once. Decided once, and fixed in the plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue

from taskerman.errors import ClusterEmpty, DocumentFieldInvalid, NodeUnknown
from taskerman.model.cluster import Node
from taskerman.model.plan import Accepted, Plan, PlannedNode
from taskerman.model.task import TaskDocument
from taskerman.model.window import WindowArgs
from taskerman.policy.windows import next_opening

__all__ = ["NOT_AFTER", "choose", "deadline", "make_plan"]

NOT_AFTER = timedelta(days=7)


def deadline(task: TaskDocument, sent_at: datetime) -> datetime:
    """When the task is over, whatever happened: its own `not_after`, else 7 days after it was *sent*.

    Counted from the message's own time and not from acceptance: else a late copy would be young again.
    """
    return task.not_after or sent_at + NOT_AFTER


def choose(
    task: TaskDocument,
    discovered: Sequence[Node],
    *,
    registered: Collection[str] = (),
    elsewhere: Sequence[Node] = (),
) -> list[Node]:
    """The nodes of the task in the order of their ranks: by (AZ, id), so that one AZ is done before the next.

    `discovered`: the running nodes of its cluster. `registered`: ids of `task.nodes` whose agents have ever
    registered. `elsewhere`: what discovery knows of those that are not of its cluster; without clusters it cannot tell.
    With `nodes` in the document those are taken, in the same order, and each must be known, and of no other cluster.
    Raises `ClusterEmpty`, `NodeUnknown`.
    """
    if task.nodes:
        for node in elsewhere:
            if node.id in task.nodes and node.clusters and task.cluster_name not in node.clusters:
                raise NodeUnknown(
                    f"nodes names {node.id}, which is of {', '.join(node.clusters)} and not of {task.cluster_name}.",
                    next_step="Name its own cluster, or the right nodes; or correct its tag.",
                )
        by_id = {node.id: node for node in discovered}
        unknown = [n for n in task.nodes if n not in by_id and n not in registered]
        if unknown:
            raise NodeUnknown(
                f"nodes names {', '.join(unknown[:5])}, which neither discovery nor any agent knows.",
                next_step=f"Check the ids, and that the instances of {task.cluster_name} run and are tagged.",
            )
        nodes = [by_id.get(n) or Node(id=n) for n in task.nodes]
    else:
        if not discovered:
            raise ClusterEmpty(
                f"{task.cluster_name} has no running node.",
                next_step="Check the cluster's name and the tags of its instances.",
            )
        nodes = list({node.id: node for node in discovered}.values())
    nodes.sort(key=lambda node: (node.az, node.id))
    return nodes[: task.limit]


def make_plan(
    task: TaskDocument,
    received: Mapping[str, Any],
    digest: str,
    discovered: Sequence[Node],
    *,
    registered: Collection[str] = (),
    elsewhere: Sequence[Node] = (),
    sent_at: datetime,
    now: datetime,
    filled: Mapping[str, Mapping[str, JsonValue]] = MappingProxyType({}),
    replaces: bool = False,
) -> Plan:
    """The plan of `task`. `received`: the JSON object as it came, `digest` its hash. `filled`: what `task` has of its
    runner beyond it. `replaces`: as its runner declares.

    A percentage of the *discovered* cluster, before `limit`, becomes a count: rounded down, at least 1. A node takes a
    slot in each of its clusters, the task's own first, and in the task's named scope; those with the same scopes share
    a lane.
    Raises `ClusterEmpty`, `NodeUnknown`, `DocumentFieldInvalid`.
    """
    not_after = deadline(task, sent_at)
    _refuse_what_never_opens(task.taskerman_params.window_args, now, not_after)
    nodes = choose(task, discovered, registered=registered, elsewhere=elsewhere)
    known = {node.id for node in discovered}
    size = None if task.nodes else len(known)
    concurrency = task.taskerman_params.lease_args.concurrency
    if isinstance(concurrency, str):
        if task.nodes:
            raise DocumentFieldInvalid("A percentage is of the discovered cluster, and nodes are given.")
        concurrency = max(1, len(known) * int(concurrency.removesuffix("%")) // 100)
    scopes = {node.id: _scopes(task, node) for node in nodes}
    lanes = {distinct: str(number) for number, distinct in enumerate(dict.fromkeys(scopes.values()))}
    return Plan(
        doc=dict(received),
        hash=digest,
        accepted=Accepted(
            at=now,
            not_after=not_after,
            discovered=size,
            filled={name: dict(group) for name, group in filled.items()},
            replaces=replaces,
            machines=len(known) if replaces else None,
        ),
        cap=concurrency,
        nodes=tuple(
            PlannedNode(
                id=node.id,
                source="ec2" if node.id in known else "given",
                rank=rank,
                lane=lanes[scopes[node.id]],
                scopes=scopes[node.id],
                az=node.az,
            )
            for rank, node in enumerate(nodes)
        ),
    )


def _scopes(task: TaskDocument, node: Node) -> tuple[str, ...]:
    named = task.taskerman_params.lease_args.scope
    others = sorted(set(node.clusters) - {task.cluster_name})
    return (task.cluster_name, *others, *([] if named is None else [named]))


def _refuse_what_never_opens(window: WindowArgs, now: datetime, not_after: datetime) -> None:
    """Such a task would wait until it expires, and say nothing until then."""
    opening = next_opening(window, now)
    if opening is None or opening >= not_after:
        when = "never" if opening is None else f"at {opening:%Y-%m-%dT%H:%M:%SZ}"
        raise DocumentFieldInvalid(
            "taskerman_params.window_args: no window opens before not_after "
            f"({not_after:%Y-%m-%dT%H:%M:%SZ}); the next one opens {when}.",
            next_step="Give it a later not_after, or other windows.",
        )
