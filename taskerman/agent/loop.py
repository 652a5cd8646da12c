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
from dataclasses import dataclass
from datetime import timedelta

from taskerman.agent.acting import Acting
from taskerman.agent.belonging import end_forgotten
from taskerman.agent.bracketing import Bracketing
from taskerman.agent.child_in_hand import ChildReport
from taskerman.agent.considering import Considering
from taskerman.agent.early import Early
from taskerman.agent.holding import Holding
from taskerman.agent.isolation import NO_GROUPS, Isolation
from taskerman.agent.journal import JournalFile
from taskerman.agent.kit import LOOK_AGAIN_S, Kit
from taskerman.agent.mailbox import Mailbox
from taskerman.agent.profile import Profile
from taskerman.agent.screening import Screen
from taskerman.agent.sessions import Draining, Session, Sessions
from taskerman.agent.settling import Settling
from taskerman.errors import CoordinationUnavailable, InstallationRefused, NotPermitted, StopNow
from taskerman.model.event import Listener
from taskerman.model.ids import QueueNames
from taskerman.ports.catalog import Catalog
from taskerman.ports.clock import Clock
from taskerman.ports.queue import Delivery, Queues
from taskerman.ports.tree import Tree
from taskerman.pulse import Pulse
from taskerman.stopping import StopSign

__all__ = ["Agent"]

_LAST_DELETES = timedelta(seconds=5)
"""A message that is not deleted by then comes back, to an outcome that is recorded."""

_SWEEP_S = 2.0


@dataclass(frozen=True, slots=True)
class _Woken:
    """A watch fired or the link changed: read again."""


@dataclass(frozen=True, slots=True)
class _Deaf:
    """The mailbox ended by an error of ours: nothing would ever be heard again."""

    error: BaseException


Happened = Delivery | ChildReport | _Woken | _Deaf


class Agent:
    """One node's agent. `run` returns when it was asked to stop, or, with `once`, when nothing is left to do.

    Raises `StopNow` when going on would break a promise: another incarnation started, the node was declared gone.
    Under another installation, or an older state of its own, it starts nothing and stays until a person has accepted
    it; with `once` it raises `InstallationRefused`.

    Whatever ends it, the next agent goes on from the journal and the tree.
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
        pulse: Pulse | None = None,
        isolation: Isolation = NO_GROUPS,
    ) -> None:
        """`connect` makes a new client of the tree, not yet open. `throw`: uniform in [0, 1). `pulse`: beaten by the
        loop. `isolation`: with the mark of this journal."""
        kit = Kit(profile, journal, queues, names, catalog, clock, emit, throw, pulse or Pulse(), isolation)
        self._kit = kit
        self._pulse = kit.pulse
        self._inbox: queue.SimpleQueue[Happened] = queue.SimpleQueue()
        self._woken = threading.Event()
        self._woken_at: float | None = None
        self._said_counts = (0, 0)
        self._stop = StopSign()
        self._started = False
        self._refused = ""
        self._holding = Holding()
        self._mailbox = Mailbox(
            queues,
            names,
            profile.node,
            clock=clock,
            deliver=self._inbox.put,
            broken=lambda error: self._inbox.put(_Deaf(error)),
            emit=emit,
            poll=profile.poll,
        )
        screen = Screen(profile, catalog, isolation.honoured)
        self._sessions = Sessions(kit, connect, self._stop, self._wake)
        self._early = Early(kit)
        settling = Settling(kit, self._holding, self._mailbox)
        bracketing = Bracketing(kit, self._sessions, self._inbox.put)
        self._considering = Considering(kit, self._sessions, screen, settling, self._early, bracketing)
        self._acting = Acting(kit, self._sessions, self._holding, screen, self._early, bracketing, self._inbox.put)

    # --- running -----------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask it to drain and return: nothing new starts, a running action is left to its child.

        From any thread, and from a signal handler.
        """
        self._stop.ask()
        self._inbox.put(_Woken())

    def run(self, *, once: bool = False, max_wait: timedelta = timedelta(minutes=10)) -> None:
        """Work until `stop`; with `once`, until everything accepted has ended or `max_wait` is over."""
        isolation = self._kit.isolation
        self._kit.say("agent_started", clusters=list(self._kit.profile.clusters), isolation=str(isolation))
        if unkept := self._kit.profile.bounds.names - isolation.honoured:
            self._kit.say("limits_not_kept", "warning", limits=sorted(unkept), why=str(isolation))
        give_up_at = self._kit.clock.monotonic() + max_wait.total_seconds()
        for accepted in self._kit.journal.now.accepted:
            self._holding.accept(accepted.task_id, accepted.hash)
        self._mailbox.open()
        try:
            self._loop(once, give_up_at)
        except Draining:
            pass
        except StopNow:
            self._acting.abandon()
            raise
        finally:
            self._mailbox.close()
            try:
                self._early.dismiss()
                self._acting.drain()
            finally:
                self._sessions.close()
                self._mailbox.finish(_LAST_DELETES)
            self._kit.say("agent_stopped")

    def _loop(self, once: bool, give_up_at: float) -> None:
        while not self._stop.asked:
            self._pulse.beat()
            try:
                wait, well = self._turn(), True
            except CoordinationUnavailable as error:
                self._kit.say("coordination_unavailable", "warning", why=str(error), code=error.code)
                wait, well = 0.2 + 0.5 * self._kit.throw(), False
            except (InstallationRefused, NotPermitted) as error:
                if once:
                    raise
                wait, well = self._wait_for_a_person(error), False
            self._say_counts()
            if once and self._done(give_up_at):
                return
            wait = min(wait, 0.5) if once else wait
            self._pulse.rest(wait, well=well)
            try:
                self._receive(wait)
            except (InstallationRefused, NotPermitted) as error:
                if once:
                    raise
                self._wait_for_a_person(error)

    def _say_counts(self) -> None:
        """How much is in hand, when it has changed."""
        acting = 0 if self._acting.performance is None else 1
        counts = (max(len(self._holding.all()) - acting, 0), acting)
        if counts != self._said_counts:
            self._said_counts = counts
            self._kit.say("assignments_counted", "debug", waiting=counts[0], acting=counts[1])

    def _wait_for_a_person(self, error: InstallationRefused | NotPermitted) -> float:
        """ZooKeeper was emptied or restored, or our rights there were changed: nothing starts, the node says so once,
        and looks again now and then. An agent that ended each time would soon not be started again."""
        if self._refused != str(error):
            self._refused = str(error)
            name = "not_permitted" if isinstance(error, NotPermitted) else "installation_refused"
            self._kit.say(name, "error", why=str(error))
        self._early.dismiss()
        self._acting.part()
        self._sessions.close()
        self._started = False
        return self._kit.profile.refused.total_seconds() * (0.75 + 0.5 * self._kit.throw())

    def _done(self, give_up_at: float) -> bool:
        """Whether there is nothing to stay for. An attempt is always stayed for."""
        polled_empty = self._mailbox.polled_empty  # before the inbox is looked at: what came before it is in there
        if self._acting.performance is not None or self._acting.bracketing.calling or not self._inbox.empty():
            return False
        if self._kit.clock.monotonic() >= give_up_at:
            return True
        if not self._mailbox.all_settled:
            return False
        late = (held.not_before is not None and held.not_before > give_up_at for held in self._holding.all())
        return self._started and polled_empty and all(late)

    # --- what happens ------------------------------------------------------------------------------------

    def _receive(self, wait: float) -> None:
        """Wait for something to happen, then take in everything that has."""
        try:
            self._take_in(self._inbox.get(timeout=max(wait, 0.0)))
            while True:
                self._take_in(self._inbox.get_nowait())
        except queue.Empty:
            return

    def _take_in(self, happened: Happened) -> None:
        match happened:
            case _Woken():
                self._woken.clear()
                self._holding.look_now()
            case ChildReport():
                self._acting.hear(happened)
            case _Deaf():
                raise happened.error
            case _:
                self._accept(happened)

    def _wake(self) -> None:
        """On the tree's thread. One pending wake is enough, however many watches fire."""
        if not self._woken.is_set():
            if self._woken_at is None:
                self._woken_at = self._kit.clock.monotonic()
            self._woken.set()
            self._inbox.put(_Woken())

    def _accept(self, delivery: Delivery) -> None:
        doorbell = self._holding.read(delivery)
        if doorbell is None or doorbell.destnode != self._kit.node:
            self._kit.say("doorbell_unreadable", "warning", body=delivery.body[:200])
            self._mailbox.settle(delivery)  # it carries no custody: whoever rings again rings right
            return
        self._holding.accept(doorbell.task_id, doorbell.hash, delivery)
        self._kit.note_down(accepted=self._holding.accepted())

    # --- one turn ----------------------------------------------------------------------------------------

    def _turn(self) -> float:
        """Do what can be done now; the answer is for how many seconds nothing can."""
        session = self._sessions.current
        if session is None:
            if self._started and not self._holding.all() and self._acting.performance is None:
                return LOOK_AGAIN_S
            session = self._open()
        acting = self._acting
        wait = self._go_on(session)
        if wait is not None:
            return wait
        self._early.look_at_clock()
        woken_at, self._woken_at = self._woken_at, None
        for held in self._holding.due(self._kit.clock.monotonic()):
            self._pulse.beat()
            found = self._considering.consider(session, held)
            if acting.bracketing.calling:
                return 0.0
            if found is None:
                continue
            if acting.begin(session, *found, woken_at=woken_at):
                held.refused = 0
                return 0.0
            self._considering.look_again_soon(held)
            self._woken_at = self._woken_at if woken_at is None else woken_at  # what let it go on still does
        if not self._holding.all():
            self._early.dismiss()
            return self._sessions.rest(session)
        session.idle_since = None
        looks = (self._holding.next_look(), self._early.wake_at)
        return self._until(min((at for at in looks if at is not None), default=None))

    def _go_on(self, session: Session) -> float | None:
        """With what is in hand, an attempt or the end of a bracket: for how many seconds nothing can be done about it.

        None: nothing is in hand any more.
        """
        acting = self._acting
        if acting.bracketing.calling:
            at = acting.bracketing.wait_until()
            if at is not None:
                return self._until(at)
            acting.bracketing.record(session)
            self._holding.look_now()
        if acting.performance is None:
            return None
        self._woken_at = None  # whatever it was, it lets nothing begin here before the attempt's end
        acting.look_for_stop()
        acting.performance.look_at_clock()
        if acting.performance.ending is None:
            return self._until(acting.performance.wake_at)
        return None if acting.conclude(session) else 0.0

    def _until(self, at: float | None) -> float:
        return LOOK_AGAIN_S if at is None else max(at - self._kit.clock.monotonic(), 0.0)

    def _open(self) -> Session:
        session, started = self._sessions.open()
        if not self._started:
            recorded = None if started.attempt is None else started.attempt.id
            end_forgotten(self._kit.journal.now, recorded, self._kit.profile.boot_id_path)
        first, self._started = not self._started, True
        self._refused = ""
        if started.attempt is not None and self._acting.performance is None:
            self._acting.take_over(session, started, started.attempt)
        elif first:
            self._kit.note_down(attempt=None, end=None)
        if first:
            self._sweep()
            self._kit.say("agent_ready", epoch=session.moves.epoch)
        return session

    def _sweep(self) -> None:
        """Nothing of an attempt that has ended is to be left by agents that crashed."""
        acting = self._acting.performance
        left = self._kit.isolation.sweep(acting.assigned.attempt.id if acting is not None else None, _SWEEP_S)
        if left:
            self._kit.say("groups_not_removed", "warning", attempts=list(left))
