"""Whatever is lost, late or dead on the way: never more commands at once than every one of them was promised."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from taskerman.coordination import commands
from taskerman.coordination.commands import CommandMoves
from taskerman.ports.tree import Set
from tests.support.commands_walk import Walk

SEEDS = range(60)


def test_promises_hold_whatever_is_lost_and_whoever_dies() -> None:
    walks = [Walk(seed) for seed in SEEDS]
    for walk in walks:
        walk.go()
    assert sum(walk.begun for walk in walks) > 500, "hardly anything happened"
    assert sum(walk.lost for walk in walks) > 50, "hardly an answer was lost"


def broken() -> bool:
    for seed in SEEDS:
        try:
            Walk(seed).go()
        except AssertionError:
            return True
    return False


def test_without_the_version_of_the_scope_they_do_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk sees what that version is for."""
    take_ops = commands.take_ops

    def unversioned(*args):
        return [replace(op, version=None) if isinstance(op, Set) else op for op in take_ops(*args)]

    monkeypatch.setattr(commands, "take_ops", unversioned)
    assert broken()


def test_without_the_check_of_the_holds_they_do_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    take_ops = commands.take_ops
    monkeypatch.setattr(commands, "take_ops", lambda *args: take_ops(*args)[1:])
    assert broken()


def test_an_answer_that_is_guessed_breaks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A take that is believed to have happened lets a command run without a slot."""
    monkeypatch.setattr(CommandMoves, "settle", lambda self, ready: True)
    assert broken()


def test_a_promise_that_is_not_looked_at_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "room_for", lambda seen, promise: len(seen.slots) < promise)
    assert broken()


def test_a_walk_is_its_seed() -> None:
    one, two = Walk(5), Walk(5)
    one.go()
    random.random()
    two.go()
    assert (one.begun, one.lost) == (two.begun, two.lost)
