"""The in-memory tree and a real ZooKeeper, driven alike, answer alike: all fast tests stand on that.

Two clients on each; every answer, every wake and, after every step, the whole tree is compared: data, versions,
children versions, sequence numbers, owners, refusals and where they were. Only clocks are not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from taskerman.errors import AnswerUnknown
from taskerman.ports.tree import (
    Check,
    Children,
    Committed,
    Create,
    Delete,
    Exists,
    Get,
    Link,
    Names,
    Op,
    Read,
    Record,
    Set,
    Stat,
    Tree,
    Wake,
)
from taskerman.testing.tree import LostAnswer
from taskerman.testing.zookeeper_server import ZookeeperServer
from tests.support.tree_ground import Bell, Ground, MemoryGround, ZookeeperGround
from tests.support.waiting import until

BARRIER = "/barrier"  # of its own, so that waiting for wakes wakes nobody else
FRESH = ("/a", "/a/b", "/a/c", "/a/b/d", "/e", "/e/f")
CLIENTS = (0, 1)
EXAMPLES = int(os.environ.get("TASKERMAN_TEST_MACHINE_EXAMPLES", "25"))  # more of them find more, at 1.5 s each


@dataclass(frozen=True)
class Target:
    """A path: one of the usual, or the n-th of those that are there."""

    fresh: str | None
    nth: int


@dataclass(frozen=True)
class Plan:
    """One operation before its path and version are known."""

    kind: type[Op]
    target: Target
    data: bytes
    version: str
    ephemeral: bool
    suffix: str | None


targets = st.builds(Target, fresh=st.sampled_from((*FRESH, None, None)), nth=st.integers(0, 20))
plans = st.builds(
    Plan,
    kind=st.sampled_from((Create, Create, Set, Delete, Check)),
    target=targets,
    data=st.binary(max_size=3),
    version=st.sampled_from(("any", "current", "current", "before", "after")),
    ephemeral=st.booleans(),
    suffix=st.sampled_from((None, None, "/", "/s.", "")),
)
transactions = st.lists(plans, min_size=1, max_size=5)
readings = st.lists(st.tuples(st.sampled_from((Get, Exists, Children)), targets, st.booleans()), min_size=1, max_size=4)


@dataclass
class Side:
    """One of the two implementations."""

    ground: Ground
    trees: list[Tree]
    labels: dict[int, str]

    def label(self, name: str, client: int) -> None:
        session = self.trees[client].session
        assert session is not None
        self.labels[session] = name

    def plain(self, answer: object) -> object:
        """An answer without what cannot be equal: clocks, and the numbers of sessions."""
        match answer:
            case Stat():
                owner = self.labels[answer.owner] if answer.owner else ""
                return (answer.version, answer.children_version, answer.children, owner)
            case Record():
                return (answer.data, self.plain(answer.stat))
            case Names():
                return (answer.names, self.plain(answer.stat))
            case Committed():
                return tuple(self.plain(result) for result in answer.results)
            case _:
                return answer


class TwoTrees(RuleBasedStateMachine):
    """Whatever happens to one happens to the other."""

    server: ClassVar[ZookeeperServer]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.memory = Side(MemoryGround(), [], {})
        self.real = Side(ZookeeperGround(self.server, self.stack), [], {})
        self.sides = (self.memory, self.real)
        self.bells: list[tuple[int, Bell, Bell]] = []
        self.sessions = self.barriers = 0
        for side in self.sides:
            side.trees += [side.ground.open() for _ in CLIENTS]
        for client in CLIENTS:
            self.new_session(client)
        self.alike(lambda side: side.trees[0].commit([Create(BARRIER)]))

    def teardown(self) -> None:
        try:
            self.wakes_are_alike()
        finally:
            self.stack.close()

    # --- rules -------------------------------------------------------------------------------------------

    @rule(client=st.sampled_from(CLIENTS), transaction=transactions)
    def commit(self, client: int, transaction: list[Plan]) -> None:
        ops = self.resolve(transaction)
        self.alike(lambda side: side.trees[client].commit(ops))

    @rule(client=st.sampled_from(CLIENTS), reading=readings)
    def read(self, client: int, reading: list[tuple[type[Read], Target, bool]]) -> None:
        bell = (Bell(), Bell())
        self.bells.append((client, *bell))

        def reads(wake: Wake) -> Iterator[Read]:
            for kind, target, watch in reading:
                yield kind(self.path(target), wake if watch else None)

        asked = {id(side): tuple(reads(wake)) for side, wake in zip(self.sides, bell, strict=True)}
        self.alike(lambda side: tuple(map(side.plain, side.trees[client].read(*asked[id(side)]))))

    @rule(client=st.sampled_from(CLIENTS), chosen=st.lists(targets, max_size=3))
    def ensure(self, client: int, chosen: list[Target]) -> None:
        ephemeral = {path for path, record in self.everything().items() if record.stat.owner}
        paths = [path for path in map(self.path, chosen) if not any(path.startswith(f"{e}/") for e in ephemeral)]
        self.alike(lambda side: side.trees[client].ensure(*paths))

    @rule(client=st.sampled_from(CLIENTS), became=st.sampled_from(LostAnswer), mine=transactions, others=transactions)
    def lose_an_answer(self, client: int, became: LostAnswer, mine: list[Plan], others: list[Plan]) -> None:
        ops, meanwhile = self.resolve(mine), self.resolve(others)
        for side in self.sides:
            side.ground.lose_answer(side.trees[client], became)
            with pytest.raises(AnswerUnknown):
                side.trees[client].commit(ops)
        if became is LostAnswer.LATE:
            self.alike(lambda side: side.trees[1 - client].commit(meanwhile))
            for side in self.sides:
                side.ground.deliver_late(side.trees[client])
                side.ground.heal(side.trees[client])
        until(lambda: self.real.trees[client].link is Link.UP, "the client is back")

    @rule(client=st.sampled_from(CLIENTS), meanwhile=transactions)
    def cut_and_heal(self, client: int, meanwhile: list[Plan]) -> None:
        ops = self.resolve(meanwhile)
        for side in self.sides:
            side.ground.cut(side.trees[client])
        self.alike(lambda side: side.trees[1 - client].commit(ops))
        for side in self.sides:
            side.ground.heal(side.trees[client])

    @rule(client=st.sampled_from(CLIENTS))
    def expire(self, client: int) -> None:
        for side in self.sides:
            side.ground.expire(side.trees[client])
        self.new_session(client)

    @rule(client=st.sampled_from(CLIENTS))
    def close_and_open(self, client: int) -> None:
        self.wakes_are_alike()
        self.bells = [bell for bell in self.bells if bell[0] != client]
        for side in self.sides:
            side.trees[client].close()
            side.trees[client].open()
        self.new_session(client)

    @rule()
    def wakes_are_alike(self) -> None:
        """After a change that every client has watched, all wakes that were due before it have come."""
        for client in CLIENTS:
            self.barriers += 1
            path = f"{BARRIER}/{self.barriers}"
            for side in self.sides:
                bell = Bell()
                side.trees[client].read(Exists(path, bell))
                side.trees[client].commit([Create(path)])
                bell.wait()
        assert [memory.rung for _, memory, _ in self.bells] == [real.rung for _, _, real in self.bells]

    @invariant()
    def the_trees_are_alike(self) -> None:
        paths = tuple(self.everything())
        reads: tuple[Read, ...] = (*map(Get, paths), *map(Children, paths))
        self.alike(lambda side: tuple(map(side.plain, side.trees[0].read(*reads))))

    # --- words -------------------------------------------------------------------------------------------

    def alike(self, act: Callable[[Side], object]) -> None:
        """Do the same on both sides, and compare what comes of it."""
        memory, real = (side.plain(act(side)) for side in self.sides)
        assert memory == real

    def new_session(self, client: int) -> None:
        self.sessions += 1
        for side in self.sides:
            side.label(f"session {self.sessions}", client)

    def everything(self) -> dict[str, Record]:
        assert isinstance(self.memory.ground, MemoryGround)
        dump = self.memory.ground.server.dump()
        return {path: record for path, record in dump.items() if not path.startswith(BARRIER)}

    def path(self, target: Target) -> str:
        there = tuple(path for path in self.everything() if path != "/")
        return target.fresh or (there[target.nth % len(there)] if there else FRESH[0])

    def resolve(self, transaction: list[Plan]) -> list[Op]:
        return [self.operation(plan) for plan in transaction]

    def operation(self, plan: Plan) -> Op:
        path = self.path(plan.target)
        if plan.kind is Create:
            sequence = plan.suffix is not None
            return Create(path + (plan.suffix or ""), plan.data, plan.ephemeral, sequence)
        record = self.everything().get(path)
        current = 0 if record is None else record.stat.version
        version = {"any": None, "current": current, "before": max(current - 1, 0), "after": current + 1}[plan.version]
        if plan.kind is Set:
            return Set(path, plan.data, version)
        return Delete(path, version) if plan.kind is Delete else Check(path, version)


@pytest.mark.real
@pytest.mark.timeout(900)
def test_the_in_memory_tree_is_a_true_copy(zookeeper: ZookeeperServer) -> None:
    class OnThisServer(TwoTrees):
        server = zookeeper

    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
