"""When the records of a task may be put away, what is remembered of it, and for how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from taskerman.model.ids import NodeId
from taskerman.model.outcome import DeadLetterState, End
from taskerman.model.plan import Plan, Tombstone
from taskerman.policy.upkeep import Upkeep

__all__ = ["has_outlived", "may_be_put_away", "summary", "tombstone"]

_OPEN = (DeadLetterState.OWED, DeadLetterState.SENT)


def may_be_put_away(
    plan: Plan, ends: Mapping[NodeId, End], last_end_at: datetime, *, now: datetime, upkeep: Upkeep
) -> bool:
    """Whether all of `plan` ended, some time ago, and no dead letter of it waits for a person.

    One that waits keeps the task until some days after its not_after: by then a redrive makes a new task anyway.
    `last_end_at`: when the last of them was written or changed.
    """
    if any(node.id not in ends for node in plan.nodes):
        return False
    if now < last_end_at + timedelta(seconds=upkeep.ended_kept_s):
        return False
    if not any(end.dead_letter in _OPEN for end in ends.values()):
        return True
    return now >= plan.accepted.not_after + timedelta(seconds=upkeep.letters_kept_s)


def summary(ends: Iterable[End]) -> dict[str, int]:
    """How many nodes came to which outcome."""
    return dict(sorted(Counter(end.outcome.value for end in ends).items()))


def tombstone(plan: Plan, counted: Mapping[str, int], *, now: datetime, upkeep: Upkeep) -> Tombstone:
    """What stays of `plan`, until no copy of its document can come any more.

    A copy was sent before the plan was made, and lies in the global queue for its retention at most. After not_after
    a router would refuse it by itself.
    """
    accepted = plan.accepted
    last_copy = max(accepted.not_after, accepted.at + timedelta(seconds=upkeep.retention_s))
    task = plan.task
    return Tombstone(
        hash=plan.hash,
        cluster_name=task.cluster_name,
        owner=task.owner,
        planned_at=accepted.at,
        not_after=accepted.not_after,
        put_away_at=now,
        kept_until=last_copy + timedelta(seconds=upkeep.tombstone_margin_s),
        summary=dict(counted),
    )


def has_outlived(stone: Tombstone, now: datetime) -> bool:
    """Whether `stone` has done its service."""
    return now >= stone.kept_until
