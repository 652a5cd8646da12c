"""SCOPES: named scopes with a declared capacity, who is in them, and who waits for a place."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.control.desk import Desk, check_why
from taskerman.control.naming import check_scope_name
from taskerman.control.places import list_slots
from taskerman.control.values import ScopeDeclared, ScopeStatus, WaitingLane
from taskerman.coordination import overview as reading
from taskerman.errors import UsageError
from taskerman.model.ids import ScopeName

__all__ = ["list_scopes", "set_scope"]

_MOST = 10_000


def list_scopes(desk: Desk) -> Sequence[ScopeStatus]:
    """Every scope that was declared, and every other one in which a command is, by name."""
    return tuple(
        ScopeStatus(
            name=seen.name,
            capacity=seen.capacity,
            taken=tuple(list_slots(desk, seen.name)),
            waiting=tuple(
                WaitingLane(task_id=place.header.task, lane=place.lane, node=place.node, clusters=lane.clusters)
                for place in seen.places
                for lane in place.header.lanes
                if lane.name == place.lane
            ),
        )
        for seen in reading.named_scopes(desk.opened())
    )


def set_scope(desk: Desk, name: ScopeName, capacity: int, why: str) -> ScopeDeclared:
    """Declare that at most `capacity` nodes may be in `name` at once.

    What runs goes on: where more are in it than that, nothing new starts until enough have ended. Idempotent. Raises
    `UsageError`.
    """
    check_why(why)
    check_scope_name(name)
    if not 0 <= capacity <= _MOST:
        raise UsageError(f"{capacity} is not a capacity.", next_step=f"Give a count of nodes, 0 to {_MOST:,}.")
    before = desk.moves().set_capacity(name, capacity, why)
    return ScopeDeclared(name=name, capacity=capacity, before=before, taken=len(list_slots(desk, name)))
