"""Plain random interleavings of everything that can happen in the protocol's world: many runs a second."""

from __future__ import annotations

import random
from collections.abc import Callable

from taskerman.testing.tree import LostAnswer
from tests.support.protocol_rest import finish
from tests.support.protocol_server import JudgedServer
from tests.support.protocol_tasks import CLUSTER, ENDINGS, OTHER, SCOPE, TaskShape
from tests.support.protocol_world import Filter, Serve, State, World

__all__ = ["run"]

NODES = ("n0", "n1", "n2", "n3")
BOTH = ("n0", "n3")
TASKS = ("ta", "tb", "tc")
BAD = ("failed", "failed_check", "refused", "unsafe", "lost", "deferred", "deferred_cluster", "skipped", "lost_well")


WINDOW = {"windows": [{"opens": "12:00", "closes": "12:10"}, {"opens": "12:30", "closes": "24:00"}]}


def shape(r: random.Random) -> TaskShape:
    """A task of some shape."""
    return TaskShape(
        nodes=tuple(sorted(r.sample(NODES, r.randint(1, len(NODES))))),
        cap=r.randint(1, 3),
        max_failures=r.choice([0, 0, 1, 6]),
        retry_count=r.randint(0, 2),
        owner=r.choice(["gsi", "dba"]),
        lasts_s=r.choice([600, 7 * 86400, 7 * 86400]),
        cluster=r.choice([CLUSTER, CLUSTER, OTHER]),
        both=BOTH,
        priority=r.choice([5, 5, 5, 2, 8]),
        exclusive=r.random() < 0.2,
        scope=r.choice([None, None, SCOPE]),
        window=r.choice([None, None, None, WINDOW]),
        size=r.choice([None, None, 4, 20]),
    )


def _person(w: World, r: random.Random) -> Callable[[], None]:
    task, node = r.choice(TASKS), r.choice(NODES)
    on = r.choice(["*", f"cluster:{CLUSTER}", "owner:gsi"])
    x = r.random()
    if x < 0.14:
        return lambda: w.verb(lambda p: p.hold(on, "look"))
    if x < 0.45:
        return lambda: w.verb(lambda p: p.unhold(on, "done"))
    if x < 0.50:
        return lambda: w.verb(lambda p: (p.cancel(task, "no"), p.sweep(task)))
    if x < 0.54:
        return lambda: w.verb(lambda p: p.sweep(task))
    if x < 0.66:
        return lambda: w.verb(lambda p: p.resume(task, "go on"))
    if x < 0.84:
        return lambda: w.verb(lambda p: p.redrive(task, node, "mended"))
    if x < 0.88:
        return lambda: w.verb(lambda p: p.discard(task, node, "never mind"))
    if x < 0.92:
        return lambda: w.verb(lambda p: p.release(node, "mended"))
    if x < 0.95:
        capacity = r.choice([0, 1, 2])
        return lambda: w.verb(lambda p: p.set_capacity(SCOPE, capacity, "as needed"))
    if x < 0.975:
        return lambda: w.verb(lambda p: p.approve(task, "looked at it"))
    if x < 0.98:
        return lambda: w.verb(lambda p: p.reset_breaker(CLUSTER, "looked at it"))
    return lambda: w.node_is_off(node)


def thing(w: World, r: random.Random) -> Callable[[], None]:
    """One thing that may happen now."""
    node, task, x = r.choice(NODES), r.choice(TASKS), r.random()
    acting = [name for name, actor in w.actors.items() if actor.state is State.ACTING]
    if x < 0.20 and acting:
        task = r.choice(sorted(w.plans) or TASKS)
        one, ending = r.choice(acting), "succeeded" if r.random() < 0.6 else r.choice(BAD)
        return lambda: w.act(one, ending)
    if x < 0.55:
        task = r.choice(sorted(w.plans) or TASKS)
        take = r.random() < 0.9
        return lambda: w.look(node, task, take=take)
    if x < 0.64:
        return lambda: w.end(node)
    if x < 0.75:
        return _person(w, r)
    if x < 0.80:
        wanted = shape(r)
        return lambda: w.plan(task, wanted)
    if x < 0.82:
        return w.close
    if x < 0.86:
        seconds = r.choice([5, 30, 60, 900])
        return lambda: w.pass_time(seconds)
    if x < 0.89:
        which = r.randrange(9)
        return lambda: w.deliver(which)
    if x < 0.91:
        child = r.random() < 0.5
        return lambda: w.crash(node, child_too=child)
    if x < 0.96:
        same = r.random() < 0.9
        adopt_as = r.choice(["succeeded", "failed", "lost", "lost_well", "deferred"])
        return lambda: w.start(node, same_journal=same, adopt_as=adopt_as)
    if x < 0.97:
        ending = r.choice(sorted(ENDINGS))
        return lambda: w.ghost_looks(0, task, ending)
    if x < 0.975:
        return lambda: w.reject(node, task)
    if x < 0.98:
        noticed = r.random() < 0.5
        return lambda: w.lose_session(node, noticed=noticed)
    if x < 0.985:
        return lambda: w.cut(node)
    if x < 0.993:
        return lambda: w.heal(node)
    if x < 0.996:
        return lambda: w.lag(node)
    return w.silence


def run(
    seed: int,
    *,
    steps: int = 250,
    lost: float = 0.06,
    between: float = 0.15,
    edit: Filter | None = None,
    serve: Serve = JudgedServer,
) -> World:
    """One run. `lost`: how often an answer is lost; `between`: how often something happens amidst something else."""
    r = random.Random(seed)
    w = World(edit=edit, serve=serve)
    for task in TASKS[: r.randint(1, 2)]:
        w.plan(task, shape(r))
    for node in NODES:
        w.start(node)
    for _ in range(steps):
        if r.random() < lost:
            w.lose_answer(r.choice([*NODES, "router", "person"]), r.choice(list(LostAnswer)))
        if r.random() < between:
            w.arm(r.randrange(12), thing(w, r))
        thing(w, r)()
        w.judge.raise_if_violated()
    finish(w)
    return w
