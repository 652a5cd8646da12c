"""What follows from a look at the cluster. Pure: a view in, an answer out.

Each rule is the list of what a careful operator would object to, in the order in which he would say it; nobody objects:
go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from runners.elasticsearch.view import Member, Shard, View
from taskerman import Check, Go, Refuse, Skip, Wait

__all__ = ["is_well", "masters_turn", "may_restart", "may_start", "may_upgrade"]

MOST_PENDING = 10
_NEVER_HAD_A_PLACE = frozenset(
    {"INDEX_CREATED", "REPLICA_ADDED", "CLUSTER_RECOVERED", "INDEX_REOPENED", "NEW_INDEX_RESTORED"}
)


def may_restart(view: View, *, expected: int | None, others_at_once: int) -> Check:
    """Whether the cluster can do without this node now. `expected`: nodes there should be; None: nobody knows.
    `others_at_once`: so many others the task itself may have taken down."""
    return next(_against_restart(view, expected or len(view.members), others_at_once), Go())


def may_start(view: View, *, expected: int | None, others_at_once: int) -> Check:
    """The same of a node whose server is down: what a redrive after a repair finds. `view`: of a peer."""
    missing = (expected or len(view.members) + 1) - len(view.members)
    if missing > others_at_once + 1:
        return Wait(f"{missing} nodes are not in the cluster, this one among them", of="cluster")
    return Go()


def masters_turn(view: View, *, accepted_ms: int, now_ms: int, patience_ms: int) -> Check:
    """The elected master goes last: when every other node was started since the task was accepted, or patience ends."""
    if view.master != view.me or not accepted_ms or now_ms - accepted_ms >= patience_ms:
        return Go()
    waiting = sorted(each.name for each in _others(view) if each.started_ms < accepted_ms)
    if not waiting:
        return Go()
    return Wait(f"it is the elected master, which goes last; not restarted yet: {', '.join(waiting[:5])}")


def may_upgrade(view: View, version: str) -> Check:
    """Whether this node may go to `version` now. Nodes that cannot become master go first."""
    try:
        return next(_against_upgrade(view, version), Go())
    except ValueError as error:
        return Refuse(f"a version cannot be read: {error}")


def is_well(view: View, *, started_before_ms: int | None, unassigned_before: int) -> Check:
    """After the action, by a peer: the node is back, as a new start if `started_before_ms` is the old one, and no more
    is missing than was before."""
    return next(_against_well(view, started_before_ms, unassigned_before), Go())


# --- what is said against it -------------------------------------------------------------------------------


def _against_restart(view: View, expected: int, others_at_once: int) -> Iterator[Check]:
    if view.own is None:
        yield Wait("this node's server runs and is not in the cluster: it joins, or a person must look")
        return
    missing = expected - len(view.members)
    if missing > others_at_once:
        yield Wait(f"{missing} of {expected} nodes are not in the cluster", of="cluster")
    for why in _unsettled(view, others_down=missing > 0):
        yield Wait(why, of="cluster")
    if view.allocation != "all" and not missing:
        yield Wait(f"the allocation of shards is {view.allocation!r}: somebody turned it off", of="cluster")
    if view.snapshotting:
        yield Wait("a snapshot is being made", of="cluster")
    if view.me in view.voters and len(view.voters) > 1:
        left, needed = len(view.voters & view.members.keys()) - 1, len(view.voters) // 2 + 1
        if left < needed:
            why = f"without this node {left} of {len(view.voters)} voting nodes are left, and {needed} must be"
            yield Wait(why, of="cluster")
    for place in _only_on(view, view.own.name):
        yield Wait(f"the only copy of {place} is here: give its index a replica, or move it away")


def _against_upgrade(view: View, version: str) -> Iterator[Check]:
    if view.own is None:
        yield Wait("this node is not in the cluster")
        return
    own, target = _number(view.own.version), _number(version)
    if own == target:
        yield Skip(f"it has version {version}")
    if own > target:
        yield Refuse(f"it has version {view.own.version}; a step back to {version} is not possible")
    if target[0] > own[0] + 1:
        yield Refuse(f"from {view.own.version} to {version} is more than one major version: take them one by one")
    for each in _others(view):
        if _number(each.version) > target:
            yield Refuse(f"{each.name} has version {each.version}, which is newer than {version}: correct the version")
    first = [each.name for each in _others(view) if not each.may_be_master and _number(each.version) < target]
    if view.own.may_be_master and first:
        yield Wait(f"nodes that cannot become master go first: {', '.join(sorted(first)[:5])}")


def _against_well(view: View, started_before_ms: int | None, unassigned_before: int) -> Iterator[Check]:
    if view.own is None:
        yield Wait(f"{view.by} does not see this node in the cluster")
        return
    if started_before_ms is not None and view.own.started_ms == started_before_ms:
        yield Wait("the server still runs as it was started before")
    if view.allocation != "all":
        yield Wait(f"the allocation of shards is {view.allocation!r}")
    health = view.health
    if health.status not in ("green", "yellow"):
        yield Wait(f"the cluster is {health.status}")
    if moving := health.initializing + health.relocating:
        yield Wait(f"{moving} shards are being built or moved")
    if health.unassigned > unassigned_before:
        yield Wait(f"{health.unassigned} shards have no place; before there were {unassigned_before}")


def _unsettled(view: View, *, others_down: bool) -> Iterator[str]:
    """Why the cluster is not at rest. `others_down`: nodes of this very task are, so that what they took with them is
    no reason."""
    health = view.health
    if health.status == "red":
        yield "the cluster is red: primaries are missing"
    elif health.status not in ("green", "yellow"):
        yield f"the cluster's status is {health.status!r}, which nobody knows"
    if health.relocating or health.initializing:
        yield f"{health.relocating} shards are being moved, {health.initializing} are being built"
    if health.pending > MOST_PENDING:
        yield f"{health.pending} tasks wait for the master"
    if not others_down:
        if health.delayed:
            yield f"{health.delayed} shards wait for a node that went away"
        for shard in view.shards:
            if not shard.node and shard.reason not in _NEVER_HAD_A_PLACE:
                yield f"{shard.place} has lost a copy ({shard.reason or 'no reason given'})"


def _only_on(view: View, node: str) -> list[str]:
    """Shards whose only started copies are on `node`, in a cluster of several, by name."""
    started: dict[str, list[Shard]] = defaultdict(list)
    for shard in view.shards:
        if shard.state in ("STARTED", "RELOCATING"):
            started[shard.place].append(shard)
    alone = [place for place, copies in started.items() if {copy.node for copy in copies} == {node}]
    return sorted(alone) if len(view.members) > 1 else []


def _others(view: View) -> list[Member]:
    return [member for member in view.members.values() if member.id != view.me]


def _number(version: str) -> tuple[int, ...]:
    parts = version.partition("-")[0].split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts):
        raise ValueError(repr(version))
    return tuple(int(part) for part in parts)
