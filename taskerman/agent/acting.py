"""The attempt in hand: taken, performed, its end recorded; or taken over from an agent that is no more. One at a time.

The order in which things are written is what makes a crash harmless: the slots before the attempt, the journal before
the action, the journal before the record, the record before anything else starts on this node.
"""

from __future__ import annotations

from collections.abc import Callable

from taskerman.agent.adoption import adopt, situation
from taskerman.agent.assigned import assigned
from taskerman.agent.bracketing import Bracketing
from taskerman.agent.child_in_hand import ChildReport
from taskerman.agent.early import Early, EarlyChild
from taskerman.agent.holding import Held, Holding
from taskerman.agent.journal import JournalledAttempt, JournalledEnd, prune
from taskerman.agent.kit import Kit
from taskerman.agent.machine import boottime
from taskerman.agent.performing import Performance
from taskerman.agent.screening import Screen
from taskerman.agent.sessions import Draining, Session, Sessions
from taskerman.coordination.ending import Dice, end_attempt
from taskerman.coordination.node_moves import Ready, Started
from taskerman.coordination.snapshot import read_snapshot
from taskerman.errors import AnswerUnknown, CoordinationUnavailable, Fenced, StopNow, TaskermanError
from taskerman.model.attempt import Attempt, Phase
from taskerman.model.ids import attempt_takes
from taskerman.model.outcome import Outcome
from taskerman.model.plan import Plan
from taskerman.model.task import TaskState
from taskerman.policy.admission import gate
from taskerman.policy.breaker import BreakerTurn
from taskerman.policy.conclusion import Ending
from taskerman.policy.signals import RevokeAsked, Taken
from taskerman.ports.tree import Link

__all__ = ["Acting"]

_LATE_S = 10.0
_ATTEMPTS_KEPT = 50


class Acting:
    """`performance`: the attempt in hand, if there is one. `bracketing`: the end of a bracket, which is in hand between
    the end of an attempt and its recording, or without an attempt. Used on the agent's one thread."""

    def __init__(
        self,
        kit: Kit,
        sessions: Sessions,
        holding: Holding,
        screen: Screen,
        early: Early,
        bracketing: Bracketing,
        post: Callable[[ChildReport], None],
    ) -> None:
        """`post` hands a child's report to the loop, from any thread."""
        self.bracketing = bracketing
        self._kit = kit
        self._sessions = sessions
        self._holding = holding
        self._screen = screen
        self._early = early
        self._post = post
        self.performance: Performance | None = None

    # --- beginning ---------------------------------------------------------------------------------------

    def begin(self, session: Session, plan: Plan, ready: Ready, woken_at: float | None = None) -> bool:
        """TAKE, and start. False: something changed, nothing was taken; look again.

        `woken_at`: when we were told of what let it begin, in monotonic seconds; None: nothing told us.
        """
        kit, moves = self._kit, session.moves
        asked, now = boottime(), kit.clock.now()
        try:
            taken = moves.take(ready, plan, now)
        except AnswerUnknown:
            taken = self._sessions.insist(lambda: moves.settle_take(ready, plan, now))
        if taken is None:
            return False
        attempt = taken.attempt
        kit.say("attempt_taken", **kit.ids(attempt, plan.task.action), phase=Phase.PRE_CHECK.value, k=attempt.k)
        for cluster in taken.probes:
            kit.say("breaker_probed", "warning", task=attempt.task, attempt=attempt.id, cluster=cluster)
        self._note(attempt)
        self.performance = self._performing(session, plan, attempt, self._early.take(attempt.id))
        self.performance.woken_at = woken_at
        self.performance.tell(Taken(kit.clock.monotonic(), late=boottime() - asked > _LATE_S))
        self.look_for_stop(anew=True)
        return True

    def take_over(self, session: Session, started: Started, attempt: Attempt) -> None:
        """ADOPT: go on with an attempt that an earlier agent of this node took. Raises `StopNow`."""
        kit, moves = self._kit, session.moves
        plan = self._sessions.insist(lambda: moves.plan(attempt.task))
        if not isinstance(plan, Plan):
            raise StopNow(f"Attempt {attempt.id} is recorded, and its task has no plan.", next_step="Ask a person.")
        self._holding.accept(attempt.task, plan.hash)
        kit.say("attempt_adopted", "warning", **kit.ids(attempt, plan.task.action))
        performance = self._performing(session, plan, attempt)
        self.performance = performance
        journal = kit.journal.now
        if journal.end is not None and journal.attempt is not None and journal.attempt.id == attempt.id:
            performance.ending = _ending(journal.end)
            return
        shut = self._sessions.insist(lambda: self._shut(session, plan))
        found = situation(
            journal,
            started,
            attempt,
            performance.assigned.traits,
            shut,
            now=kit.clock.monotonic(),
            boot_id_path=kit.profile.boot_id_path,
        )
        if journal.attempt is None or journal.attempt.id != attempt.id:
            self._note(attempt)
        adopt(kit, performance, found, journal)
        self.look_for_stop(anew=True)

    def _shut(self, session: Session, plan: Plan) -> str:
        """Why the task may not begin on this node now; empty when it may."""
        now = self._kit.clock.now()
        shut = gate(read_snapshot(session.tree, plan, self._kit.node, now), now)
        if shut is not None:
            return shut.text
        if now >= plan.accepted.not_after:
            return "not_after has passed"
        verdict = self._screen.judge(plan, Held(plan.task.task_id, plan.hash), self._kit.clock.monotonic())
        return verdict.why if verdict is not None else ""

    def _note(self, attempt: Attempt) -> None:
        """Without this note the attempt counts as not begun, which it is."""
        noted = JournalledAttempt(id=attempt.id, task=attempt.task, fence=attempt.fence, phase=Phase.PRE_CHECK)
        self._kit.note_down(attempt=noted, end=None, takes=attempt_takes(attempt.id))

    def _performing(
        self, session: Session, plan: Plan, attempt: Attempt, early: EarlyChild | None = None
    ) -> Performance:
        found = assigned(self._kit, plan, attempt)
        return Performance(
            found,
            self._kit,
            fence=lambda: self._confirm(session, attempt),
            post=self._post,
            early=early,
            door=self.bracketing.door(session, found),
        )

    def _confirm(self, session: Session, attempt: Attempt) -> None:
        """The fence before an action: returns when the slots are confirmed by a write."""
        while not self._sessions.insist(session.moves.fence):
            held = session.moves.record.attempt
            if held is None or held.id != attempt.id:
                raise Fenced(f"Attempt {attempt.id} is not this agent's any more.")

    # --- while it lasts ----------------------------------------------------------------------------------

    def hear(self, heard: ChildReport) -> None:
        """A report of a child. Whether a person wants it to end is asked first: nothing may begin after a no."""
        self.bracketing.hear(heard)
        if self.performance is not None:
            self.look_for_stop()
            self.performance.hear(heard)

    def look_for_stop(self, *, anew: bool = False) -> None:
        """Whether a person wants the attempt to end. Without an answer it goes on: an outage harms no action.

        `anew`: look although nothing has changed that we know of, because nothing was watched yet. Raises `Fenced`.
        """
        performance, session = self.performance, self._sessions.current
        if performance is None or session is None or performance.ending is not None:
            return
        if session.tree.link is not Link.UP or not (self._holding.woken() or anew):
            return  # nothing changed, or nobody can say; the link's return wakes us
        attempt = performance.assigned.attempt
        try:
            record = session.moves.refresh(self._sessions.wake)
            control = session.moves.control(attempt.task, self._sessions.wake)
        except CoordinationUnavailable:
            self._holding.look_now()
            return
        if record.attempt is None or record.attempt.id != attempt.id:
            raise Fenced(f"Attempt {attempt.id} is not this agent's any more.")
        if record.revoke == attempt.id:
            performance.tell(RevokeAsked("a person asked for the slot back"))
        elif control is not None and control.state is TaskState.CANCELLED:
            performance.tell(RevokeAsked(f"the task was cancelled ({control.why})"))

    # --- ending ------------------------------------------------------------------------------------------

    def conclude(self, session: Session, *, draining: bool = False) -> bool:
        """Record the end: in the journal first, then where everybody sees it. Nothing else starts before that.

        False: it is the last of its bracket, and cluster_end is called first, under its slots; conclude again when that
        has ended. `draining`: nobody would wait for it; then a janitor finds the bracket.
        """
        kit, performance = self._kit, self.performance
        assert performance is not None
        ending, attempt, plan = performance.ending, performance.assigned.attempt, performance.assigned.plan
        assert ending is not None
        if draining or not performance.left_bracket:
            self._note_end(attempt, ending)
        dice = Dice(kit.clock.now(), kit.throw(), kit.profile.pace, kit.profile.breaker)
        if not performance.left_bracket and not draining:
            performance.left_bracket = True
            performance.called_end = self.bracketing.leave(session, performance.assigned, ending, dice)
            if performance.called_end:
                return False
        conclusion = self._sessions.insist(lambda: end_attempt(session.moves, plan, attempt, ending, dice))
        self.performance = None
        kit.say(
            "attempt_ended",
            "info" if ending.outcome.well or ending.outcome is Outcome.DEFERRED else "error",
            **kit.ids(attempt, plan.task.action),
            phase=Phase.ENDED.value,
            outcome=ending.outcome.value,
            reason=ending.reason,
        )
        for turn in conclusion.breakers if conclusion is not None else ():
            self._say_turned(attempt, turn)
        kit.note_down(attempt=None, end=None)
        kit.isolation.release(attempt.id)
        prune(kit.journal.attempts(), keep=_ATTEMPTS_KEPT)
        self._holding.ended(attempt.task, attempt.id, look=not performance.called_end)
        self._holding.look_now()
        return True

    def _say_turned(self, attempt: Attempt, turn: BreakerTurn) -> None:
        ids: dict[str, object] = {"task": attempt.task, "attempt": attempt.id, "cluster": turn.cluster}
        if turn.until is None:
            self._kit.say("breaker_closed", **ids, failures=turn.failures)
        else:
            self._kit.say("breaker_opened", "error", **ids, failures=turn.failures, until=turn.until.isoformat())

    def _note_end(self, attempt: Attempt, ending: Ending) -> None:
        noted = self._kit.journal.now.attempt
        if noted is None or noted.id != attempt.id:  # the disk was full then: an end stands beside its own attempt
            noted = JournalledAttempt(id=attempt.id, task=attempt.task, fence=attempt.fence, phase=Phase.PRE_CHECK)
        self._kit.note_down(attempt=noted, end=_noted(ending, self._kit))

    def part(self) -> None:
        """ZooKeeper does not know of it any more: what acts goes on to its end, what does not act yet never will."""
        self.bracketing.part()
        performance, self.performance = self.performance, None
        if performance is None or performance.ending is not None:
            return
        if performance.phase is Phase.PRE_CHECK:
            performance.abandon()
        else:
            performance.let_go()

    def abandon(self) -> None:
        """The slots are no longer this agent's: its action must not go on, and its end is not ours to record."""
        self.bracketing.part()
        if self.performance is not None:
            self.performance.abandon()
            self.performance = None

    def drain(self) -> None:
        """The agent stops. An action under way is left to its child, and the next agent adopts it; an attempt that has
        not begun to act is given back."""
        performance, session = self.performance, self._sessions.current
        self.bracketing.stop(session)
        if performance is None:
            return
        if performance.phase is Phase.PRE_CHECK and performance.ending is None:
            performance.tell(RevokeAsked("the agent is stopping"))
            if performance.ending is not None and performance.ending.outcome is Outcome.CANCELLED:
                performance.ending = Ending(Outcome.DEFERRED, "the agent was stopped before the action began")
        if performance.ending is None:
            performance.let_go()
            return
        try:
            if session is not None:
                self.conclude(session, draining=True)
        except (Draining, TaskermanError) as error:
            self._kit.say("end_not_recorded", "warning", why=str(error))  # the next agent's first act


def _noted(ending: Ending, kit: Kit) -> JournalledEnd:
    return JournalledEnd(
        outcome=ending.outcome,
        reason=ending.reason,
        code=ending.code,
        tail=ending.tail,
        retry=ending.retry,
        post_check_passed=ending.post_check_passed,
        until=ending.until,
        whole_cluster=ending.whole_cluster,
        at=kit.clock.now(),
    )


def _ending(noted: JournalledEnd) -> Ending:
    return Ending(
        noted.outcome,
        noted.reason,
        code=noted.code,
        tail=noted.tail,
        retry=noted.retry,
        post_check_passed=noted.post_check_passed,
        until=noted.until,
        whole_cluster=noted.whole_cluster,
    )
