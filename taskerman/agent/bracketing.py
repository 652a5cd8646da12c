"""The agent at brackets: goes in before an action, and calls cluster_end where nobody is inside any more.

cluster_end is called under the slots of the attempt that ends last. Where that could not be (two ended at once and
each saw the other, an agent was killed, its machine is gone), a janitor rings, and the node that is rung calls it
under a claim of its own, without a slot: the slot that a broken node keeps is just what must not stand in the way. One
call at a time; while it lasts nothing else begins on this node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from taskerman.agent.assigned import Assigned, child_spec, directory_of
from taskerman.agent.child_in_hand import ChildReport
from taskerman.agent.cluster_end import ClusterEnding
from taskerman.agent.kit import Kit
from taskerman.agent.sessions import Session, Sessions
from taskerman.coordination import brackets as moves
from taskerman.coordination.brackets import Entered
from taskerman.coordination.ending import Dice, is_over_after
from taskerman.errors import TaskermanError
from taskerman.model.attempt import Attempt
from taskerman.model.bracket import Bracket, BracketState
from taskerman.model.ids import BracketName, attempt_id
from taskerman.model.plan import Plan
from taskerman.policy.conclusion import Ending
from taskerman.policy.signals import BracketAnswered

__all__ = ["BracketDoor", "Bracketing"]

_AGAIN = timedelta(seconds=3)
"""So long the nodes of a task wait when somebody opens or closes its bracket."""


class BracketDoor:
    """The bracket's door for one attempt. Both calls return when somebody has answered."""

    def __init__(self, kit: Kit, sessions: Sessions, session: Session, assigned: Assigned, name: BracketName) -> None:
        self._kit = kit
        self._sessions = sessions
        self._session = session
        self._assigned = assigned
        self._name = name

    def enter(self) -> BracketAnswered:
        """See `Door.enter`. Raises `Fenced`."""
        return self._answer(self._ask(moves.enter))

    def begun(self) -> BracketAnswered:
        """See `Door.begun`. Raises `Fenced`."""
        entered = self._ask(moves.begun)
        if entered.stands:
            ids = self._kit.ids(self._assigned.attempt, self._assigned.plan.task.action)
            self._kit.say("bracket_begun", **ids, bracket=self._name)
        return self._answer(entered)

    def _ask(self, move: Callable[..., Entered]) -> Entered:
        kit, attempt, action = self._kit, self._assigned.attempt, self._assigned.plan.task.action
        return self._sessions.insist(lambda: move(self._session.moves, attempt, self._name, action, kit.clock.now()))

    def _answer(self, entered: Entered) -> BracketAnswered:
        clock = self._kit.clock
        if entered.stands or entered.begins:
            return BracketAnswered("stands" if entered.stands else "begin", clock.monotonic())
        wait = min(_AGAIN, self._kit.profile.pace.deferral)
        return BracketAnswered("wait", clock.monotonic(), reason=entered.why, until=clock.now() + wait)


@dataclass(slots=True)
class _Call:
    """One call of cluster_end. `attempt` None: under no slot."""

    plan: Plan
    claimed: Bracket
    attempt: Attempt | None
    ending: ClusterEnding


class Bracketing:
    """`calling`: whether cluster_end is under way. Used on the agent's one thread."""

    def __init__(self, kit: Kit, sessions: Sessions, post: Callable[[ChildReport], None]) -> None:
        """`post` hands a child's report to the loop, from any thread."""
        self._kit = kit
        self._sessions = sessions
        self._post = post
        self._call: _Call | None = None

    @property
    def calling(self) -> bool:
        """Whether cluster_end is under way, or its end still to be recorded."""
        return self._call is not None

    def door(self, session: Session, assigned: Assigned) -> BracketDoor | None:
        """The door for an attempt; None: its action has no bracket."""
        name = assigned.traits.bracket
        return None if name is None else BracketDoor(self._kit, self._sessions, session, assigned, name)

    # --- beginning ---------------------------------------------------------------------------------------

    def leave(self, session: Session, assigned: Assigned, ending: Ending, dice: Dice) -> bool:
        """Before the end of an attempt is recorded: call cluster_end, if it is the last inside and its task is over
        with it. True: it is under way; the end is to be recorded after it. Raises `Fenced`."""
        attempt, plan, name = assigned.attempt, assigned.plan, assigned.traits.bracket
        if name is None:
            return False

        def claim() -> Bracket | None:
            over = is_over_after(session.moves, plan, attempt, ending, dice)
            if not over:
                return None
            now = self._kit.clock.now()
            return moves.claim_end(session.moves, attempt.cluster, name, attempt, now, over=attempt.task)

        claimed = self._sessions.insist(claim)
        if claimed is not None:
            self._begin(plan, claimed, attempt, assigned.target)
        return claimed is not None

    def look(self, session: Session, plan: Plan) -> bool:
        """Somebody rang: call cluster_end, if the bracket of the action is left over. True: it is under way.

        Raises `CoordinationUnavailable`: call again.
        """
        kit, task = self._kit, plan.task
        try:
            name, target = kit.catalog.traits(task.action).bracket, kit.catalog.target(task.action)
        except TaskermanError:
            return False  # not with this build
        if name is None:
            return False
        claimed = moves.claim_end(session.moves, task.cluster_name, name, None, kit.clock.now())
        if claimed is not None:
            self._begin(plan, claimed, None, target)
        return claimed is not None

    def _begin(self, plan: Plan, claimed: Bracket, attempt: Attempt | None, target: str) -> None:
        kit = self._kit
        name = attempt.id if attempt is not None else attempt_id(plan.task.task_id, kit.node, 0)
        fence = attempt.fence if attempt is not None else 0
        ending = ClusterEnding(
            kit,
            name,
            lambda: child_spec(kit, plan, name, target, fence=fence),
            directory_of(kit, name),
            self._post,
        )
        self._call = _Call(plan, claimed, attempt, ending)
        kit.say("bracket_closing", **self._ids(self._call), under=name if attempt is not None else "no slot")
        ending.begin()

    # --- while it lasts ----------------------------------------------------------------------------------

    def hear(self, heard: ChildReport) -> None:
        """A report of a child."""
        if self._call is not None:
            self._call.ending.hear(heard)

    def wait_until(self) -> float | None:
        """When it is to be looked at anew, in monotonic seconds; None: it has ended, and that is to be recorded."""
        assert self._call is not None
        return self._call.ending.look_at_clock()

    # --- ending ------------------------------------------------------------------------------------------

    def record(self, session: Session) -> None:
        """Say what came of the call. Raises `Fenced`."""
        call, self._call = self._call, None
        assert call is not None
        try:
            self._sessions.insist(lambda: self._record(session, call))
        except BaseException:
            self._call = call
            raise

    def _record(self, session: Session, call: _Call) -> None:
        ending, now = call.ending, self._kit.clock.now()
        after = moves.end_called(session.moves, call.claimed, call.attempt, now, ending.failed, stopped=ending.stopped)
        if after is None:
            return  # a person, or a janitor who waited too long, has decided otherwise
        if after.state is BracketState.CLOSED:
            self._kit.say("bracket_closed", **self._ids(call))
        else:
            self._kit.say("bracket_not_closed", "error", **self._ids(call), why=after.why, tries=after.tries)

    def stop(self, session: Session | None) -> None:
        """The agent stops: end the call, and give the bracket back, if somebody answers."""
        call = self._call
        if call is None:
            return
        call.ending.kill("the agent was stopped")
        if session is None:
            return
        try:
            self._record(session, call)
        except TaskermanError as error:  # by itself the claim ends with this agent's epoch, or with its attempt
            self._kit.say("bracket_not_closed", "error", **self._ids(call), why=str(error), tries=call.claimed.tries)
        self._call = None

    def part(self) -> None:
        """ZooKeeper does not know us any more: end the call. The claim ends with this agent's epoch or its attempt."""
        call, self._call = self._call, None
        if call is not None:
            call.ending.kill("the agent parted from ZooKeeper")

    def _ids(self, call: _Call) -> dict[str, object]:
        claimed = call.claimed
        return {"task": call.plan.task.task_id, "cluster": claimed.cluster, "bracket": claimed.name}
