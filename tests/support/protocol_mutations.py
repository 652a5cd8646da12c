"""The protocol with one of its rules taken away: what the machine must catch, else it proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from taskerman.coordination import layout
from taskerman.coordination.incarnation import Incarnation
from taskerman.coordination.line import Line
from taskerman.coordination.node_moves import NodeMoves
from taskerman.model.attempt import NodeRecord
from taskerman.model.audit import AuditEntry
from taskerman.model.task import TaskControl
from taskerman.ports.tree import Check, Create, Delete, Op, Set
from tests.support import protocol_scenes as scenes
from tests.support.protocol_scenes import Scene

__all__ = ["MUTATIONS", "Mutation"]

Edit = Callable[[list[Op]], list[Op]]


@dataclass(frozen=True)
class Mutation:
    """`edit` changes what is committed, `patch` the code. It shows in `scene`, or without one in a random walk."""

    edit: Edit | None = None
    patch: Callable[[], AbstractContextManager[object]] = nullcontext
    scene: Scene | None = None


def _verb(ops: Sequence[Op]) -> str:
    for op in ops:
        if isinstance(op, Create) and op.path == f"{layout.AUDIT}/":
            return AuditEntry.model_validate_json(op.data).verb
    return ""


def _takes(ops: Sequence[Op]) -> bool:
    return any(isinstance(op, Create) and op.path.endswith("~acting") for op in ops)


def _joins(ops: Sequence[Op]) -> bool:
    return any(isinstance(op, Create) and op.ephemeral for op in ops)


def _ends(ops: Sequence[Op]) -> bool:
    return not _verb(ops) and any(isinstance(op, Delete) and op.path.endswith("~acting") for op in ops)


def _sweeps(ops: Sequence[Op]) -> bool:
    return isinstance(ops[0], Check) and any(isinstance(op, Create) and "/end/" in op.path for op in ops)


def _closes(ops: Sequence[Op]) -> bool:
    return len(ops) == 2 and isinstance(ops[1], Delete) and "/open/" in ops[1].path


def _notes(ops: Sequence[Op]) -> bool:
    return not _verb(ops) and any(isinstance(op, Set) and "/end/" in op.path for op in ops)


def _without(when: Callable[[Sequence[Op]], bool], what: Callable[[Op], bool]) -> Edit:
    def edit(ops: list[Op]) -> list[Op]:
        return ([op for op in ops if not what(op)] or ops) if when(ops) else ops

    return edit


def _unversioned(when: Callable[[Sequence[Op]], bool], *where: str) -> Edit:
    def edit(ops: list[Op]) -> list[Op]:
        if not when(ops):
            return ops
        return [
            replace(op, version=None) if isinstance(op, Set | Delete) and any(w in op.path for w in where) else op
            for op in ops
        ]

    return edit


def _checks(path: str) -> Callable[[Op], bool]:
    return lambda op: isinstance(op, Check) and path in op.path


def _sets(path: str) -> Callable[[Op], bool]:
    return lambda op: isinstance(op, Set) and path in op.path


def _same_takes(ops: list[Op]) -> list[Op]:
    """The count of takes is not raised."""
    edited: list[Op] = []
    for op in ops:
        if isinstance(op, Set) and op.path.startswith(f"{layout.NODES}/") and (_takes(ops) or not _ends(ops)):
            record = NodeRecord.model_validate_json(op.data)
            edited.append(replace(op, data=record.model_copy(update={"takes": 0}).to_json()))
        else:
            edited.append(op)
    return edited


def _still_excused(ops: list[Op]) -> list[Op]:
    """A redrive leaves the node excused."""
    if _verb(ops) != "redrive":
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
    def mine(self: Incarnation, record: NodeRecord, version: int) -> NodeRecord:
        self.record, self.version = record, version
        return record

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
    if not _takes(ops):
        return ops
    entries = [op for op in ops if isinstance(op, Delete) and "/line/" in op.path]
    return [op for op in ops if op not in entries[1:]]


MUTATIONS: dict[str, Mutation] = {
    "TAKE does not check the holds": Mutation(_without(_takes, _checks(layout.CONTROL))),
    "TAKE does not check the task's control": Mutation(_without(_takes, _checks("/ctl"))),
    "TAKE does not check the cluster": Mutation(
        scene=scenes.two_tasks_and_an_unsafe_end, edit=_without(_takes, _checks(layout.CLUSTERS))
    ),
    "TAKE does not check the scope's version": Mutation(_unversioned(_takes, layout.SCOPES)),
    "TAKE does not check the node's version": Mutation(
        scene=scenes.a_take_arrives_late, edit=_unversioned(_takes, layout.NODES, "/progress/")
    ),
    "TAKE leaves the other lines' entries": Mutation(_heads_of_other_lines_stay),
    "a lost TAKE is not fenced": Mutation(scene=scenes.a_take_arrives_late, patch=_no_fence_after_a_take),
    "JOIN does not carry the node's version": Mutation(_without(_joins, _checks(layout.NODES))),
    "a lost JOIN is not fenced": Mutation(scene=scenes.a_join_arrives_late, patch=_no_settling_of_joins),
    "entries are forgotten while cut off": Mutation(scene=scenes.a_look_while_cut_off, patch=_forgetful_sessions),
    "END carries no versions": Mutation(
        scene=scenes.an_end_arrives_late, edit=_unversioned(_ends, layout.NODES, "/progress/")
    ),
    "END does not touch the cluster when it keeps": Mutation(
        scene=scenes.two_tasks_and_an_unsafe_end, edit=_without(_ends, _sets(layout.CLUSTERS))
    ),
    "END does not record the failure": Mutation(_without(_ends, _sets("/ctl"))),
    "the agents' epochs are ignored": Mutation(patch=_epochs_ignored),
    "attempt ids count nothing": Mutation(_same_takes),
    "a redrive leaves the node excused": Mutation(_still_excused),
    "a redrive does not look at the header": Mutation(
        scene=scenes.redrive_while_a_router_closes,
        edit=_without(lambda ops: _verb(ops) == "redrive", _checks("/open/")),
    ),
    "CLOSE does not check the control": Mutation(
        scene=scenes.close_while_a_person_redrives, edit=_without(_closes, _checks("/ctl"))
    ),
    "a note does not check the node": Mutation(
        scene=scenes.a_note_arrives_late, edit=_without(_notes, _checks(layout.NODES))
    ),
    "a discard does not check the control": Mutation(
        scene=scenes.a_note_arrives_late, edit=_without(lambda ops: _verb(ops) == "discard", _checks("/ctl"))
    ),
    "nobody closes": Mutation(
        patch=lambda: mock.patch("taskerman.coordination.router_moves.RouterMoves._close_in", return_value=[])
    ),
    "a sweep does not look at the progress": Mutation(
        _without(_sweeps, lambda op: isinstance(op, Delete) and "/progress/" in op.path)
    ),
    "a kept slot does not go first": Mutation(
        scene=scenes.redriven_with_a_kept_slot,
        patch=lambda: mock.patch.object(Line, "_keeps_slot", return_value=False),
    ),
    "what is given up stays retried": Mutation(
        scene=scenes.given_up_in_its_retries,
        patch=lambda: mock.patch("taskerman.policy.conclusion.give_up", return_value=None),
    ),
}
