"""The faults that the in-memory tree makes on demand: what a test asks for is what happens, and only then."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from taskerman.errors import AnswerUnknown, CoordinationUnavailable
from taskerman.ports.tree import Committed, Create, Get, Link, Op, Read, Refused, Set
from taskerman.testing.tree import LostAnswer, MemoryServer, MemoryTree
from tests.support.tree_ground import Bell


def test_a_client_that_has_not_noticed_the_end_of_its_session_finds_out_by_its_next_call() -> None:
    server = MemoryServer()
    tree, other, seen = server.client(), server.client(), list[Link]()
    tree.on_link(seen.append)
    tree.commit([Create("/a"), Create("/e", ephemeral=True)])
    old = tree.session
    server.expire(tree, noticed=False)
    assert other.get("/e") is None
    assert (tree.link, tree.session, seen) == (Link.UP, old, [])
    with pytest.raises(AnswerUnknown):
        tree.commit([Set("/a", b"x", 0)])
    assert seen == [Link.DOWN, Link.ENDED, Link.UP]
    assert tree.session != old
    assert isinstance(tree.commit([Set("/a", b"x", 0)]), Committed), "the failed one did not happen"


def test_a_frozen_client_hears_nothing_until_it_notices() -> None:
    server, bell = MemoryServer(), Bell()
    tree, other = server.client(), server.client()
    tree.get("/a", bell)
    server.expire(tree, noticed=False)
    other.commit([Create("/a")])
    assert bell.rung == 0
    server.notice(tree)
    assert bell.rung == 1


def test_a_lagging_client_reads_the_past_and_hears_of_the_present_when_it_has_caught_up() -> None:
    server, bell = MemoryServer(), Bell()
    tree, other = server.client(), server.client()
    server.lag(tree)
    other.commit([Create("/a")])
    assert tree.get("/a", bell) is None
    assert bell.rung == 0
    tree.sync("/a")
    assert bell.rung == 1
    assert tree.get("/a") is not None


def test_an_answered_commit_ends_the_lag() -> None:
    """A client sees what it wrote, and so all that came before."""
    server = MemoryServer()
    tree, other = server.client(), server.client()
    server.lag(tree)
    other.commit([Create("/a")])
    tree.commit([Create("/b")])
    assert tree.get("/a") is not None


def test_a_quiet_loss_leaves_link_and_watches_alone() -> None:
    server, bell, seen = MemoryServer(), Bell(), list[Link]()
    tree = server.client()
    tree.on_link(seen.append)
    tree.get("/b", bell)
    tree.lose_next_answer(LostAnswer.APPLIED, quiet=True)
    with pytest.raises(AnswerUnknown):
        tree.commit([Create("/a")])
    assert (tree.get("/a") is not None, bell.rung, seen) == (True, 0, [])


def test_a_fault_source_decides_for_every_commit() -> None:
    fates = iter([None, LostAnswer.NEVER, LostAnswer.LATE, None])
    server = MemoryServer(faults=lambda tree, ops: next(fates))
    tree = server.client()
    tree.commit([Create("/a")])
    for version in (0, 0):
        with pytest.raises(AnswerUnknown):
            tree.commit([Set("/a", b"late", version)])
    assert isinstance(tree.commit([Set("/a", b"fence", 0)]), Committed)
    assert len(server.late) == 1
    assert isinstance(server.deliver_late(), Refused)
    assert server.dump()["/a"].data == b"fence"


def test_another_actor_can_step_in_between_two_reads_and_before_a_commit() -> None:
    server = MemoryServer()
    tree, other = server.client(), server.client()
    tree.commit([Create("/a"), Create("/b")])
    judged: list[Sequence[Op]] = []

    def between(client: MemoryTree, read: Read) -> None:
        if client is tree and read.path == "/b":
            other.commit([Set("/a", b"x", None), Set("/b", b"x", None)])

    server.interleave = between
    server.after_commit = lambda ops, result: judged.append(ops)
    assert [getattr(answer, "data", None) for answer in tree.read(Get("/a"), Get("/b"))] == [b"", b"x"]
    assert len(judged) == 1, "commits of hooks are seen too"
    server.interleave = None
    server.before_commit = lambda client, ops: None if client is other else _ignore(other.commit([Set("/a", b"y", 1)]))
    assert isinstance(tree.commit([Set("/a", b"z", 1)]), Refused)


def _ignore(answer: object) -> None:
    assert isinstance(answer, Committed)


def test_an_outage_cuts_everybody_off_and_lets_nobody_in() -> None:
    server = MemoryServer()
    tree = server.client()
    server.cut()
    with pytest.raises(CoordinationUnavailable):
        tree.get("/")
    with pytest.raises(CoordinationUnavailable):
        server.client()
    server.heal()
    assert tree.get("/") is not None
    assert server.client().link is Link.UP


def test_a_client_that_closes_while_cut_off_leaves_its_session_behind() -> None:
    """As a process that dies: the servers find out when it has been silent for long enough."""
    server = MemoryServer()
    tree, other = server.client(), server.client()
    tree.commit([Create("/e", ephemeral=True)])
    server.cut(tree)
    tree.close()
    assert other.get("/e") is not None
    server.expire(tree)
    assert other.get("/e") is None
