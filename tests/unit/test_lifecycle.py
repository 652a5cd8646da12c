"""The lifecycle of an attempt: what holds after every sequence of signals, sensible or not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskerman.model.attempt import Phase
from taskerman.model.outcome import Outcome
from taskerman.model.task import WhenLost
from taskerman.policy.conclusion import Ending
from taskerman.policy.lifecycle import AttemptState, Limits, step
from taskerman.policy.signals import (
    ActionEnded,
    ActionLost,
    Adopted,
    Ask,
    AskAbort,
    BracketAnswered,
    BracketBegun,
    CheckFailed,
    CheckGiven,
    ChildFailed,
    Command,
    EnterBracket,
    Fence,
    Finish,
    Go,
    HookReturned,
    KillAll,
    KilledAll,
    Question,
    RecordBegin,
    Recovered,
    RevokeAsked,
    Signal,
    Situation,
    StartChild,
    Taken,
    Tick,
    WakeAt,
)

LATER = datetime(2026, 1, 1, tzinfo=UTC)
BEGUN = (Situation.CHILD_LIVES, Situation.OVERDUE, Situation.NO_TRACE, Situation.REBOOTED)


@dataclass
class Watched:
    """Steps the lifecycle and asserts its promises after every step."""

    state: AttemptState
    now: float = 100.0
    began: bool = False
    endings: list[Ending] = field(default_factory=list)
    awaited: set[str] = field(default_factory=set)
    said: list[Command] = field(default_factory=list)

    def tell(self, signal: Signal) -> tuple[Command, ...]:
        """One step."""
        was = self.state
        self.state, commands = step(was, signal)
        if isinstance(signal, Adopted) and was.phase is Phase.WAITING and signal.situation in BEGUN:
            self.began = True
            self.awaited = {"action"}
        elif self.state != was and not isinstance(signal, RevokeAsked):
            self.awaited = set()
        for place, command in enumerate(commands):
            self._hear(command, commands[:place], was, signal)
        if was.ended:
            assert self.state is was, "what is over stays as it is"
            assert commands == (), "nothing after Finish"
        if not self.state.ended and self.state.phase is not Phase.WAITING:
            assert self.awaited, f"in {self.state.phase} it waits for nothing"
        return commands

    def _hear(self, command: Command, before: tuple[Command, ...], was: AttemptState, signal: Signal) -> None:
        self.said.append(command)
        match command:
            case Go():
                assert any(isinstance(c, RecordBegin) for c in before), "Go before 'action begins' is on disk"
                assert was.phase in (Phase.PRE_CHECK, Phase.EXECUTE_ACTION)
                assert not was.revoked, "an action begins after it was revoked"
                inside = isinstance(signal, BracketAnswered) and signal.kind == "stands"
                if was.limits.bracketed and was.phase is Phase.PRE_CHECK:
                    assert inside, "an action begins, and nobody said that its bracket stands"
                self.began = True
                self.awaited = {"action"}
            case Ask():
                self.awaited = {"answer"}
            case EnterBracket() | BracketBegun():
                assert not self.began
                self.awaited = {"bracket"}
            case KillAll():
                self.awaited = {"killed"}
            case WakeAt():
                assert command.at > self.now or was.limits.settle_s == 0
                self.awaited = {"tick"}
            case Finish():
                self._end(command.ending, was, signal)
            case _:
                pass

    def _end(self, ending: Ending, was: AttemptState, signal: Signal) -> None:
        self.endings.append(ending)
        assert len(self.endings) == 1, "Finish is given once"
        assert self.state.ended
        passed = isinstance(signal, CheckGiven) and signal.kind == "go" and was.phase is Phase.POST_CHECK
        assert ending.post_check_passed == passed, "only a post_check calls a node well"
        if self.began:
            assert ending.outcome not in (Outcome.DEFERRED, Outcome.SKIPPED), "an action that began is not forgotten"
            if ending.outcome in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED):
                assert passed, f"{ending.outcome} after an action, and nobody saw the node well"
        else:
            assert ending.outcome in (
                Outcome.DEFERRED,
                Outcome.SKIPPED,
                Outcome.FAILED,
                Outcome.CANCELLED,
                Outcome.LOST,
            )


times = st.floats(100.0, 2000.0)
signals: st.SearchStrategy[Signal] = st.one_of(
    st.builds(Taken, now=times, late=st.booleans()),
    st.builds(Adopted, situation=st.sampled_from(Situation), now=times, why=st.just("restarted")),
    st.builds(
        CheckGiven,
        kind=st.sampled_from(["go", "wait", "refuse", "skip"]),
        now=times,
        reason=st.just("r"),
        until=st.sampled_from([None, LATER]),
        whole_cluster=st.booleans(),
    ),
    st.builds(CheckFailed, why=st.just("raised"), now=times),
    st.builds(ChildFailed, why=st.just("no such module"), now=times),
    st.builds(
        ActionEnded, ok=st.booleans(), now=times, why=st.just("w"), stopped=st.booleans(), child_gone=st.booleans()
    ),
    st.builds(ActionLost, now=times),
    st.builds(KilledAll, none_left=st.booleans(), now=times),
    st.builds(Recovered, answer=st.sampled_from(["done", "not_done", "unknown"]), now=times),
    st.builds(RevokeAsked, why=st.just("a person said so")),
    st.builds(
        BracketAnswered,
        kind=st.sampled_from(["stands", "begin", "wait"]),
        now=times,
        reason=st.just("r"),
        until=st.sampled_from([None, LATER]),
    ),
    st.builds(HookReturned, now=times),
    st.builds(Tick, now=times),
)
limits = st.builds(
    Limits,
    settle_s=st.sampled_from([0.0, 1.0, 60.0]),
    when_lost=st.sampled_from(["verify", "retry", "never"]),
    bracketed=st.booleans(),
)


def _answer(watched: Watched, kind: str) -> None:
    """What the world answers at last. `kind`: how it goes."""
    now = watched.now = watched.now + 7.0
    awaited = next(iter(watched.awaited))
    well = kind == "well"
    if awaited == "answer":
        asked = next(c.question for c in reversed(watched.said) if isinstance(c, Ask))
        if asked is Question.RECOVER and kind != "dies":
            watched.tell(Recovered("not_done" if kind == "ill" else "unknown", now))
        elif kind == "dies":
            watched.tell(ActionLost(now))
            if watched.awaited == {"answer"} and not watched.state.ended:
                watched.tell(CheckFailed("its process died", now))
        elif asked is Question.CLUSTER_BEGIN:
            watched.tell(HookReturned(now) if well else CheckFailed("it raised", now))
        else:
            watched.tell(CheckGiven("go" if well else "wait", now, reason="not yet"))
    elif awaited == "bracket":
        last = next(c for c in reversed(watched.said) if isinstance(c, EnterBracket | BracketBegun))
        fresh = isinstance(last, EnterBracket) and kind != "wait"
        watched.tell(BracketAnswered("begin" if fresh else "stands", now))
    elif awaited == "action":
        watched.tell(ActionLost(now) if kind in ("dies", "ill") else ActionEnded(well, now, "exit 1"))
    elif awaited == "killed":
        watched.tell(KilledAll(none_left=True, now=now))
    else:
        watched.tell(Tick(now))


@settings(max_examples=200, deadline=None)
@given(limits=limits, told=st.lists(signals, max_size=14), kind=st.sampled_from(["well", "wait", "ill", "dies"]))
def test_whatever_it_is_told_its_promises_hold_and_it_comes_to_an_end(
    limits: Limits, told: list[Signal], kind: str
) -> None:
    """After any signals in any order it waits for something named; when that comes, again and again, it ends."""
    watched = Watched(AttemptState(limits))
    for signal in told:
        if not isinstance(signal, RevokeAsked):
            watched.now = max(watched.now, signal.now)
            signal = replace(signal, now=watched.now)  # noqa: PLW2901  the clock of signals never goes back
        watched.tell(signal)
    if watched.state.phase is Phase.WAITING:
        watched.tell(Taken(watched.now))
    for _ in range(80):
        if watched.state.ended:
            break
        _answer(watched, kind)
    assert watched.endings, f"in {watched.state} it waits for {watched.awaited}, and never ends"


def play(*told: Signal, when_lost: WhenLost = "verify", settle_s: float = 60.0, bracketed: bool = False) -> Watched:
    """The lifecycle after these signals."""
    watched = Watched(AttemptState(Limits(settle_s=settle_s, when_lost=when_lost, bracketed=bracketed)))
    for signal in told:
        watched.now = max(watched.now, getattr(signal, "now", watched.now))
        watched.tell(signal)
    return watched


GO = CheckGiven("go", 101)
TO_ACTION = (Taken(100), GO)
ENDINGS: dict[str, tuple[tuple[Signal, ...], Outcome, bool]] = {
    "all went well": ((*TO_ACTION, ActionEnded(True, 102), CheckGiven("go", 103)), Outcome.SUCCEEDED, True),
    "nothing to do": ((Taken(100), CheckGiven("skip", 101)), Outcome.SKIPPED, False),
    "not now": ((Taken(100), CheckGiven("wait", 101)), Outcome.DEFERRED, False),
    "never": ((Taken(100), CheckGiven("refuse", 101)), Outcome.FAILED, False),
    "pre_check raised": ((Taken(100), CheckFailed("e", 101)), Outcome.FAILED, False),
    "no runner": ((Taken(100), ChildFailed("e", 101)), Outcome.FAILED, False),
    "failed, and well": ((*TO_ACTION, ActionEnded(False, 102), CheckGiven("go", 103)), Outcome.FAILED, True),
    "not stopped": ((*TO_ACTION, ActionEnded(False, 102, stopped=False)), Outcome.UNSAFE, False),
    "refused after": ((*TO_ACTION, ActionEnded(True, 102), CheckGiven("refuse", 103)), Outcome.UNSAFE, False),
    "skip after": ((*TO_ACTION, ActionEnded(True, 102), CheckGiven("skip", 103)), Outcome.UNSAFE, False),
    "never well": ((*TO_ACTION, ActionEnded(True, 102), CheckGiven("wait", 999)), Outcome.UNSAFE, False),
    "revoked before": ((Taken(100), RevokeAsked("p")), Outcome.CANCELLED, False),
    "revoked while it waits": ((RevokeAsked("p"), Taken(100)), Outcome.CANCELLED, False),
    "revoked, and adopted with shut gates": (
        (RevokeAsked("p"), Adopted(Situation.GATES_SHUT, 100)),
        Outcome.CANCELLED,
        False,
    ),
    "revoked and aborted": (
        (*TO_ACTION, RevokeAsked("p"), ActionEnded(False, 102), CheckGiven("go", 103)),
        Outcome.CANCELLED,
        True,
    ),
    "revoked too late": (
        (*TO_ACTION, RevokeAsked("p"), ActionEnded(True, 102), CheckGiven("go", 103)),
        Outcome.SUCCEEDED,
        True,
    ),
    "gates shut": ((Adopted(Situation.GATES_SHUT, 100),), Outcome.DEFERRED, False),
    "nobody knows": ((Adopted(Situation.NOBODY_KNOWS, 100),), Outcome.LOST, False),
    "rebooted": ((Adopted(Situation.REBOOTED, 100), CheckGiven("go", 101)), Outcome.SUCCEEDED, True),
    "it cannot be killed": ((Adopted(Situation.OVERDUE, 100), KilledAll(False, 101)), Outcome.LOST, False),
    "recovered: done": (
        (Adopted(Situation.NO_TRACE, 100), KilledAll(True, 101), Recovered("done", 102), CheckGiven("go", 103)),
        Outcome.SUCCEEDED,
        True,
    ),
    "recovered: not done": (
        (Adopted(Situation.NO_TRACE, 100), KilledAll(True, 101), Recovered("not_done", 102), CheckGiven("go", 103)),
        Outcome.FAILED,
        True,
    ),
    "recovered: unknown, well": (
        (Adopted(Situation.NO_TRACE, 100), KilledAll(True, 101), Recovered("unknown", 102), CheckGiven("go", 103)),
        Outcome.LOST,
        True,
    ),
    "recover raised": (
        (Adopted(Situation.NO_TRACE, 100), KilledAll(True, 101), CheckFailed("e", 102), CheckGiven("go", 103)),
        Outcome.LOST,
        True,
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_truth_table_of_how_attempts_end(name: str) -> None:
    told, outcome, passed = ENDINGS[name]
    (ending,) = play(*told).endings
    assert (ending.outcome, ending.post_check_passed) == (outcome, passed)


def test_a_refusal_is_not_tried_again_and_an_exception_is() -> None:
    assert not play(Taken(100), CheckGiven("refuse", 101)).endings[0].retry
    assert play(Taken(100), CheckFailed("e", 101)).endings[0].retry


def test_a_late_take_and_a_long_pre_check_are_confirmed_before_anything_begins() -> None:
    assert isinstance(play(Taken(100, late=True)).said[0], Fence)
    assert not any(isinstance(c, Fence) for c in play(Taken(100), CheckGiven("go", 109)).said)
    said = play(Taken(100), CheckGiven("go", 111)).said
    assert [type(c) for c in said[-3:]] == [Fence, RecordBegin, Go]


def test_an_adopted_attempt_that_had_not_begun_is_confirmed_and_checked_anew() -> None:
    said = play(Adopted(Situation.NOT_BEGUN, 100)).said
    assert said == [Fence(), StartChild(), Ask(Question.PRE_CHECK)]


def test_a_second_adoption_of_the_same_process_changes_nothing() -> None:
    """It would else bring an action back that has ended."""
    watched = play(*TO_ACTION, ActionEnded(True, 102))
    assert watched.tell(Adopted(Situation.GATES_SHUT, 103)) == ()
    assert watched.state.phase is Phase.POST_CHECK


def test_recover_whose_process_dies_is_asked_once() -> None:
    """Asked again each time it dies, an attempt whose recover() is fatal would never end."""
    watched = play(*TO_ACTION, ActionLost(102), KilledAll(True, 103), ActionLost(104))
    assert watched.state.phase is Phase.POST_CHECK
    assert [c for c in watched.said if isinstance(c, KillAll)] == [KillAll()]


def test_a_second_answer_to_the_same_kill_asks_nothing_twice() -> None:
    watched = play(*TO_ACTION, ActionLost(102), ActionLost(102), KilledAll(True, 103), KilledAll(True, 103))
    assert [c for c in watched.said if isinstance(c, Ask)][1:] == [Ask(Question.RECOVER)]


def test_an_action_that_vanishes_each_time_is_begun_anew_only_so_often() -> None:
    watched = play(*TO_ACTION, when_lost="retry")
    for _ in range(20):
        if watched.state.phase is not Phase.EXECUTE_ACTION:
            break
        for signal in (ActionLost(102), KilledAll(True, 103), Recovered("not_done", 104)):
            watched.tell(signal)
    watched.tell(CheckGiven("go", 105))
    assert watched.endings[0].outcome is Outcome.FAILED
    assert len([c for c in watched.said if isinstance(c, Go)]) == 4


def test_when_lost_is_never_nobody_asks_recover() -> None:
    watched = play(Adopted(Situation.NO_TRACE, 100), KilledAll(True, 101), when_lost="never")
    assert Ask(Question.RECOVER) not in watched.said
    assert watched.state.phase is Phase.POST_CHECK


def test_an_action_is_asked_to_stop_once() -> None:
    watched = play(*TO_ACTION, RevokeAsked("p"), RevokeAsked("p"))
    assert [c for c in watched.said if isinstance(c, AskAbort)] == [AskAbort()]


def test_post_check_is_asked_again_ever_more_slowly_and_never_after_its_time() -> None:
    watched = play(*TO_ACTION, ActionEnded(True, 102), settle_s=30.0)
    now, pauses = 102.0, []
    while not watched.state.ended:
        watched.tell(CheckGiven("wait", now, reason="resharding"))
        if watched.state.ended:
            break
        at = watched.said[-1]
        assert isinstance(at, WakeAt)
        pauses.append(at.at - now)
        now = watched.now = at.at
        watched.tell(Tick(now))
    assert now == pytest.approx(132.0)
    assert pauses[:-1] == sorted(pauses[:-1])
    assert max(pauses) <= 5.0
    assert "resharding" in watched.endings[0].reason


# --- brackets ----------------------------------------------------------------------------------------------

STANDS, BEGIN = BracketAnswered("stands", 102), BracketAnswered("begin", 102)


def test_a_bracketed_action_begins_when_its_bracket_stands() -> None:
    """It goes in first; who is inside acts; who is to begin it calls cluster_begin and says so before it acts."""
    assert play(Taken(100), GO, bracketed=True).said[-1] == EnterBracket()
    assert play(Taken(100), GO, STANDS, bracketed=True).said[-2:] == [RecordBegin(), Go()]
    begins = play(Taken(100), GO, BEGIN, bracketed=True)
    begins.tell(HookReturned(103))
    begins.tell(BracketAnswered("stands", 104))
    assert begins.said[-4:] == [Ask(Question.CLUSTER_BEGIN), BracketBegun(), RecordBegin(), Go()]


def test_what_is_not_asked_for_begins_nothing() -> None:
    """A late or doubled answer, also of an action without a bracket."""
    assert not play(Taken(100), STANDS, bracketed=True).began
    assert not play(Taken(100), GO, HookReturned(103), bracketed=True).began
    assert not play(Taken(100), GO, BEGIN, STANDS, bracketed=True).began
    assert not play(Taken(100), GO, GO, bracketed=True).began
    assert play(Taken(100), STANDS, GO).said[-2:] == [RecordBegin(), Go()]


@pytest.mark.parametrize(
    ("told", "outcome", "says"),
    [
        ((BracketAnswered("wait", 102, "being closed", LATER),), Outcome.DEFERRED, "being closed"),
        ((BEGIN, CheckFailed("it raised", 103)), Outcome.FAILED, "cluster_begin failed: it raised"),
        ((BEGIN, ChildFailed("died", 103)), Outcome.FAILED, "cluster_begin failed"),
        ((BEGIN, RevokeAsked("a person")), Outcome.CANCELLED, "a person"),
    ],
    ids=["wait", "raised", "died", "revoked"],
)
def test_at_the_door_it_ends_without_having_acted(told: tuple[Signal, ...], outcome: Outcome, says: str) -> None:
    watched = play(Taken(100), GO, *told, bracketed=True)
    (ending,) = watched.endings
    assert (ending.outcome, watched.began) == (outcome, False)
    assert says in ending.reason
    assert ending.until == (LATER if outcome is Outcome.DEFERRED else None)


def test_a_bracket_that_took_long_to_begin_is_followed_by_a_fence() -> None:
    """The slots were confirmed too long ago."""
    watched = play(Taken(100), GO, BEGIN, HookReturned(130), BracketAnswered("stands", 131), bracketed=True)
    assert watched.said[-3:] == [Fence(), RecordBegin(), Go()]
    late = play(Taken(100), CheckGiven("go", 130), bracketed=True)
    assert late.said[-2:] == [Fence(), EnterBracket()]
