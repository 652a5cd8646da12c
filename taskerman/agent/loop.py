"""The agent: takes its node's tasks, waits its turn, runs the runner, records the outcome. One thread decides.

Everything that happens (a doorbell, a watch, a child's report, the time) arrives in one inbox, and one loop handles
it: settle what has ended, go on with the attempt in hand, else look where each accepted assignment stands. A node
without work holds no session; while an action runs, nobody needs ZooKeeper.
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from taskerman.agent.adoption import adopt, situation
from taskerman.agent.holding import Held, Holding
from taskerman.agent.journal import JournalFile, JournalledAttempt, JournalledEnd, prune
from taskerman.agent.machine import boottime
from taskerman.agent.mailbox import Mailbox
from taskerman.agent.performing import Assigned, ChildReport, Performance
from taskerman.agent.profile import Profile
from taskerman.agent.screening import Defer, Reject, Screen
from taskerman.coordination.ending import Dice, end_attempt, end_waiting
from taskerman.coordination.node_moves import Ended, Left, NodeMoves, Over, Ready, Started
from taskerman.coordination.snapshot import read_snapshot
from taskerman.errors import AnswerUnknown, CoordinationUnavailable, Fenced, StopNow, TaskermanError
from taskerman.model.attempt import Attempt, Phase
from taskerman.model.event import Event, Listener
from taskerman.model.ids import QueueNames, TaskId
from taskerman.model.outcome import DeadLetterState, Outcome
from taskerman.model.plan import Plan
from taskerman.model.task import ActionTraits, TaskState
from taskerman.policy.admission import Reason, Waiting, gate
from taskerman.policy.conclusion import Ending
from taskerman.policy.letters import announcement, dead_letter
from taskerman.policy.signals import RevokeAsked, Taken
from taskerman.ports.catalog import Catalog
from taskerman.ports.clock import Clock
from taskerman.ports.queue import Delivery, Queues
from taskerman.ports.tree import Link, Tree

__all__ = ["Agent"]

T = TypeVar("T")

_LOOK_AGAIN_S = 30.0
_WITHOUT_PLAN_S = 15 * 60.0
_LATE_S = 10.0
_SETTLE_AGAIN_S = 2.0
_ATTEMPTS_KEPT = 50


class _Draining(Exception):
    """The agent was asked to stop while it could not go on."""


@dataclass(frozen=True, slots=True)
class _Woken:
    """A watch fired or the link changed: read again."""


Item = Delivery | ChildReport | _Woken


@dataclass(slots=True)
class _Session:
    """A living connection, and this incarnation's moves over it."""

    tree: Tree
    moves: NodeMoves
    idle_since: float | None = None
    looked: dict[TaskId, str] = field(default_factory=dict)


class Agent:
    """One node's agent. `run` returns when it was asked to stop, or, with `once`, when nothing is left to do.

    Raises `StopNow` when going on would break a promise: another incarnation started, the node was declared gone,
    the installation is another one. Whatever ends it, the next agent goes on from the journal and the tree.
    """

    def __init__(
        self,
        profile: Profile,
        journal: JournalFile,
        *,
        connect: Callable[[], Tree],
        queues: Queues,
        names: QueueNames,
        catalog: Catalog,
        clock: Clock,
        emit: Listener,
        throw: Callable[[], float] = random.random,
    ) -> None:
        """`connect` makes a new client of the tree, not yet open. `throw`: uniform in [0, 1)."""
        self._profile = profile
        self._journal = journal
        self._connect = connect
        self._queues = queues
        self._names = names
        self._clock = clock
        self._emit = emit
        self._throw = throw
        self._screen = Screen(profile, catalog)
        self._catalog = catalog
        self._inbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._woken = threading.Event()
        self._stop = threading.Event()
        self._holding = Holding()
        self._session: _Session | None = None
        self._epoch_known = False
        self._performance: Performance | None = None
        self._mailbox = Mailbox(
            queues,
            names,
            profile.node,
            clock=clock,
            deliver=self._inbox.put,
            emit=emit,
            poll=profile.poll,
        )

    # --- running -----------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask it to drain and return: nothing new starts, a running action is left to its child. From any thread."""
        self._stop.set()
        self._inbox.put(_Woken())

    def run(self, *, once: bool = False, max_wait: timedelta = timedelta(minutes=10)) -> None:
        """Work until `stop`; with `once`, until everything accepted has ended or `max_wait` is over."""
        self._emit(Event("agent_started", {"node": self._profile.node, "clusters": list(self._profile.clusters)}))
        give_up_at = self._clock.monotonic() + max_wait.total_seconds()
        for accepted in self._journal.now.accepted:
            self._holding.accept(accepted.task_id, accepted.hash)
        self._mailbox.open()
        try:
            self._loop(once, give_up_at)
        except _Draining:
            pass
        except StopNow:
            if self._performance is not None:
                self._performance.abandon()  # the slots are no longer this agent's: its action must not go on
                self._performance = None
            raise
        finally:
            self._mailbox.close()
            self._drain()
            self._emit(Event("agent_stopped", {"node": self._profile.node}))

    def _loop(self, once: bool, give_up_at: float) -> None:
        while not self._stop.is_set():
            now = self._clock.monotonic()
            try:
                wait = self._turn()
            except CoordinationUnavailable as error:
                self._emit(Event("coordination_unavailable", {"why": str(error)}, "warning"))
                wait = 0.2 + 0.5 * self._throw()
            if once and self._done(now, give_up_at):
                return
            self._receive(min(wait, 0.5) if once else wait)

    def _done(self, now: float, give_up_at: float) -> bool:
        if self._performance is not None or not self._epoch_known or not self._inbox.empty():
            return False
        return now >= give_up_at or (self._mailbox.polled_empty and not self._holding.tasks())

    def _receive(self, wait: float) -> None:
        """Wait for something to happen, then take in everything that has."""
        try:
            self._take_in(self._inbox.get(timeout=max(wait, 0.0)))
            while True:
                self._take_in(self._inbox.get_nowait())
        except queue.Empty:
            return

    def _take_in(self, item: Item) -> None:
        match item:
            case _Woken():
                self._woken.clear()
                self._holding.look_now()
            case ChildReport():
                if self._performance is not None:
                    self._look_for_stop()
                    self._performance.hear(item)
            case _:
                self._accept(item)

    def _wake(self) -> None:
        """On the tree's thread. One pending wake is enough, however many watches fire."""
        if not self._woken.is_set():
            self._woken.set()
            self._inbox.put(_Woken())

    # --- one turn ----------------------------------------------------------------------------------------

    def _turn(self) -> float:
        """Do what can be done now; the answer is how many seconds nothing can."""
        if self._session is None and (not self._epoch_known or self._holding.tasks()):
            self._open()
        if self._performance is not None:
            self._look_for_stop()
            self._performance.look_at_clock()
            if self._performance.ending is None:
                return self._until(self._performance.wake_at)
            self._conclude(self._performance)
        session = self._session
        if session is None:
            return _LOOK_AGAIN_S
        for held in self._holding.due(self._clock.monotonic()):
            if self._consider(session, held) and self._performance is not None:
                return 0.0
        if not self._holding.tasks():
            return self._rest(session)
        session.idle_since = None
        return self._until(self._holding.next_look())

    def _until(self, at: float | None) -> float:
        return _LOOK_AGAIN_S if at is None else max(at - self._clock.monotonic(), 0.0)

    def _rest(self, session: _Session) -> float:
        """A node without work holds no session: after a while it is closed."""
        now = self._clock.monotonic()
        if session.idle_since is None:
            session.idle_since = now
        left = session.idle_since + self._profile.idle_session.total_seconds() - now
        if left > 0:
            return left
        self._close_session()
        return _LOOK_AGAIN_S

    # --- sessions ----------------------------------------------------------------------------------------

    def _open(self) -> None:
        tree = self._connect()
        try:
            tree.open()
            tree.on_link(self._linked)
            moves = NodeMoves(tree, self._profile.node, self._journal.now.uuid)
            self._check_installation(moves)
            started = self._insist(moves.start)
        except BaseException:
            tree.close()
            raise
        self._session = _Session(tree, moves)
        self._note_down(epoch=moves.epoch)
        first, self._epoch_known = not self._epoch_known, True
        if started.attempt is not None and self._performance is None:
            self._take_over(moves, started, started.attempt)
        elif first:
            self._note_down(attempt=None, end=None)
        if first:
            self._emit(Event("agent_ready", {"node": self._profile.node, "epoch": moves.epoch}))

    def _linked(self, link: Link) -> None:
        if link is not Link.DOWN:
            self._wake()

    def _check_installation(self, moves: NodeMoves) -> None:
        found = self._insist(moves.installation).installation
        known = self._journal.now.installation
        if known and known != found:
            raise StopNow(
                f"ZooKeeper holds installation {found}, and this node belongs to {known}.",
                next_step="Was it emptied or restored? A person must decide; then remove this node's state folder.",
            )
        self._note_down(installation=found)

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.tree.close()
            self._session = None

    def _insist(self, move: Callable[[], T]) -> T:
        """Repeat a move until somebody answers. Only asking to stop ends it."""
        while True:
            try:
                return move()
            except CoordinationUnavailable:
                if self._stop.wait(0.1 + 0.3 * self._throw()):
                    raise _Draining from None

    # --- accepting and looking ---------------------------------------------------------------------------

    def _accept(self, delivery: Delivery) -> None:
        doorbell = self._holding.read(delivery)
        if doorbell is None or doorbell.destnode != self._profile.node:
            self._emit(Event("doorbell_unreadable", {"body": delivery.body[:200]}, "warning"))
            self._mailbox.settle(delivery)  # it carries no custody: whoever rings again rings right
            return
        self._holding.accept(doorbell.task_id, doorbell.hash, delivery)
        self._remember()

    def _remember(self) -> None:
        self._note_down(accepted=self._holding.accepted())

    def _note_down(self, **changes: object) -> None:
        """Write to the journal what is good to have and not needed: without it things are only found out later."""
        try:
            self._journal.write(**changes)
        except OSError as error:
            self._emit(Event("journal_not_written", {"why": str(error)}, "error"))

    def _drop(self, held: Held, *, settle: tuple[Delivery, ...]) -> None:
        """Forget the assignment, but for doorbells that came in after its end was read."""
        for delivery in settle:
            self._mailbox.settle(delivery)
        self._holding.drop(held.task, settle)
        self._remember()

    def _consider(self, session: _Session, held: Held) -> bool:
        """Look where one assignment stands, and do what follows. True: an attempt began."""
        before = tuple(held.deliveries)
        plan = self._plan(session, held, before)
        if plan is None:
            return False
        verdict = self._screen.judge(plan, held, self._clock.monotonic())
        if isinstance(verdict, Defer):
            self._say(session, held, verdict.why)
            held.look_at = self._clock.monotonic() + verdict.wait_s
            return False
        if isinstance(verdict, Reject) and not self._is_ended(session, plan):
            end_waiting(
                session.moves, plan, Outcome.REJECTED, reason=verdict.why, code=verdict.code, now=self._clock.now()
            )
        standing = session.moves.stand(plan, self._clock.now(), self._wake)
        match standing:
            case Ready():
                return self._begin(session, plan, standing)
            case Waiting():
                self._say(session, held, f"{standing.reason.value}: {standing.text}")
                held.look_at = self._look_again_at(standing)
            case Ended():
                self._settle(session, plan, standing, held, before)
            case Over():
                why = "the task was cancelled" if standing is Over.CANCELLED else "not_after has passed"
                end_waiting(session.moves, plan, standing, reason=why, now=self._clock.now())
                held.look_at = self._clock.monotonic()
            case Left():
                self._emit(Event("assignment_left", {"task": held.task, "node": self._profile.node}))
                self._drop(held, settle=before)
        return False

    def _is_ended(self, session: _Session, plan: Plan) -> bool:
        snapshot = read_snapshot(session.tree, plan, self._profile.node, self._clock.now())
        return snapshot.ended is not None

    def _plan(self, session: _Session, held: Held, before: tuple[Delivery, ...]) -> Plan | None:
        if held.plan is None:
            held.plan = session.moves.plan(held.task)
        if held.plan is None:
            sent = min((delivery.sent_at for delivery in before), default=None)
            age = (self._clock.now() - sent).total_seconds() if sent else _WITHOUT_PLAN_S + 1
            if age > _WITHOUT_PLAN_S:
                self._emit(Event("doorbell_without_plan", {"task": held.task}, "warning"))
                self._drop(held, settle=before)
            else:
                held.look_at = self._clock.monotonic() + _LOOK_AGAIN_S
            return None
        if held.plan.hash != held.hash or held.plan.node(self._profile.node) is None:
            self._emit(Event("doorbell_of_another_plan", {"task": held.task}, "warning"))
            self._drop(held, settle=before)
            return None
        return held.plan

    def _look_again_at(self, waiting: Waiting) -> float:
        """When to look again although nothing woke us: watches can be lost, and time opens some gates by itself."""
        jitter = 0.75 + 0.5 * self._throw()
        later = self._clock.monotonic() + _LOOK_AGAIN_S * jitter * (2 if waiting.reason is Reason.PLACE else 1)
        if waiting.until is None:
            return later
        seconds = (waiting.until - self._clock.now()).total_seconds()
        return min(later, self._clock.monotonic() + max(seconds, 0.01 * jitter))

    def _say(self, session: _Session, held: Held, why: str) -> None:
        """Say why it waits, once."""
        if session.looked.get(held.task) != why:
            session.looked[held.task] = why
            ids = {"task": held.task, "node": self._profile.node}
            self._emit(Event("assignment_waits", {**ids, "why": why}, "debug"))

    # --- an attempt --------------------------------------------------------------------------------------

    def _begin(self, session: _Session, plan: Plan, ready: Ready) -> bool:
        asked = boottime()
        now = self._clock.now()
        try:
            taken = session.moves.take(ready, plan, now)
        except AnswerUnknown:
            taken = self._insist(lambda: session.moves.settle_take(ready, plan, now))
        if taken is None:
            self._holding.look_now()
            return False
        attempt = taken.attempt
        self._emit(Event("attempt_taken", {**_ids(attempt, self._profile.node), "k": attempt.k}))
        self._note(attempt)
        self._performance = self._performing(session, plan, attempt)
        late = boottime() - asked > _LATE_S
        self._watch(session, attempt)
        self._performance.tell(Taken(self._clock.monotonic(), late=late))
        return True

    def _note(self, attempt: Attempt) -> None:
        """Without this note the attempt counts as not begun, which it is."""
        noted = JournalledAttempt(id=attempt.id, task=attempt.task, fence=attempt.fence, phase=Phase.PRE_CHECK)
        self._note_down(attempt=noted, end=None)

    def _performing(self, session: _Session, plan: Plan, attempt: Attempt) -> Performance:
        action = plan.task.action
        try:
            target, traits = self._catalog.target(action), self._catalog.traits(action)
        except TaskermanError:  # an adopted attempt of a build that had it: the child will say what is missing
            target, traits = action, ActionTraits()
        runner = action.partition(":")[0]
        ids = _ids(attempt, self._profile.node)
        return Performance(
            Assigned(plan, attempt, self._profile.node, target, traits, self._profile.runners.get(runner, {})),
            self._journal,
            clock=self._clock,
            fence=lambda: self._confirm(session, attempt),
            post=self._inbox.put,
            entered=lambda phase: self._emit(Event("phase_entered", {**ids, "phase": phase.value})),
            boot_id_path=self._profile.boot_id_path,
        )

    def _confirm(self, session: _Session, attempt: Attempt) -> None:
        """The fence before an action: returns when the slots are confirmed by a write."""
        while not self._insist(session.moves.fence):
            held = session.moves.record.attempt
            if held is None or held.id != attempt.id:
                raise Fenced(f"Attempt {attempt.id} is not this agent's any more.")

    def _watch(self, session: _Session, attempt: Attempt) -> None:
        try:
            session.moves.refresh(self._wake)
            session.moves.control(attempt.task, self._wake)
        except CoordinationUnavailable:
            return  # the link's return wakes us

    def _look_for_stop(self) -> None:
        """Whether a person wants the attempt to end. Without an answer it goes on: an outage harms no action."""
        performance, session = self._performance, self._session
        if performance is None or session is None or performance.ending is not None:
            return
        if session.tree.link is not Link.UP or not self._holding.woken():
            return  # nothing changed, or nobody can say; the link's return wakes us
        attempt = performance.assigned.attempt
        try:
            record = session.moves.refresh(self._wake)
            control = session.moves.control(attempt.task, self._wake)
        except CoordinationUnavailable:
            self._holding.look_now()
            return
        if record.attempt is None or record.attempt.id != attempt.id:
            raise Fenced(f"Attempt {attempt.id} is not this agent's any more.")
        if record.revoke == attempt.id:
            performance.tell(RevokeAsked("a person asked for the slot back"))
        elif control is not None and control.state is TaskState.CANCELLED:
            performance.tell(RevokeAsked(f"the task was cancelled ({control.why})"))

    def _conclude(self, performance: Performance) -> None:
        """Record the end: in the journal first, then where everybody sees it. Nothing else starts before that."""
        ending, attempt = performance.ending, performance.assigned.attempt
        assert ending is not None
        end = JournalledEnd(
            outcome=ending.outcome,
            reason=ending.reason,
            code=ending.code,
            tail=ending.tail,
            retry=ending.retry,
            post_check_passed=ending.post_check_passed,
            until=ending.until,
            whole_cluster=ending.whole_cluster,
            at=self._clock.now(),
        )
        self._note_down(end=end)
        if self._session is None:
            self._open()
        session = self._session
        assert session is not None
        dice = Dice(self._clock.now(), self._throw(), self._profile.pace)
        plan = performance.assigned.plan
        self._insist(lambda: end_attempt(session.moves, plan, attempt, ending, dice))
        self._performance = None
        self._emit(
            Event(
                "attempt_ended",
                {
                    **_ids(attempt, self._profile.node),
                    "action": plan.task.action,
                    "cluster": attempt.cluster,
                    "outcome": ending.outcome.value,
                    "reason": ending.reason,
                },
                "info" if ending.outcome.well or ending.outcome is Outcome.DEFERRED else "error",
            )
        )
        self._note_down(attempt=None, end=None)
        prune(self._journal.attempts(), keep=_ATTEMPTS_KEPT)
        self._holding.look_now()

    # --- settling ----------------------------------------------------------------------------------------

    def _settle(self, session: _Session, plan: Plan, ended: Ended, held: Held, before: tuple[Delivery, ...]) -> None:
        """From the record only: announce what is owed, note it, delete the doorbells that came before the record
        was read. A later one may be the doorbell of a redrive."""
        if ended.end.dead_letter is DeadLetterState.OWED:
            letter = dead_letter(plan, self._profile.node, ended.end)
            try:
                self._queues.send(self._names.dead_letter, announcement(letter))
            except TaskermanError as error:
                self._emit(Event("dead_letter_not_sent", {"task": held.task, "why": str(error)}, "error"))
                held.look_at = self._clock.monotonic() + _SETTLE_AGAIN_S
                return
            session.moves.announced(held.task, ended)
            self._emit(Event("dead_letter_sent", {"task": held.task, "node": self._profile.node}, "warning"))
        self._emit(
            Event(
                "assignment_settled",
                {"task": held.task, "node": self._profile.node, "outcome": ended.end.outcome.value},
            )
        )
        session.looked.pop(held.task, None)
        self._drop(held, settle=before)

    # --- taking over and letting go ----------------------------------------------------------------------

    def _take_over(self, moves: NodeMoves, started: Started, attempt: Attempt) -> None:
        session = self._session
        assert session is not None
        plan = self._insist(lambda: moves.plan(attempt.task))
        if plan is None:
            raise StopNow(f"Attempt {attempt.id} is recorded, and its task has no plan.", next_step="Ask a person.")
        self._holding.accept(attempt.task, plan.hash)
        self._emit(Event("attempt_adopted", _ids(attempt, self._profile.node), "warning"))
        performance = self._performing(session, plan, attempt)
        self._performance = performance
        journal = self._journal.now
        self._watch(session, attempt)
        ended = journal.end
        if ended is not None and journal.attempt is not None and journal.attempt.id == attempt.id:
            performance.ending = Ending(
                ended.outcome,
                ended.reason,
                code=ended.code,
                tail=ended.tail,
                retry=ended.retry,
                post_check_passed=ended.post_check_passed,
                until=ended.until,
                whole_cluster=ended.whole_cluster,
            )
            return
        snapshot = self._insist(lambda: read_snapshot(moves.tree, plan, self._profile.node, self._clock.now()))
        found = situation(
            journal,
            started,
            attempt,
            performance.assigned.traits,
            gate(snapshot, self._clock.now()),
            now=self._clock.monotonic(),
            boot_id_path=self._profile.boot_id_path,
        )
        if journal.attempt is None or journal.attempt.id != attempt.id:
            self._note(attempt)
        adopt(performance, found, journal, performance.directory)
        if started.revoke:
            performance.tell(RevokeAsked("a person asked for the slot back"))

    def _drain(self) -> None:
        """Nothing new starts. An action under way is left to its child, and the next agent adopts it; an attempt that
        has not begun to act is given back."""
        performance = self._performance
        try:
            if performance is not None and performance.phase is Phase.PRE_CHECK and performance.ending is None:
                performance.tell(RevokeAsked("the agent is stopping"))
                if performance.ending is not None:
                    performance.ending = Ending(Outcome.DEFERRED, "the agent was stopped before the action began")
                    self._conclude_once(performance)
            elif performance is not None and performance.ending is not None:
                self._conclude_once(performance)
            elif performance is not None:
                performance.let_go()
        finally:
            self._close_session()

    def _conclude_once(self, performance: Performance) -> None:
        try:
            self._conclude(performance)
        except (_Draining, TaskermanError) as error:
            self._emit(Event("end_not_recorded", {"why": str(error)}, "warning"))  # the next agent's first act


def _ids(attempt: Attempt, node: str) -> dict[str, object]:
    return {"task": attempt.task, "node": node, "attempt": attempt.id}
