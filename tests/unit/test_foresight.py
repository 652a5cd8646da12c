"""Looking again costs one trip, and what it sees is never older than the look itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskerman.coordination.foresight import Foresight
from taskerman.ports.tree import Children, Create, Exists, Get, Read, Set
from taskerman.testing.tree import MemoryServer, MemoryTree


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


@pytest.fixture
def tree(server: MemoryServer) -> MemoryTree:
    tree = server.client()
    tree.ensure("/a", "/b/c")
    return tree


@pytest.fixture
def trips(tree: MemoryTree, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Read, ...]]:
    """What was asked for in each trip."""
    made: list[tuple[Read, ...]] = []
    read = tree.read

    def counted(*reads: Read) -> object:
        made.append(reads)
        return read(*reads)

    monkeypatch.setattr(tree, "read", counted)
    return made


def look(foresight: Foresight, *questions: Read) -> list[object]:
    """One question after the other, as a look does whose next question depends on the last answer."""
    reads = foresight.look("t")
    answers: list[object] = [answer for question in questions for answer in reads.read(question)]
    foresight.remember("t", reads)
    return answers


def test_the_second_look_asks_in_one_trip_what_the_first_asked_in_three(
    tree: MemoryTree, trips: list[tuple[Read, ...]]
) -> None:
    foresight = Foresight(tree)
    questions = (Get("/a"), Exists("/b"), Children("/b"))
    first = look(foresight, *questions)
    assert trips == [(question,) for question in questions]
    trips.clear()
    assert look(foresight, *questions) == first
    assert trips == [questions]


def test_a_look_sees_what_happened_since_the_last_one(tree: MemoryTree) -> None:
    foresight = Foresight(tree)
    look(foresight, Get("/a"))
    tree.commit([Set("/a", b"new", None)])
    (answer,) = look(foresight, Get("/a"))
    assert getattr(answer, "data", None) == b"new"


def test_a_question_asked_again_within_a_look_is_asked_again(tree: MemoryTree) -> None:
    """A look that changes something and looks at it must not see what was there before."""
    foresight = Foresight(tree)
    look(foresight, Get("/a"))
    reads = foresight.look("t")
    assert reads.get("/a") is not None
    tree.commit([Set("/a", b"mine", None)])
    again = reads.get("/a")
    assert again is not None
    assert again.data == b"mine"


def test_a_question_of_its_own_goes_to_the_tree_with_the_others_that_are_new(
    tree: MemoryTree, trips: list[tuple[Read, ...]]
) -> None:
    foresight = Foresight(tree)
    look(foresight, Get("/a"))
    trips.clear()
    reads = foresight.look("t")
    reads.read(Get("/a"), Exists("/b"), Children("/b"))
    assert trips == [(Get("/a"),), (Exists("/b"), Children("/b"))]


def test_a_watch_asked_for_ahead_is_the_asker_s_own(server: MemoryServer, tree: MemoryTree) -> None:
    """With another bell, or none, it is another question."""
    rung: list[str] = []
    bells: dict[str, Callable[[], None]] = {name: lambda name=name: rung.append(name) for name in ("old", "new")}  # type: ignore[misc]
    foresight = Foresight(tree)
    look(foresight, Exists("/x", bells["old"]))
    look(foresight, Exists("/x", bells["new"]))
    server.client().commit([Create("/x")])
    assert set(rung) == {"old", "new"}


def test_what_is_forgotten_is_asked_for_no_more(tree: MemoryTree, trips: list[tuple[Read, ...]]) -> None:
    foresight = Foresight(tree)
    look(foresight, Get("/a"))
    foresight.forget("t")
    foresight.forget("t")
    trips.clear()
    foresight.look("t")
    assert trips == []


def test_the_same_question_twice_in_one_breath_gets_two_answers(tree: MemoryTree) -> None:
    reads = Foresight(tree).look("t")
    first, second = reads.read(Get("/a"), Get("/a"))
    assert first == second
    assert first is not None
