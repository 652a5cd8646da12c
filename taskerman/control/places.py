"""SLOTS: who holds which place, and giving it back. A slot that is held means: this node may be unhealthy."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.control.desk import Desk, check_why
from taskerman.control.naming import check_cluster, check_node
from taskerman.control.values import HeldPlace, ReleaseDone
from taskerman.coordination import overview as reading
from taskerman.coordination.overview import HeldSlot
from taskerman.errors import NotFound
from taskerman.model.command import CommandNote
from taskerman.model.ids import ClusterName, NodeId
from taskerman.model.slot import SlotState

__all__ = ["acting_in", "list_slots", "place_of", "release", "slots_of"]


def list_slots(desk: Desk, cluster: ClusterName | None = None) -> Sequence[HeldPlace]:
    """Every slot that is held, of one cluster or of all. A cluster that nobody ever worked on has none."""
    return tuple(place_of(held) for held in reading.slots(desk.opened(), cluster))


def slots_of(desk: Desk, cluster: str | None = None) -> Sequence[HeldPlace]:
    """The same of a cluster that a person named. Raises `UsageError`, and `NotFound` when nothing of it is known."""
    if cluster is None:
        return list_slots(desk)
    check_cluster(cluster)
    found = list_slots(desk, cluster)
    if not found and not reading.is_known(desk.opened(), cluster):
        raise NotFound(
            f"No task was ever planned for {cluster}.",
            next_step="Check its name: `taskerman status` shows those of open tasks, `taskerman slots` every slot.",
        )
    return found


def acting_in(desk: Desk, cluster: ClusterName | None = None) -> Sequence[HeldPlace]:
    """The slots of attempts that act now."""
    return tuple(place for place in list_slots(desk, cluster) if place.state is SlotState.ACTING)


def release(desk: Desk, node: NodeId, why: str, *, is_off: bool = False) -> ReleaseDone:
    """Give back what `node` holds.

    An acting node is asked: its agent aborts the attempt, and its check decides whether the slot is freed. A kept slot
    of an idle node is freed at once, on the caller's word that the node is well. `is_off`: the caller's word that the
    machine is off: its slots are freed at once and its attempt counts as lost; wrong, it breaks the limit. `node` may
    be the holder of a command's slot: that one is freed by such a word only.
    Raises `NotFound`, `RefusedByState` (nothing to release).
    """
    check_why(why)
    check_node(node)
    moves = desk.moves()
    done = moves.node_is_off(node, why) if is_off else moves.release(node, why)
    scopes = tuple(sorted({path.split("/")[2] for path in done.freed}))
    return ReleaseDone(node=node, asked=done.asked, freed=scopes, ended=done.ended)


def place_of(held: HeldSlot) -> HeldPlace:
    """The slot as it is shown."""
    if isinstance(held.note, CommandNote):
        return HeldPlace(
            scope=held.scope,
            node=held.slot.node,
            cap=held.slot.cap,
            state=held.slot.state,
            task_id=None,
            attempt=None,
            since=held.note.at,
            why="",
            command=held.note.command,
        )
    return HeldPlace(
        scope=held.scope,
        node=held.slot.node,
        cap=held.slot.cap,
        state=held.slot.state,
        task_id=held.note.task,
        attempt=held.note.attempt,
        since=held.note.at,
        why=held.note.why,
    )
