"""Every move of the protocol on the in-memory tree and on a real ZooKeeper, with answers lost in all three ways.

`make check` plays them in memory; the same scenes over a real wire, on which a proxy loses exactly one transaction's
answer, are `real`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

import pytest

from taskerman.coordination import layout
from taskerman.coordination.belonging import arrive
from taskerman.coordination.ending import Dice, end_attempt, end_waiting
from taskerman.coordination.node_moves import Ended, NodeMoves, Over, Ready, Taken
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.router_moves import Published, RouterMoves
from taskerman.coordination.snapshot import read_snapshot
from taskerman.errors import (
    AnswerUnknown,
    CoordinationUnavailable,
    Fenced,
    InstallationRefused,
    NotFound,
    RefusedByState,
    TaskEnded,
    TaskExists,
)
from taskerman.model.assignment import Progress, ProgressState
from taskerman.model.attempt import NodeRecord
from taskerman.model.base import Noun
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Plan, Refusal
from taskerman.model.rights import Role
from taskerman.model.slot import Slot
from taskerman.model.task import FailureMark, TaskControl, TaskState
from taskerman.policy.admission import admit
from taskerman.policy.belonging import Belongs, Known
from taskerman.policy.conclusion import Conclusion, Ending
from taskerman.policy.snapshot import Admitted, Reason, Waiting
from taskerman.ports.tree import Delete, Link, Op, Record, Set, Tree, Wake
from taskerman.testing.clock import ManualClock
from taskerman.testing.tree import LostAnswer
from tests.support.protocol_tasks import CLUSTER, ENDINGS, TaskShape, plan_of
from tests.support.tree_ground import Ground, ZookeeperGround, ground
from tests.support.waiting import until

__all__ = ["ground"]

EVERY_LOSS = pytest.mark.parametrize("became", list(LostAnswer), ids=lambda became: became.value)
SETTLED = pytest.mark.parametrize("became", [LostAnswer.APPLIED, LostAnswer.NEVER], ids=lambda b: b.value)


T = TypeVar("T")
N = TypeVar("N", bound=Noun)


class Stage:
    """A router, a person and agents on one ground."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.clock = ManualClock()
        self.tree = ground.open()
        self.person = OperatorMoves(self.tree, "ann", self.clock.now)
        self.router = RouterMoves(self.tree)
        self.person.install("a test")
        self.person.unhold("*", "a test")

    def plan(self, name: str = "t", **shape: object) -> Plan:
        """Publish a plan on n0, n1, n2 unless told otherwise."""
        plan = plan_of(name, TaskShape(**{"nodes": ("n0", "n1", "n2"), **shape}), self.clock)  # type: ignore[arg-type]
        assert self.router.publish(plan) is Published.NEW
        return plan

    def agent(self, node: str, journal: str = "j") -> NodeMoves:
        """A started agent."""
        moves = NodeMoves(self.ground.open(Role.AGENT), node, journal, monotonic=self.clock.monotonic)
        moves.start()
        return moves

    def look(self, moves: NodeMoves, plan: Plan) -> object:
        """Where it stands."""
        return moves.stand(plan, self.clock.now(), lambda: None)

    def take(self, moves: NodeMoves, plan: Plan) -> Taken:
        """Take; it must be admitted."""
        ready = self.look(moves, plan)
        assert isinstance(ready, Ready), ready
        taken = moves.take(ready, plan, self.clock.now())
        assert taken is not None
        return taken

    def take_past(self, moves: NodeMoves, plan: Plan, behind: NodeMoves, older: Plan) -> Taken:
        """Take although an older task stands in its line: its node leaves it for the moment."""
        behind.leave(older.task.task_id)
        return self.take(moves, plan)

    def end(self, moves: NodeMoves, plan: Plan, how: str = "succeeded") -> Conclusion | None:
        """End the attempt in hand; again and again while nobody answers."""
        attempt = moves.record.attempt
        assert attempt is not None
        ending: Ending = ENDINGS[how](self.clock.now())
        return self.insist(lambda: end_attempt(moves, plan, attempt, ending, Dice(self.clock.now(), 0.5)))

    @staticmethod
    def insist(move: Callable[[], T]) -> T:
        """Repeat while nobody answers."""
        while True:
            try:
                return move()
            except CoordinationUnavailable:
                continue

    # --- what is there -------------------------------------------------------------------------------------

    def _read(self, kind: type[N], path: str) -> N | None:
        self.tree.sync(path)
        record = self.tree.get(path)
        return None if record is None else layout.decode(kind, record, path)

    def node(self, name: str) -> NodeRecord:
        """The node's record."""
        found = self._read(NodeRecord, layout.node(name))
        assert found is not None
        return found

    def progress(self, node: str, task: str = "t") -> Progress | None:
        """How far it is."""
        return self._read(Progress, layout.progress(task, node))

    def ended(self, node: str, task: str = "t") -> End | None:
        """How it ended."""
        return self._read(End, layout.end(task, node))

    def control(self, task: str = "t") -> TaskControl:
        """The task's control."""
        found = self._read(TaskControl, layout.control(task))
        assert found is not None
        return found

    def slots(self, scope: str = CLUSTER) -> tuple[Slot, ...]:
        """Who holds what."""
        return layout.slots(self._names(layout.scope(scope)))

    def _names(self, path: str) -> tuple[str, ...]:
        self.tree.sync(path)
        found = self.tree.children(path)
        assert found is not None
        return found.names

    def line(self, task: str = "t", lane: str = "0") -> list[str]:
        """The nodes in the line, in order."""
        lane = layout.line(task, lane)
        records = [self.tree.get(f"{lane}/{name}") for name in self._names(lane)]
        return [layout.entry_node(record) for record in records if record is not None]

    def open(self, cluster: str = CLUSTER) -> int:
        """How many tasks are open."""
        return len(self._names(layout.open_tasks(cluster)))

    def audited(self) -> int:
        """How many verbs were done."""
        return len(self._names(layout.AUDIT))

    def explain(self, plan: Plan, node: str) -> object:
        """What `explain` prints."""
        return admit(read_snapshot(self.tree, plan, node, self.clock.now()), self.clock.now())

    def up(self, tree: Tree) -> None:
        """Wait until a client is connected again."""
        if tree.link is not Link.UP:
            until(lambda: tree.link is Link.UP, "the client is back")

    def lose(self, tree: Tree, became: LostAnswer, move: Callable[[], object]) -> None:
        """Make a move whose transaction gets no answer; connected again afterwards, what was late is delivered."""
        self.ground.lose_answer(tree, became)
        with pytest.raises(CoordinationUnavailable):
            move()
        self.ground.heal(tree)
        self.up(tree)


@pytest.fixture
def stage(ground: Ground) -> Stage:
    """Everything, on either ground."""
    return Stage(ground)


# --- START -----------------------------------------------------------------------------------------------


def test_start_registers_the_node_and_fences_every_earlier_agent(stage: Stage) -> None:
    plan = stage.plan()
    first = stage.agent("n0")
    second = stage.agent("n0")
    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(Fenced):
        first.fence()
    with pytest.raises(Fenced):
        stage.look(first, plan)
    assert isinstance(stage.look(second, plan), Ready)


def test_start_finds_the_attempt_of_an_earlier_agent_and_counts_the_adoption(stage: Stage) -> None:
    plan = stage.plan()
    attempt = stage.take(stage.agent("n0", "mine"), plan).attempt
    heir = NodeMoves(stage.ground.open(Role.AGENT), "n0", "another")
    started = heir.start()
    assert started.attempt == attempt
    assert started.journal == "mine"
    assert started.progress is not None
    assert started.progress.adopts == 1
    stage.end(heir, plan)
    assert stage.node("n0").journal == "another"
    assert stage.slots() == ()


@SETTLED
def test_a_start_without_an_answer_is_repeated(stage: Stage, became: LostAnswer) -> None:
    plan = stage.plan()
    stage.agent("n0")
    moves = NodeMoves(stage.ground.open(Role.AGENT), "n0", "j")
    stage.lose(moves.tree, became, moves.start)
    moves.start()
    assert moves.epoch == stage.node("n0").epoch
    assert isinstance(stage.look(moves, plan), Ready)


@SETTLED
def test_an_adoption_is_counted_once_however_often_its_start_is_repeated(stage: Stage, became: LostAnswer) -> None:
    """Else a bad network at three starts would make an attempt count as lost that was taken over once."""
    plan = stage.plan()
    stage.take(stage.agent("n0"), plan)
    heir = NodeMoves(stage.ground.open(Role.AGENT), "n0", "j")
    for _ in range(3):
        stage.lose(heir.tree, became, heir.start)
    heir.start()
    progress = stage.progress("n0")
    assert progress is not None
    assert progress.adopts == 1


# --- PLAN ------------------------------------------------------------------------------------------------


def test_a_plan_is_written_once_and_another_document_of_that_id_is_refused(stage: Stage) -> None:
    plan = stage.plan()
    assert stage.router.publish(plan) is Published.THERE
    with pytest.raises(TaskExists):
        stage.router.publish(plan_of("t", TaskShape(("n0",), cap=3), stage.clock))
    assert stage.router.unended(plan) == ["n0", "n1", "n2"]
    assert stage.open() == 1


@SETTLED
def test_a_plan_without_an_answer_is_there_once(stage: Stage, became: LostAnswer) -> None:
    stage.plan("before")
    tree = stage.ground.open()
    plan = plan_of("t", TaskShape(("n0",)), stage.clock)
    stage.ground.lose_answer(tree, became)
    published = stage.insist(lambda: RouterMoves(tree).publish(plan))
    assert published is (Published.THERE if became is LostAnswer.APPLIED else Published.NEW)
    assert stage.open() == 2


def test_a_refused_document_keeps_its_record_until_a_person_discards_it(stage: Stage) -> None:
    now = stage.clock.now()
    refusal = Refusal(
        sha256=uuid.uuid4().hex,
        code="E-DOC-JSON",
        reason="no",
        at=now,
        queue="q",
        body="{",
        body_bytes=1,
        body_truncated=False,
    )
    assert stage.router.refuse(refusal, now) == refusal
    assert stage.router.refuse(refusal, now) == refusal
    stage.router.announced(refusal.sha256)
    stage.router.announced(refusal.sha256)
    stage.person.discard_document(refusal.sha256, "seen")
    found = stage.router.refusal(refusal.sha256)
    assert found is not None
    assert found.dead_letter == "discarded"


# --- JOIN and the line -----------------------------------------------------------------------------------


def test_nodes_stand_in_the_order_of_their_ranks_and_only_the_head_is_admitted(stage: Stage) -> None:
    plan = stage.plan(cap=3)
    agents = {node: stage.agent(node) for node in ("n2", "n0", "n1")}
    for moves in agents.values():
        stage.look(moves, plan)
    assert stage.line() == ["n0", "n1", "n2"]
    behind = stage.look(agents["n1"], plan)
    assert isinstance(behind, Waiting)
    assert behind.reason is Reason.PLACE
    assert isinstance(stage.look(agents["n0"], plan), Ready)
    assert stage.explain(plan, "n0") == Admitted()


def test_a_second_session_replaces_the_entry_of_the_first(stage: Stage) -> None:
    plan = stage.plan()
    stage.look(stage.agent("n0"), plan)
    heir = stage.agent("n0")
    assert isinstance(stage.look(heir, plan), Ready)
    assert stage.line() == ["n0"]


def test_after_a_lost_session_the_node_stands_in_the_line_anew(stage: Stage) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    stage.look(moves, plan)
    stage.ground.expire(moves.tree)
    stage.up(moves.tree)
    assert isinstance(stage.insist(lambda: stage.look(moves, plan)), Ready)
    assert stage.line() == ["n0"]
    stage.take(moves, plan)
    assert stage.line() == []


@EVERY_LOSS
def test_a_join_without_an_answer_leaves_no_ghost(stage: Stage, became: LostAnswer) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    stage.ground.lose_answer(moves.tree, became)
    if became is LostAnswer.LATE:
        with suppress(CoordinationUnavailable):  # on the wire it is cut off until it is healed: the fence is owed
            stage.look(moves, plan)
        stage.ground.deliver_late(moves.tree)
        stage.ground.heal(moves.tree)
        stage.up(moves.tree)
    stage.insist(lambda: stage.look(moves, plan))
    assert stage.line() == ["n0"]
    stage.take(moves, plan)
    assert stage.line() == []


def test_a_take_leaves_every_line_of_the_node_whatever_was_lost_before(stage: Stage) -> None:
    """An entry at the head of another task's line would stop that task for as long as this one acts."""
    older, younger = stage.plan("older", nodes=("n0", "n1")), stage.plan("younger", nodes=("n0", "n1"))
    moves = stage.agent("n0")
    stage.look(moves, younger)
    stage.ground.cut(moves.tree)
    with pytest.raises(CoordinationUnavailable):
        stage.look(moves, younger)
    stage.ground.heal(moves.tree)
    stage.up(moves.tree)
    stage.insist(lambda: stage.look(moves, older))
    stage.take(moves, older)
    assert stage.line("younger") == []


# --- TAKE ------------------------------------------------------------------------------------------------


def test_a_take_takes_everything_at_once(stage: Stage) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    attempt = stage.take(moves, plan).attempt
    assert attempt.id == "t.n0.1"
    assert stage.node("n0").attempt == attempt
    assert [slot.name for slot in stage.slots()] == ["n0~1~acting"]
    progress = stage.progress("n0")
    assert progress is not None
    assert (progress.state, progress.k, progress.attempt) == (ProgressState.ACTING, 1, attempt.id)
    assert stage.line() == []


def test_the_fencing_token_rises_with_every_take_of_the_cluster(stage: Stage) -> None:
    plan = stage.plan(cap=3)
    fences = [stage.take(stage.agent(node), plan).attempt.fence for node in ("n0", "n1", "n2")]
    assert fences == sorted(set(fences))


def test_a_newcomer_enters_only_within_its_own_promise_and_that_of_every_slot(stage: Stage) -> None:
    careful, bold = stage.plan("careful", nodes=("n0",), cap=1), stage.plan("bold", nodes=("n1",), cap=3)
    stage.take(stage.agent("n0"), careful)
    refused = stage.look(stage.agent("n1"), bold)
    assert isinstance(refused, Waiting)
    assert refused.reason is Reason.NO_ROOM


@pytest.mark.parametrize("stop", ["hold", "cancel", "unsafe elsewhere", "another agent", "a failure"])
def test_what_changed_after_the_look_refuses_the_take(stage: Stage, stop: str) -> None:
    plan, other = stage.plan(nodes=("n0", "n1"), cap=2), stage.plan("other", nodes=("n2",), cap=2)
    acting, moves, elsewhere = stage.agent("n1"), stage.agent("n0"), stage.agent("n2")
    if stop == "a failure":
        stage.take(acting, plan)
    if stop == "unsafe elsewhere":
        stage.take(elsewhere, other)
    ready = stage.look(moves, plan)
    assert isinstance(ready, Ready), ready
    match stop:
        case "hold":
            stage.person.hold(f"cluster:{CLUSTER}", "look")
        case "cancel":
            stage.person.cancel("t", "no")
        case "unsafe elsewhere":
            stage.end(elsewhere, other, "unsafe")
        case "another agent":
            stage.agent("n0")
        case "a failure":
            stage.end(acting, plan, "failed")
    assert moves.take(ready, plan, stage.clock.now()) is None
    assert not any(slot.node == "n0" for slot in stage.slots())
    assert stage.node("n0").attempt is None


@EVERY_LOSS
def test_a_take_without_an_answer_is_settled_by_a_fence(stage: Stage, became: LostAnswer) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    ready = stage.look(moves, plan)
    assert isinstance(ready, Ready)
    now = stage.clock.now()
    stage.ground.lose_answer(moves.tree, became)
    with pytest.raises(AnswerUnknown):
        moves.take(ready, plan, now)
    if became is LostAnswer.LATE and isinstance(stage.ground, ZookeeperGround):
        stage.ground.deliver_late(moves.tree)  # a server closes the old connection of a session that comes back
        stage.ground.heal(moves.tree)
        taken = stage.insist(lambda: moves.settle_take(ready, plan, now))
        assert taken is not None
        return
    stage.up(moves.tree)
    taken = stage.insist(lambda: moves.settle_take(ready, plan, now))
    if became is LostAnswer.APPLIED:
        assert taken is not None
        assert stage.node("n0").attempt == taken.attempt
        return
    assert taken is None
    if became is LostAnswer.LATE:
        stage.ground.deliver_late(moves.tree)
    assert stage.node("n0").attempt is None, "settled as not done, and it cannot be done any more"
    assert stage.slots() == ()
    assert stage.take(moves, plan).attempt.id == "t.n0.1"


# --- END -------------------------------------------------------------------------------------------------

FINAL = {
    "succeeded": (Outcome.SUCCEEDED, None, DeadLetterState.NONE, None),
    "skipped": (Outcome.SKIPPED, None, DeadLetterState.NONE, None),
    "failed": (Outcome.FAILED, None, DeadLetterState.OWED, FailureMark.FINAL),
    "refused": (Outcome.FAILED, None, DeadLetterState.OWED, FailureMark.FINAL),
    "unsafe": (Outcome.UNSAFE, "n0~1~unsafe", DeadLetterState.OWED, FailureMark.FINAL),
    "lost": (Outcome.LOST, "n0~1~lost", DeadLetterState.OWED, FailureMark.FINAL),
    "lost_well": (Outcome.LOST, None, DeadLetterState.OWED, FailureMark.FINAL),
    "cancelled": (Outcome.CANCELLED, None, DeadLetterState.NONE, None),
}


@pytest.mark.parametrize("how", FINAL)
def test_each_final_outcome_writes_all_that_it_means(stage: Stage, how: str) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    attempt = stage.take(moves, plan).attempt
    stage.end(moves, plan, how)
    outcome, slot, letter, mark = FINAL[how]
    end = stage.ended("n0")
    assert end is not None
    assert (end.outcome, end.attempt, end.dead_letter) == (outcome, attempt.id, letter)
    assert [s.name for s in stage.slots()] == ([slot] if slot else [])
    assert end.kept == ((CLUSTER,) if slot else ())
    assert stage.control().failed.get("n0") == mark
    assert stage.control().state is (TaskState.HALTED if mark else TaskState.OPEN)
    assert stage.progress("n0") is None
    assert stage.node("n0").attempt is None
    assert isinstance(stage.look(moves, plan), Ended)


def test_a_deferred_attempt_costs_nothing_and_stands_behind_its_peers(stage: Stage) -> None:
    plan = stage.plan(cap=1)
    first, second = stage.agent("n0"), stage.agent("n1")
    stage.take(first, plan)
    stage.end(first, plan, "deferred")
    progress = stage.progress("n0")
    assert progress is not None
    assert (progress.k, progress.deferrals, progress.state) == (0, 1, ProgressState.WAITING)
    backing = stage.look(first, plan)
    assert isinstance(backing, Waiting)
    assert backing.reason is Reason.BACKOFF
    assert stage.explain(plan, "n0") == backing
    stage.clock.advance(60)
    stage.look(second, plan)
    stage.look(first, plan)
    assert stage.line() == ["n1", "n0"]


def test_a_deferral_of_the_whole_cluster_stops_every_node_of_the_task(stage: Stage) -> None:
    plan = stage.plan()
    first = stage.agent("n0")
    stage.take(first, plan)
    stage.end(first, plan, "deferred_cluster")
    other = stage.look(stage.agent("n1"), plan)
    assert isinstance(other, Waiting)
    assert other.reason is Reason.CLUSTER_WAITS


def test_a_failed_node_is_tried_again_before_fresh_ones_and_gives_the_budget_back(stage: Stage) -> None:
    plan = stage.plan(retry_count=1)
    last, fresh = stage.agent("n2"), stage.agent("n0")
    ready = stage.take(last, plan)
    stage.end(last, plan, "failed")
    assert stage.control().failed == {"n2": FailureMark.RETRYING}
    assert stage.control().state is TaskState.OPEN
    waiting = stage.look(fresh, plan)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.BUDGET
    stage.clock.advance(3600)
    assert stage.take(last, plan).attempt.k == ready.attempt.k + 1
    stage.end(last, plan)
    assert stage.control().failed == {}
    assert isinstance(stage.look(fresh, plan), Ready)


@EVERY_LOSS
def test_an_end_without_an_answer_is_recorded_once(stage: Stage, became: LostAnswer) -> None:
    plan = stage.plan(nodes=("n0", "n1"))
    moves = stage.agent("n0")
    attempt = stage.take(moves, plan).attempt
    ending = ENDINGS["succeeded"](stage.clock.now())

    def end() -> Conclusion | None:
        return end_attempt(moves, plan, attempt, ending, Dice(stage.clock.now(), 0.5))

    stage.ground.lose_answer(moves.tree, became)
    if became is LostAnswer.LATE:
        try:
            end()
        except CoordinationUnavailable:
            stage.ground.deliver_late(moves.tree)
            stage.ground.heal(moves.tree)
            stage.up(moves.tree)
        else:
            stage.ground.deliver_late(moves.tree)
    stage.insist(end)
    found = stage.ended("n0")
    assert found is not None
    assert found.attempt == attempt.id
    assert stage.slots() == ()
    assert stage.node("n0").attempt is None
    assert stage.progress("n0") is None


def test_the_last_end_closes_the_task(stage: Stage) -> None:
    plan = stage.plan(cap=2, nodes=("n0", "n1"))
    agents = [stage.agent("n0"), stage.agent("n1")]
    for moves in agents:
        stage.take(moves, plan)
    stage.end(agents[0], plan)
    assert stage.open() == 1
    stage.end(agents[1], plan)
    assert stage.open() == 0


def test_a_dead_letter_that_was_sent_is_noted_once(stage: Stage) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    standing = stage.look(moves, plan)
    assert isinstance(standing, Ended)
    moves.announced("t", standing)
    moves.announced("t", standing)
    end = stage.ended("n0")
    assert end is not None
    assert end.dead_letter is DeadLetterState.SENT


# --- the end of what never began -------------------------------------------------------------------------


def test_what_expires_waiting_is_ended_by_its_own_agent_with_a_dead_letter(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0",), lasts_s=60)
    moves = stage.agent("n0")
    stage.look(moves, plan)
    stage.clock.advance(61)
    assert stage.look(moves, plan) is Over.EXPIRED
    end = end_waiting(moves, plan, Over.EXPIRED, reason="over", now=stage.clock.now())
    assert end is not None
    assert (end.outcome, end.dead_letter) == (Outcome.EXPIRED, DeadLetterState.OWED)
    assert stage.line() == []
    assert stage.open() == 0


def test_a_rejection_in_the_middle_of_retries_halts_instead_of_letting_others_wait_for_ever(stage: Stage) -> None:
    plan = stage.plan(retry_count=3)
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "failed")
    end_waiting(moves, plan, Outcome.REJECTED, reason="unknown action", now=stage.clock.now())
    assert stage.control().state is TaskState.HALTED
    assert stage.person.resume("t", "go on without it").excused == ("n0",)
    assert isinstance(stage.look(stage.agent("n1"), plan), Ready)


def test_two_rejections_of_one_assignment_have_keys_of_their_own(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0", "n1"))
    moves = stage.agent("n0")
    ends = []
    for _ in range(2):
        ends.append(end_waiting(moves, plan, Outcome.REJECTED, reason="unknown action", now=stage.clock.now()))
        assert stage.person.redrive("t", "n0", "it is installed now")
    assert None not in ends
    assert len({end.attempt for end in ends if end}) == 2


# --- a person --------------------------------------------------------------------------------------------


def test_a_hold_stops_what_was_not_taken_and_its_removal_lets_it_go_on(stage: Stage) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    stage.look(moves, plan)
    hold = stage.person.hold("owner:gsi", "an incident")
    waiting = stage.look(moves, plan)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.HOLD
    assert stage.explain(plan, "n0") == waiting
    with pytest.raises(RefusedByState):
        stage.person.hold("owner:gsi", "again")
    stage.person.unhold(hold.id, "over")
    with pytest.raises(NotFound):
        stage.person.unhold(hold.id, "over")
    assert isinstance(stage.look(moves, plan), Ready)


def test_a_cancelled_task_takes_nothing_more_and_the_sweep_ends_the_rest(stage: Stage) -> None:
    plan = stage.plan(cap=1)
    acting, waiting = stage.agent("n0"), stage.agent("n1")
    stage.take(acting, plan)
    stage.look(waiting, plan)
    stage.person.cancel("t", "no")
    assert stage.person.cancel("t", "no").state is TaskState.CANCELLED
    assert stage.person.sweep("t") == ["n0"]
    for node in ("n1", "n2"):
        end = stage.ended(node)
        assert end is not None
        assert end.outcome is Outcome.CANCELLED
    assert isinstance(stage.look(waiting, plan), Ended)
    stage.end(acting, plan, "cancelled")
    assert stage.person.sweep("t") == []
    assert stage.router.close_ended() == ([] if stage.open() == 0 else ["t"])
    assert stage.open() == 0


def test_a_failure_in_the_middle_of_a_sweep_does_not_end_the_sweep(stage: Stage) -> None:
    """The control record moves with every recorded failure; nodes that are away would keep no outcome for ever."""
    plan = stage.plan(cap=1)
    acting = stage.agent("n0")
    stage.take(acting, plan)
    stage.person.cancel("t", "no")

    tree = stage.ground.open()
    get = tree.get

    def meddled(path: str, wake: Wake | None = None) -> Record | None:
        found = get(path, wake)
        if path == layout.control("t") and stage.ended("n0") is None:
            stage.end(acting, plan, "failed")  # after the control record was read
        return found

    tree.get = meddled  # type: ignore[method-assign]
    OperatorMoves(tree, "ann", stage.clock.now).sweep("t")
    assert all(stage.ended(node) for node in ("n0", "n1", "n2"))


def test_an_ended_task_cannot_be_cancelled(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0",))
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan)
    with pytest.raises(TaskEnded):
        stage.person.cancel("t", "no")


def test_resume_excuses_what_failed_and_a_task_that_is_not_halted_is_not_resumed(stage: Stage) -> None:
    plan = stage.plan()
    with pytest.raises(RefusedByState):
        stage.person.resume("t", "why not")
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "failed")
    stage.person.resume("t", "seen")
    assert stage.control().excused == ("n0",)
    assert isinstance(stage.look(stage.agent("n1"), plan), Ready)


def test_redrive_brings_one_node_back_and_fresh_ones_wait_behind_it(stage: Stage) -> None:
    plan = stage.plan()
    moves, fresh = stage.agent("n1"), stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    stage.person.resume("t", "seen")
    assert stage.person.redrive("t", "n1", "mended")
    assert stage.control().failed == {"n1": FailureMark.RETRYING}
    assert stage.control().excused == ()
    waiting = stage.look(fresh, plan)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.KEPT_SLOT
    again = stage.take(moves, plan).attempt
    assert again.inherited is not None
    assert again.id == "t.n1.2"
    stage.end(moves, plan)
    assert stage.slots() == ()
    assert stage.control().failed == {}
    assert isinstance(stage.look(fresh, plan), Ready)


@pytest.mark.parametrize("how", ["deferred", "skipped", "failed_check", "cancelled_check"])
def test_an_inherited_slot_goes_back_to_what_it_was_unless_a_post_check_passed(stage: Stage, how: str) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    stage.person.redrive("t", "n0", "mended")
    stage.take(moves, plan)
    stage.end(moves, plan, how)
    assert [slot.name for slot in stage.slots()] == ["n0~1~unsafe"]


def test_redrive_of_what_ended_well_or_of_a_cancelled_task_is_refused(stage: Stage) -> None:
    plan = stage.plan(cap=2)
    first, second = stage.agent("n0"), stage.agent("n1")
    stage.take(first, plan)
    stage.take(second, plan)
    stage.end(first, plan)
    with pytest.raises(RefusedByState):
        stage.person.redrive("t", "n0", "again")
    with pytest.raises(NotFound):
        stage.person.redrive("t", "n2", "it has no end")
    stage.end(second, plan, "failed")
    stage.person.cancel("t", "no")
    assert not stage.person.redrive("t", "n1", "again"), "a new task must be made of its document"
    stage.person.redriven("t", "n1", "as t-r1")
    end = stage.ended("n1")
    assert end is not None
    assert end.dead_letter is DeadLetterState.REDRIVEN


def test_a_closed_task_is_opened_again_by_a_redrive(stage: Stage) -> None:
    plan = stage.plan(nodes=("n0",))
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "failed")
    assert stage.open() == 0
    assert stage.person.redrive("t", "n0", "mended")
    assert stage.open() == 1
    stage.take(moves, plan)
    stage.end(moves, plan)
    assert stage.open() == 0


def test_discard_settles_a_dead_letter_and_nothing_else(stage: Stage) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    stage.person.discard("t", "n0", "known")
    with pytest.raises(RefusedByState):
        stage.person.discard("t", "n0", "known")
    assert [slot.name for slot in stage.slots()] == ["n0~1~unsafe"]


def test_release_asks_an_acting_agent_and_frees_the_kept_slot_of_an_idle_node(stage: Stage) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    attempt = stage.take(moves, plan).attempt
    assert stage.person.release("n0", "needed").asked == attempt.id
    assert moves.refresh().revoke == attempt.id
    assert [slot.name for slot in stage.slots()] == ["n0~1~acting"]
    stage.end(moves, plan, "unsafe")
    assert stage.node("n0").revoke is None
    assert len(stage.person.release("n0", "looked at it").freed) == 1
    assert stage.slots() == ()
    with pytest.raises(RefusedByState):
        stage.person.release("n0", "again")
    with pytest.raises(NotFound):
        stage.person.release("nobody", "?")


def test_a_persons_word_that_the_node_is_off_frees_its_slot_and_fences_its_agent(stage: Stage) -> None:
    plan = stage.plan()
    moves = stage.agent("n0")
    attempt = stage.take(moves, plan).attempt
    released = stage.person.node_is_off("n0", "the fuse blew")
    assert released.ended == "t"
    end = stage.ended("n0")
    assert end is not None
    assert (end.outcome, end.attempt, end.dead_letter) == (Outcome.LOST, attempt.id, DeadLetterState.OWED)
    assert stage.slots() == ()
    assert stage.control().state is TaskState.HALTED
    with pytest.raises(Fenced):
        stage.end(moves, plan)


VERBS: dict[str, Callable[[OperatorMoves], object]] = {
    "hold": lambda p: p.hold("*", "w"),
    "cancel": lambda p: p.cancel("other", "w"),
    "resume": lambda p: p.resume("t", "w"),
    "redrive": lambda p: p.redrive("t", "n0", "w"),
    "discard": lambda p: p.discard("t", "n0", "w"),
    "release": lambda p: p.release("n0", "w"),
    "node_is_off": lambda p: p.node_is_off("n0", "w"),
}


@SETTLED
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_without_an_answer_is_done_once_and_audited_once(stage: Stage, verb: str, became: LostAnswer) -> None:
    plan = stage.plan()
    stage.plan("other", nodes=("n2",))
    moves = stage.agent("n0")
    stage.take(moves, plan)
    stage.end(moves, plan, "unsafe")
    tree = stage.ground.open()
    before = stage.audited()
    stage.ground.lose_answer(tree, became)
    VERBS[verb](OperatorMoves(tree, "bob", stage.clock.now))
    assert stage.audited() == before + 1


def test_a_router_does_not_close_a_task_while_a_person_redrives_it(stage: Stage) -> None:
    """Its close does not change the control record: the redrive must check the header itself."""
    plan = stage.plan(nodes=("n0",))
    stage.take(stage.agent("n0"), plan)
    stage.person.node_is_off("n0", "the fuse blew")
    assert stage.open() == 1

    class Meddled(OperatorMoves):
        def _stay_open(self, plan: Plan) -> list[Op]:
            found = super()._stay_open(plan)
            RouterMoves(stage.tree).close_ended()
            return found

    assert Meddled(stage.tree, "ann", stage.clock.now).redrive("t", "n0", "mended")
    assert stage.open() == 1


def test_what_waits_for_an_older_task_says_so_and_goes_on_when_its_line_is_empty(stage: Stage) -> None:
    older, younger = stage.plan("older", nodes=("n0",), cap=3), stage.plan("younger", nodes=("n1",), cap=3)
    first, second = stage.agent("n0"), stage.agent("n1")
    stage.look(first, older)
    waiting = stage.look(second, younger)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.OLDER_TASK
    assert stage.explain(younger, "n1") == waiting
    stage.take(first, older)
    assert isinstance(stage.look(second, younger), Ready)


def test_a_shut_gate_lets_younger_tasks_pass(stage: Stage) -> None:
    older, younger = stage.plan("older", nodes=("n0",), owner="dba"), stage.plan("younger", nodes=("n1",))
    first, second = stage.agent("n0"), stage.agent("n1")
    stage.look(first, older)
    stage.person.hold("owner:dba", "an incident", until=stage.clock.now() + timedelta(hours=1))
    assert isinstance(stage.look(first, older), Waiting)
    assert isinstance(stage.look(second, younger), Ready)


# --- a ZooKeeper that went back ----------------------------------------------------------------------------


def test_a_take_that_was_on_its_way_when_a_node_stopped_everything_is_refused(stage: Stage) -> None:
    """A node that knows a later state stops all the others: they look again, and wait for a person."""
    plan = stage.plan()
    moves = stage.agent("n0")
    ready = stage.look(moves, plan)
    assert isinstance(ready, Ready)
    installation = stage.router.installation().installation
    with pytest.raises(InstallationRefused, match="restored from a backup"):
        arrive(stage.tree, "n1", Known(installation, epoch=3, takes=2), None, stage.clock.now())

    assert moves.take(ready, plan, stage.clock.now()) is None

    waiting = stage.look(moves, plan)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.HOLD
    assert stage.person.accept_installation("looked")[1] == (installation,)
    stage.person.unhold("*", "looked")
    stage.take(moves, plan)


def test_a_report_that_comes_after_a_person_accepted_stops_nothing_again(stage: Stage) -> None:
    """It rests on the control record that it read."""
    installation = stage.router.installation().installation
    known = Known(installation, epoch=3, takes=2)
    stage.person.accept_installation("restored", installation)
    assert arrive(stage.tree, "n1", known, None, stage.clock.now()) is Belongs.ACCEPTED
    moves = NodeMoves(stage.tree, "n1", "j")
    moves.start(known, accepted=True)
    assert (moves.epoch, moves.record.takes) == (4, 2), "nothing that was counted is counted again"


def test_an_incarnation_whose_record_went_back_stops_by_itself(stage: Stage) -> None:
    """Epoch and takes only grow: less than what it wrote itself is an older tree."""
    moves = stage.agent("n0")
    stage.tree.commit([Set(layout.node("n0"), NodeRecord().to_json(), None)])
    with pytest.raises(InstallationRefused):
        moves.refresh()
    stage.tree.commit([Delete(layout.node("n0"))])
    with pytest.raises(InstallationRefused):
        moves.refresh()
