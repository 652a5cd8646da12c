"""Whatever is lost, late or dead on the way: no action runs outside of its bracket, and every bracket is ended."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from taskerman.coordination import brackets as moves
from taskerman.model.bracket import BracketClaim, BracketState
from taskerman.policy import brackets as policy
from taskerman.policy.brackets import NotNow, SeenBracket, Stands
from taskerman.ports.tree import Set
from tests.support.brackets_walk import Walk

SEEDS = range(40)
MORE_SEEDS = range(300)


def test_nothing_acts_outside_and_everything_is_ended() -> None:
    walks = [Walk(seed) for seed in SEEDS]
    for walk in walks:
        walk.go()
    assert sum(walk.acted for walk in walks) > 200, "hardly anything acted"
    assert sum(walk.deaths for walk in walks) > 300, "hardly anybody died"
    assert sum(walk.begins for walk in walks) > 100, "hardly any bracket was begun"


def test_a_walk_is_its_seed() -> None:
    one, two = Walk(5), Walk(5)
    one.go()
    random.random()
    two.go()
    assert (one.acted, one.begins, one.deaths) == (two.acted, two.begins, two.deaths)


FIRST = {"without_its_node": 90, "without_version": 30, "without_waiting_for_the_closer": 15}
"""Where to look first: what few walks see would else be looked for for long."""


def caught(rule: str) -> int | None:
    """A seed that sees it."""
    first = FIRST.get(rule, 0)
    for seed in (*MORE_SEEDS[first:], *MORE_SEEDS[:first]):
        try:
            Walk(seed).go()
        except AssertionError:
            return seed
    return None


# --- rules taken away, one at a time -----------------------------------------------------------------------


def without_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written whatever was there: then two that decide at once both believe themselves right."""
    monkeypatch.setattr(
        moves,
        "_op",
        lambda at, after: Set(at.path, after.to_json(), None) if at.version is not None else _OP(at, after),
    )


def without_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that comes late, of an agent that has gone on."""

    def write(mine: Any, at: Any, after: Any, attempt: Any) -> bool:
        return moves.change(mine.tree, at, after)

    monkeypatch.setattr(moves, "_write", write)


def without_going_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that finds it open acts without standing inside."""

    def enter(*args: Any) -> Any:
        answer = ENTER(*args)
        return Stands(None) if isinstance(answer, Stands) else answer

    monkeypatch.setattr(policy, "enter", enter)


def without_looking_who_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SeenBracket, "inside", lambda self, but=None: {})


def without_waiting_for_the_closer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun anew while cluster_end may still be running."""

    def enter(seen: Any, *args: Any) -> Any:
        answer = ENTER(seen, *args)
        if answer is NotNow.BEING_CLOSED:
            return ENTER(SeenBracket(seen.bracket.model_copy(update={"claim": None}), seen.nodes, seen.age_s), *args)
        return answer

    monkeypatch.setattr(policy, "enter", enter)


def without_waiting_for_the_opener(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is being opened by another, and so it is taken for open."""

    def enter(seen: Any, who: Any, going_on: Any, now: Any) -> Any:
        answer = ENTER(seen, who, going_on, now)
        if answer is NotNow.BEING_OPENED:
            inside = {**seen.bracket.inside, who.node: who.attempt}
            return Stands(seen.bracket.model_copy(update={"inside": inside}))
        return answer

    monkeypatch.setattr(policy, "enter", enter)


def written_after_it_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open before cluster_begin has returned: an agent that dies in between leaves a bracket that nobody begins."""

    def enter(*args: Any) -> Any:
        answer = ENTER(*args)
        if isinstance(answer, policy.Begin):
            return policy.Begin(answer.after.model_copy(update={"state": BracketState.OPEN, "claim": None}))
        return answer

    monkeypatch.setattr(policy, "enter", enter)


def an_epoch_that_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim is believed to be over while its node ends the bracket."""
    monkeypatch.setattr(BracketClaim, "stands", lambda self, record: False)


def nobody_looks_for_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """No janitor."""
    monkeypatch.setattr("tests.support.brackets_walk.Walk._keep_house", lambda self: None)


def an_end_that_failed_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed although cluster_end did not return."""

    def after_end(bracket: Any, me: Any, now: Any, failed: Any, *, stopped: bool) -> Any:
        return AFTER_END(bracket, me, now, None, stopped=stopped)

    monkeypatch.setattr(policy, "after_end", after_end)


def a_beginning_that_failed_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said before cluster_begin is called: who dies in it leaves no trace."""

    def enter(*args: Any) -> Any:
        answer = ENTER(*args)
        if isinstance(answer, policy.Begin):
            return policy.Begin(
                answer.after.model_copy(update={"state": BracketState.CLOSED, "tasks": (), "claim": None})
            )
        return answer

    def after_begin(bracket: Any, who: Any, now: Any) -> Any:
        if bracket.state is not BracketState.CLOSED or bracket.inside.get(who.node) != who.attempt:
            return None
        return bracket.model_copy(update={"state": BracketState.OPEN, "tasks": (who.task,)})

    monkeypatch.setattr(policy, "enter", enter)
    monkeypatch.setattr(policy, "after_begin", after_begin)


ENTER, AFTER_END, _OP = policy.enter, policy.after_end, moves._op

TAKEN_AWAY: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    without_version,
    without_its_node,
    without_going_in,
    without_looking_who_is_inside,
    without_waiting_for_the_closer,
    without_waiting_for_the_opener,
    written_after_it_was_called,
    an_epoch_that_is_not_looked_at,
    nobody_looks_for_what_is_left,
    an_end_that_failed_is_an_end,
    a_beginning_that_failed_is_forgotten,
)


@pytest.mark.parametrize("rule", TAKEN_AWAY, ids=lambda rule: rule.__name__)
def test_each_rule_is_needed(rule: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk sees what it is for."""
    rule(monkeypatch)
    assert caught(rule.__name__) is not None
