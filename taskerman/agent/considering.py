"""Considering one accepted assignment: is it this node's, has it ended, must it wait, or is it its turn?

What can be answered without a slot is answered here. What is to be performed is handed back, and nothing here starts
anything.
"""

from __future__ import annotations

from datetime import datetime

from taskerman.agent.bracketing import Bracketing
from taskerman.agent.early import Early
from taskerman.agent.holding import Held
from taskerman.agent.kit import LOOK_AGAIN_S, Kit
from taskerman.agent.screening import Defer, Reject, Screen
from taskerman.agent.sessions import Session, Sessions
from taskerman.agent.settling import Settling
from taskerman.coordination.ending import end_waiting
from taskerman.coordination.node_moves import Ended, Left, Over, Ready
from taskerman.coordination.snapshot import read_snapshot
from taskerman.errors import CoordinationUnavailable, StopNow, TaskermanError, TaskUnknown
from taskerman.model.outcome import Outcome
from taskerman.model.plan import Plan, Tombstone
from taskerman.model.task import TaskState
from taskerman.policy.snapshot import Reason, Waiting
from taskerman.policy.windows import CLOCK_TOLERANCE, open_at
from taskerman.ports.queue import Delivery

__all__ = ["Considering"]

_WITHOUT_PLAN_S = 15 * 60.0
_STUCK_S = 60.0
_OVER = (TaskState.CANCELLED, TaskState.EXPIRED, TaskState.CLOSING)
_TIME_ALONE = (Reason.BACKOFF, Reason.CLUSTER_WAITS, Reason.BREAKER, Reason.WINDOW)


class Considering:
    """Used on the agent's one thread."""

    def __init__(
        self,
        kit: Kit,
        sessions: Sessions,
        screen: Screen,
        settling: Settling,
        early: Early,
        bracketing: Bracketing,
    ) -> None:
        """`sessions`: whose wake is left as a watch on what is waited for. `early`: who waits near the head has its
        child started. `bracketing`: a doorbell may mean that a bracket was left over."""
        self._bracketing = bracketing
        self._kit = kit
        self._sessions = sessions
        self._screen = screen
        self._settling = settling
        self._early = early

    def consider(self, session: Session, held: Held) -> tuple[Plan, Ready] | None:
        """Look where `held` stands, and do what follows. The answer, if any, is to be taken at once.

        What cannot be read of one assignment stops that one, not the agent. Raises `CoordinationUnavailable`,
        `StopNow`.
        """
        try:
            return self._consider(session, held)
        except (CoordinationUnavailable, StopNow):
            raise
        except TaskermanError as error:
            self._kit.say("assignment_stuck", "error", task=held.task, why=str(error), code=error.code)
            held.look_at = self._kit.clock.monotonic() + _STUCK_S
            session.moves.leave(held.task)  # others must not wait behind it
            return None

    def _consider(self, session: Session, held: Held) -> tuple[Plan, Ready] | None:
        kit = self._kit
        before = tuple(held.deliveries)
        held.not_before = None
        plan = self._plan(session, held, before)
        if plan is None:
            return None
        verdict = self._screen.judge(plan, held, kit.clock.monotonic())
        if verdict is not None and not self._is_over(session, plan):
            self._keep_out(session, plan, held, verdict)
            return None
        standing = session.moves.stand(plan, kit.clock.now(), self._sessions.wake)
        if isinstance(standing, Waiting) and _is_near(standing, plan, kit.clock.now()):
            self._early.want(plan, session.moves.record.next_attempt(kit.node, held.task))
        elif not isinstance(standing, Ready):
            self._early.dismiss(held.task)
        if verdict is None and not isinstance(standing, Ready) and self._ends_bracket(session, plan, held):
            return None  # looked at again when that has ended
        match standing:
            case Ready() if verdict is None:
                held.rung = False  # it goes into the bracket itself
                return plan, standing
            case Ready():  # it was over, and was redriven while we looked
                session.moves.leave(held.task)
                held.look_at = kit.clock.monotonic()
            case Waiting():
                self._wait(held, plan, standing, session.moves.patient_until(held.task))
            case Ended():
                self._settling.settle(session, plan, standing, held, before)
            case Over.EXPIRED if not self._by_the_tree_too(session, plan, held):
                pass
            case Over():
                why = "the task was cancelled" if standing is Over.CANCELLED else "not_after has passed"
                end_waiting(session.moves, plan, standing, reason=why, now=kit.clock.now())
                kit.note_down(takes=session.moves.record.takes)
                held.look_at = kit.clock.monotonic()
            case Left():
                kit.say("assignment_left", task=held.task)
                self._settling.drop(held, before)
        return None

    def _ends_bracket(self, session: Session, plan: Plan, held: Held) -> bool:
        """Whether somebody rang, and it was for a bracket that was left over: its end is under way then."""
        rung, held.rung = held.rung, False
        try:
            return rung and self._bracketing.look(session, plan)
        except CoordinationUnavailable:
            held.rung = rung
            raise

    def _by_the_tree_too(self, session: Session, plan: Plan, held: Held) -> bool:
        """Whether the time of `plan` is over by ZooKeeper's clock as well: else ours has jumped, and ends nothing."""
        kit, now = self._kit, self._kit.clock.now()
        ahead = session.moves.ahead(now)
        if ahead is not None and now - ahead >= plan.accepted.not_after - CLOCK_TOLERANCE:
            return True
        held.look_at = kit.clock.monotonic()
        if ahead is not None:
            off = round(ahead.total_seconds())
            why = f"The clock of {kit.node} is {off} s ahead of ZooKeeper's: only by that has not_after passed."
            self._say_why(plan, held, Reason.CLOCK.value, why)
            held.look_at += LOOK_AGAIN_S * (0.75 + 0.5 * kit.throw())
        return False

    def look_again_soon(self, held: Held) -> None:
        """Its take was refused, because something changed: look again, the later the oftener that was so."""
        held.refused += 1
        most = min(0.005 * 2.0 ** min(held.refused, 10), 2.0)
        held.look_at = self._kit.clock.monotonic() + most * self._kit.throw()

    def _plan(self, session: Session, held: Held, before: tuple[Delivery, ...]) -> Plan | None:
        kit = self._kit
        if held.plan is None:
            found = session.moves.plan(held.task)
            if isinstance(found, Tombstone):
                # It ended here long ago, and this doorbell is late. Its records are in the history.
                kit.say("assignment_left", task=held.task)
                self._settling.drop(held, before)
                return None
            held.plan = found
        if held.plan is None:
            sent = min((delivery.sent_at for delivery in before), default=None)
            age = (kit.clock.now() - sent).total_seconds() if sent else _WITHOUT_PLAN_S + 1
            if age > _WITHOUT_PLAN_S:
                kit.say("doorbell_without_plan", "warning", task=held.task)
                self._settling.drop(held, before)
            else:
                held.look_at = kit.clock.monotonic() + min(LOOK_AGAIN_S, _WITHOUT_PLAN_S - age + 1)
            return None
        if held.plan.hash != held.hash or held.plan.node(kit.node) is None:
            kit.say("doorbell_of_another_plan", "warning", task=held.task)
            self._settling.drop(held, before)
            return None
        return held.plan

    def _is_over(self, session: Session, plan: Plan) -> bool:
        now = self._kit.clock.now()
        try:
            snapshot = read_snapshot(session.tree, plan, self._kit.node, now)
        except TaskUnknown:
            return True  # it was put away
        return snapshot.ended is not None or snapshot.control.state in _OVER or now >= snapshot.not_after

    def _keep_out(self, session: Session, plan: Plan, held: Held, verdict: Reject | Defer) -> None:
        kit = self._kit
        if isinstance(verdict, Defer):
            self._say_why(plan, held, "unknown_action", verdict.why)
            held.not_before = verdict.until
            held.look_at = min(verdict.until, kit.clock.monotonic() + LOOK_AGAIN_S)
            return
        end_waiting(session.moves, plan, Outcome.REJECTED, reason=verdict.why, code=verdict.code, now=kit.clock.now())
        kit.note_down(takes=session.moves.record.takes)
        self.look_again_soon(held)  # by the record: now it says rejected, or something else came first

    def _wait(self, held: Held, plan: Plan, waiting: Waiting, patient_until: float | None) -> None:
        """When to look again although nothing woke us: watches can be lost, and time opens some gates by itself.

        `patient_until`: when it may pass those ahead of it. Of a line the p-th looks every p-th time only: together
        they look hardly oftener than one would.
        """
        kit = self._kit
        self._say_why(plan, held, waiting.reason.value, waiting.text)
        held.refused = 0
        now, today = kit.clock.monotonic(), kit.clock.now()
        jitter = 0.75 + 0.5 * kit.throw()
        left = LOOK_AGAIN_S * jitter
        if waiting.reason is Reason.PLACE:
            left = kit.profile.patience.total_seconds() * waiting.place * jitter
        if patient_until is not None:
            left = min(left, max(patient_until - now, 0.0) + 0.05 * jitter)
        left = min(left, max((plan.accepted.not_after - today).total_seconds(), 0.01))
        if waiting.until is not None:
            until = max((waiting.until - today).total_seconds(), 0.01 * jitter)
            left = min(left, until)
            if waiting.reason in _TIME_ALONE:
                held.not_before = now + until
        held.look_at = now + left

    def _say_why(self, plan: Plan, held: Held, reason: str, why: str) -> None:
        """Say why it waits, once."""
        if held.said != why:
            held.said = why
            cluster = plan.task.cluster_name
            self._kit.say("assignment_waits", "debug", task=held.task, cluster=cluster, reason=reason, why=why)


def _is_near(waiting: Waiting, plan: Plan, now: datetime) -> bool:
    """Whether it may be its turn as soon as slots are freed: at the head, or among the next that one wave may take."""
    if plan.window is not None and not open_at(plan.window, now):
        return False  # it may be hours
    return waiting.reason is Reason.NO_ROOM or (waiting.reason is Reason.PLACE and waiting.place <= plan.cap)
