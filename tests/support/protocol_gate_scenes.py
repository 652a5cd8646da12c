"""Scenes of the gates that failures, time and discovery shut, each disturbed at a given moment; and the same without
one rule. See `protocol_scenes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest import mock

from taskerman.coordination import layout
from taskerman.model.breaker import ClusterRecord
from taskerman.model.outcome import Outcome
from taskerman.policy import breaker
from taskerman.ports.tree import Check, Create, Op, Set
from tests.support.protocol_edits import Mutation, ends, takes, unversioned, verb, without
from tests.support.protocol_judge import Violation
from tests.support.protocol_scenes import Scene
from tests.support.protocol_tasks import TaskShape
from tests.support.protocol_world import State, World

__all__ = ["MUTATIONS", "SCENES"]

COOL_DOWN_S = 15 * 60
SHUT = {"windows": [{"opens": "13:00", "closes": "14:00"}]}
"""The world begins at noon."""


def _opened(w: World) -> None:
    """n5 acts since before, for another task; n0, n1 and n2 have failed; n3 stands first, then n4."""
    nodes = ("n0", "n1", "n2", "n3", "n4")
    w.plan("tb", TaskShape(("n5",), cap=3, max_failures=9))
    w.start("n5")
    w.look("n5", "tb")
    w.plan("ta", TaskShape(nodes, cap=3, max_failures=9))
    for node in nodes[:3]:
        w.start(node)
        w.look(node, "ta")
        w.act(node, "refused")
    for node in nodes[3:5]:
        w.start(node)
        w.look(node, "ta", take=False)


def _acts(w: World, node: str) -> None:
    if w.actors[node].state is not State.ACTING:
        raise Violation(f"L {node} does not go, and nothing is in its way")


def a_take_while_another_fails(w: World, moment: int) -> None:
    """The cool-down is over, and a node takes as the probe while one that acts since before fails."""
    _opened(w)
    w.pass_time(COOL_DOWN_S)
    w.arm(moment, lambda: w.act("n5", "refused"))
    w.look("n3", "ta")


def a_take_while_it_opens(w: World, moment: int) -> None:
    """A node takes while the third failure is recorded."""
    nodes = ("n0", "n1", "n2", "n3")
    w.plan("ta", TaskShape(nodes, cap=2, max_failures=9))
    for node in nodes:
        w.start(node)
    for node in nodes[:2]:
        w.look(node, "ta")
        w.act(node, "refused")
    w.look("n2", "ta")
    w.arm(moment, lambda: w.act("n2", "refused"))
    w.look("n3", "ta")


def two_ends_at_once(w: World, moment: int) -> None:
    """Attempts of two tasks fail at the same time."""
    for node, task in (("n0", "ta"), ("n1", "tb")):
        w.plan(task, TaskShape((node,), cap=2, max_failures=9))
        w.start(node)
        w.look(node, task)
    w.arm(moment, lambda: w.act("n1", "refused"))
    w.act("n0", "refused")


def an_old_success_while_it_is_open(w: World, moment: int) -> None:
    """What began before it opened succeeds, with or without a probe beside it."""
    _opened(w)
    if moment % 2:
        w.pass_time(COOL_DOWN_S)
        w.look("n3", "ta")
    w.act("n5", "succeeded")
    w.look("n4", "ta")


def a_probe_that_says_nothing(w: World, moment: int) -> None:
    """The next one tries."""
    _opened(w)
    w.pass_time(COOL_DOWN_S)
    w.look("n3", "ta")
    w.look("n4", "ta")
    w.act("n3", "deferred")
    w.look("n4", "ta")
    _acts(w, "n4")


def a_probe_whose_machine_is_off(w: World, moment: int) -> None:
    """A person says so, at any moment of the next one's look."""
    _opened(w)
    w.pass_time(COOL_DOWN_S)
    w.look("n3", "ta")
    w.arm(moment, lambda: w.node_is_off("n3"))
    w.look("n4", "ta")
    w.look("n4", "ta")
    if w.actors["n3"].state is State.OVER:
        _acts(w, "n4")


def a_reset_while_the_probe_takes(w: World, moment: int) -> None:
    """A person closes the breaker."""
    _opened(w)
    w.pass_time(COOL_DOWN_S)
    w.arm(moment, lambda: w.verb(lambda person: person.reset_breaker("demo:web", "looked")))
    w.look("n3", "ta")


def a_shut_window(w: World, moment: int) -> None:
    """The head waits, and a younger task passes it."""
    w.plan("ta", TaskShape(("n0",), window=SHUT))
    w.plan("tb", TaskShape(("n1",)))
    for node, task in (("n0", "ta"), ("n1", "tb")):
        w.start(node)
        w.look(node, task)
    _acts(w, "n1")


def a_wrong_clock(w: World, moment: int) -> None:
    """By its own clock the window is open."""
    w.plan("ta", TaskShape(("n0",), window=SHUT))
    w.start("n0")
    w.clock_jumps("n0", 3700)
    w.look("n0", "ta")
    w.look("n0", "ta")


def a_clock_that_jumps(w: World, moment: int) -> None:
    """It was right when the node joined the line."""
    w.plan("ta", TaskShape(("n0",), window=SHUT))
    w.start("n0")
    w.look("n0", "ta")
    w.clock_jumps("n0", 3700)
    w.look("n0", "ta")


def a_jump_in_size(w: World, moment: int) -> None:
    """A cluster that shrank is parked; a person approves it while its node looks; the next one is believed."""
    w.plan("ta", TaskShape(("n0",), size=20))
    w.plan("tb", TaskShape(("n1",), size=4))
    w.start("n1")
    w.arm(moment, lambda: w.verb(lambda person: person.approve("tb", "looked at it")))
    w.look("n1", "tb")
    w.verb(lambda person: person.approve("tb", "looked at it"))
    w.plan("tc", TaskShape(("n2",), size=4))


def approved_while_another_is_planned(w: World, moment: int) -> None:
    """Whether a plan is suspicious is decided at the instant at which it is written."""
    w.plan("ta", TaskShape(("n0",), size=20))
    w.plan("tb", TaskShape(("n1",), size=4))
    w.arm(moment, lambda: w.verb(lambda person: person.approve("tb", "looked at it")))
    w.plan("tc", TaskShape(("n2",), size=4))


SCENES: dict[str, Scene] = {
    scene.__name__: scene
    for scene in (
        a_take_while_another_fails,
        a_take_while_it_opens,
        two_ends_at_once,
        an_old_success_while_it_is_open,
        a_probe_that_says_nothing,
        a_probe_whose_machine_is_off,
        a_reset_while_the_probe_takes,
        a_shut_window,
        a_wrong_clock,
        a_clock_that_jumps,
        a_jump_in_size,
        approved_while_another_is_planned,
    )
}


# --- without one rule --------------------------------------------------------------------------------------


def _patched(where: str, instead: Callable[..., Any]) -> Callable[[], AbstractContextManager[object]]:
    return lambda: mock.patch(where, instead)


def _both(*patches: Callable[[], AbstractContextManager[object]]) -> Callable[[], AbstractContextManager[object]]:
    """Either of two rules alone would still find it."""

    @contextmanager
    def together() -> Iterator[object]:
        with ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch())
            yield None

    return together


def _plans(ops: Sequence[Op]) -> bool:
    return any(isinstance(op, Create) and "/open/" in op.path for op in ops) and not verb(ops)


def _on_clusters(op: Op) -> bool:
    return isinstance(op, Set | Check) and op.path.startswith(layout.CLUSTERS)


def _any_success_closes(record: ClusterRecord, **fields: Any) -> ClusterRecord:
    after = breaker.after_end(record, **fields)
    return breaker.reset(after) if fields["outcome"] is Outcome.SUCCEEDED else after


MUTATIONS: dict[str, Mutation] = {
    "an open breaker stops nobody": Mutation(
        scene=a_probe_that_says_nothing, patch=_patched("taskerman.policy.breaker.objection", lambda *args: None)
    ),
    "the probe is not claimed": Mutation(
        scene=a_probe_that_says_nothing,
        patch=_patched("taskerman.coordination.node_moves.claimed", lambda record, attempt: record),
    ),
    "the probe is claimed at any version": Mutation(
        scene=a_take_while_another_fails, edit=unversioned(takes, layout.CLUSTERS)
    ),
    "TAKE does not check the breaker": Mutation(scene=a_take_while_it_opens, edit=without(takes, _on_clusters)),
    "END does not note what failed": Mutation(scene=two_ends_at_once, edit=without(ends, _on_clusters)),
    "END notes it at any version": Mutation(scene=two_ends_at_once, edit=unversioned(ends, layout.CLUSTERS)),
    "any success closes the breaker": Mutation(
        scene=an_old_success_while_it_is_open,
        patch=_patched("taskerman.coordination.ending.after_end", _any_success_closes),
    ),
    "a probe that says nothing stays the probe": Mutation(
        scene=a_probe_that_says_nothing,
        patch=_patched("taskerman.policy.breaker.given_back", lambda record, attempt: record),
    ),
    "a machine that is off stays the probe": Mutation(
        scene=a_probe_whose_machine_is_off,
        patch=_patched("taskerman.coordination.slots.without_probe", lambda tree, attempt: []),
    ),
    "a shut window stops nobody": Mutation(
        scene=a_shut_window, patch=_patched("taskerman.policy.windows.objection", lambda *args: None)
    ),
    "a lane with a shut window lets nobody pass": Mutation(
        scene=a_shut_window, patch=lambda: mock.patch("taskerman.model.plan.Plan.window", None)
    ),
    "nobody compares the clocks": Mutation(
        scene=a_wrong_clock, patch=_patched("taskerman.policy.windows.clock_objection", lambda *args: None)
    ),
    "an old comparison of the clocks is believed": Mutation(
        scene=a_clock_that_jumps,
        patch=_both(
            _patched("taskerman.coordination.line._measured_long_ago", lambda *args: False),
            _patched("taskerman.coordination.line.Line._clock_jumped", lambda *args: False),
        ),
    ),
    "no jump is suspicious": Mutation(
        scene=a_jump_in_size, patch=_patched("taskerman.coordination.router_moves.suspicion", lambda *args: None)
    ),
    "an approval is not believed": Mutation(
        scene=a_jump_in_size, edit=without(lambda ops: verb(ops) == "approve", _on_clusters)
    ),
    "a plan does not check the size that it was compared with": Mutation(
        scene=approved_while_another_is_planned, edit=without(_plans, _on_clusters)
    ),
}
