"""Scenes in which one rule of the protocol decides: what a random walk seldom meets, played at every moment.

A scene is given the moment: how many reads and commits pass before the disturbance. With all rules in place it ends
well at every moment; without its rule it does not at some.
"""

from __future__ import annotations

from collections.abc import Callable

from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.testing.tree import LostAnswer
from tests.support.protocol_judge import Violation
from tests.support.protocol_shared_scenes import SHARED_SCENES
from tests.support.protocol_tasks import TaskShape
from tests.support.protocol_world import State, World

__all__ = ["MOMENTS", "SCENES", "Scene", "moments"]

MOMENTS = 26
FEW = {
    "a_head_drains_its_cluster": 1,
    "a_head_hangs": 3,
    "a_line_that_moves": 1,
    "a_look_while_cut_off": 1,
    "a_node_of_two_takes": 1,
    "a_start_without_an_answer_in_a_session_that_ended": 1,
    "a_take_arrives_late": 1,
    "an_end_arrives_late": 1,
    "an_exclusive_task_is_joined": 2,
    "an_urgent_task_comes_later": 1,
    "everything_is_asked_of_the_other_cluster_too": 3,
    "given_up_in_its_retries": 2,
    "it_goes_on_with_a_task_without_a_scope": 1,
    "kept_where_the_next_task_takes_nothing": 1,
    "redriven_with_a_kept_slot": 1,
    "the_first_in_the_queue_may_not_go": 1,
    "two_lanes_of_a_cluster_stand_in_the_queue_the_other_way_round": 1,
}
"""Scenes that nothing disturbs: how many ways there are to play them."""
Scene = Callable[[World, int], None]


def _redrive(person: OperatorMoves) -> None:
    person.redrive("ta", "n0", "mended")


def a_stop_while_a_node_takes(w: World, moment: int) -> None:
    """A person holds, or cancels, while a node is about to take."""
    w.plan("ta", TaskShape(("n0",)))
    w.start("n0")
    if moment % 2:
        w.arm(moment, lambda: w.verb(lambda person: person.hold("*", "stop")))
    else:
        w.arm(moment, lambda: w.verb(lambda person: person.cancel("ta", "stop")))
    w.look("n0", "ta")


def a_fenced_agent_goes_on(w: World, moment: int) -> None:
    """A second agent of the node has started, and the first does not know it."""
    w.plan("ta", TaskShape(("n0",)))
    w.start("n0")
    w.look("n0", "ta", take=False)
    w.arm(moment, lambda: w.look("n0", "ta"))
    w.start("n0", same_journal=False)
    w.ghost_looks(0, "ta", "succeeded")


def the_last_place_of_a_cluster_is_seen_by_two(w: World, moment: int) -> None:
    """A node of an older task joins and takes while one of a younger task is about to take."""
    w.plan("ta", TaskShape(("n0",)))
    w.plan("tb", TaskShape(("n1",)))
    w.start("n0")
    w.start("n1")
    w.arm(moment, lambda: w.look("n0", "ta"))
    w.look("n1", "tb")


def two_tasks_and_an_unsafe_end(w: World, moment: int) -> None:
    """A node of one task ends unsafe while a node of another one takes."""
    w.plan("ta", TaskShape(("n0",), cap=2, max_failures=1))
    w.plan("tb", TaskShape(("n1",), cap=2))
    w.start("n0")
    w.start("n1")
    w.look("n0", "ta")
    w.arm(moment, lambda: w.act("n0", "unsafe"))
    w.look("n1", "tb")


def _lost_and_open(w: World) -> None:
    w.plan("ta", TaskShape(("n0",)))
    w.start("n0")
    w.look("n0", "ta")
    w.node_is_off("n0")  # the last end, and not the agent's own: the header is still there


def redrive_while_a_router_closes(w: World, moment: int) -> None:
    """A person redrives the last node while a router closes the task."""
    _lost_and_open(w)
    w.arm(moment, w.close)
    w.verb(_redrive)


def close_while_a_person_redrives(w: World, moment: int) -> None:
    """The same the other way round."""
    _lost_and_open(w)
    w.arm(moment, lambda: w.verb(_redrive))
    w.close()


def given_up_in_its_retries(w: World, moment: int) -> None:
    """A node fails, is being retried, and its slot is asked back: others must not wait behind it for ever."""
    w.plan("ta", TaskShape(("n0", "n1"), retry_count=1))
    w.start("n0")
    w.start("n1")
    w.look("n0", "ta")
    w.act("n0", "failed")
    w.pass_time(3600)
    if moment % 2:
        w.reject("n0", "ta")
    else:
        w.look("n0", "ta")
        w.act("n0", "cancelled")


def redriven_with_a_kept_slot(w: World, moment: int) -> None:
    """While a node keeps its slot nobody else may go: nobody may stand before it when a person redrives it."""
    w.plan("ta", TaskShape(("n0", "n1"), cap=2, max_failures=2, retry_count=3))
    w.start("n0")
    w.start("n1")
    w.look("n0", "ta")
    w.look("n1", "ta")
    w.act("n0", "failed")
    w.act("n1", "unsafe")
    w.pass_time(3600)
    w.look("n0", "ta")
    w.verb(lambda person: person.redrive("ta", "n1", "mended"))
    w.look("n1", "ta")
    w.look("n0", "ta")
    w.look("n1", "ta")
    if w.actors["n1"].state is not State.ACTING:
        raise Violation("L the redriven node waits behind one that may not go")


def a_take_arrives_late(w: World, moment: int) -> None:
    """A TAKE without an answer was settled as not done; then it arrives."""
    w.plan("ta", TaskShape(("n0",)))
    w.start("n0")
    w.look("n0", "ta", take=False)
    w.lose_answer("n0", LostAnswer.LATE)
    w.look("n0", "ta")
    w.look("n0", "ta", take=False)
    w.deliver(0)


def an_end_arrives_late(w: World, moment: int) -> None:
    """An END without an answer was repeated; it arrives during the next attempt."""
    w.plan("ta", TaskShape(("n0",)))
    w.start("n0")
    w.look("n0", "ta")
    w.lose_answer("n0", LostAnswer.LATE)
    w.act("n0", "deferred")
    w.end("n0")
    w.pass_time(3600)
    w.look("n0", "ta")
    w.deliver(0)


def a_join_arrives_late(w: World, moment: int) -> None:
    """A JOIN without an answer, and then the link breaks; it arrives while the node goes on with another task."""
    w.plan("tb", TaskShape(("n0",)))
    w.plan("ta", TaskShape(("n1", "n0")))
    w.start("n0")
    w.start("n1")
    w.lose_answer("n0", LostAnswer.LATE)
    w.arm(moment, lambda: w.cut("n0"))
    w.look("n0", "ta", take=False)
    w.heal("n0")
    w.look("n0", "tb")
    w.deliver(0)
    w.look("n0", "tb")


def a_look_while_cut_off(w: World, moment: int) -> None:
    """A node stands in two lines, looks while it is cut off, and goes on with the same session."""
    w.plan("ta", TaskShape(("n0", "n1")))
    w.plan("tb", TaskShape(("n0",)))
    w.start("n0")
    w.look("n0", "ta", take=False)
    w.look("n0", "tb", take=False)
    w.cut("n0")
    w.look("n0", "tb")
    w.heal("n0")
    w.verb(lambda person: person.hold("owner:dba", "unrelated"))
    w.look("n0", "ta")


def released_while_it_stands_first(w: World, moment: int) -> None:
    """A node stands first because of a kept slot; a person frees the slot, and another one is being retried."""
    w.plan("tb", TaskShape(("n0", "n1")))
    w.plan("ta", TaskShape(("n0",)))
    w.start("n0")
    w.start("n1")
    w.verb(lambda person: person.hold("owner:dba", "unrelated"))
    w.look("n1", "tb")
    w.act("n1", "failed")
    w.look("n0", "ta")
    w.act("n0", "lost")
    w.verb(lambda person: person.redrive("tb", "n1", "mended"))
    w.look("n0", "tb", take=False)
    w.arm(moment, lambda: w.verb(lambda person: person.release("n0", "looked at it")))
    w.look("n1", "tb", take=False)
    w.verb(lambda person: person.release("n0", "looked at it"))
    w.look("n0", "tb")
    w.look("n1", "tb")


def a_note_arrives_late(w: World, moment: int) -> None:
    """That a dead letter was sent is noted without an answer; it arrives when the node has ended once more."""
    w.plan("ta", TaskShape(("n0", "n1")))
    w.start("n0")
    w.look("n0", "ta")
    w.act("n0", "failed")
    if moment % 2:
        w.lose_answer("n0", LostAnswer.LATE)
        w.look("n0", "ta")
    else:
        w.lose_answer("person", LostAnswer.LATE)
        w.arm(moment, lambda: w.server.cut(w.person_tree))
        w.verb(lambda person: person.discard("ta", "n0", "never mind"))
        w.server.heal(w.person_tree)
    w.verb(_redrive)
    w.look("n0", "ta")
    w.act("n0", "failed")
    w.deliver(0)


def a_note_arrives_after_a_sweep(w: World, moment: int) -> None:
    """The same, and the assignment was redriven and then cancelled meanwhile: its end is nobody's attempt."""
    w.plan("ta", TaskShape(("n0", "n1")))
    w.start("n0")
    w.look("n0", "ta")
    w.act("n0", "failed")
    w.lose_answer("n0", LostAnswer.LATE)
    w.look("n0", "ta")
    w.verb(_redrive)
    w.verb(lambda person: (person.cancel("ta", "no more of it"), person.sweep("ta")))
    w.deliver(0)


def redriven_with_a_kept_slot_and_nothing_to_do(w: World, moment: int) -> None:
    """Its pre_check says that there is nothing to do; the slot stays, and the other node must not wait for ever."""
    w.plan("ta", TaskShape(("n0", "n1")))
    w.start("n0")
    w.start("n1")
    w.look("n0", "ta")
    w.act("n0", "unsafe")
    w.verb(_redrive)
    w.look("n0", "ta")
    w.act("n0", "skipped")


def a_start_without_an_answer_in_a_session_that_ended(w: World, moment: int) -> None:
    """The agent tries to start again, as often as it must: nobody else ends what its node has to do in time."""
    w.plan("ta", TaskShape(("n0", "n1"), lasts_s=600))
    _must_start(w, "n0")
    w.start("n1")
    w.crash("n1", child_too=True)
    w.arm(0, lambda: w.lose_answer("n1", LostAnswer.APPLIED))
    w.start("n1")
    w.lose_session("n1", noticed=False)


def _must_start(w: World, node: str) -> None:
    w.start(node)
    if w.actors[node].state is State.STARTING:
        raise Violation(f"L {node} does not start")


def moments(scene: Scene) -> range:
    """The moments at which to play it."""
    return range(FEW.get(scene.__name__, MOMENTS))


SCENES: dict[str, Scene] = SHARED_SCENES | {
    scene.__name__: scene
    for scene in (
        a_stop_while_a_node_takes,
        a_fenced_agent_goes_on,
        the_last_place_of_a_cluster_is_seen_by_two,
        two_tasks_and_an_unsafe_end,
        redrive_while_a_router_closes,
        close_while_a_person_redrives,
        given_up_in_its_retries,
        redriven_with_a_kept_slot,
        a_take_arrives_late,
        an_end_arrives_late,
        a_join_arrives_late,
        a_look_while_cut_off,
        released_while_it_stands_first,
        a_note_arrives_late,
        a_note_arrives_after_a_sweep,
        redriven_with_a_kept_slot_and_nothing_to_do,
        a_start_without_an_answer_in_a_session_that_ended,
    )
}
