"""What every `Tree` promises when sessions end, connections break and answers are lost."""

from __future__ import annotations

import pytest

from taskerman.errors import AnswerUnknown
from taskerman.ports.tree import Check, Committed, Create, Delete, Get, Link, Record, Refusal, Refused, Set, Tree
from taskerman.testing.tree import LostAnswer
from tests.support.tree_ground import Ground
from tests.support.waiting import until


@pytest.fixture
def tree(ground: Ground) -> Tree:
    return ground.open()


@pytest.fixture
def other(ground: Ground) -> Tree:
    return ground.open()


def data_of(tree: Tree, path: str) -> bytes | None:
    record = tree.get(path)
    return None if record is None else record.data


def test_an_ephemeral_record_names_the_session_that_owns_it(tree: Tree, other: Tree) -> None:
    tree.commit([Create("/e", ephemeral=True), Create("/p")])
    ephemeral, persistent = tree.read(Get("/e"), Get("/p"))
    assert isinstance(ephemeral, Record)
    assert isinstance(persistent, Record)
    assert ephemeral.stat.owner == tree.session != other.session
    assert persistent.stat.owner == 0


def test_closing_takes_the_sessions_ephemerals_away_and_nothing_else(tree: Tree, other: Tree) -> None:
    tree.commit([Create("/p"), Create("/p/mine", ephemeral=True), Create("/p/kept")])
    other.commit([Create("/p/others", ephemeral=True)])
    tree.close()
    until(lambda: other.get("/p/mine") is None, "the ephemeral is gone")
    names = other.children("/p")
    assert names is not None
    assert names.names == ("kept", "others")
    assert names.stat.children_version == 4


def test_a_lost_session_is_followed_by_another_without_its_ephemerals(ground: Ground, tree: Tree, other: Tree) -> None:
    seen: list[Link] = []
    tree.on_link(seen.append)
    tree.commit([Create("/e", ephemeral=True), Create("/kept")])
    before = tree.session
    ground.expire(tree)
    until(lambda: tree.link is Link.UP, "the client is back")
    assert tree.session not in (None, before)
    assert data_of(tree, "/e") is None
    assert data_of(tree, "/kept") == b""
    until(lambda: seen[-1:] == [Link.UP], "the listener is told")
    assert seen == [Link.DOWN, Link.ENDED, Link.UP]


def test_a_cut_that_is_shorter_than_the_session_costs_nothing_but_time(ground: Ground, tree: Tree, other: Tree) -> None:
    seen: list[Link] = []
    tree.on_link(seen.append)
    tree.commit([Create("/e", ephemeral=True)])
    before = tree.session
    ground.cut(tree)
    assert (tree.link, tree.session) == (Link.DOWN, None)
    assert other.get("/e") is not None
    ground.heal(tree)
    assert (tree.link, tree.session) == (Link.UP, before)
    assert tree.get("/e") is not None
    until(lambda: seen == [Link.DOWN, Link.UP], "the listener is told, in order")


@pytest.mark.parametrize("became", LostAnswer)
def test_a_fence_settles_a_lost_answer_for_good(ground: Ground, tree: Tree, became: LostAnswer) -> None:
    """Rewriting the record that the commit has set, at the version it was built on: one of two things is then true."""
    tree.commit([Create("/me", b"idle"), Create("/slots")])
    ground.lose_answer(tree, became)
    with pytest.raises(AnswerUnknown):
        tree.commit([Set("/me", b"acting", 0), Create("/slots/me")])
    arrived = became is not LostAnswer.NEVER
    if became is LostAnswer.LATE:
        ground.deliver_late(tree)
        ground.heal(tree)
    fence = tree.commit([Set("/me", b"idle", 0)])
    if arrived:
        assert fence == Refused(Refusal.BAD_VERSION, 0, "/me")
        assert (data_of(tree, "/me"), data_of(tree, "/slots/me")) == (b"acting", b"")
    else:
        assert isinstance(fence, Committed)
        assert (data_of(tree, "/me"), data_of(tree, "/slots/me")) == (b"idle", None)


def test_a_commit_that_arrives_after_the_fence_is_nothing(ground: Ground, tree: Tree, other: Tree) -> None:
    tree.commit([Create("/me", b"idle"), Create("/slots")])
    ground.lose_answer(tree, LostAnswer.LATE)
    with pytest.raises(AnswerUnknown):
        tree.commit([Create("/slots/me"), Set("/me", b"acting", 0)])
    assert isinstance(other.commit([Set("/me", b"idle", 0)]), Committed)
    ground.deliver_late(tree)
    ground.heal(tree)
    tree.sync("/")
    assert (data_of(tree, "/me"), data_of(tree, "/slots/me")) == (b"idle", None)


def test_a_commit_that_would_be_refused_is_unknown_all_the_same(ground: Ground, tree: Tree) -> None:
    tree.commit([Create("/me")])
    ground.lose_answer(tree, LostAnswer.APPLIED)
    with pytest.raises(AnswerUnknown):
        tree.commit([Set("/me", b"acting", 7)])
    assert isinstance(tree.commit([Set("/me", b"", 0)]), Committed)


def test_a_late_ephemeral_of_an_ended_session_never_appears(ground: Ground, tree: Tree, other: Tree) -> None:
    """Else a dead node's entry would stand at the head of its line."""
    tree.commit([Create("/line")])
    ground.lose_answer(tree, LostAnswer.LATE)
    with pytest.raises(AnswerUnknown):
        tree.commit([Create("/line/me", ephemeral=True)])
    ground.expire(tree)
    ground.deliver_late(tree)
    other.sync("/")
    assert data_of(other, "/line/me") is None


def test_several_answers_may_be_lost_in_a_row(ground: Ground, tree: Tree) -> None:
    tree.commit([Create("/a")])
    for number in range(3):
        ground.lose_answer(tree, LostAnswer.APPLIED)
        with pytest.raises(AnswerUnknown):
            tree.commit([Set("/a", b"", number)])
        until(lambda: tree.link is Link.UP, "the client is back")
    assert isinstance(tree.commit([Check("/a", 3), Delete("/a")]), Committed)


def test_a_lost_answer_ends_no_session(ground: Ground, tree: Tree) -> None:
    before = tree.session
    ground.lose_answer(tree, LostAnswer.NEVER)
    with pytest.raises(AnswerUnknown):
        tree.commit([Create("/a")])
    assert tree.commit([Create("/a", ephemeral=True)]) == Committed(("/a",))
    until(lambda: tree.session == before, "the session is the same")
