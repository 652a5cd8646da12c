"""What every `Tree` promises of watches: whoever watched hears of it, once, and reads again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from taskerman.ports.tree import Children, Create, Delete, Exists, Get, Op, Read, Set, Tree
from tests.support.tree_ground import Bell, Ground, settle


@pytest.fixture
def tree(ground: Ground) -> Tree:
    return ground.open()


@pytest.fixture
def other(ground: Ground) -> Tree:
    return ground.open()


CASES: list[tuple[type[Read], str, list[Op], int]] = [
    (Get, "/a", [Set("/a", b"x", None)], 1),
    (Get, "/a", [Delete("/a/c"), Delete("/a")], 1),
    (Get, "/a", [Create("/a/d")], 0),
    (Get, "/a", [Set("/a/c", b"x", None)], 0),
    (Get, "/new", [Create("/new")], 1),
    (Get, "/new", [Create("/other")], 0),
    (Exists, "/a", [Set("/a", b"x", None)], 1),
    (Exists, "/a", [Delete("/a/c"), Delete("/a")], 1),
    (Exists, "/a", [Create("/a/d")], 0),
    (Exists, "/new", [Create("/new")], 1),
    (Children, "/a", [Create("/a/d")], 1),
    (Children, "/a", [Create("/a/", sequence=True, ephemeral=True)], 1),
    (Children, "/a", [Delete("/a/c")], 1),
    (Children, "/a", [Set("/a", b"x", None)], 0),
    (Children, "/a", [Set("/a/c", b"x", None)], 0),
    (Children, "/b", [Delete("/b")], 1),
    (Children, "/new", [Create("/new"), Create("/new/a")], 0),
]


@pytest.mark.parametrize(("kind", "path", "ops", "rings"), CASES, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("whose", ["own", "another's"])
def test_a_change_wakes_those_who_watched_it_and_nobody_else(
    ground: Ground, tree: Tree, whose: str, kind: type[Read], path: str, ops: Sequence[Op], rings: int
) -> None:
    tree.commit([Create("/a"), Create("/a/c"), Create("/b")])
    bell = Bell()
    tree.read(kind(path, bell))
    writer = tree if whose == "own" else ground.open()
    writer.commit(ops)
    settle(tree)
    assert bell.rung == rings


def test_a_watch_is_for_one_change(tree: Tree, other: Tree) -> None:
    tree.commit([Create("/a")])
    bell = Bell()
    tree.get("/a", bell)
    for _ in range(3):
        other.commit([Set("/a", b"", None)])
    settle(tree)
    assert bell.rung == 1


def test_the_same_wake_given_again_is_one_watch(tree: Tree, other: Tree) -> None:
    """A waiter reads again at every wake; its watches must not pile up."""
    tree.commit([Create("/a")])
    bell = Bell()
    for _ in range(5):
        tree.read(Get("/a", bell.__call__), Exists("/a", bell.__call__))
        tree.get("/a", bell.__call__)
    other.commit([Set("/a", b"", None)])
    settle(tree)
    assert bell.rung == 1


def test_each_wake_is_woken(tree: Tree, other: Tree) -> None:
    tree.commit([Create("/a")])
    bells = [Bell() for _ in range(3)]
    for bell in bells:
        tree.get("/a", bell)
    other.commit([Set("/a", b"", None)])
    settle(tree)
    assert [bell.rung for bell in bells] == [1, 1, 1]


def test_data_and_children_are_two_watches(tree: Tree, other: Tree) -> None:
    tree.commit([Create("/a")])
    bell = Bell()
    tree.read(Get("/a", bell), Children("/a", bell))
    other.commit([Set("/a", b"", None), Create("/a/b")])
    settle(tree)
    assert bell.rung == 2


def test_a_watch_that_was_woken_can_be_set_again(tree: Tree, other: Tree) -> None:
    tree.commit([Create("/a")])
    bell = Bell()
    for times in (1, 2, 3):
        tree.get("/a", bell)
        other.commit([Set("/a", b"", None)])
        bell.wait(times)


def test_a_read_after_the_wake_sees_the_change(tree: Tree, other: Tree) -> None:
    tree.commit([Create("/a")])
    for number in range(20):
        bell = Bell()
        tree.get("/a", bell)
        other.commit([Set("/a", str(number).encode(), None)])
        bell.wait()
        record = tree.get("/a")
        assert record is not None
        assert record.data == str(number).encode()


def test_nothing_is_heard_of_a_refused_commit(tree: Tree, other: Tree) -> None:
    tree.commit([Create("/a")])
    bell = Bell()
    tree.read(Get("/a", bell), Children("/a", bell))
    other.commit([Set("/a", b"", None), Create("/a/b"), Create("/no/parent")])
    settle(tree)
    assert bell.rung == 0


def test_the_end_of_a_session_wakes_those_who_watched_its_ephemerals(ground: Ground, tree: Tree, other: Tree) -> None:
    """So the next in line hears that the head is gone."""
    other.commit([Create("/line"), Create("/line/e", ephemeral=True)])
    tree.sync("/")
    data, children = Bell(), Bell()
    tree.read(Get("/line/e", data), Children("/line", children))
    other.close()
    data.wait()
    children.wait()
    assert tree.get("/line/e") is None


def test_a_lost_connection_wakes_every_watcher_once_it_is_back(ground: Ground, tree: Tree, other: Tree) -> None:
    """What happened meanwhile was not heard, so everybody reads again, and can."""
    tree.commit([Create("/a")])
    bells = [Bell() for _ in range(3)]
    tree.read(Get("/a", bells[0]), Exists("/no", bells[1]), Children("/a", bells[2]))
    ground.cut(tree)
    other.commit([Set("/a", b"meanwhile", None)])
    assert [bell.rung for bell in bells] == [0, 0, 0]
    ground.heal(tree)
    for bell in bells:
        bell.wait()
    record = tree.get("/a")
    assert record is not None
    assert record.data == b"meanwhile"
    settle(tree)
    assert [bell.rung for bell in bells] == [1, 1, 1]


def test_a_lost_session_wakes_every_watcher(ground: Ground, tree: Tree) -> None:
    tree.commit([Create("/a")])
    bells = [Bell() for _ in range(3)]
    tree.read(Get("/a", bells[0]), Exists("/no", bells[1]), Children("/a", bells[2]))
    ground.expire(tree)
    for bell in bells:
        bell.wait()
    assert tree.get("/a") is not None


def test_a_closed_client_wakes_nobody_not_even_when_it_is_opened_again(tree: Tree, other: Tree) -> None:
    tree.commit([Create("/a")])
    bell = Bell()
    tree.get("/a", bell)
    tree.close()
    other.commit([Set("/a", b"", None)])
    tree.open()
    other.commit([Set("/a", b"", None)])
    settle(other)
    settle(tree)
    assert bell.rung == 0
