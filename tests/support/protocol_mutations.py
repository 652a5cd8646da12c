"""The protocol with one of its rules taken away: what the machine must catch, else it proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from taskerman.coordination import layout
from taskerman.coordination.incarnation import Incarnation
from taskerman.coordination.line import Line
from taskerman.coordination.node_moves import NodeMoves
from taskerman.model.attempt import NodeRecord
from taskerman.model.task import TaskControl
from taskerman.ports.tree import Check, Delete, Op, Record, Set
from tests.support import protocol_scenes as scenes
from tests.support.protocol_edits import Mutation, closes, ends, joins, notes, sweeps, takes, unversioned, verb, without
from tests.support.protocol_judge import node_record
from tests.support.protocol_shared_mutations import SHARED_MUTATIONS

__all__ = ["MUTATIONS", "Mutation"]


def _checks(path: str) -> Callable[[Op], bool]:
    return lambda op: isinstance(op, Check) and path in op.path


def _sets(path: str) -> Callable[[Op], bool]:
    return lambda op: isinstance(op, Set) and path in op.path


def _same_takes(ops: list[Op]) -> list[Op]:
    """The count of takes is not raised."""
    edited: list[Op] = []
    for op in ops:
        if isinstance(op, Set) and op.path.startswith(f"{layout.NODES}/") and (takes(ops) or not ends(ops)):
            record = NodeRecord.model_validate_json(op.data)
            edited.append(replace(op, data=record.model_copy(update={"takes": 0}).to_json()))
        else:
            edited.append(op)
    return edited


def _still_excused(ops: list[Op]) -> list[Op]:
    """A redrive leaves the node excused."""
    if verb(ops) != "redrive":
        return ops
    edited: list[Op] = []
    for op in ops:
        if isinstance(op, Set) and op.path.endswith("/ctl"):
            control = TaskControl.model_validate_json(op.data)
            everybody = tuple(sorted(control.failed))
            edited.append(replace(op, data=control.model_copy(update={"excused": everybody}).to_json()))
        else:
            edited.append(op)
    return edited


@contextmanager
def _no_fence_after_a_take() -> Iterator[None]:
    def fence(self: Incarnation) -> bool:
        self.refresh()
        return self.record.attempt is None

    def settle(self: NodeMoves, *args: Any) -> Any:
        with mock.patch.object(Incarnation, "fence", fence):
            return original(self, *args)

    original = NodeMoves.settle_take
    with mock.patch.object(NodeMoves, "settle_take", settle):
        yield


@contextmanager
def _epochs_ignored() -> Iterator[None]:
    def mine(self: Incarnation, found: Record | None) -> NodeRecord:
        assert found is not None
        self.record, self.version = node_record(found.data), found.stat.version
        return self.record

    with mock.patch.object(Incarnation, "_mine", mine):
        yield


def _no_settling_of_joins() -> AbstractContextManager[object]:
    return mock.patch.object(Line, "_settle", lambda self: setattr(self, "_owes_fence", False))


def _forgetful_sessions() -> AbstractContextManager[object]:
    def notice(self: Line) -> None:
        if self.tree.session != self._session:
            self._session = self.tree.session
            self._entries.clear()

    return mock.patch.object(Line, "_notice_session", notice)


def _heads_of_other_lines_stay(ops: list[Op]) -> list[Op]:
    if not takes(ops):
        return ops
    entries = [op for op in ops if isinstance(op, Delete) and "/line/" in op.path]
    return [op for op in ops if op not in entries[1:]]


MUTATIONS: dict[str, Mutation] = SHARED_MUTATIONS | {
    "TAKE does not check the holds": Mutation(
        scene=scenes.a_stop_while_a_node_takes, edit=without(takes, _checks(layout.CONTROL))
    ),
    "TAKE does not check the task's control": Mutation(
        scene=scenes.a_stop_while_a_node_takes, edit=without(takes, _checks("/ctl"))
    ),
    "TAKE does not check the cluster": Mutation(
        scene=scenes.two_tasks_and_an_unsafe_end, edit=without(takes, _checks(layout.CLUSTERS))
    ),
    "TAKE does not check the scope's version": Mutation(
        scene=scenes.the_last_place_of_a_cluster_is_seen_by_two, edit=unversioned(takes, layout.SCOPES)
    ),
    "TAKE does not check the node's version": Mutation(
        scene=scenes.a_take_arrives_late, edit=unversioned(takes, layout.NODES, "/progress/")
    ),
    "TAKE leaves the other lines' entries": Mutation(_heads_of_other_lines_stay),
    "a lost TAKE is not fenced": Mutation(scene=scenes.a_take_arrives_late, patch=_no_fence_after_a_take),
    "JOIN does not carry the node's version": Mutation(without(joins, _checks(layout.NODES))),
    "a lost JOIN is not fenced": Mutation(scene=scenes.a_join_arrives_late, patch=_no_settling_of_joins),
    "entries are forgotten while cut off": Mutation(scene=scenes.a_look_while_cut_off, patch=_forgetful_sessions),
    "END carries no versions": Mutation(
        scene=scenes.an_end_arrives_late, edit=unversioned(ends, layout.NODES, "/progress/")
    ),
    "END does not touch the cluster when it keeps": Mutation(
        scene=scenes.two_tasks_and_an_unsafe_end, edit=without(ends, _sets(layout.CLUSTERS))
    ),
    "END does not record the failure": Mutation(without(ends, _sets("/ctl"))),
    "the agents' epochs are ignored": Mutation(scene=scenes.a_fenced_agent_goes_on, patch=_epochs_ignored),
    "attempt ids count nothing": Mutation(_same_takes),
    "a redrive leaves the node excused": Mutation(_still_excused),
    "a redrive does not look at the header": Mutation(
        scene=scenes.redrive_while_a_router_closes,
        edit=without(lambda ops: verb(ops) == "redrive", _checks("/open/")),
    ),
    "CLOSE does not check the control": Mutation(
        scene=scenes.close_while_a_person_redrives, edit=without(closes, _checks("/ctl"))
    ),
    "a note does not check the control": Mutation(
        scene=scenes.a_note_arrives_late, edit=without(notes, _checks("/ctl"))
    ),
    "a note does not check the control, and a sweep was there": Mutation(
        scene=scenes.a_note_arrives_after_a_sweep, edit=without(notes, _checks("/ctl"))
    ),
    "a discard does not check the control": Mutation(
        scene=scenes.a_note_arrives_late, edit=without(lambda ops: verb(ops) == "discard", _checks("/ctl"))
    ),
    "nobody closes": Mutation(
        patch=lambda: mock.patch("taskerman.coordination.router_moves.RouterMoves._close_in", return_value=[])
    ),
    "a sweep does not look at the progress": Mutation(
        without(sweeps, lambda op: isinstance(op, Delete) and "/progress/" in op.path)
    ),
    "a kept slot does not go first": Mutation(
        scene=scenes.redriven_with_a_kept_slot,
        patch=lambda: mock.patch.object(Line, "_keeps_slot", return_value=False),
    ),
    "what has nothing to do and keeps its slot stays retried": Mutation(
        scene=scenes.redriven_with_a_kept_slot_and_nothing_to_do,
        patch=lambda: mock.patch("taskerman.policy.conclusion.give_up", return_value=None),
    ),
    "what is given up stays retried": Mutation(
        scene=scenes.given_up_in_its_retries,
        patch=lambda: mock.patch("taskerman.policy.conclusion.give_up", return_value=None),
    ),
}
