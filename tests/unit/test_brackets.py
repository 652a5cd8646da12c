"""Brackets: the table of who may go in and who may end one; the janitor that asks a node to; what people see."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, ClassVar

import pytest

from taskerman import control
from taskerman.coordination import brackets as moves
from taskerman.coordination import layout
from taskerman.coordination.census import Census
from taskerman.errors import RefusedByState
from taskerman.janitor.closing_brackets import ClosingBrackets
from taskerman.janitor.kit import Kit, Turn
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.bracket import Bracket, BracketClaim, BracketState
from taskerman.model.event import Event
from taskerman.model.outcome import Outcome
from taskerman.policy import brackets as policy
from taskerman.policy.brackets import Begin, Entrant, NotNow, SeenBracket, Stands
from taskerman.policy.upkeep import Upkeep
from taskerman.ports.tree import Set
from taskerman.runner import Check, Go, Recovered, TaskRunner
from taskerman.testing import deaths
from taskerman.testing.harness import RunnerHarness
from tests.support.command_line import CommandLine
from tests.support.evening import an_evening, go_in
from tests.support.fleet import CLUSTER, Fleet

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAME = "silence"


def acting(node: str, attempt: str | None, *, epoch: int = 1, gone: bool = False) -> NodeRecord:
    held = None if attempt is None else Attempt(id=attempt, task="t", cluster=CLUSTER, k=1, cap=1, scopes=(CLUSTER,))
    return NodeRecord(epoch=epoch, attempt=held, gone=gone)


def bracket(state: BracketState, **fields: Any) -> Bracket:
    return Bracket(cluster=CLUSTER, name=NAME, state=state, since=NOW, **fields)


def seen(one: Bracket, *nodes: tuple[str, str | None], age_s: float = 0.0) -> SeenBracket:
    return SeenBracket(one, {node: acting(node, attempt) for node, attempt in nodes}, age_s)


ME = Entrant(BracketClaim(node="i-1", epoch=1, attempt="t.i-1.1"), "t.i-1.1", "t", "demo_task:restart")
OTHER = BracketClaim(node="i-2", epoch=1, attempt="t.i-2.1")
SWEEP = BracketClaim(node="i-2", epoch=1)

# --- the rules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "record", "stands"),
    [
        (OTHER, acting("i-2", "t.i-2.1"), True),
        (OTHER, acting("i-2", "t.i-2.1", epoch=9), True),
        (OTHER, acting("i-2", "t.i-2.2"), False),
        (OTHER, acting("i-2", None), False),
        (OTHER, acting("i-2", "t.i-2.1", gone=True), False),
        (SWEEP, acting("i-2", None), True),
        (SWEEP, acting("i-2", "t.i-2.7"), True),
        (SWEEP, acting("i-2", None, epoch=2), False),
        (SWEEP, acting("i-2", None, gone=True), False),
        (SWEEP, None, False),
    ],
)
def test_a_claim_stands_as_long_as_its_attempt_or_its_agent(
    claim: BracketClaim, record: NodeRecord | None, stands: bool
) -> None:
    assert claim.stands(record) is stands


def enter(one: SeenBracket, going_on: Iterable[str] = ()) -> policy.Enter:
    return policy.enter(one, ME, frozenset(going_on), NOW)


def test_whoever_finds_it_closed_says_so_and_begins_it() -> None:
    answer = enter(seen(bracket(BracketState.CLOSED, why="old")))
    assert isinstance(answer, Begin)
    after = answer.after
    assert (after.state, after.tasks, after.inside) == (BracketState.OPENING, ("t",), {"i-1": "t.i-1.1"})
    assert (after.claim, after.tries, after.why) == (ME.claim, 0, "")


def test_whoever_finds_it_open_goes_in_and_those_that_have_ended_go_out() -> None:
    inside = {"i-2": "u.i-2.1", "i-3": "u.i-3.1"}
    one = bracket(BracketState.OPEN, tasks=("over", "u"), inside=inside)
    answer = enter(seen(one, ("i-2", "u.i-2.1"), ("i-3", "u.i-3.2")), ["u"])
    assert isinstance(answer, Stands)
    assert answer.after is not None
    assert answer.after.inside == {"i-2": "u.i-2.1", "i-1": "t.i-1.1"}
    assert answer.after.tasks == ("u", "t")
    assert enter(seen(answer.after)) == Stands(None), "what is so already is not written again"


def test_one_that_is_being_opened_is_waited_for_and_then_begun_too() -> None:
    one = bracket(BracketState.OPENING, claim=OTHER, inside={"i-2": "t.i-2.1"}, tasks=("t",))
    there = ("i-2", "t.i-2.1")
    assert enter(seen(one, there)) is NotNow.BEING_OPENED
    patient = enter(seen(one, there, age_s=policy.HOOK_PATIENCE_S))
    assert isinstance(patient, Begin)
    assert patient.after.inside == {"i-1": "t.i-1.1", "i-2": "t.i-2.1"}, "the first stands inside as long as it may act"
    assert isinstance(enter(seen(one, ("i-2", None))), Begin), "its opener has ended"


def test_one_that_is_being_closed_is_waited_for_however_long() -> None:
    for claim in (OTHER, SWEEP):
        one = bracket(BracketState.CLOSING, claim=claim)
        assert enter(seen(one, ("i-2", "t.i-2.1"), age_s=1e9)) is NotNow.BEING_CLOSED
    for over in (bracket(BracketState.CLOSING), bracket(BracketState.CLOSING, claim=OTHER)):
        assert isinstance(enter(seen(over, ("i-2", None))), Begin), "cluster_end may have been called: begun again"


def test_an_attempt_that_is_taken_over_goes_on_with_what_it_claimed() -> None:
    earlier = BracketClaim(node="i-1", epoch=0, attempt="t.i-1.1")
    one = bracket(BracketState.OPENING, claim=earlier, inside={"i-1": "t.i-1.1"}, tasks=("t",))
    assert isinstance(enter(seen(one, ("i-1", "t.i-1.1"))), Begin)
    after = policy.after_begin(one, ME, NOW)
    assert after is not None
    assert (after.state, after.claim) == (BracketState.OPEN, None)


def test_what_was_not_begun_by_somebody_inside_is_not_called_open() -> None:
    assert policy.after_begin(bracket(BracketState.CLOSED), ME, NOW) is None
    assert policy.after_begin(bracket(BracketState.OPENING, inside={"i-1": "t.i-1.0"}), ME, NOW) is None
    assert policy.after_begin(bracket(BracketState.CLOSING, inside={"i-1": "t.i-1.1"}), ME, NOW) is None


MAY_END = {
    "its tasks are over": (bracket(BracketState.OPEN, tasks=("t",)), (), (), True),
    "a task goes on": (bracket(BracketState.OPEN, tasks=("t", "u")), (), ("u",), False),
    "a janitor found that nobody comes": (bracket(BracketState.CLOSING, tasks=("u",)), (), ("u",), True),
    "only half begun": (bracket(BracketState.OPENING, tasks=("t",)), (), (), True),
    "closed": (bracket(BracketState.CLOSED), (), (), False),
    "another is inside": (
        bracket(BracketState.OPEN, tasks=("t",), inside={"i-2": "t.i-2.1"}),
        (("i-2", "t.i-2.1"),),
        (),
        False,
    ),
    "another was inside": (
        bracket(BracketState.OPEN, tasks=("t",), inside={"i-2": "t.i-2.1"}),
        (("i-2", None),),
        (),
        True,
    ),
    "only this one is inside": (
        bracket(BracketState.OPEN, tasks=("t",), inside={"i-1": "t.i-1.1"}),
        (("i-1", "t.i-1.1"),),
        (),
        True,
    ),
    "another ends it": (bracket(BracketState.CLOSING, claim=SWEEP), (("i-2", None),), (), False),
    "another begins it": (
        bracket(BracketState.OPENING, claim=OTHER, tasks=("t",)),
        (("i-2", "t.i-2.1"),),
        (),
        False,
    ),
}


@pytest.mark.parametrize("case", MAY_END)
def test_who_may_end_it(case: str) -> None:
    one, nodes, going_on, may = MAY_END[case]
    assert policy.may_end(seen(one, *nodes), ME.claim, going_on) is may


def test_an_end_that_failed_is_tried_again_by_anybody() -> None:
    one = policy.claimed(bracket(BracketState.OPEN, tasks=("t",)), ME.claim, NOW)
    after = policy.after_end(one, ME.claim, NOW, "it raised", stopped=True)
    assert after is not None
    assert (after.state, after.claim, after.tries, after.why) == (BracketState.CLOSING, None, 1, "it raised")
    assert after.tasks == ("t",), "they are needed to find a node that can"


def test_an_end_that_cannot_be_stopped_is_not_over() -> None:
    """Not even when its attempt has ended."""
    one = policy.claimed(bracket(BracketState.OPEN), ME.claim, NOW)
    for failed in (None, "it hangs"):
        after = policy.after_end(one, ME.claim, NOW, failed, stopped=False)
        assert after is not None
        assert (after.state, after.claim) == (BracketState.CLOSING, BracketClaim(node="i-1", epoch=1))


def test_what_another_has_claimed_since_is_not_closed() -> None:
    assert policy.after_end(bracket(BracketState.CLOSING, claim=OTHER), ME.claim, NOW, None, stopped=True) is None
    assert policy.after_end(bracket(BracketState.OPENING, claim=ME.claim), ME.claim, NOW, None, stopped=True) is None


# --- the janitor -------------------------------------------------------------------------------------------


class House:
    """A fleet whose task `t-1` stands in a bracket, and the janitor's chore."""

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.fleet.install()
        self.fleet.send("t-1", params={"lease_args": {"concurrency": 2}})
        self.events: list[Event] = []
        kit = Kit(
            tree=self.fleet.server.client(),
            queues=self.fleet.queues,
            names=self.fleet.names,
            discoveries={},
            history=None,
            clock=self.fleet.clock,
            emit=self.events.append,
            upkeep=Upkeep(),
            by="janitor",
        )
        self.chore = ClosingBrackets(kit)
        for node in ("i-1", "i-2"):
            go_in(self.fleet, self.fleet.take("t-1", node), node)

    def sweep(self, after_s: float = 20) -> None:
        self.fleet.clock.advance(after_s)
        self.chore.do(Turn(1, self.fleet.clock.now(), clock_is_right=True))

    def bracket(self) -> Bracket:
        return moves.read_bracket(self.fleet.tree, CLUSTER, NAME, self.fleet.clock.now()).bracket

    def halt(self) -> None:
        self.fleet.end("t-1", "i-1", Outcome.UNSAFE)
        self.fleet.end("t-1", "i-2", Outcome.SUCCEEDED)

    def rung(self) -> list[str]:
        return [str(event.fields["node"]) for event in self.events if event.name == "bracket_rung"]


@pytest.fixture
def house() -> House:
    return House()


def test_one_in_which_somebody_stands_is_left_alone_however_long(house: House) -> None:
    house.fleet.end("t-1", "i-1", Outcome.UNSAFE)
    for _ in range(3):
        house.sweep(after_s=100_000)
    assert house.bracket().state is BracketState.OPEN
    assert house.rung() == []


def test_one_of_a_halted_task_is_said_to_be_closed_and_nodes_are_asked_in_turn_ever_less_often(house: House) -> None:
    house.halt()
    house.sweep()
    assert (house.bracket().state, house.bracket().why) == (BracketState.CLOSING, "its tasks are over")
    at: list[int] = []
    for k in range(40):
        before = len(house.rung())
        house.sweep()
        at += [k] * (len(house.rung()) - before)
    assert house.rung()[:5] == ["i-1", "i-2", "i-1", "i-2", "i-1"], "those of which an agent ever registered"
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert gaps == sorted(gaps)
    assert gaps[-1] > gaps[0]


def test_one_of_an_open_task_is_closed_when_nobody_came_for_long(house: House) -> None:
    for node in ("i-1", "i-2"):
        house.fleet.end("t-1", node, Outcome.SUCCEEDED)
    house.sweep()
    house.sweep(after_s=800)
    assert house.bracket().state is BracketState.OPEN
    house.sweep(after_s=200)
    assert house.bracket().state is BracketState.CLOSING
    assert house.rung() == ["i-1"]


def test_a_task_that_is_over_goes_out_when_another_stays(house: House) -> None:
    """It may be put away."""
    house.fleet.end("t-1", "i-1", Outcome.SUCCEEDED)
    house.fleet.end("t-1", "i-2", Outcome.SUCCEEDED)
    house.fleet.send("t-2", nodes=["i-3"])
    control.cancel(house.fleet.desk, "t-1", "enough")
    go_in(house.fleet, house.fleet.take("t-2", "i-3"), "i-3")
    house.sweep()
    assert house.bracket().tasks == ("t-2",)
    assert moves.standing_in(house.fleet.tree) == {"t-2"}


def test_a_node_that_claimed_it_and_says_nothing_is_waited_for_longer_than_a_hook_may_take(house: House) -> None:
    house.halt()
    house.sweep()
    assert moves.claim_end(house.fleet.agent("i-2"), CLUSTER, NAME, None, house.fleet.clock.now()) is not None
    house.sweep()
    house.sweep(after_s=590)
    assert house.bracket().claim is not None
    house.sweep()
    assert house.bracket().claim is None
    assert [event.name for event in house.events][-1] == "bracket_unclaimed"


def test_where_nobody_is_left_to_end_it_a_person_is_told_once(house: House) -> None:
    house.halt()
    for node in ("i-1", "i-2"):
        record = house.fleet.agent(node).refresh()
        gone = record.model_copy(update={"gone": True})
        house.fleet.tree.commit([Set(layout.node(node), gone.to_json(), None)])
    for _ in range(5):
        house.sweep()
    assert [event.name for event in house.events].count("bracket_stuck") == 1
    assert house.rung() == []


def test_the_census_counts_it(house: House) -> None:
    house.fleet.clock.advance(60)
    counted = Census(house.fleet.tree).take([], house.fleet.clock.now())
    assert (counted["brackets_open"], counted["brackets_failing"]) == ([(CLUSTER, 1)], [(CLUSTER, 0)])
    assert counted["oldest_bracket_seconds"] == [(CLUSTER, 60.0)]
    house.halt()
    house.sweep()
    assert Census(house.fleet.tree).take([], house.fleet.clock.now())["brackets_failing"] == [(CLUSTER, 1)]


# --- authors -----------------------------------------------------------------------------------------------


class Silencing(TaskRunner):
    """`world` is the cluster."""

    world: ClassVar[list[str]] = []

    def pre_check(self) -> Check:
        return Go()

    def execute_action(self) -> None:
        assert self.world == ["silent"]
        self.ctx.command(["restart"])

    def post_check(self) -> Check:
        return Go()

    def recover(self) -> Recovered:
        return Recovered.NOT_DONE

    def cluster_begin(self) -> None:
        self.ctx.command(["silence"])
        self.world[:] = ["silent"]

    def cluster_end(self) -> None:
        self.world.clear()


def test_a_harness_plays_the_hooks_around_the_attempt() -> None:
    played = RunnerHarness(Silencing).run()
    assert played.hooks == ("pre_check", "cluster_begin", "execute_action", "post_check", "cluster_end")
    assert Silencing.world == []


def test_a_harness_ends_what_was_begun_whatever_became_of_the_attempt() -> None:
    harness = RunnerHarness(Silencing)
    harness.answer("silence", exit=1)
    played = harness.run()
    assert (played.outcome, played.hooks) == ("failed", ("pre_check", "cluster_begin", "cluster_end"))
    assert "cluster_begin" in played.reason
    for death in deaths(lambda: RunnerHarness(Silencing)):
        assert Silencing.world == ["silent"], death
        assert death.resume().hooks[-1] == "cluster_end"
        assert Silencing.world == [], death


def test_a_harness_calls_each_of_the_hooks() -> None:
    harness = RunnerHarness(Silencing)
    harness.cluster_begin()
    assert Silencing.world == ["silent"]
    harness.cluster_end()
    harness.cluster_end()
    assert Silencing.world == []


# --- people ------------------------------------------------------------------------------------------------


@pytest.fixture
def taskerman(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(an_evening(), monkeypatch, capsys)


def test_people_see_who_acts_in_it(taskerman: CommandLine) -> None:
    said = taskerman("brackets", "list", "--json").json
    assert [(one["cluster_name"], one["state"], one["inside"]) for one in said] == [
        ("demo:shop", "open", ["s-1"]),
        ("demo:web", "open", []),
    ]
    assert "s-1" in taskerman("brackets", "list").out
    assert taskerman("brackets", "list", "demo:burnt", "--json").json == []
    assert "No bracket" in taskerman("brackets", "list", "demo:burnt").out
    for words in (["status"], ["status", "t-open"], ["explain", "t-open"]):
        assert "bracket silence of demo:shop is open" in taskerman(*words).out
    assert "bracket" not in taskerman("status", "t-cancelled").out


def test_one_that_nobody_can_end_is_shown_with_the_way_out(taskerman: CommandLine) -> None:
    tree, now = taskerman.fleet.tree, taskerman.fleet.clock.now()
    at = moves.read_bracket(tree, CLUSTER, NAME, now)
    failed = policy.dropped(policy.to_be_closed(at.bracket, now, "its tasks are over"), "no route to alerts")
    assert moves.change(tree, at, failed)
    told = taskerman("explain", "t-halted").out
    assert "ending it failed 1 times: no route to alerts" in told
    assert f"taskerman brackets close {CLUSTER} silence" in told
    findings = control.examine(taskerman.fleet.desk, control.Subject()).findings
    (found,) = [one for one in findings if one.what == f"bracket silence of {CLUSTER}"]
    assert (found.level, "no route to alerts" in found.text) == ("warn", True)
    done = taskerman("brackets", "close", CLUSTER, "silence", "--why", "undone by hand")
    assert (done.code, "is closed; it was closing" in done.out) == (0, True)
    assert taskerman("brackets", "list", CLUSTER, "--json").json[0]["why"] == "ada@laptop: undone by hand"
    assert taskerman("brackets", "close", CLUSTER, "silence", "--why", "again").code == 4


def test_one_that_a_node_ends_now_is_not_closed_under_it(taskerman: CommandLine) -> None:
    """It would be undone later, perhaps under the next."""
    fleet = taskerman.fleet
    assert moves.claim_end(fleet.agent("i-2"), CLUSTER, NAME, None, fleet.clock.now()) is not None
    with pytest.raises(RefusedByState, match="i-2 calls cluster_end"):
        control.close_bracket(fleet.desk, CLUSTER, NAME, "by hand")
    assert "i-2 ends it" in taskerman("brackets", "list").out
