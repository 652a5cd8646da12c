"""What the ZooKeeper tree promises beyond the contract: every wait ends, nothing leaks, requests are few."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.errors import AnswerUnknown, CoordinationUnavailable, NotPermitted, UsageError
from taskerman.ports.tree import Children, Committed, Create, Exists, Get, Link, Names, Refusal, Refused, Set
from taskerman.testing.zookeeper_server import ZookeeperServer, free_port
from tests.support.tcp_proxy import ZookeeperProxy
from tests.support.tree_ground import Bell, settle
from tests.support.waiting import until
from tests.support.zookeeper import OpenTree

SOON = timedelta(milliseconds=300)


def test_all_reads_of_a_call_are_on_their_way_before_the_first_answer(
    open_tree: OpenTree, zookeeper_proxy: ZookeeperProxy
) -> None:
    """One trip, whatever their number."""
    tree = open_tree(zookeeper_proxy.hosts)
    zookeeper_proxy.freeze(replies_only=True)
    before = zookeeper_proxy.requests
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(tree.read, *[Get("/")] * 10, *[Children("/")] * 10)
        until(lambda: zookeeper_proxy.requests - before >= 20, "all requests are sent without an answer")
        zookeeper_proxy.thaw()
        assert len(reading.result()) == 20


def test_requests_are_counted_a_commit_being_one(open_tree: OpenTree) -> None:
    sent: list[str] = []
    tree = open_tree(on_request=sent.append)
    tree.ensure("/a")
    del sent[:]
    tree.commit([Set("/a", b"", None), Create("/a/b"), Create("/a/c"), Set("/a", b"", None)])
    assert sent == ["write"]
    del sent[:]
    tree.read(Get("/a"), Exists("/a"), Children("/a"))
    assert sent == ["read"] * 3
    del sent[:]
    tree.ensure("/a/b", "/a/c")
    assert sent == ["read"] * 2


@pytest.mark.parametrize("cut", [True, False], ids=["the connection breaks", "the connection falls silent"])
@pytest.mark.parametrize("applied", [True, False], ids=["applied", "never"])
def test_a_lost_answer_is_unknown_however_it_is_lost(
    open_tree: OpenTree, zookeeper_proxy: ZookeeperProxy, applied: bool, cut: bool
) -> None:
    witness, tree = open_tree(), open_tree(zookeeper_proxy.hosts, answer_timeout=SOON)
    tree.commit([Create("/me", b"idle")])
    lose = zookeeper_proxy.lose_next_reply if applied else zookeeper_proxy.lose_next_request
    trap = lose(cut=cut)
    with pytest.raises(AnswerUnknown, match="/me"):
        tree.commit([Set("/me", b"acting", 0)])
    trap.wait()
    record = witness.get("/me")
    assert record is not None
    assert record.data == (b"acting" if applied else b"idle")

    def fence() -> Committed | Refused | None:
        try:
            return tree.commit([Set("/me", b"idle", 0)])
        except AnswerUnknown:
            return None  # the silent connection is not given up yet

    answer = until(fence, "the client has another connection")
    assert isinstance(answer, Refused if applied else Committed)


def test_a_slow_answer_is_unknown_and_comes_before_the_fence(
    open_tree: OpenTree, zookeeper_proxy: ZookeeperProxy
) -> None:
    """Giving up on an answer does not withdraw the request."""
    tree = open_tree(zookeeper_proxy.hosts, answer_timeout=SOON)
    tree.commit([Create("/me", b"idle")])
    zookeeper_proxy.freeze()
    with pytest.raises(AnswerUnknown):
        tree.commit([Set("/me", b"acting", 0)])
    with pytest.raises(CoordinationUnavailable):
        tree.get("/me")
    zookeeper_proxy.thaw()
    assert tree.commit([Set("/me", b"idle", 0)]) == Refused(Refusal.BAD_VERSION, 0, "/me")


def test_without_a_connection_every_call_ends(open_tree: OpenTree, zookeeper_proxy: ZookeeperProxy) -> None:
    tree = open_tree(zookeeper_proxy.hosts, answer_timeout=SOON)
    zookeeper_proxy.cut()
    until(lambda: tree.link is Link.DOWN, "the cut is noticed")
    with pytest.raises(CoordinationUnavailable, match=zookeeper_proxy.hosts):
        tree.get("/")
    with pytest.raises(CoordinationUnavailable):
        tree.ensure("/a")
    with pytest.raises(CoordinationUnavailable):
        tree.sync("/")
    with pytest.raises(AnswerUnknown):
        tree.commit([Create("/a")])
    zookeeper_proxy.heal()
    until(lambda: tree.link is Link.UP, "the client is back")
    assert tree.get("/a") is None, "what was never sent never happens"


def test_a_call_waits_for_the_connection_within_its_time(open_tree: OpenTree, zookeeper_proxy: ZookeeperProxy) -> None:
    """A change of leader is a pause, not an error."""
    tree = open_tree(zookeeper_proxy.hosts)
    zookeeper_proxy.cut()
    until(lambda: tree.link is Link.DOWN, "the cut is noticed")
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(tree.commit, [Create("/a")])
        reading = pool.submit(tree.get, "/")
        zookeeper_proxy.heal()
        assert writing.result() == Committed(("/a",))
        assert reading.result() is not None


def test_closing_ends_the_waiting_of_others(open_tree: OpenTree, zookeeper_proxy: ZookeeperProxy) -> None:
    tree = open_tree(zookeeper_proxy.hosts, answer_timeout=timedelta(hours=1))
    zookeeper_proxy.cut()
    until(lambda: tree.link is Link.DOWN, "the cut is noticed")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(tree.get, "/")
        tree.close()
        with pytest.raises(CoordinationUnavailable):
            reading.result(timeout=30)


def test_where_nobody_answers_opening_says_whom_it_asked() -> None:
    before = threading.active_count()
    hosts = f"127.0.0.1:{free_port()}"
    tree = ZookeeperTree(hosts, open_timeout=SOON)
    with pytest.raises(CoordinationUnavailable, match=f"{hosts}.*Check the hosts"):
        tree.open()
    assert tree.link is Link.ENDED
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("hosts", "root"),
    [("", "/a"), ("host:2181/chroot", "/a"), ("host:port", "/a"), ("host:2181", "a"), ("host:2181", "/a/")],
)
def test_settings_that_cannot_work_are_refused_by_name(hosts: str, root: str) -> None:
    with pytest.raises(UsageError):
        ZookeeperTree(hosts, root=root).open()


def test_closing_leaves_no_thread_behind(open_tree: OpenTree) -> None:
    before = threading.active_count()
    trees = [open_tree() for _ in range(3)]
    for tree in trees:
        tree.close()
    assert threading.active_count() == before


def test_a_wake_given_a_thousand_times_is_kept_once(open_tree: OpenTree) -> None:
    """A bound method is another object each time it is named."""
    tree, bell = open_tree(), Bell()
    for _ in range(100):
        tree.read(Get("/", bell.__call__), Children("/", bell.__call__), Get("/no", bell.__call__))
    assert tree._connection is not None
    client = tree._connection.client
    kept = [client._data_watchers, client._child_watchers]  # type: ignore[attr-defined]
    assert all(len(watchers) == 1 for by_path in kept for watchers in by_path.values())


def test_a_record_that_appears_between_the_get_and_its_watch_is_heard_of(
    open_tree: OpenTree, zookeeper_proxy: ZookeeperProxy
) -> None:
    """ZooKeeper does not watch what a get does not find; the second request that does comes a moment later."""
    tree, other = open_tree(zookeeper_proxy.hosts), open_tree()
    bell = Bell()
    zookeeper_proxy.freeze(replies_only=True)
    before = zookeeper_proxy.requests
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(tree.get, "/new", bell)
        until(lambda: zookeeper_proxy.requests > before, "the get was asked")
        other.sync("/")
        other.commit([Create("/new")])
        zookeeper_proxy.thaw()
        found = reading.result()
    settle(tree)
    assert (found is None) == (bell.rung == 1)


def test_roots_keep_installations_apart(open_tree: OpenTree, zookeeper_root: str) -> None:
    inner, outer, whole = open_tree(root=f"{zookeeper_root}/in"), open_tree(), open_tree(root="/")
    inner.commit([Create("/a", b"inner"), Create("/a/", sequence=True)])
    outer.commit([Create("/a", b"outer")])
    names = [answer.names for answer in inner.read(Children("/"), Children("/a")) if isinstance(answer, Names)]
    assert names == [("a",), ("0000000000",)]
    for tree, path, data in (
        (inner, "/a", b"inner"),
        (outer, "/a", b"outer"),
        (outer, "/in/a", b"inner"),
        (whole, f"{zookeeper_root}/a", b"outer"),
    ):
        record = tree.get(path)
        assert record is not None
        assert record.data == data


def test_what_the_servers_forbid_is_an_error_that_a_person_can_act_on(
    open_tree: OpenTree, zookeeper: ZookeeperServer, zookeeper_root: str
) -> None:
    tree = open_tree()
    owner = KazooClient(zookeeper.hosts)
    owner.start()
    try:
        acl = [make_digest_acl("somebody", "else", all=True)]
        owner.create(f"{zookeeper_root}/secret", b"", acl=acl)
    finally:
        owner.stop()
        owner.close()
    with pytest.raises(NotPermitted, match="/secret"):
        tree.commit([Create("/a"), Set("/secret", b"", None)])
    with pytest.raises(NotPermitted, match="/secret"):
        tree.get("/secret")
    with pytest.raises(NotPermitted, match="/secret"):
        tree.ensure("/secret/below")
    assert tree.get("/a") is None


def test_an_error_that_the_library_does_not_know_costs_the_session_and_not_the_client(open_tree: OpenTree) -> None:
    """kazoo's thread would end by it, and the client would look cut off for ever."""
    witness, tree = open_tree(), open_tree()
    links: list[Link] = []
    tree.on_link(links.append)
    tree.commit([Create("/mine", ephemeral=True), Create("/watched", b"old")])
    bell = Bell()
    assert tree.get("/watched", bell) is not None
    session, handler = tree.session, tree._connection._handler  # type: ignore[union-attr]
    select, failures = handler.select, iter([OSError(9, "gone"), ValueError("it makes no sense"), KeyError("xid")])

    def failing(*waits: object) -> object:
        for failure in failures:
            raise failure
        return select(*waits)  # type: ignore[arg-type]

    handler.select = failing  # type: ignore[method-assign]
    with suppress(CoordinationUnavailable):  # the request that is on its way when it happens
        tree.get("/watched")
    until(lambda: tree.link is Link.UP and tree.session not in (None, session), "a new session")
    assert Link.ENDED in links
    assert links[-1] is Link.UP
    until(lambda: bell.rung > 0, "who watched is woken, to read again")
    assert tree.commit([Set("/watched", b"new", 0)])
    until(lambda: witness.get("/mine") is None, "what was the old session's is gone with it", within_s=30)
