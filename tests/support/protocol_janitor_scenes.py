"""Scenes with a janitor in which one of its rules decides, and the protocol with one of those rules taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from unittest import mock

from taskerman.coordination import layout
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.putting_away import Standing, begin_closing
from taskerman.model.attempt import NodeRecord
from taskerman.model.outcome import Outcome
from taskerman.model.task import TaskState
from taskerman.ports.tree import Check, Create, Delete, Op, Set, Tree
from taskerman.testing.history import MemoryHistory
from taskerman.testing.tree import LostAnswer
from tests.support.protocol_janitor import HouseWorld
from tests.support.protocol_tasks import TaskShape

__all__ = ["HOUSE_MOMENTS", "HOUSE_MUTATIONS", "HOUSE_SCENES", "HouseMutation"]

HOUSE_MOMENTS = 20
Scene = Callable[[HouseWorld, int], None]


def _redrive(person: OperatorMoves) -> None:
    person.redrive("ta", "n0", "mended")


def _failed(w: HouseWorld) -> None:
    """A task of one node that failed, and whose letter was sent."""
    w.plan("ta", TaskShape(("n0",)))
    w.start("n0")
    w.look("n0", "ta")
    w.act("n0", "failed")
    w.look("n0", "ta")


def a_take_of_a_machine_that_ended_arrives_while_it_is_reclaimed(w: HouseWorld, moment: int) -> None:
    """The machine's last request is still on its way when it is declared gone."""
    w.plan("ta", TaskShape(("n0", "n1"), max_failures=1))
    w.start("n0")
    w.start("n1")
    w.look("n0", "ta", take=False)
    w.lose_answer("n0", LostAnswer.LATE)
    w.look("n0", "ta")
    w.terminate("n0")
    w.arm(moment, lambda: w.deliver(0))
    w.keep_house(0, "reclaim")
    w.deliver(0)
    w.keep_house(1)


def two_janitors_reclaim_one_machine(w: HouseWorld, moment: int) -> None:
    """Both have the proof; one commits while the other is between two of its reads."""
    w.plan("ta", TaskShape(("n0", "n1"), max_failures=1))
    w.start("n0")
    w.look("n0", "ta")
    w.terminate("n0")
    w.arm(moment, lambda: w.keep_house(1, "reclaim"))
    w.keep_house(0, "reclaim")


def an_end_of_a_machine_that_ended_arrives_while_it_is_reclaimed(w: HouseWorld, moment: int) -> None:
    """The machine's last request recorded its end, and is still on its way when it is declared gone."""
    w.plan("ta", TaskShape(("n0", "n1"), max_failures=1))
    w.start("n0")
    w.look("n0", "ta")
    w.lose_answer("n0", LostAnswer.LATE)
    for _ in range(5):
        w.lose_answer("n0", LostAnswer.NEVER)  # its fences
    w.act("n0", "succeeded")
    w.terminate("n0")
    w.arm(moment, lambda: w.deliver(0))
    w.keep_house(0, "reclaim")
    w.deliver(0)


def redriven_after_it_was_gone(w: HouseWorld, moment: int) -> None:
    """A person redrives an assignment of a machine that is gone: it ends so once more, as another dead letter."""
    w.plan("ta", TaskShape(("n0", "n1")))
    w.start("n0")
    w.terminate("n0")
    w.arm(moment, lambda: w.verb(_redrive))
    w.keep_house(0)
    w.verb(_redrive)
    w.keep_house(1)
    w.keep_house(0)


def redriven_while_it_is_put_away(w: HouseWorld, moment: int) -> None:
    """A person redrives, and a janitor has just seen that everything has ended."""
    _failed(w)
    w.verb(lambda person: person.discard("ta", "n0", "never mind"))
    w.pass_time(3600)
    w.arm(moment, lambda: w.verb(_redrive))
    w.keep_house(0, "put away")
    w.keep_house(1)


def discarded_while_it_is_put_away(w: HouseWorld, moment: int) -> None:
    """A person discards a dead letter between its copy and its deletion."""
    _failed(w)
    w.pass_time(9 * 86400)
    w.arm(moment, lambda: w.verb(lambda person: person.redriven("ta", "n0", "as another task")))
    w.keep_house(0, "put away")
    w.keep_house(0, "put away")


def a_late_copy_of_what_was_put_away(w: HouseWorld, moment: int) -> None:
    """The document arrives once more when its task has ended and was put away."""
    w.plan("ta", TaskShape(("n0",)))
    w.start("n0")
    w.look("n0", "ta")
    w.act("n0", "succeeded")
    w.pass_time(3600)
    w.keep_house(0)
    w.late_copy("ta")
    w.start("n1")
    w.actors["n0"].known.clear()  # the agent was restarted since
    w.look("n0", "ta")


def an_alarm_arrives_late(w: HouseWorld, moment: int) -> None:
    """That an attempt is overdue is noted without an answer; it arrives when the attempt has ended well."""
    w.plan("ta", TaskShape(("n0", "n1")))
    w.start("n0")
    w.start("n1")
    w.look("n0", "ta")
    w.keep_house(0, "watch slots")
    w.pass_time(5 * 3600)
    w.lose_janitors_answer(0, LostAnswer.LATE)
    w.keep_house(0, "watch slots")
    w.act("n0", "succeeded")
    w.deliver(0)
    w.look("n1", "ta")


def an_alarm_comes_while_it_ends(w: HouseWorld, moment: int) -> None:
    """That an attempt is overdue is noted between what its end reads and its commit."""
    w.plan("ta", TaskShape(("n0", "n1")))
    w.start("n0")
    w.start("n1")
    w.look("n0", "ta")
    w.keep_house(0, "watch slots")
    w.pass_time(5 * 3600)
    w.arm(moment, lambda: w.keep_house(0, "watch slots"))
    w.act("n0", "succeeded")
    w.look("n1", "ta")


def machines_end_while_the_task_is_parked(w: HouseWorld, moment: int) -> None:
    """Every node of a parked task is gone before a person has looked."""
    w.plan("ta", TaskShape(("n0", "n1"), size=20))
    w.plan("tb", TaskShape(("n0",), size=1))
    w.start("n0")
    w.start("n1")
    w.terminate("n0")
    w.pass_time(60 * (moment % 2))
    w.keep_house(0)
    w.keep_house(1)


def a_janitors_note_arrives_late(w: HouseWorld, moment: int) -> None:
    """That a dead letter was sent is noted without an answer; it arrives when the node has ended once more."""
    w.plan("ta", TaskShape(("n0", "n1")))
    w.start("n0")
    w.look("n0", "ta")
    w.act("n0", "failed")
    w.pass_time(300)
    w.lose_janitors_answer(0, LostAnswer.LATE)
    w.keep_house(0, "settle dead letters")
    w.verb(_redrive)
    w.look("n0", "ta")
    w.act("n0", "failed")
    w.deliver(0)


def its_time_passes_while_it_takes(w: HouseWorld, moment: int) -> None:
    """A node takes while a janitor ends what does not act of a task whose time has passed."""
    w.plan("ta", TaskShape(("n0", "n1"), lasts_s=600, cap=2))
    w.start("n0")
    w.look("n0", "ta", take=False)
    w.pass_time(599)
    w.arm(moment, lambda: w.look("n0", "ta"))
    w.clock.jump(timedelta(seconds=5))  # the janitor's clock goes before
    w.keep_house(0, "expire tasks")
    w.pass_time(5)
    w.keep_house(1)


def put_away_before_its_cancel_has_swept(w: HouseWorld, moment: int) -> None:
    """A person's cancel is two moves; between them a janitor ends what is left, and puts the task away."""
    w.plan("ta", TaskShape(("n0", "n1")))
    w.start("n0")
    w.arm(moment, lambda: w.keep_house(0))
    w.verb(lambda person: (person.cancel("ta", "no more of it"), person.sweep("ta")))
    w.keep_house(1)


HOUSE_SCENES: dict[str, Scene] = {
    scene.__name__: scene
    for scene in (
        a_take_of_a_machine_that_ended_arrives_while_it_is_reclaimed,
        two_janitors_reclaim_one_machine,
        an_end_of_a_machine_that_ended_arrives_while_it_is_reclaimed,
        redriven_after_it_was_gone,
        redriven_while_it_is_put_away,
        discarded_while_it_is_put_away,
        a_late_copy_of_what_was_put_away,
        an_alarm_comes_while_it_ends,
        machines_end_while_the_task_is_parked,
        an_alarm_arrives_late,
        a_janitors_note_arrives_late,
        its_time_passes_while_it_takes,
        put_away_before_its_cancel_has_swept,
    )
}


# --- one rule taken away -----------------------------------------------------------------------------------

Edit = Callable[[list[Op]], list[Op]]


@dataclass(frozen=True)
class HouseMutation:
    """`edit` changes what is committed, `patch` the code; it shows in `scene`."""

    scene: Scene
    edit: Edit | None = None
    patch: Callable[[], AbstractContextManager[object]] = nullcontext


def _creates_end(ops: Sequence[Op], outcome: Outcome) -> bool:
    return any(isinstance(op, Create) and "/end/" in op.path and f'"{outcome.value}"'.encode() in op.data for op in ops)


def _declares(ops: Sequence[Op]) -> bool:
    return any(isinstance(op, Set) and op.path == layout.JANITOR for op in ops)


def _unversioned(when: Callable[[Sequence[Op]], bool], *where: str) -> Edit:
    def edit(ops: list[Op]) -> list[Op]:
        if not when(ops):
            return ops
        return [
            replace(op, version=None) if isinstance(op, Set | Delete) and any(w in op.path for w in where) else op
            for op in ops
        ]

    return edit


def _without(when: Callable[[Sequence[Op]], bool], what: Callable[[Op], bool]) -> Edit:
    def edit(ops: list[Op]) -> list[Op]:
        return ([op for op in ops if not what(op)] or ops) if when(ops) else ops

    return edit


def _same_takes(ops: list[Op]) -> list[Op]:
    """The count of takes is not raised when a gone assignment ends."""
    if not _creates_end(ops, Outcome.GONE):
        return ops
    edited: list[Op] = []
    for op in ops:
        if isinstance(op, Set) and op.path.startswith(f"{layout.NODES}/"):
            record = NodeRecord.model_validate_json(op.data)
            same = record.model_copy(update={"takes": max(record.takes - 1, 0)})
            edited.append(replace(op, data=same.to_json()))
        else:
            edited.append(op)
    return edited


def _no_stone(ops: list[Op]) -> list[Op]:
    """What is buried leaves no tombstone."""
    return [
        Delete(op.path, op.version)
        if isinstance(op, Set) and op.path.startswith(f"{layout.TASKS}/") and b'"tombstone"' in op.data
        else op
        for op in ops
    ]


def _closes(ops: Sequence[Op]) -> bool:
    return any(isinstance(op, Set) and op.path.endswith("/ctl") and b'"closing"' in op.data for op in ops)


def _deletes_ends(ops: Sequence[Op]) -> bool:
    return len(ops) > 1 and isinstance(ops[0], Check) and all(isinstance(op, Delete) for op in ops[1:])


def _marks(ops: Sequence[Op]) -> bool:
    return len(ops) == 2 and isinstance(ops[0], Check) and isinstance(ops[1], Set) and ops[1].path.endswith("/ctl")


def _ends(ops: Sequence[Op]) -> bool:
    return any(isinstance(op, Delete) and op.path.endswith("~acting") for op in ops)


def _parked_stays() -> AbstractContextManager[object]:
    def begin(tree: Tree, seen: Standing) -> bool:
        return seen.control.state is not TaskState.PARKED and begin_closing(tree, seen)

    return mock.patch("taskerman.janitor.putting_away.begin_closing", begin)


def _notes(ops: Sequence[Op]) -> bool:
    return len(ops) == 2 and isinstance(ops[1], Set) and "/end/" in ops[1].path


def _sweeps(ops: Sequence[Op]) -> bool:
    return isinstance(ops[0], Check) and _creates_end(ops, Outcome.EXPIRED)


HOUSE_MUTATIONS: dict[str, HouseMutation] = {
    "RECLAIM does not check the node's version": HouseMutation(
        a_take_of_a_machine_that_ended_arrives_while_it_is_reclaimed, edit=_unversioned(_declares, layout.NODES)
    ),
    "the end of a gone assignment has no key of its own": HouseMutation(redriven_after_it_was_gone, edit=_same_takes),
    "closing does not check the control": HouseMutation(
        redriven_while_it_is_put_away, edit=_unversioned(_closes, "/ctl")
    ),
    "ends are deleted whatever was copied": HouseMutation(
        discarded_while_it_is_put_away, edit=_unversioned(_deletes_ends, "/end/")
    ),
    "ends are deleted before they are copied": HouseMutation(
        a_late_copy_of_what_was_put_away,
        patch=lambda: mock.patch.object(MemoryHistory, "record_task"),
    ),
    "no tombstone is left": HouseMutation(a_late_copy_of_what_was_put_away, edit=_no_stone),
    "OVERDUE does not check the node": HouseMutation(
        an_alarm_arrives_late, edit=_without(_marks, lambda op: isinstance(op, Check) and layout.NODES in op.path)
    ),
    "END does not check the control": HouseMutation(
        an_alarm_comes_while_it_ends,
        edit=_without(_ends, lambda op: isinstance(op, Check) and "/ctl" in op.path),
    ),
    "what is parked is not put away": HouseMutation(machines_end_while_the_task_is_parked, patch=_parked_stays),
    "a janitor's note does not check the control": HouseMutation(
        a_janitors_note_arrives_late, edit=_without(_notes, lambda op: isinstance(op, Check) and "/ctl" in op.path)
    ),
    "an expired task is swept without looking at the progress": HouseMutation(
        its_time_passes_while_it_takes,
        edit=_without(_sweeps, lambda op: isinstance(op, Delete) and "/progress/" in op.path),
    ),
}
