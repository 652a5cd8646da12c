"""When a slot is overdue: watched, by one and the same eye, for longer than its task may take. It frees nothing.

Only the time for which somebody watched counts, on that somebody's own monotonic clock: no two clocks are compared,
and a new watcher begins anew. An overdue slot is an alarm and uses its task's budget; what it holds stays held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from taskerman.model.ids import AttemptId, NodeId
from taskerman.model.task import TaskDocument

__all__ = ["Sighting", "look", "term_s", "told"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """An attempt that was seen acting, ever since `since` (monotonic seconds). `told`: it was found overdue."""

    attempt: AttemptId
    since: float
    told: bool = False


def term_s(task: TaskDocument, margin_s: float) -> float:
    """How long a slot of `task` may be watched before it is overdue: hard and settle times, and a margin, seconds.

    The margin is for the pre-check, for killing what does not end, and for an agent that is being restarted.
    """
    timeouts = task.taskerman_params.timeout_args
    return timeouts.hard.total_seconds() + timeouts.settle_s + margin_s


def look(
    seen: Mapping[NodeId, Sighting], acting: Mapping[NodeId, tuple[AttemptId, float]], now: float
) -> tuple[dict[NodeId, Sighting], list[NodeId]]:
    """What is seen now, and who is overdue and was not told yet. `acting`: each node's attempt and its term, seconds.

    A node that acts in another attempt, or not at all, is forgotten: each attempt is watched from its own first look.
    """
    after: dict[NodeId, Sighting] = {}
    overdue = []
    for node, (attempt, term) in acting.items():
        before = seen.get(node)
        after[node] = before if before is not None and before.attempt == attempt else Sighting(attempt, now)
        if not after[node].told and now - after[node].since >= term:
            overdue.append(node)
    return after, sorted(overdue)


def told(seen: Mapping[NodeId, Sighting], node: NodeId) -> dict[NodeId, Sighting]:
    """`seen`, after `node` was found overdue and all was done about it."""
    return {**seen, node: replace(seen[node], told=True)}
