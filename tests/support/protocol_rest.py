"""How the protocol's world comes to rest: faults end, everybody comes back, and a person does what the reasons say."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.coordination import layout
from taskerman.coordination.snapshot import read_snapshot
from taskerman.model.task import TaskState
from taskerman.policy.admission import admit
from tests.support.protocol_judge import Violation
from tests.support.protocol_tasks import CLUSTERS, SCOPE
from tests.support.protocol_world import State, World

__all__ = ["finish"]

_STARTS = 3


def finish(w: World) -> None:
    """Faults end, everybody comes back, time passes, and a person does what `explain` says. Everything ends."""
    w._armed.clear()
    w.server.heal(w.router_tree, w.person_tree)
    for name in list(w.unpublished):
        w.router_tree._lost.clear()
        w.router.publish(w.unpublished[name])
        w.plans[name] = w.unpublished.pop(name)
    for tree in [w.router_tree, w.person_tree, *(a.tree for a in w.actors.values())]:
        tree._lost.clear()
        w.server.catch_up(tree)
    while w.server.late:
        w.deliver(0)
    for ghost in list(w.fenced_away):
        w._over(ghost)
    w.fenced_away.clear()
    while w.lingering:
        w.silence()
    for hold in w.router.installation().holds:
        w.person.unhold(hold.id, "the end")
    w.person.set_capacity(SCOPE, 2, "the end")
    nodes = sorted({node.id for plan in w.plans.values() for node in plan.nodes})
    for node in nodes:
        actor = w.actors.get(node)
        if actor is not None and actor.state is not State.OVER:
            w.server.heal(actor.tree)
            actor.clock_off_s = 0
        for _ in range(_STARTS):  # an agent that cannot be reached, or whose session has ended, tries again
            w.start(node)
    for _ in range(40):
        _rest(w, nodes)
        w.judge.raise_if_violated()
        if not _a_person_helps(w):
            break
    else:
        raise Violation("a person helps and helps, and it does not end")
    _all_ended(w)


def _rest(w: World, nodes: Sequence[str]) -> None:
    """Let everybody go on until nothing moves any more, whatever the time."""
    quiet = 0
    for _ in range(200):
        before = w.server.commits
        for node in nodes:
            for task in sorted(w.plans):
                w.look(node, task)
                w.act(node, "succeeded")
        quiet = quiet + 1 if w.server.commits == before else 0
        if quiet > 1:
            return
        w.clock.advance(60 if not quiet else 3600)
    raise Violation("it does not come to rest")


def _a_person_helps(w: World) -> bool:
    """Do what the reasons say. False: nothing is left to do. A reason that no person can help is a stall."""
    helped = False
    why: list[str] = []
    for task, plan in w.plans.items():
        control = w.server.view().control(task)
        if control.state is TaskState.CANCELLED:
            for _ in range(3):
                if not w.person.sweep(task):
                    break
        left = w.router.unended(plan)
        if not left:
            continue
        if control.state is TaskState.PARKED:
            w.person.approve(task, "the end")
            helped = True
            continue
        if control.state is TaskState.HALTED:
            w.person.resume(task, "the end")
            helped = True
            continue
        for node in left:
            said = admit(read_snapshot(w.person_tree, plan, node, w.clock.now()), w.clock.now())
            why.append(f"{task}/{node}: {said}")
    kept = {slot.node for cluster in CLUSTERS for slot in w.server.view().slots(cluster) if slot.state.kept}
    for node in sorted(kept):
        if w.server.view().node(node).attempt is None:
            w.person.release(node, "the end")
            helped = True
    if why and not helped:
        raise Violation(f"L stall, and no person is asked for anything: {why}")
    return helped


def _all_ended(w: World) -> None:
    w.router.close_ended()
    view = w.server.view()
    for cluster in CLUSTERS:
        if view.headers(cluster):
            raise Violation(f"still open in {cluster}: {view.headers(cluster)}")
    for scope in view.children(layout.SCOPES):
        if view.slots(scope):
            raise Violation(f"leaked slots {view.slots(scope)} in {scope}")
    for node in view.children(layout.NODES):
        if view.node(node).attempt is not None:
            raise Violation(f"{node} is still in an attempt")
    for task in w.plans:
        if view.children(layout.progresses(task)):
            raise Violation(f"{task} left progress records")
        if any(
            view.children(lane) for lane in map(f"{layout.lines(task)}/{{}}".format, view.children(layout.lines(task)))
        ):
            raise Violation(f"{task} left entries in its line")
    if view.places():
        raise Violation(f"leaked places {view.places()}")
    if w.children.keys() - w.orphans:
        raise Violation(f"children act on: {w.children}")
    w.judge.raise_if_violated()
