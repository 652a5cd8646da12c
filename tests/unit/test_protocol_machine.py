"""The protocol keeps its promises in every order of events, and the machine that says so notices when it does not.

`TASKERMAN_EXAMPLES` raises the number of examples (default 1): 50 is a coffee, 1000 a night.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from taskerman.errors import Bug
from taskerman.testing.tree import LostAnswer
from tests.support.protocol_driver import run
from tests.support.protocol_judge import Violation
from tests.support.protocol_mutations import MUTATIONS, Mutation
from tests.support.protocol_rest import finish
from tests.support.protocol_scenes import SCENES, moments
from tests.support.protocol_tasks import CLUSTER, CLUSTERS, ENDINGS, SCOPE, TaskShape
from tests.support.protocol_world import World

TIMES = int(os.environ.get("TASKERMAN_EXAMPLES", "1"))
NODES = ("n0", "n1", "n2")
TASKS = ("ta", "tb")

nodes = st.sampled_from(NODES)
tasks = st.sampled_from(TASKS)
endings = st.sampled_from(sorted(ENDINGS))
shapes = st.builds(
    TaskShape,
    nodes=st.sets(nodes, min_size=1).map(lambda chosen: tuple(sorted(chosen))),
    cap=st.integers(1, 3),
    max_failures=st.integers(0, 1),
    retry_count=st.integers(0, 1),
    owner=st.sampled_from(["gsi", "dba"]),
    lasts_s=st.sampled_from([600, 7 * 86400]),
    cluster=st.sampled_from(CLUSTERS),
    both=st.just(("n0",)),
    priority=st.sampled_from([5, 7]),
    exclusive=st.booleans(),
    scope=st.sampled_from([None, SCOPE]),
)
targets = st.sampled_from(["*", f"cluster:{CLUSTER}", "owner:gsi"])

Thing = Callable[[World], None]
person_does: st.SearchStrategy[Thing] = st.one_of(
    targets.map(lambda on: lambda w: w.verb(lambda p: p.hold(on, "look"))),
    targets.map(lambda on: lambda w: w.verb(lambda p: p.unhold(on, "done"))),
    tasks.map(lambda t: lambda w: w.verb(lambda p: (p.cancel(t, "no"), p.sweep(t)))),
    tasks.map(lambda t: lambda w: w.verb(lambda p: p.resume(t, "go on"))),
    st.tuples(tasks, nodes).map(lambda x: lambda w: w.verb(lambda p: p.redrive(*x, "mended"))),
    st.tuples(tasks, nodes).map(lambda x: lambda w: w.verb(lambda p: p.discard(*x, "never mind"))),
    nodes.map(lambda n: lambda w: w.verb(lambda p: p.release(n, "mended"))),
    nodes.map(lambda n: lambda w: w.node_is_off(n)),
    st.integers(0, 2).map(lambda c: lambda w: w.verb(lambda p: p.set_capacity(SCOPE, c, "as needed"))),
)
agent_does: st.SearchStrategy[Thing] = st.one_of(
    st.tuples(nodes, tasks).map(lambda x: lambda w: w.look(*x)),
    st.tuples(nodes, endings).map(lambda x: lambda w: w.act(*x)),
    st.tuples(nodes, tasks).map(lambda x: lambda w: w.reject(*x)),
)
fault: st.SearchStrategy[Thing] = st.one_of(
    st.tuples(st.sampled_from([*NODES, "router", "person"]), st.sampled_from(list(LostAnswer))).map(
        lambda x: lambda w: w.lose_answer(*x)
    ),
    st.tuples(nodes, st.booleans()).map(lambda x: lambda w: w.crash(x[0], child_too=x[1])),
    st.tuples(nodes, st.booleans()).map(lambda x: lambda w: w.lose_session(x[0], noticed=x[1])),
    nodes.map(lambda n: lambda w: w.cut(n)),
    nodes.map(lambda n: lambda w: w.heal(n)),
    nodes.map(lambda n: lambda w: w.lag(n)),
    st.integers(0, 8).map(lambda i: lambda w: w.deliver(i)),
    st.just(lambda w: w.silence()),
)


class ProtocolMachine(RuleBasedStateMachine):
    """Everything that may happen, in any order, also in the middle of something else."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(task=tasks, shape=shapes)
    def a_task_is_planned(self, task: str, shape: TaskShape) -> None:
        self.world.plan(task, shape)

    @rule(
        node=nodes,
        same_journal=st.booleans(),
        adopt_as=st.sampled_from(["succeeded", "failed", "lost", "lost_well", "deferred"]),
    )
    def an_agent_starts(self, node: str, same_journal: bool, adopt_as: str) -> None:
        self.world.start(node, same_journal=same_journal, adopt_as=adopt_as)

    @rule(does=agent_does)
    def an_agent_goes_on(self, does: Thing) -> None:
        does(self.world)

    @rule(node=nodes, take=st.booleans())
    def an_agent_looks_at_everything(self, node: str, take: bool) -> None:
        for task in TASKS:
            self.world.look(node, task, take=take)

    @rule(node=nodes)
    def an_end_is_tried_again(self, node: str) -> None:
        self.world.end(node)

    @rule(which=st.integers(0, 3), task=tasks, ending=endings)
    def a_fenced_agent_goes_on(self, which: int, task: str, ending: str) -> None:
        self.world.ghost_looks(which, task, ending)

    @rule(does=person_does)
    def a_person_acts(self, does: Thing) -> None:
        does(self.world)

    @rule()
    def a_router_closes(self) -> None:
        self.world.close()

    @rule(does=fault)
    def a_fault_happens(self, does: Thing) -> None:
        does(self.world)

    @rule(after=st.integers(0, 20), does=st.one_of(agent_does, person_does, fault, st.just(lambda w: w.close())))
    def something_will_happen_amidst(self, after: int, does: Thing) -> None:
        self.world.arm(after, lambda: does(self.world))

    @rule(seconds=st.sampled_from([5, 30, 900]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @invariant()
    def no_commit_broke_a_promise(self) -> None:
        self.world.judge.raise_if_violated()

    def teardown(self) -> None:
        self.world.judge.raise_if_violated()
        finish(self.world)


ProtocolMachine.TestCase.settings = settings(
    max_examples=30 * TIMES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
test_no_order_of_events_breaks_a_promise = pytest.mark.timeout(120 * TIMES)(ProtocolMachine.TestCase)


@pytest.mark.timeout(60 * TIMES)
def test_random_walks_break_no_promise_and_explain_always_says_what_the_agent_decided() -> None:
    """Many cheap walks, from seeds: a failing one is `run(seed)`."""
    takes = compared = 0
    for seed in range(20 * TIMES):
        world = run(seed)
        takes, compared = takes + world.judge.takes, compared + world.compared
    assert takes > 50 * TIMES, "the walks go nowhere"
    assert compared > 100 * TIMES, "explain was hardly ever compared"


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_a_scene_ends_well_at_whatever_moment_it_is_disturbed(scene: Callable[[World, int], None]) -> None:
    for moment in moments(scene):
        world = World()
        scene(world, moment)
        world.judge.raise_if_violated()
        finish(world)


def _play(mutation: Mutation) -> None:
    with mutation.patch():
        for attempt in moments(mutation.scene) if mutation.scene else range(400):
            if mutation.scene is None:
                run(attempt, edit=mutation.edit, between=0.3)
                continue
            world = World(edit=mutation.edit)
            mutation.scene(world, attempt)
            world.judge.raise_if_violated()
            finish(world)


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_without_one_rule_the_machine_finds_a_broken_promise(name: str) -> None:
    """Each rule of the protocol is there for a reason, and the proof above would notice its absence."""
    with pytest.raises((Violation, Bug)):
        _play(MUTATIONS[name])
