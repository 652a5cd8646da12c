"""The protocol without one of the rules of what tasks share: clusters, exclusive, priority, scopes, patience."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

from taskerman.coordination import layout, node_moves, passing, waits
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.slot import Slot, SlotState
from taskerman.policy.patience import be_patient
from taskerman.policy.snapshot import LaneAhead, Reason, ScopeSeen, Snapshot
from taskerman.ports.tree import Check, Create, Delete, Op, Set
from tests.support import protocol_shared_scenes as scenes
from tests.support.protocol_edits import Mutation, closes, ends, takes, unversioned, without
from tests.support.protocol_tasks import OTHER, SCOPE

__all__ = ["SHARED_MUTATIONS"]


def _there(scope: str) -> Any:
    return lambda op: f"/{scope}" in op.path


def _queues(ops: Sequence[Op]) -> bool:
    return any(isinstance(op, Create) and op.path.startswith(f"{layout.WAITS}/") for op in ops)


def _places(ops: list[Op]) -> list[Op]:
    return [op for op in ops if isinstance(op, Delete) and op.path.startswith(f"{layout.WAITS}/")]


def _leaves_no_place(ops: list[Op]) -> list[Op]:
    return [op for op in ops if op not in _places(ops)] if takes(ops) else ops


def _forgets_what_it_keeps(ops: list[Op]) -> list[Op]:
    """The node's record does not say where it keeps slots."""
    edited: list[Op] = []
    for op in ops:
        if isinstance(op, Set) and op.path.startswith(f"{layout.NODES}/"):
            record = NodeRecord.model_validate_json(op.data)
            op = replace(op, data=record.model_copy(update={"kept": ()}).to_json())  # noqa: PLW2901
        edited.append(op)
    return edited


def _snapshots(**changes: Any) -> AbstractContextManager[object]:
    """What admission is shown is changed."""
    from taskerman.coordination import line, snapshot  # noqa: PLC0415

    original = snapshot.snapshot_of

    def changed(*args: Any, **kwargs: Any) -> Snapshot:
        seen = original(*args, **kwargs)
        made = {name: change(seen) for name, change in changes.items()}
        return replace(seen, **made)

    return mock.patch.object(line, "snapshot_of", changed)


def _own_cluster_alone() -> AbstractContextManager[object]:
    return _snapshots(clusters=lambda seen: seen.clusters[:1])


def _anonymous_slots() -> AbstractContextManager[object]:
    def slot(self: Attempt, node: str, scope: str, state: SlotState = SlotState.ACTING) -> Slot:
        return original(self, node, scope, state).model_copy(update={"exclusive": None})

    original = Attempt.slot
    return mock.patch.object(Attempt, "slot", slot)


def _no_priority() -> AbstractContextManager[object]:
    return mock.patch.object(layout, "open_task", lambda name, priority: f"{layout.open_tasks(name)}/4.")


def _settles_no_places() -> AbstractContextManager[object]:
    def settle(self: waits.Waits) -> None:
        self._owes_places.clear()
        original(self)

    original = waits.Waits._settle
    return mock.patch.object(waits.Waits, "_settle", settle)


def _keeps_its_place() -> AbstractContextManager[object]:
    return mock.patch.object(waits, "IN_TURN", frozenset(Reason))


def _binds_always() -> AbstractContextManager[object]:
    return mock.patch.object(LaneAhead, "binds", property(lambda lane: lane.gate is None))


def _goes_out_of_turn() -> AbstractContextManager[object]:
    return mock.patch.object(Snapshot, "before", return_value=())


def _never_full() -> AbstractContextManager[object]:
    return mock.patch.object(ScopeSeen, "has_room", return_value=True)


def _patience(**changes: Any) -> AbstractContextManager[object]:
    return mock.patch.object(passing, "be_patient", lambda *args, **kwargs: be_patient(*args, **{**kwargs, **changes}))


def _no_patience() -> AbstractContextManager[object]:
    return mock.patch.object(passing, "be_patient", return_value=None)


def _patience_with_what_moves() -> AbstractContextManager[object]:
    def still(seen: Any, snapshot: Any, versions: Any, *args: Any, **kwargs: Any) -> Any:
        return be_patient(seen, snapshot, (), *args, **kwargs)

    return mock.patch.object(passing, "be_patient", still)


def _only_the_second_looks() -> AbstractContextManager[object]:
    return mock.patch.object(passing.Passing, "_is_long_ago", return_value=False)


_CLUSTER_RECORD = f"{layout.CLUSTERS}/{OTHER}"

SHARED_MUTATIONS: dict[str, Mutation] = {
    "TAKE does not check the record of the other cluster": Mutation(
        scene=scenes.a_node_of_two_and_an_unsafe_end_in_the_other,
        edit=without(takes, lambda op: isinstance(op, Check) and op.path == _CLUSTER_RECORD),
    ),
    "TAKE takes no slot in the other cluster": Mutation(
        scene=scenes.a_node_of_two_takes,
        edit=without(takes, lambda op: op.path.startswith(layout.scope(OTHER))),
    ),
    "END does not touch the other cluster when it keeps": Mutation(
        scene=scenes.an_unsafe_end_of_a_node_of_two,
        edit=without(ends, lambda op: isinstance(op, Set) and op.path == _CLUSTER_RECORD),
    ),
    "admission looks at the task's own cluster alone": Mutation(
        scene=scenes.everything_is_asked_of_the_other_cluster_too, patch=_own_cluster_alone
    ),
    "what is kept elsewhere is not inherited": Mutation(
        scene=scenes.kept_where_the_next_task_takes_nothing, edit=_forgets_what_it_keeps
    ),
    "CLOSE forgets the other cluster": Mutation(
        scene=scenes.a_task_of_two_clusters_closes,
        edit=without(closes, lambda op: isinstance(op, Delete) and _there(OTHER)(op)),
    ),
    "the last END forgets the other cluster": Mutation(
        scene=scenes.a_task_of_two_clusters_closes,
        edit=without(ends, lambda op: isinstance(op, Delete) and op.path.startswith(layout.open_tasks(OTHER))),
    ),
    "a slot does not say that its task is exclusive": Mutation(
        scene=scenes.an_exclusive_task_is_joined, patch=_anonymous_slots
    ),
    "a slot that is taken over forgets what was promised for it": Mutation(
        scene=scenes.a_task_that_allows_more_tries_the_broken_node,
        patch=lambda: mock.patch.object(node_moves, "promises", lambda seen, own: (seen.cap, None)),
    ),
    "an exclusive task does not look at others": Mutation(
        scene=scenes.an_exclusive_task_is_joined, patch=lambda: _snapshots(exclusive=lambda seen: False)
    ),
    "priority is ignored": Mutation(scene=scenes.an_urgent_task_comes_later, patch=_no_priority),
    "TAKE does not check the version of a named scope": Mutation(
        scene=scenes.the_last_place_is_seen_by_two, edit=unversioned(takes, layout.scope(SCOPE))
    ),
    "a capacity that changes is not noticed by a take": Mutation(
        scene=scenes.a_capacity_is_lowered_while_somebody_takes, edit=unversioned(takes, layout.scope(SCOPE))
    ),
    "a scope is never full": Mutation(scene=scenes.the_last_place_is_seen_by_two, patch=_never_full),
    "TAKE leaves the places in the queues": Mutation(scene=scenes.the_head_takes_for_its_lane, edit=_leaves_no_place),
    "TAKE leaves the node's other places": Mutation(
        scene=scenes.it_goes_on_with_a_task_without_a_scope, edit=_leaves_no_place
    ),
    "a lost place is not looked for": Mutation(scene=scenes.a_place_without_an_answer, patch=_settles_no_places),
    "a place does not carry the node's version": Mutation(
        scene=scenes.a_place_arrives_late,
        edit=without(_queues, lambda op: isinstance(op, Check) and op.path.startswith(layout.NODES)),
    ),
    "a place does not check the task's control": Mutation(
        scene=scenes.a_task_is_cancelled_while_a_place_is_made,
        edit=without(_queues, lambda op: isinstance(op, Check) and op.path.endswith("/ctl")),
    ),
    "a head whose gate is shut keeps its place": Mutation(
        scene=scenes.the_first_in_the_queue_may_not_go, patch=_keeps_its_place
    ),
    "a lane whose turn has not come binds its cluster": Mutation(
        scene=scenes.two_lanes_of_a_cluster_stand_in_the_queue_the_other_way_round, patch=_binds_always
    ),
    "nobody waits for its turn in a queue": Mutation(scene=scenes.the_head_takes_for_its_lane, patch=_goes_out_of_turn),
    "nobody is ever passed": Mutation(scene=scenes.a_head_hangs, patch=_no_patience),
    "only heads look around": Mutation(scene=scenes.a_head_hangs, patch=_only_the_second_looks),
    "who drains its cluster is passed": Mutation(
        scene=scenes.a_head_drains_its_cluster, patch=lambda: _patience(drains=False)
    ),
    "a line that moves is passed": Mutation(scene=scenes.a_line_that_moves, patch=_patience_with_what_moves),
}
