"""The protocol's world with janitors in it: machines that end, time that is over, slots that last, the past put away.

The janitors are the daemon's own chores over the same tree, made by two at a time whenever it pleases the test: nobody
asks who leads. The judge learns which machines did end, and looks into the history before it believes a deletion.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from taskerman.announcing import announce
from taskerman.coordination import layout
from taskerman.coordination.node_moves import Ended
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.errors import CoordinationUnavailable, TaskermanError
from taskerman.janitor import Janitor
from taskerman.janitor.kit import Kit, Turn
from taskerman.model.attempt import Attempt
from taskerman.model.audit import AuditEntry
from taskerman.model.cluster import Node
from taskerman.model.event import Event
from taskerman.model.ids import QueueNames
from taskerman.model.outcome import DeadLetterState, Outcome
from taskerman.model.plan import Plan, Tombstone
from taskerman.model.slot import Slot
from taskerman.model.task import TaskState
from taskerman.policy.letters import dead_letter
from taskerman.policy.upkeep import Upkeep
from taskerman.testing.discovery import MemoryDiscovery
from taskerman.testing.history import MemoryHistory
from taskerman.testing.queues import MemoryQueues
from taskerman.testing.tree import LostAnswer
from tests.support.protocol_driver import NODES, TASKS, shape
from tests.support.protocol_driver import thing as thing_without_janitor
from tests.support.protocol_judge import Judge, View, Violation
from tests.support.protocol_rest import finish
from tests.support.protocol_tasks import CLUSTERS, TaskShape
from tests.support.protocol_world import Actor, Filter, State, World

__all__ = ["HouseWorld", "finish_house", "walk"]

UPKEEP = Upkeep(
    margin_s=0,
    absent_apart_s=60,
    reclaims_an_hour=100,
    settle_grace_s=0,
    ended_kept_s=0,
    letters_kept_s=3600,
    audit_kept_s=3600,
)
ALWAYS = "n9"
"""A node that runs whatever happens, so that discovery never loses sight of everything."""


class HouseJudge(Judge):
    """What a janitor may do, written a second time."""

    terminated: set[str]
    history: MemoryHistory
    put_away: set[str]

    def _node(self, name: str, before: View, after: View, session: int, verb: AuditEntry | None) -> None:
        was, now = before.node(name), after.node(name)
        if now.gone and not was.gone and name not in self.terminated:
            raise Violation(f"{name} was declared gone, and it runs")
        if was.gone and not now.gone:
            raise Violation(f"{name} came back from the dead")
        super()._node(name, before, after, session, verb)

    def _take(self, name: str, attempt: Attempt, before: View, after: View, session: int) -> None:
        if before.node(name).gone:
            raise Violation(f"S2 TAKE by {name}, which is gone")
        if attempt.task in self.put_away:
            raise Violation(f"S6 {attempt.task} runs again after it was put away")
        super()._take(name, attempt, before, after, session)

    def _ended(self, name: str, attempt: Attempt, before: View, after: View, verb: AuditEntry | None) -> None:
        if verb is not None or not after.node(name).gone:
            super()._ended(name, attempt, before, after, verb)
            return
        end = after.end(attempt.task, name)
        if end is None or end.outcome is not Outcome.GONE or end.attempt != attempt.id:
            raise Violation(f"{attempt.id} ended with its machine, recorded as {end}")
        if any(slot.node == name for scope in after.children(layout.SCOPES) for slot in after.slots(scope)):
            raise Violation(f"{name} is gone, and holds a slot")
        if name not in after.control(attempt.task).failed:
            raise Violation(f"{attempt.id} ended with its machine, and uses no budget")
        self.failing[attempt.task].add(name)
        self.gates.ended(attempt, name, None)

    def _end(self, task: str, name: str, before: View, after: View, verb: AuditEntry | None) -> None:
        was, now = before.end(task, name), after.end(task, name)
        if was is not None and now is None and verb is None:
            kept = self.history.ends.get((task, name, was.attempt))
            if before.control(task).state is not TaskState.CLOSING:
                raise Violation(f"S3 the end of {task}/{name} vanished from a task that is not closing")
            if kept is None or kept.end != was:
                raise Violation(f"S7 the end of {task}/{name} vanished, and the history has {kept}")
            if was.dead_letter is DeadLetterState.OWED:
                raise Violation(f"S5 the end of {task}/{name} vanished, and its dead letter is owed")
            return
        if now is not None and now.outcome in (Outcome.GONE, Outcome.EXPIRED) and was is None:
            state = after.control(task).state
            if now.outcome is Outcome.GONE and not after.node(name).gone:
                raise Violation(f"{task}/{name} ended gone, and the node is not")
            if now.attempt.endswith(".0") and state is not TaskState.EXPIRED:
                raise Violation(f"{task}/{name} was swept as expired in a task that is {state.value}")
        super()._end(task, name, before, after, verb)

    def _ctl(self, task: str, before: View, after: View) -> None:
        path = layout.control(task)
        if path in before.data and path not in after.data:
            if not after.data[layout.task(task)].startswith(b"{"):
                raise Violation(f"{task} lost its control record and has no tombstone")
            if self.history.tasks.get(task) is None:
                raise Violation(f"S7 {task} was put away, and the history does not know it")
            self.put_away.add(task)
            return
        if path not in before.data:
            super()._ctl(task, before, after)
            return
        was, now = before.control(task), after.control(task)
        if was == now:
            return
        if now.state is TaskState.CLOSING and was.state is not TaskState.CLOSING:
            plan = after.plans()[task]
            if len(after.children(layout.ends(task))) < len(plan.nodes):
                raise Violation(f"{task} is closing, and not all of its nodes ended")
            if any(after.headers(cluster)[task] for cluster in plan.clusters):
                raise Violation(f"{task} is closing, and stands among the open ones")
            return
        if was.state is TaskState.CLOSING:
            raise Violation(f"{task} was closing, and its control record changed")
        if was.state is TaskState.EXPIRED and now.state is not TaskState.EXPIRED:
            raise Violation(f"an expired task came back as {now.state.value}")
        for node in now.failed.keys() - was.failed.keys():
            self.failing[task].add(node)  # found overdue: nobody new may go while it lasts
        super()._ctl(task, before, after)

    def _slot_gone(self, scope: str, slot: Slot, before: View, after: View, verb: AuditEntry | None) -> None:
        if verb is None and after.node(slot.node).gone and not before.node(slot.node).gone:
            return
        super()._slot_gone(scope, slot, before, after, verb)


class HouseWorld(World):
    """The world, two janitors, and machines that end."""

    judged_by = HouseJudge

    def __init__(self, *, edit: Filter | None = None) -> None:
        super().__init__(edit=edit)
        assert isinstance(self.judge, HouseJudge)
        self.history = self.judge.history = MemoryHistory()
        self.terminated = self.judge.terminated = set()
        self.put_away = self.judge.put_away = set()
        self.queues = MemoryQueues(self.clock)
        self.names = QueueNames()
        self.events: list[Event] = []
        self.discovery = MemoryDiscovery(
            {cluster: [Node(id=node) for node in (*NODES, ALWAYS)] for cluster in CLUSTERS}
        )
        self.janitor_trees = [self._client(), self._client()]
        self.janitors = [Janitor(self._kit(number)) for number in (0, 1)]
        self.documents: dict[str, Plan] = {}

    def _kit(self, number: int) -> Kit:
        return Kit(
            tree=self.janitor_trees[number],
            queues=self.queues,
            names=self.names,
            discoveries={"aws_tags": self.discovery},
            history=self.history,
            clock=self.clock,
            emit=self.events.append,
            upkeep=UPKEEP,
            by=f"janitor-{number}",
        )

    def plan(self, name: str, shape: TaskShape) -> None:
        """A document is accepted, unless it was before."""
        if name not in self.put_away and name not in self.documents:
            super().plan(name, shape)
            if name in self.plans:
                self.documents[name] = self.plans[name]

    def late_copy(self, name: str) -> None:
        """A copy of a document arrives that lay in the queue: a router does what a router does."""
        plan = self.documents.get(name)
        sent = None if plan is None else plan.accepted.at
        if plan is None or sent is None or self.clock.now() >= min(plan.accepted.not_after, sent + timedelta(days=14)):
            return

        def route() -> None:
            found = self.router.plan(name)
            if found is None:
                self.router.publish(plan)

        self._alone("router", lambda: self._quietly(route))

    def pass_time(self, seconds: float) -> None:
        """Time passes. No request is on its way for days, and nobody stands still in the middle of a move for days."""
        if seconds >= 86400 and self._busy:
            return
        while seconds >= 86400 and self.server.late:
            self.deliver(0)
        super().pass_time(seconds)

    def keep_house(self, number: int, chore: str | None = None) -> None:
        """A janitor does all its chores, or one, as if it led."""

        def do() -> None:
            turn = Turn(1, self.clock.now(), clock_is_right=True)
            for one in self.janitors[number]._chores:
                if chore in (None, one.name):
                    try:
                        one.do(turn)
                    except CoordinationUnavailable:
                        return
                    except TaskermanError as error:
                        if error.code == "E-BUG":
                            raise
            failed = [event.fields for event in self.events if event.name == "chore_failed"]
            if any(fields.get("code") == "E-BUG" for fields in failed):
                raise Violation(f"a chore met what cannot be: {failed[-1]}")

        self._alone(f"janitor-{number}", do)

    def terminate(self, node: str) -> None:
        """The machine ends for good, with everything that ran on it."""
        if node in self._busy or node == ALWAYS:
            return
        actor = self.actors.get(node)
        if actor is not None and actor.state is not State.OVER:
            self._over(actor)
        for ghost in [ghost for ghost in self.fenced_away if ghost.node == node]:
            self._over(ghost)
            self.fenced_away.remove(ghost)
        self._person_freed(node)
        self.terminated.add(node)
        self.discovery.terminate(node)

    def start(self, node: str, *, same_journal: bool = True, adopt_as: str = "lost") -> None:
        """Nothing starts on a machine that has ended."""
        if node not in self.terminated:
            super().start(node, same_journal=same_journal, adopt_as=adopt_as)

    def announce(self, actor: Actor, task: str, ended: Ended) -> None:
        """The agent sends its dead letter, and notes it."""
        plan = actor.known[task]
        announce(self.queues, self.names, dead_letter(plan, actor.node, ended.end))
        super().announce(actor, task, ended)

    def lose_janitors_answer(self, number: int, became: object) -> None:
        """The next commit of a janitor gets no answer."""
        self.janitor_trees[number].lose_next_answer(became)  # type: ignore[arg-type]

    def letters(self) -> Counter[str]:
        """The keys of what was announced."""
        if not self.queues.exists(self.names.dead_letter):
            return Counter()
        return Counter(json.loads(body)["key"] for body in self.queues.bodies(self.names.dead_letter))


def finish_house(w: HouseWorld) -> None:
    """Everything comes to an end as without janitors; then all of it is put away, and nothing is left but the past."""
    w._armed.clear()
    living = [actor.tree for actor in w.actors.values() if actor.state is not State.OVER]
    w.server.heal(*w.janitor_trees, w.router_tree, w.person_tree, *living)
    for tree in [*w.janitor_trees, w.router_tree, w.person_tree, *(actor.tree for actor in w.actors.values())]:
        tree._lost.clear()
        w.server.catch_up(tree)
    while w.server.late:
        w.deliver(0)
    for name, plan in list(w.unpublished.items()):  # janitors go on for ever: also what comes last is theirs
        w.router.publish(plan)
        w.plans[name] = w.documents[name] = w.unpublished.pop(name)
    for _ in range(4):
        for number in (0, 1):
            w.keep_house(number)
    w.judge.raise_if_violated()
    for task in sorted(w.put_away):
        for node in NODES:
            w.look(node, task)  # who had it in hand leaves
        w.plans.pop(task, None)
    finish(w)
    _settle_letters(w)
    for _ in range(3):
        w.clock.advance(400)
        w.keep_house(0)
    w.judge.raise_if_violated()
    left = w.server.view().plans()
    if left:
        raise Violation(f"L not put away: {sorted(left)}")
    for task in w.documents:
        if task not in w.history.tasks:
            raise Violation(f"S7 the history does not know {task}")
        if not isinstance(w.router.plan(task), Tombstone) and w.clock.now() < w.documents[task].accepted.not_after:
            raise Violation(f"S6 {task} has no tombstone")
    owed = {key[2] for key, past in w.history.ends.items() if past.end.dead_letter is DeadLetterState.SENT}
    if owed - set(w.letters()):
        raise Violation(f"S5 never announced: {sorted(owed - set(w.letters()))}")
    w.clock.advance(40 * 86400)
    for _ in range(4):
        w.keep_house(1)
    rest = w.server.view().children(layout.TASKS)
    if rest:
        raise Violation(f"L left for ever: {rest}")
    w.judge.raise_if_violated()


def _settle_letters(w: HouseWorld) -> None:
    """What is owed is sent, and a person has looked at all of it."""
    w.clock.advance(1)
    w.keep_house(0)
    view = w.server.view()
    for task in view.plans():
        for node in view.children(layout.ends(task)):
            end = view.end(task, node)
            if end is not None and end.dead_letter is DeadLetterState.SENT:
                w.verb(partial(_discard, task=task, node=node))


def _discard(person: OperatorMoves, task: str, node: str) -> None:
    person.discard(task, node, "the end")


def thing(w: HouseWorld, r: random.Random) -> Callable[[], None]:
    """One thing that may happen now."""
    x, node, task, number = r.random(), r.choice(NODES), r.choice(TASKS), r.randrange(2)
    if x < 0.12:
        return lambda: w.keep_house(number)
    if x < 0.18:
        chore = r.choice(w.janitors[0]._chores).name
        return lambda: w.keep_house(number, chore)
    if x < 0.19:
        return lambda: w.terminate(node)
    if x < 0.22:
        return lambda: w.late_copy(task)
    if x < 0.25:
        seconds = r.choice([3600, 5 * 3600, 8 * 86400])
        return lambda: w.pass_time(seconds)
    return thing_without_janitor(w, r)


def walk(
    seed: int, *, steps: int = 200, lost: float = 0.06, between: float = 0.2, edit: Filter | None = None
) -> HouseWorld:
    """One random walk with janitors; then everything comes to its end."""
    r = random.Random(seed)
    w = HouseWorld(edit=edit)
    for task in TASKS[: r.randint(1, 2)]:
        w.plan(task, shape(r))
    for node in NODES:
        w.start(node)
    for _ in range(steps):
        for task in sorted(w.put_away):
            w.plans.pop(task, None)
        if r.random() < lost:
            became = r.choice(list(LostAnswer))
            if r.random() < 0.5:
                w.lose_janitors_answer(r.randrange(2), became)
            else:
                w.lose_answer(r.choice([*NODES, "router", "person"]), became)
        if r.random() < between:
            w.arm(r.randrange(20), thing(w, r))
        thing(w, r)()
        w.judge.raise_if_violated()
    finish_house(w)
    return w
