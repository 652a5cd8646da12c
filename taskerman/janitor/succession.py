"""Whether a machine that a task had terminated has been replaced: asked of the source of nodes, of nobody's clock.

Nobody is left on the node to say that its action ended well. So its attempt lasts, and its slot is held, until the
cluster serves with as many machines as before: then the attempt has succeeded. While they are not there nothing frees
the slot but a person, and the next machine is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass

from taskerman.coordination import layout
from taskerman.coordination.overview import node_records
from taskerman.coordination.reading import get_each
from taskerman.errors import DiscoveryFailed
from taskerman.janitor.kit import Kit
from taskerman.model.attempt import NodeRecord
from taskerman.model.ids import NodeId, TaskId
from taskerman.model.plan import Plan
from taskerman.ports.discovery import InService

__all__ = ["NotReplaced", "Replaced", "succession"]


@dataclass(frozen=True, slots=True)
class Replaced:
    """The cluster serves without the node. `why`: for the record."""

    why: str


@dataclass(frozen=True, slots=True)
class NotReplaced:
    """Not yet. `why`: what is missing."""

    why: str


def succession(kit: Kit, plan: Plan, node: NodeId) -> Replaced | NotReplaced:
    """Whether the terminated `node` of `plan` has been replaced.

    Of the machines that run, and that their group has in service where the source knows of such groups, there must be
    as many as when the task was planned, without the nodes that other attempts of the task have down just now. And of
    those whose agent registered since then, as many as the task has had replaced, this one included: those of its
    nodes that ran then and are gone now, and not one that was only named and had gone before.
    Raises `DiscoveryFailed`.
    """
    task = plan.task
    discovery = kit.discoveries.get(task.discovery)
    if discovery is None:
        raise DiscoveryFailed(f"This janitor does not know the discovery {task.discovery}.")
    running = {each.id for each in discovery.nodes(task.cluster_name)} - {node}
    told = discovery.in_service(running) if isinstance(discovery, InService) else {}
    ill = {each: said for each, said in told.items() if said}
    serving = running - set(ill)
    planned = [each.id for each in plan.nodes]
    records = dict(zip(planned, node_records(kit.tree, planned), strict=True))
    away = {each for each, record in records.items() if each != node and each not in running and _acts(record, plan)}
    before = plan.accepted.machines or plan.accepted.discovered or len(planned)
    wanted = before - len(away)
    if len(serving) < wanted:
        missing = "; ".join(f"{each} {said}" for each, said in sorted(ill.items())[:3])
        return NotReplaced(f"{len(serving)} of {wanted} machines serve{f' ({missing})' if missing else ''}")
    fresh = _registered_since(kit, serving - set(planned), task.task_id)
    replaced = 1 + sum(
        1 for each in plan.nodes if each.id != node and each.source == "ec2" and _is_gone(records[each.id])
    )
    if len(fresh) < replaced:
        return NotReplaced(f"of {replaced} new machines the agents of {len(fresh)} have registered")
    new = ", ".join(sorted(fresh)[:5])
    return Replaced(f"replaced: {len(serving)} machines of {task.cluster_name} serve; new since then: {new}")


def _acts(record: NodeRecord | None, plan: Plan) -> bool:
    attempt = record.attempt if record is not None else None
    return attempt is not None and attempt.task == plan.task.task_id


def _is_gone(record: NodeRecord | None) -> bool:
    return record is not None and record.gone


def _registered_since(kit: Kit, nodes: set[NodeId], task: TaskId) -> set[NodeId]:
    """Those whose agents have registered since the task was planned: both by the tree's clock."""
    listed = sorted(nodes)
    plan, *found = get_each(kit.tree, [layout.task(task), *(layout.node(each) for each in listed)])
    at_ms = plan.stat.created_ms if plan is not None else 0
    return {each for each, record in zip(listed, found, strict=True) if record and record.stat.created_ms >= at_ms}
