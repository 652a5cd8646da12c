"""A random walk of agents, tasks, people and a janitor around one bracket; the cluster itself is the judge.

Agents are steps between which anything may happen: answers are lost, commits come late, agents die and begin anew,
another one acts between a read and the commit that rests on it. Their hooks die with them, before or after they had
their effect, and have a deadline; their actions go on without them. The judge believes no record: it knows whether the
cluster is as cluster_begin leaves it, and which actions run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from taskerman.coordination import brackets, layout
from taskerman.coordination.ending import Dice, end_attempt, end_waiting, is_over_after
from taskerman.coordination.node_moves import NodeMoves, Over, Ready
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.errors import AnswerUnknown, CoordinationUnavailable, Fenced, NotFound, RefusedByState, TaskermanError
from taskerman.janitor.closing_brackets import ClosingBrackets
from taskerman.janitor.kit import Kit, Turn
from taskerman.model.attempt import Attempt
from taskerman.model.bracket import Bracket, BracketState
from taskerman.model.outcome import Outcome
from taskerman.model.plan import Plan
from taskerman.policy.conclusion import Ending
from taskerman.policy.upkeep import Upkeep
from taskerman.ports.tree import Op
from taskerman.ringing import ring
from taskerman.testing.tree import LostAnswer, MemoryTree
from tests.support.fleet import CLUSTER, Fleet

__all__ = ["Walk"]

NAME = "silence"
ACTION = "demo_task:restart"
PATH = layout.bracket(CLUSTER, NAME)
HOSTS = ("i-1", "i-2", "i-3", "i-4")
TASKS: dict[str, tuple[Sequence[str], int]] = {
    "t-1": (("i-1", "i-2", "i-3"), 2),
    "t-2": (("i-2", "i-3", "i-4"), 3),
    "t-3": (("i-1", "i-4"), 1),
    "t-4": (("i-1", "i-2", "i-3", "i-4"), 4),
    "t-5": (("i-2", "i-4"), 2),
}
DEADLINE_S = 170.0
T = TypeVar("T")
Steps = Generator[None, None, T]


@dataclass
class Host:
    """A node: what survives its agent, and its agent, when one lives."""

    name: str
    attempt: str = ""
    phase: str = ""
    ending: Ending | None = None
    rung: set[str] = field(default_factory=set)
    life: Steps[None] | None = None
    tree: MemoryTree | None = None
    busy: bool = False
    may_be_off: bool = True


@dataclass
class Walk:
    """`seed` decides everything. `steps`: how long."""

    seed: int
    steps: int = 600
    acted: int = 0
    begins: int = 0
    ends: int = 0
    deaths: int = 0
    sweeps: int = 0

    def go(self) -> None:
        """Walk, and then let everything end. Raises `AssertionError` when a promise was broken."""
        self.dice = random.Random(self.seed)
        self.fleet = Fleet()
        self.fleet.install()
        self.server = self.fleet.server
        self.begun = False
        self.acting: set[str] = set()
        self.hosts = {name: Host(name) for name in HOSTS}
        self.plans: dict[str, Plan] = {}
        self.person = OperatorMoves(self.fleet.tree, "ada@laptop", self.fleet.clock.now)
        self.clock = self.fleet.clock
        kit = Kit(
            tree=self.server.client(),
            queues=self.fleet.queues,
            names=self.fleet.names,
            discoveries={},
            history=None,
            clock=self.clock,
            emit=lambda event: None,
            upkeep=Upkeep(turn_s=20, bracket_idle_s=120),
            by="janitor",
        )
        self.janitor_kit, self.janitor = kit, ClosingBrackets(kit)
        self._arrive("t-1")
        self.server.faults = self._faults
        self.server.before_commit = self._between
        self.faulty = True
        for _ in range(self.steps):
            self._step()
        self._end()

    # --- what happens ------------------------------------------------------------------------------------

    def _step(self) -> None:
        what = self.dice.random()
        self.clock.advance(self.dice.choice((0, 1, 3, 10)))
        if what < 0.80:
            self._go_on(self.hosts[self.dice.choice(HOSTS)])
        elif what < 0.84 and self.acting:
            self.acting.discard(self.dice.choice(sorted(self.acting)))
        elif what < 0.852:
            self._die(self.hosts[self.dice.choice(HOSTS)])
        elif what < 0.91:
            self._keep_house()
        elif what < 0.94:
            self._person_acts()
        elif what < 0.96 and self.server.late:
            self.server.deliver_late(self.dice.randrange(len(self.server.late)))
        elif what < 0.98:
            self.clock.advance(self.dice.choice((60, 300, 700)))
        else:
            self._arrive(self.dice.choice(sorted(TASKS)))

    def _arrive(self, task: str) -> None:
        if task in self.plans:
            return
        nodes, cap = TASKS[task]
        params = {"lease_args": {"concurrency": cap}, "workqueue_args": {"retry_count": 1}}
        quiet, self.server.faults = self.server.faults, None
        self.plans[task] = self.fleet.send(task, params=params, nodes=list(nodes))
        self.server.faults = quiet

    def _faults(self, tree: MemoryTree, ops: Sequence[Op]) -> LostAnswer | None:
        if not self.faulty or tree is self.fleet.tree or self.dice.random() > 0.08:
            return None
        return self.dice.choice(list(LostAnswer))

    def _between(self, tree: MemoryTree, ops: Sequence[Op]) -> None:
        """Somebody else acts between a read and the commit that rests on it."""
        if self.faulty and any(getattr(op, "path", "") == PATH for op in ops) and self.dice.random() < 0.5:
            for _ in range(self.dice.randrange(6)):
                self._go_on(self.hosts[self.dice.choice(HOSTS)])

    def _go_on(self, host: Host) -> None:
        if host.busy:
            return
        if host.life is None:
            host.tree = self.server.client()
            host.life = self._live(host, host.tree)
        host.busy = True
        try:
            next(host.life)
        except (StopIteration, Fenced):
            self._bury(host)
        finally:
            host.busy = False

    def _die(self, host: Host) -> None:
        if host.life is not None and not host.busy:
            self.deaths += 1
            self._bury(host)

    def _bury(self, host: Host) -> None:
        assert host.tree is not None
        host.tree.close()
        host.life = host.tree = None
        host.may_be_off = True

    def _keep_house(self) -> None:
        try:
            self.janitor.do(Turn(1, self.clock.now(), clock_is_right=True))
        except CoordinationUnavailable:
            return
        self.sweeps += 1

    def _person_acts(self) -> None:
        task = self.dice.choice(sorted(self.plans))
        node = self.dice.choice(self.plans[task].nodes).id
        host = self.hosts[node]
        what = self.dice.random()
        try:
            if what < 0.35:
                self.person.resume(task, "go on")
            elif what < 0.65:
                self.person.redrive(task, node, "mended")
                ring(self.fleet.queues, self.fleet.names, self.plans[task], [node])
            elif what < 0.80:
                self.person.release(node, "mended")
            elif what < 0.85:
                self.person.cancel(task, "no")
            elif what < 0.92 and (host.life is None or host.may_be_off):
                # Also of an agent that was only frozen, but never of one that acts or calls a hook: the word is kept.
                if any(attempt.split(".")[1] == node for attempt in self.acting):
                    return
                self.person.node_is_off(node, "it burnt")
            elif what < 0.95:
                self.person.close_bracket(CLUSTER, NAME, "by hand")
                self._undo()
        except (RefusedByState, NotFound, CoordinationUnavailable):
            pass
        except TaskermanError as error:
            if error.code not in ("E-TASK-ENDED", "E-NODE-ACTING"):
                raise

    # --- the cluster, which is the judge -----------------------------------------------------------------

    def _undo(self) -> None:
        assert not self.acting, f"ended while {sorted(self.acting)} act"
        self.begun = False

    def _act(self, attempt: str) -> None:
        assert self.begun, f"{attempt} acts, and the bracket is not begun"
        self.acted += 1
        self.acting.add(attempt)

    # --- an agent ----------------------------------------------------------------------------------------

    def _insist(self, move: Callable[[], T]) -> Steps[T]:
        while True:
            yield
            try:
                return move()
            except CoordinationUnavailable:
                continue

    def _live(self, host: Host, tree: MemoryTree) -> Steps[None]:
        moves = NodeMoves(tree, host.name, f"journal-of-{host.name}")
        started = yield from self._insist(moves.start)
        if started.attempt is not None:
            yield from self._adopt(host, moves, started.attempt)
        while True:
            yield
            self._receive(host)
            task = self.dice.choice(sorted(self.plans))
            plan = self.plans[task]
            if plan.node(host.name) is None:
                continue
            try:
                yield from self._consider(host, moves, plan)
            except CoordinationUnavailable:
                continue

    def _receive(self, host: Host) -> None:
        queue = self.fleet.names.node(host.name)
        if self.fleet.queues.exists(queue):
            for delivery in self.fleet.queues.receive(queue, wait=timedelta(), loan=timedelta(minutes=1)):
                host.rung.add(delivery.body.split('"task_id":"')[1].split('"')[0])
                delivery.ack()

    def _consider(self, host: Host, moves: NodeMoves, plan: Plan) -> Steps[None]:
        task = plan.task.task_id
        standing = moves.stand(plan, self.clock.now(), lambda: None)
        if not isinstance(standing, Ready) and task in host.rung:
            host.rung.discard(task)
            claimed = yield from self._insist(lambda: brackets.claim_end(moves, CLUSTER, NAME, None, self.clock.now()))
            host.may_be_off = False
            if claimed is not None:
                yield from self._call_end(moves, claimed, None)
            host.may_be_off = True
            return
        if isinstance(standing, Over):
            end_waiting(moves, plan, standing, reason="over", now=self.clock.now())
        if not isinstance(standing, Ready):
            return
        yield
        try:
            taken = moves.take(standing, plan, self.clock.now())
        except AnswerUnknown:
            taken = yield from self._insist(lambda: moves.settle_take(standing, plan, self.clock.now()))
        if taken is not None:
            yield from self._attempt(host, moves, plan, taken.attempt)

    def _attempt(self, host: Host, moves: NodeMoves, plan: Plan, attempt: Attempt) -> Steps[None]:
        yield  # an agent may die before it has noted its take
        host.attempt, host.phase, host.ending = attempt.id, "pre_check", None
        if self.dice.random() < 0.15:
            outcome = self.dice.choice((Outcome.SKIPPED, Outcome.DEFERRED, Outcome.FAILED))
            yield from self._finish(host, moves, plan, attempt, Ending(outcome, "said pre_check"))
            return
        entered = yield from self._insist(lambda: brackets.enter(moves, attempt, NAME, ACTION, self.clock.now()))
        host.may_be_off = False
        if entered.begins:
            failed = yield from self._hook("begin")
            if failed:
                yield from self._finish(host, moves, plan, attempt, Ending(Outcome.FAILED, failed))
                return
            entered = yield from self._insist(lambda: brackets.begun(moves, attempt, NAME, ACTION, self.clock.now()))
        if not entered.stands:
            again = self.clock.now() + timedelta(seconds=5)
            ending = Ending(Outcome.DEFERRED, entered.why, until=again)
            yield from self._finish(host, moves, plan, attempt, ending)
            return
        yield
        host.phase = "action"
        yield
        self._act(attempt.id)
        yield from self._watch(host, moves, plan, attempt)

    def _adopt(self, host: Host, moves: NodeMoves, attempt: Attempt) -> Steps[None]:
        plan = self.plans[attempt.task]
        if host.attempt != attempt.id or host.phase == "pre_check":
            yield from self._attempt(host, moves, plan, attempt)
        elif host.phase == "action":
            yield from self._watch(host, moves, plan, attempt)
        else:
            assert host.ending is not None
            yield from self._finish(host, moves, plan, attempt, host.ending)

    def _watch(self, host: Host, moves: NodeMoves, plan: Plan, attempt: Attempt) -> Steps[None]:
        while attempt.id in self.acting:
            yield
        outcome = self.dice.choice((*[Outcome.SUCCEEDED] * 5, Outcome.FAILED, Outcome.FAILED, Outcome.UNSAFE))
        passed = outcome is not Outcome.UNSAFE
        yield from self._finish(host, moves, plan, attempt, Ending(outcome, "acted", post_check_passed=passed))

    def _finish(self, host: Host, moves: NodeMoves, plan: Plan, attempt: Attempt, ending: Ending) -> Steps[None]:
        host.phase, host.ending = "ended", ending
        dice = Dice(self.clock.now(), 0.5)

        def claim() -> Bracket | None:
            if not is_over_after(moves, plan, attempt, ending, dice):
                return None
            return brackets.claim_end(moves, CLUSTER, NAME, attempt, self.clock.now(), over=attempt.task)

        claimed = yield from self._insist(claim)
        host.may_be_off = False
        if claimed is not None:
            yield from self._call_end(moves, claimed, attempt)
        yield from self._insist(lambda: end_attempt(moves, plan, attempt, ending, dice))
        host.attempt = host.phase = ""
        host.may_be_off = True
        if claimed is None:
            host.rung.add(attempt.task)

    def _call_end(self, moves: NodeMoves, claimed: Bracket, attempt: Attempt | None) -> Steps[None]:
        failed = yield from self._hook("end")
        yield from self._insist(lambda: brackets.end_called(moves, claimed, attempt, self.clock.now(), failed or None))

    def _hook(self, which: str) -> Steps[str]:
        """What it failed of; empty: it returned. It has its effect, or not, at one moment."""
        began = self.clock.monotonic()
        for _ in range(self.dice.randrange(4)):
            yield
        if self.clock.monotonic() - began > DEADLINE_S:
            return "its time was over"
        if self.dice.random() < 0.12:
            return "told to fail"
        if which == "begin":
            self.begins += 1
            self.begun = True
        else:
            self.ends += 1
            self._undo()
        for _ in range(self.dice.randrange(3)):
            yield
        if self.clock.monotonic() - began > DEADLINE_S:
            return "its time was over"
        return "told to fail afterwards" if self.dice.random() < 0.08 else ""

    # --- the end -----------------------------------------------------------------------------------------

    def state(self) -> BracketState:
        """Of the bracket."""
        record = self.fleet.tree.get(PATH)
        return layout.decode(Bracket, record, PATH).state if record else BracketState.CLOSED

    def _end(self) -> None:
        """Without faults, and when people have stopped what does not go on: it is ended, and so it is recorded."""
        self.faulty = False
        while self.server.late:
            self.server.deliver_late()
        for task in self.plans:
            try:
                self.person.cancel(task, "the walk is over")
            except TaskermanError:
                continue
        for k in range(4000):
            self.clock.advance(1)
            self.acting -= {attempt for attempt in self.acting if self.dice.random() < 0.3}
            self._go_on(self.hosts[self.dice.choice(HOSTS)])
            if k % 25 == 0:
                self._keep_house()
            if not self.acting and self.state() is BracketState.CLOSED and not self._in_hand():
                break
        assert self.state() is BracketState.CLOSED, f"it was never ended: {self.fleet.tree.get(PATH)}"
        assert not self.begun, "it is recorded as closed, and the cluster is as cluster_begin left it"

    def _in_hand(self) -> bool:
        records = [self.server.dump().get(layout.node(name)) for name in HOSTS]
        return any(record is not None and b'"attempt":null' not in record.data for record in records)
