"""A little world in which the protocol is attacked: agents, a router and a person over the in-memory tree.

Every method of `World` is one thing that may happen; none of them waits. A method that makes no sense now does
nothing. `arm` lets one thing happen in the middle of another: before its n-th read or commit from now. The judge sees
every commit; `protocol_rest` brings the world to rest and asks whether everything came to an end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto

from taskerman.coordination import layout
from taskerman.coordination.ending import Dice, end_attempt, end_waiting
from taskerman.coordination.node_moves import Ended, NodeMoves, Over, Ready
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.router_moves import RouterMoves
from taskerman.coordination.snapshot import read_snapshot
from taskerman.errors import (
    AnswerUnknown,
    CoordinationUnavailable,
    DocumentFieldInvalid,
    Fenced,
    NotFound,
    RefusedByState,
)
from taskerman.model.attempt import Attempt
from taskerman.model.outcome import DeadLetterState, Outcome
from taskerman.model.plan import Plan
from taskerman.policy.admission import admit
from taskerman.policy.conclusion import Ending
from taskerman.policy.snapshot import COURTESY, Admitted, Reason, Waiting
from taskerman.ports.tree import Op, Read
from taskerman.testing.clock import ManualClock
from taskerman.testing.tree import LostAnswer, MemoryTree
from tests.support.protocol_judge import Judge, Violation
from tests.support.protocol_server import JudgedServer
from tests.support.protocol_tasks import ENDINGS, SCOPE, TaskShape, plan_of

__all__ = ["Actor", "Filter", "Serve", "State", "World"]


class State(Enum):
    """Where one process of an agent is."""

    STARTING = auto()
    IDLE = auto()
    UNSETTLED = auto()
    ACTING = auto()
    ENDING = auto()
    OVER = auto()


@dataclass(eq=False)
class Actor:
    """One process of one node's agent."""

    node: str
    tree: MemoryTree
    moves: NodeMoves
    state: State = State.STARTING
    ready: Ready | None = None
    plan: Plan | None = None
    attempt: Attempt | None = None
    ending: Ending | None = None
    adopt_as: str = "lost"
    clock_off_s: float = 0
    known: dict[str, Plan] = field(default_factory=dict)


@dataclass(frozen=True)
class Armed:
    """Something that happens in the middle of something else."""

    after: int
    what: Callable[[], None]


Filter = Callable[[list[Op]], list[Op]]
Serve = Callable[[Judge, ManualClock], JudgedServer]


class World:
    """All of it. `edit` changes what agents, router and person commit: a mutation of the protocol. `serve`: makes the
    server."""

    judged_by: type[Judge] = Judge

    def __init__(self, *, edit: Filter | None = None, serve: Serve = JudgedServer) -> None:
        self.clock: ManualClock = ManualClock()
        self.judge: Judge = self.judged_by(now=self.clock.now)
        self.judge.on_person_freed = self._person_freed
        self.server = serve(self.judge, self.clock)
        self.server.interleave = self._between
        self.server.before_commit = self._before_commit
        self._edit = edit
        self._armed: deque[Armed] = deque()
        self._busy: set[str] = set()
        self.router_tree, self.person_tree = self._client(), self._client()
        self.router = RouterMoves(self.router_tree)
        self.person = OperatorMoves(self.person_tree, "ann", self.clock.now)
        self.person.install("a test")
        self.person.unhold("*", "a test")
        self.person.set_capacity(SCOPE, 2, "a test")
        self.plans: dict[str, Plan] = {}
        self.unpublished: dict[str, Plan] = {}
        self.actors: dict[str, Actor] = {}
        self.fenced_away: list[Actor] = []
        self.lingering: list[MemoryTree] = []
        self.children: dict[tuple[str, str], Attempt] = {}
        self.orphans: set[tuple[str, str]] = set()
        self.compared = 0
        self._journals = 0

    # --- hooks ---------------------------------------------------------------------------------------------

    def _client(self) -> MemoryTree:
        tree = self.server.client()
        if self._edit is not None:
            edit, commit = self._edit, tree.commit
            tree.commit = lambda ops: commit(edit(list(ops)))  # type: ignore[method-assign]
        return tree

    def arm(self, after: int, what: Callable[[], None]) -> None:
        """Let `what` happen before the `after`-th read or commit from now (after those armed before it)."""
        if len(self._armed) < 3:
            self._armed.append(Armed(after, what))

    def _between(self, tree: MemoryTree, read: Read) -> None:
        self._tick()

    def _before_commit(self, tree: MemoryTree, ops: Sequence[Op]) -> None:
        self._tick()

    def _tick(self) -> None:
        if not self._armed or not self._busy:
            return
        first = self._armed.popleft()
        if first.after > 0:
            self._armed.appendleft(Armed(first.after - 1, first.what))
            return
        first.what()

    def _alone(self, name: str, what: Callable[[], None]) -> None:
        """Do it as `name`, unless `name` is in the middle of something."""
        if name in self._busy:
            return
        self._busy.add(name)
        try:
            what()
        finally:
            self._busy.discard(name)

    # --- the router ----------------------------------------------------------------------------------------

    def plan(self, name: str, shape: TaskShape) -> None:
        """A document is accepted."""
        if name in self.plans:
            return
        try:
            plan = self.unpublished.setdefault(name, plan_of(name, shape, self.clock))
        except DocumentFieldInvalid:
            return  # its window does not open before it is over

        def publish() -> None:
            try:
                self.router.publish(plan)
            except CoordinationUnavailable:
                return
            self.plans[name] = self.unpublished.pop(name)

        self._alone("router", publish)

    def close(self) -> None:
        """A router sweeps."""
        self._alone("router", lambda: self._quietly(self.router.close_ended))

    @staticmethod
    def _quietly(what: Callable[[], object]) -> None:
        try:
            what()
        except CoordinationUnavailable:
            return

    # --- agents --------------------------------------------------------------------------------------------

    def start(self, node: str, *, same_journal: bool = True, adopt_as: str = "lost") -> None:
        """A process of the node's agent starts. With another journal it may start beside the one that is there."""
        old = self.actors.get(node)
        if old is not None and old.state is State.STARTING:
            self._alone(node, lambda: self._start(old))
            return
        if old is not None and old.state is not State.OVER:
            if same_journal or node in self._busy:
                return  # the flock
            self.fenced_away.append(old)
        if old is None or not same_journal:
            self._journals += 1
        journal = old.moves.journal if old is not None and same_journal else f"journal-{self._journals}"
        tree = self._client()
        actor = Actor(node, tree, NodeMoves(tree, node, journal, monotonic=self.clock.monotonic), adopt_as=adopt_as)
        self.actors[node] = actor
        self._alone(node, lambda: self._start(actor))

    def _start(self, actor: Actor) -> None:
        try:
            started = actor.moves.start()
        except CoordinationUnavailable:
            return
        except Fenced:
            self._over(actor)
            return
        session = actor.tree.session
        if session is not None:
            self.judge.epoch_of[session] = (actor.node, actor.moves.epoch)
        actor.state = State.IDLE
        if started.attempt is None:
            return
        attempt = started.attempt
        actor.attempt, actor.plan = attempt, self.plans.get(attempt.task) or self.unpublished[attempt.task]
        key = (actor.node, attempt.id)
        if started.journal != actor.moves.journal:
            if key in self.children:
                self.orphans.add(key)
            self._give(actor, ENDINGS["lost"](self.clock.now()))
        elif key in self.children:
            actor.state = State.ACTING
        else:
            self._give(actor, ENDINGS[actor.adopt_as](self.clock.now()))

    def _give(self, actor: Actor, ending: Ending) -> None:
        assert actor.attempt is not None
        actor.ending, actor.state = ending, State.ENDING
        self.judge.endings[actor.attempt.id].append(ending)

    def crash(self, node: str, *, child_too: bool) -> None:
        """The process vanishes; its session lives on for a while, and its child too unless said otherwise."""
        actor = self.actors.get(node)
        if actor is None or node in self._busy or actor.state is State.OVER:
            return
        if child_too and actor.attempt is not None:
            self.children.pop((node, actor.attempt.id), None)
        self._over(actor)

    def _over(self, actor: Actor) -> None:
        actor.state = State.OVER
        self.lingering.append(actor.tree)
        if actor.attempt is not None and (actor.node, actor.attempt.id) in self.children:
            self.orphans.add((actor.node, actor.attempt.id)) if self.actors.get(actor.node) is not actor else None

    def silence(self) -> None:
        """The server ends the oldest session whose process is gone."""
        if self.lingering:
            self.server.expire(self.lingering.pop(0))

    def lose_session(self, node: str, *, noticed: bool) -> None:
        """The node's session ends although its process lives."""
        actor = self.actors.get(node)
        if actor is not None and actor.state is not State.OVER:
            self.server.expire(actor.tree, noticed=noticed)
            self._know(actor)

    def _know(self, actor: Actor) -> None:
        if actor.tree.session is not None and actor.moves.epoch:
            self.judge.epoch_of[actor.tree.session] = (actor.node, actor.moves.epoch)

    def cut(self, node: str) -> None:
        """The node is cut off."""
        actor = self.actors.get(node)
        if actor is not None and actor.state is not State.OVER:
            self.server.cut(actor.tree)

    def heal(self, node: str) -> None:
        """It is connected again."""
        actor = self.actors.get(node)
        if actor is not None and actor.state is not State.OVER:
            self.server.heal(actor.tree)
            self._know(actor)

    def lag(self, node: str) -> None:
        """What the node reads stands still for a while."""
        actor = self.actors.get(node)
        if actor is not None and actor.state is not State.OVER:
            self.server.lag(actor.tree)

    def clock_jumps(self, node: str, seconds: float) -> None:
        """The node's clock is wrong by so much from now on."""
        actor = self.actors.get(node)
        if actor is not None:
            actor.clock_off_s = seconds

    def lose_answer(self, who: str, became: LostAnswer) -> None:
        """The next commit of a node, "router" or "person" gets no answer."""
        if who in ("router", "person"):
            (self.router_tree if who == "router" else self.person_tree).lose_next_answer(became)
        elif who in self.actors and self.actors[who].state is not State.OVER:
            self.actors[who].tree.lose_next_answer(became)

    def look(self, node: str, task: str, *, take: bool = True) -> None:
        """The agent looks where it stands, and does what follows."""
        actor = self.actors.get(node)
        if actor is not None:
            self._alone(node, lambda: self._act(actor, lambda: self._look(actor, task, take)))

    def ghost_looks(self, which: int, task: str, ending: str) -> None:
        """A process goes on that does not know that another one was started."""
        if not self.fenced_away:
            return
        ghost = self.fenced_away[which % len(self.fenced_away)]
        if ghost.state is State.ACTING:
            self._give(ghost, ENDINGS[ending](self.clock.now()))
            assert ghost.attempt is not None
            self.children.pop((ghost.node, ghost.attempt.id), None)
            self.judge.endings[ghost.attempt.id].pop()
        self._alone(ghost.node, lambda: self._act(ghost, lambda: self._look(ghost, task, True)))

    def _act(self, actor: Actor, what: Callable[[], None]) -> None:
        try:
            what()
        except CoordinationUnavailable:
            return
        except Fenced:
            self._over(actor)
            if actor in self.fenced_away:
                self.fenced_away.remove(actor)

    def _look(self, actor: Actor, task: str, take: bool) -> None:
        if actor.state is State.UNSETTLED:
            self._settle(actor)
            return
        if actor.state is State.ENDING:
            self._end(actor)
            return
        if actor.state is not State.IDLE:
            return
        plan = actor.known.get(task) or actor.moves.plan(task)
        if not isinstance(plan, Plan):
            return
        actor.plan = actor.known[task] = plan
        others = self.server.commits, len(self._armed)
        now = self.clock.now() + timedelta(seconds=actor.clock_off_s)
        standing = actor.moves.stand(plan, now, lambda: None)
        in_time = not self._armed and others[1] == 0 and not actor.clock_off_s
        if isinstance(standing, Ready | Waiting) and in_time:
            self._compare(plan, actor, standing)
        if isinstance(standing, Ready) and take:
            actor.ready = standing
            try:
                taken = actor.moves.take(standing, plan, now)
            except AnswerUnknown:
                actor.state = State.UNSETTLED
                return
            if taken is not None:
                self._begin(actor, taken.attempt)
        elif isinstance(standing, Over):
            end_waiting(actor.moves, plan, standing, reason="over", now=now)
        elif isinstance(standing, Ended) and standing.end.dead_letter is DeadLetterState.OWED:
            self.announce(actor, task, standing)

    def announce(self, actor: Actor, task: str, ended: Ended) -> None:
        """The agent sends its dead letter, and notes it."""
        actor.moves.announced(task, ended)

    def _compare(self, plan: Plan, actor: Actor, standing: Ready | Waiting) -> None:
        """What `explain` prints is what the agent decided."""
        if actor.tree._view is not None:
            return  # it reads what is old
        said = admit(read_snapshot(self.person_tree, plan, actor.node, self.clock.now()), self.clock.now())
        if isinstance(standing, Waiting) and standing.reason is Reason.PLACE:
            if isinstance(said, Admitted):
                raise Violation(f"explain admits {actor.node}, which stands behind others")
            return  # only the head looks around
        if isinstance(standing, Waiting) and standing.reason is Reason.NOT_IN_LINE:
            return
        if isinstance(standing, Ready) and standing.passes:
            if isinstance(said, Admitted) or said.reason not in COURTESY:
                raise Violation(f"{actor.node} passes others, and explain says {said}")
            return
        agrees = isinstance(said, Admitted) if isinstance(standing, Ready) else said == standing
        if not agrees:
            raise Violation(f"the agent of {actor.node} decided {standing}, and explain says {said}")
        self.compared += 1

    def _settle(self, actor: Actor) -> None:
        assert actor.ready is not None
        assert actor.plan is not None
        plan = actor.plan
        taken = actor.moves.settle_take(actor.ready, plan, self.clock.now())
        actor.state = State.IDLE
        if taken is not None:
            self._begin(actor, taken.attempt)

    def _begin(self, actor: Actor, attempt: Attempt) -> None:
        actor.attempt, actor.state = attempt, State.ACTING
        for key in [key for key in self.children if key[0] == actor.node]:
            if key in self.orphans and attempt.inherited is not None:
                self._forget(key)  # a person had it tried again
            else:
                raise Violation(f"two children on one node: {key[1]} and {attempt.id}")
        self.children[actor.node, attempt.id] = attempt
        for scope in attempt.clusters:
            here = {node: child for (node, _), child in self.children.items() if scope in child.scopes}
            kept = [slot.node for slot in self.server.view().slots(scope) if slot.state.kept]
            here |= {node: self.judge.holder(node, scope) for node in kept}
            if len(here) > min(child.cap for child in here.values()):
                raise Violation(f"S1 over capacity in the flesh of {scope}: {sorted(here)}")
            if len({child.task for child in here.values()}) > 1 and any(c.exclusive for c in here.values()):
                raise Violation(f"S1 not alone in the flesh of {scope}: {sorted(here)}")

    def _forget(self, key: tuple[str, str]) -> None:
        self.children.pop(key, None)
        self.orphans.discard(key)

    def _person_freed(self, node: str) -> None:
        for key in [key for key in self.children if key[0] == node]:
            self._forget(key)

    def act(self, node: str, ending: str) -> None:
        """What acts on the node comes to its end, and the agent records it."""
        actor = self.actors.get(node)
        if actor is None or node in self._busy or actor.state is not State.ACTING:
            return
        assert actor.attempt is not None
        self._forget((node, actor.attempt.id))
        self._give(actor, ENDINGS[ending](self.clock.now()))
        self.end(node)

    def end(self, node: str) -> None:
        """The agent goes on recording an end."""
        actor = self.actors.get(node)
        if actor is not None and actor.state is State.ENDING:
            self._alone(node, lambda: self._act(actor, lambda: self._end(actor)))

    def _end(self, actor: Actor) -> None:
        assert actor.plan is not None
        assert actor.attempt is not None
        assert actor.ending is not None
        end_attempt(actor.moves, actor.plan, actor.attempt, actor.ending, Dice(self.clock.now(), 0.5))
        actor.state, actor.attempt, actor.ending = State.IDLE, None, None

    def reject(self, node: str, task: str) -> None:
        """The node's build does not know the action."""
        actor = self.actors.get(node)
        if actor is None or actor.state is not State.IDLE or task not in self.plans:
            return
        plan = self.plans[task]
        if plan.node(node) is None:
            return

        def rejected() -> None:
            end_waiting(actor.moves, plan, Outcome.REJECTED, reason="unknown action", now=self.clock.now())

        self._alone(node, lambda: self._act(actor, rejected))

    # --- a person ------------------------------------------------------------------------------------------

    def verb(self, what: Callable[[OperatorMoves], object]) -> None:
        """A person does something. A verb that was refused changed nothing; one that was done is audited once."""

        def do() -> None:
            before = self._audited()
            late = len(self.server.late)
            try:
                what(self.person)
            except (RefusedByState, NotFound) as error:
                if self._audited() - before and late == len(self.server.late):
                    raise Violation(f"a verb was refused ({error}), and done") from error
            except CoordinationUnavailable:
                return

        self._alone("person", do)

    def node_is_off(self, node: str) -> None:
        """A machine is off, and a person says so."""
        if node in self._busy:
            return
        actor = self.actors.get(node)
        if actor is not None and actor.state is not State.OVER:
            self._over(actor)
        for ghost in [ghost for ghost in self.fenced_away if ghost.node == node]:
            self._over(ghost)
            self.fenced_away.remove(ghost)
        self._person_freed(node)
        self.verb(lambda person: person.node_is_off(node, "the fuse blew"))

    def _audited(self) -> set[str]:
        """What the person did; janitors lift holds, and move old entries away."""
        view = self.server.view()
        paths = (f"{layout.AUDIT}/{name}" for name in view.children(layout.AUDIT))
        return {path for path in paths if b'"by":"ann"' in view.data[path]}

    # --- the world -----------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    def deliver(self, which: int) -> None:
        """A commit that was long on its way arrives."""
        if self.server.late:
            self.server.deliver_late(which % len(self.server.late))
