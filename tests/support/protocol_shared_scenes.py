"""Scenes of what tasks share: nodes of two clusters, named scopes and their queues, and those who do not go.

As in `protocol_scenes`: with all rules in place each ends well at every moment, without its rule it does not.
"""

from __future__ import annotations

from collections.abc import Callable

from taskerman.testing.tree import LostAnswer
from tests.support.protocol_judge import Violation
from tests.support.protocol_tasks import CLUSTER, OTHER, SCOPE, TaskShape
from tests.support.protocol_world import State, World

__all__ = ["SHARED_SCENES"]

Scene = Callable[[World, int], None]


def _start(w: World, *nodes: str) -> None:
    for node in nodes:
        w.start(node)


def _must_act(w: World, node: str, why: str) -> None:
    if w.actors[node].state is not State.ACTING:
        raise Violation(f"L {node} does not act: {why}")


def _may_not_act(w: World, node: str, why: str) -> None:
    if w.actors[node].state is State.ACTING:
        raise Violation(f"L {node} acts: {why}")


# --- several clusters ------------------------------------------------------------------------------------


def a_node_of_two_takes(w: World, moment: int) -> None:
    """In both of its clusters."""
    w.plan("ta", TaskShape(("n0",), both=("n0",)))
    _start(w, "n0")
    w.look("n0", "ta")


def a_node_of_two_and_an_unsafe_end_in_the_other(w: World, moment: int) -> None:
    """A node of the other cluster ends unsafe while a node of both takes."""
    w.plan("ta", TaskShape(("n9",), cap=2, max_failures=1, cluster=OTHER))
    w.plan("tb", TaskShape(("n0",), cap=2, both=("n0",)))
    _start(w, "n9", "n0")
    w.look("n9", "ta")
    w.arm(moment, lambda: w.act("n9", "unsafe"))
    w.look("n0", "tb")


def an_unsafe_end_of_a_node_of_two(w: World, moment: int) -> None:
    """The same the other way round: the cluster that is not its task's must know of it too."""
    w.plan("ta", TaskShape(("n0",), cap=2, max_failures=1, both=("n0",)))
    w.plan("tb", TaskShape(("n9",), cap=2, cluster=OTHER))
    _start(w, "n9", "n0")
    w.look("n0", "ta")
    w.arm(moment, lambda: w.act("n0", "unsafe"))
    w.look("n9", "tb")


def everything_is_asked_of_the_other_cluster_too(w: World, moment: int) -> None:
    """A hold, a kept slot and a promise in the cluster that is not its task's."""
    w.plan("ta", TaskShape(("n9",), cluster=OTHER, max_failures=1))
    w.plan("tb", TaskShape(("n0",), cap=3, both=("n0",)))
    _start(w, "n9", "n0")
    if moment % 3 == 0:
        w.verb(lambda person: person.hold(f"cluster:{OTHER}", "look"))
    else:
        w.look("n9", "ta")
        if moment % 3 == 1:
            w.act("n9", "unsafe")
    w.look("n0", "tb")


def kept_where_the_next_task_takes_nothing(w: World, moment: int) -> None:
    """A slot is kept in two clusters and a scope; the node's next task takes one only in one of them."""
    w.plan("ta", TaskShape(("n0",), both=("n0",), scope=SCOPE, max_failures=1))
    w.plan("tb", TaskShape(("n0",)))
    _start(w, "n0")
    w.look("n0", "ta")
    w.act("n0", "unsafe")
    w.look("n0", "tb")
    _must_act(w, "n0", "its own kept slots do not stand in its way")
    w.act("n0", "succeeded")


def a_task_of_two_clusters_closes(w: World, moment: int) -> None:
    """Its last end, or a router's sweep: it stands open in both or in none."""
    w.plan("ta", TaskShape(("n0",), both=("n0",)))
    _start(w, "n0")
    w.look("n0", "ta")
    if moment % 2:
        w.node_is_off("n0")
        w.arm(moment, lambda: w.verb(lambda person: person.redrive("ta", "n0", "mended")))
        w.close()
    else:
        w.act("n0", "succeeded")


# --- priority and exclusive ------------------------------------------------------------------------------


def an_exclusive_task_is_joined(w: World, moment: int) -> None:
    """Another task looks while an exclusive one acts, or the exclusive one while another acts."""
    w.plan("ta", TaskShape(("n0",), cap=3, exclusive=bool(moment % 2)))
    w.plan("tb", TaskShape(("n1",), cap=3, exclusive=not moment % 2))
    _start(w, "n0", "n1")
    w.look("n0", "ta")
    w.look("n1", "tb")


def an_urgent_task_comes_later(w: World, moment: int) -> None:
    """Both stand in their lines; the younger one has the higher priority."""
    w.plan("ta", TaskShape(("n0",)))
    w.plan("tb", TaskShape(("n1",), priority=8))
    _start(w, "n0", "n1")
    w.look("n0", "ta", take=False)
    w.look("n1", "tb", take=False)
    w.look("n0", "ta")
    _may_not_act(w, "n0", "an urgent task waits")
    w.look("n1", "tb")
    _must_act(w, "n1", "it is urgent")


def a_task_that_allows_more_tries_the_broken_node(w: World, moment: int) -> None:
    """What was promised for a node that is not well binds until it is, whoever tries it next."""
    w.plan("ta", TaskShape(("n0",), cap=1 if moment % 2 else 3, exclusive=not moment % 2, max_failures=1))
    w.plan("tb", TaskShape(("n0", "n1"), cap=3))
    _start(w, "n0", "n1")
    w.look("n0", "ta")
    w.act("n0", "unsafe")
    w.look("n0", "tb")
    _must_act(w, "n0", "its own kept slot does not stand in its way")
    w.look("n1", "tb")
    _may_not_act(w, "n1", "one may be away, and the broken one is")
    w.act("n0", "succeeded")
    w.look("n1", "tb")
    _must_act(w, "n1", "everybody is well")


# --- named scopes ----------------------------------------------------------------------------------------


def _scope_of_one(w: World) -> None:
    w.verb(lambda person: person.set_capacity(SCOPE, 1, "thin"))


def the_last_place_is_seen_by_two(w: World, moment: int) -> None:
    """Two lanes of different clusters look and take at once."""
    _scope_of_one(w)
    w.plan("ta", TaskShape(("n0",), scope=SCOPE))
    w.plan("tb", TaskShape(("n9",), cluster=OTHER, scope=SCOPE))
    _start(w, "n0", "n9")
    w.arm(moment, lambda: w.look("n9", "tb"))
    w.look("n0", "ta")


def a_capacity_is_lowered_while_somebody_takes(w: World, moment: int) -> None:
    """The take was decided with the capacity from before."""
    w.plan("ta", TaskShape(("n0",), scope=SCOPE))
    _start(w, "n0")
    w.arm(moment, lambda: w.verb(lambda person: person.set_capacity(SCOPE, 0, "stop")))
    w.look("n0", "ta")


def _queue_behind(w: World, *, also: bool = True) -> None:
    """n8 holds the one place of the scope; n0 of `ta`, then n9 of `tb` in another cluster, wait for it."""
    _scope_of_one(w)
    w.plan("tc", TaskShape(("n8",), cluster=OTHER, cap=3, scope=SCOPE))
    w.plan("ta", TaskShape(("n0", "n1"), scope=SCOPE))
    if also:
        w.plan("tb", TaskShape(("n9",), cluster=OTHER, cap=3, scope=SCOPE))
    _start(w, "n8", "n0", "n1", "n9")
    w.look("n8", "tc")
    w.look("n0", "ta")
    w.look("n9", "tb")


def the_head_takes_for_its_lane(w: World, moment: int) -> None:
    """Its place goes with the take, or the lane would stand first for ever."""
    _queue_behind(w)
    w.arm(moment, lambda: w.look("n1", "ta"))
    w.act("n8", "succeeded")
    w.look("n9", "tb")
    _may_not_act(w, "n9", "it is not its turn")
    w.look("n0", "ta")
    _must_act(w, "n0", "it is its turn")


def it_goes_on_with_a_task_without_a_scope(w: World, moment: int) -> None:
    """A node that waits in a queue acts for another task meanwhile: its place would stop everybody."""
    _queue_behind(w)
    w.plan("td", TaskShape(("n0",), priority=9))
    w.look("n0", "td")
    _must_act(w, "n0", "nothing stops it")
    w.act("n8", "succeeded")
    w.look("n9", "tb")
    _must_act(w, "n9", "nobody waits before it")


def _about_to_queue(w: World) -> None:
    """n0 stands in the line of `ta`, and its next look makes a place in the queue of the scope."""
    _scope_of_one(w)
    w.plan("tc", TaskShape(("n8",), cluster=OTHER, scope=SCOPE))
    w.plan("ta", TaskShape(("n0",), scope=SCOPE))
    w.plan("td", TaskShape(("n0",), priority=9))
    _start(w, "n8", "n0")
    w.look("n8", "tc")
    w.verb(lambda person: person.hold(f"cluster:{CLUSTER}", "so that it joins and makes no place"))
    w.look("n0", "ta")
    w.verb(lambda person: person.unhold(f"cluster:{CLUSTER}", "go on"))


def a_place_without_an_answer(w: World, moment: int) -> None:
    """Made, and nobody was told; then the node goes on with another task."""
    _about_to_queue(w)
    w.lose_answer("n0", list(LostAnswer)[moment % 3])
    if moment % 2:
        w.arm(moment // 2, lambda: w.cut("n0"))
    w.look("n0", "ta")
    w.heal("n0")
    w.look("n0", "td")
    w.deliver(0)


def a_place_arrives_late(w: World, moment: int) -> None:
    """Its answer was lost, and perhaps the link broke; it arrives when the node acts for another task."""
    _about_to_queue(w)
    w.lose_answer("n0", LostAnswer.LATE)
    if moment:
        w.arm(moment, lambda: w.cut("n0"))
    w.look("n0", "ta")
    w.heal("n0")
    w.look("n0", "td")
    w.deliver(0)


def a_task_is_cancelled_while_a_place_is_made(w: World, moment: int) -> None:
    """A place for what is over would be of no use to anybody."""
    _about_to_queue(w)
    w.arm(moment, lambda: w.verb(lambda person: person.cancel("ta", "no")))
    w.look("n0", "ta")


def the_first_in_the_queue_may_not_go(w: World, moment: int) -> None:
    """A gate is shut for its lane: others pass it at once, not after a while."""
    _queue_behind(w)
    w.act("n8", "succeeded")
    w.verb(lambda person: person.hold(f"cluster:{CLUSTER}", "look"))
    w.look("n0", "ta")
    w.look("n9", "tb")
    _must_act(w, "n9", "the lane before it may not go")


def two_lanes_of_a_cluster_stand_in_the_queue_the_other_way_round(w: World, moment: int) -> None:
    """The older one is behind in the queue: if it bound the younger one in their cluster, neither would ever go."""
    _scope_of_one(w)
    w.plan("tc", TaskShape(("n8",), cluster=OTHER, scope=SCOPE))
    w.plan("ta", TaskShape(("n0",), scope=SCOPE))
    w.plan("tb", TaskShape(("n1",), scope=SCOPE))
    _start(w, "n8", "n0", "n1")
    w.look("n8", "tc")
    w.look("n1", "tb")
    w.look("n0", "ta")
    w.act("n8", "succeeded")
    w.look("n0", "ta")
    w.look("n1", "tb")
    _must_act(w, "n1", "it is its turn in the queue")


# --- patience --------------------------------------------------------------------------------------------


def _passes(w: World, node: str, task: str, minutes: int = 10) -> bool:
    for _ in range(minutes * 6):
        w.look(node, task)
        if w.actors[node].state is State.ACTING:
            return True
        w.pass_time(10)
    return False


def a_head_hangs(w: World, moment: int) -> None:
    """With a living session, at the head of its line, of an older lane, or of a queue."""
    if moment % 3 == 0:
        w.plan("ta", TaskShape(("n0", "n1")))
        _start(w, "n0", "n1")
        w.look("n0", "ta", take=False)
        waits = "n1", "ta"
    elif moment % 3 == 1:
        w.plan("ta", TaskShape(("n0",)))
        w.plan("tb", TaskShape(("n1",)))
        _start(w, "n0", "n1")
        w.look("n0", "ta", take=False)
        waits = "n1", "tb"
    else:
        _queue_behind(w)
        w.act("n8", "succeeded")
        waits = "n9", "tb"
    if not _passes(w, *waits):
        raise Violation(f"L a hung agent stops {waits[0]}")


def a_head_drains_its_cluster(w: World, moment: int) -> None:
    """It waits for one that acts; a younger task that has room must not slip in before it, however long it lasts."""
    w.plan("tc", TaskShape(("n5",), cap=3))
    w.plan("ta", TaskShape(("n0",), cap=1))
    w.plan("tb", TaskShape(("n1",), cap=3))
    _start(w, "n5", "n0", "n1")
    w.look("n5", "tc")
    w.look("n0", "ta")
    if _passes(w, "n1", "tb"):
        raise Violation("L it passed one that only waits for the cluster to drain")


def a_line_that_moves(w: World, moment: int) -> None:
    """Slots come and go: who looks from time to time must not take the sum of the pauses for a standstill."""
    w.plan("tc", TaskShape(("n5",), cap=3, priority=9))
    w.plan("ta", TaskShape(("n0", "n1"), cap=3))
    _start(w, "n5", "n0", "n1")
    w.look("n0", "ta", take=False)
    for _ in range(12):
        w.look("n1", "ta")
        w.pass_time(21)
        w.look("n5", "tc")
        w.act("n5", "deferred")
        _may_not_act(w, "n1", "the line moves")


SHARED_SCENES: dict[str, Scene] = {
    scene.__name__: scene
    for scene in (
        a_node_of_two_takes,
        a_node_of_two_and_an_unsafe_end_in_the_other,
        an_unsafe_end_of_a_node_of_two,
        everything_is_asked_of_the_other_cluster_too,
        kept_where_the_next_task_takes_nothing,
        a_task_of_two_clusters_closes,
        an_exclusive_task_is_joined,
        an_urgent_task_comes_later,
        a_task_that_allows_more_tries_the_broken_node,
        the_last_place_is_seen_by_two,
        a_capacity_is_lowered_while_somebody_takes,
        the_head_takes_for_its_lane,
        it_goes_on_with_a_task_without_a_scope,
        a_place_without_an_answer,
        a_place_arrives_late,
        a_task_is_cancelled_while_a_place_is_made,
        the_first_in_the_queue_may_not_go,
        two_lanes_of_a_cluster_stand_in_the_queue_the_other_way_round,
        a_head_hangs,
        a_head_drains_its_cluster,
        a_line_that_moves,
    )
}
