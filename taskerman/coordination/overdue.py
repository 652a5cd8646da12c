"""OVERDUE: an attempt that was watched for its whole term uses its task's failure budget. Its slots stay held."""

from __future__ import annotations

from dataclasses import dataclass

from taskerman.coordination import layout
from taskerman.coordination.overview import node_records, slots
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.ids import NodeId
from taskerman.model.slot import SlotState
from taskerman.model.task import FailureMark, TaskControl, TaskState
from taskerman.ports.tree import Check, Committed, Op, Set, Tree

__all__ = ["ActingNode", "acting_nodes", "mark_overdue"]

_TRIES = 5


@dataclass(frozen=True, slots=True)
class ActingNode:
    """A node that is in an attempt."""

    node: NodeId
    attempt: Attempt


def acting_nodes(tree: Tree) -> list[ActingNode]:
    """Every node that is in an attempt, found by its slots: whoever acts holds one."""
    nodes = sorted({held.slot.node for held in slots(tree) if held.slot.state is SlotState.ACTING})
    return [
        ActingNode(node, record.attempt)
        for node, record in zip(nodes, node_records(tree, nodes), strict=True)
        if record is not None and record.attempt is not None
    ]


def mark_overdue(tree: Tree, seen: ActingNode) -> bool:
    """OVERDUE: the node counts as failing, to be tried again, while it is in that very attempt.

    So fresh nodes wait; an end that is well gives the budget back. False: it is in that attempt no more. Idempotent;
    raises `AnswerUnknown`: call again.
    """
    node, attempt = seen.node, seen.attempt
    path = layout.control(attempt.task)
    for _ in range(_TRIES):
        found, ctl = tree.get(layout.node(node)), tree.get(path)
        if found is None or ctl is None:
            return False
        record = layout.decode(NodeRecord, found, layout.node(node))
        control = layout.decode(TaskControl, ctl, path)
        if record.attempt is None or record.attempt.id != attempt.id or control.state is TaskState.CLOSING:
            return False
        if node in control.counted():
            return True
        after = control.model_copy(
            update={
                "failed": {**control.failed, node: FailureMark.RETRYING},
                "excused": tuple(n for n in control.excused if n != node),
            }
        )
        # The node's version says that it is still that attempt: what has ended meanwhile is not to be marked.
        ops: list[Op] = [Check(layout.node(node), found.stat.version), Set(path, after.to_json(), ctl.stat.version)]
        if isinstance(tree.commit(ops), Committed):
            return True
    return False
