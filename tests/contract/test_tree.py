"""What every `Tree` promises of records, versions, transactions and paths."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from taskerman.errors import Bug, CoordinationUnavailable
from taskerman.ports.tree import (
    MOST_BYTES,
    Check,
    Children,
    Committed,
    Create,
    Delete,
    Exists,
    Get,
    Names,
    Op,
    Record,
    Refusal,
    Refused,
    Set,
    Stat,
    Tree,
    refuse_unsendable,
)
from tests.support.tree_ground import Ground


@pytest.fixture
def tree(ground: Ground) -> Tree:
    return ground.open()


def names_of(tree: Tree, path: str) -> tuple[str, ...]:
    found = tree.children(path)
    assert found is not None
    return found.names


def test_a_record_is_read_as_it_was_written(tree: Tree) -> None:
    assert tree.commit([Create("/a", b"\x00data")]) == Committed(("/a",))
    record = tree.get("/a")
    assert record is not None
    assert record.data == b"\x00data"
    assert (record.stat.version, record.stat.children_version, record.stat.owner, record.stat.children) == (0, 0, 0, 0)


def test_what_is_not_there_is_none(tree: Tree) -> None:
    assert tree.read(Get("/no"), Exists("/no"), Children("/no")) == (None, None, None)


def test_times_are_milliseconds_of_the_servers_clock(tree: Tree) -> None:
    """A person reads them, and an agent compares its own clock with them."""
    tree.commit([Create("/a")])
    record = tree.get("/a")
    assert record is not None
    assert record.stat.created_ms == record.stat.changed_ms
    assert abs(record.stat.created_ms - time.time() * 1000) < 60_000


def test_each_set_raises_the_version_by_one_even_when_nothing_changes(tree: Tree) -> None:
    """So a record rewritten unchanged is a lock."""
    tree.commit([Create("/a", b"x")])
    answer = tree.commit([Set("/a", b"x", 0)])
    assert isinstance(answer, Committed)
    (stat,) = answer.results
    assert isinstance(stat, Stat)
    assert stat.version == 1
    assert tree.commit([Set("/a", b"x", 0)]) == Refused(Refusal.BAD_VERSION, 0, "/a")


def test_a_record_created_anew_starts_at_version_0(tree: Tree) -> None:
    tree.commit([Create("/a"), Set("/a", b"1", None), Delete("/a"), Create("/a")])
    record = tree.get("/a")
    assert record is not None
    assert (record.data, record.stat.version) == (b"", 0)


@pytest.mark.parametrize(
    ("ops", "refused"),
    [
        pytest.param([Create("/a")], Refused(Refusal.NODE_EXISTS, 0, "/a"), id="create what is there"),
        pytest.param([Create("/no/a")], Refused(Refusal.NO_NODE, 0, "/no/a"), id="create without a parent"),
        pytest.param(
            [Create("/no/", sequence=True)], Refused(Refusal.NO_NODE, 0, "/no/"), id="a sequence without a parent"
        ),
        pytest.param(
            [Create("/e/a")], Refused(Refusal.NO_CHILDREN_FOR_EPHEMERALS, 0, "/e/a"), id="create under an ephemeral"
        ),
        pytest.param([Set("/no", b"", None)], Refused(Refusal.NO_NODE, 0, "/no"), id="set what is not there"),
        pytest.param([Set("/a", b"", 1)], Refused(Refusal.BAD_VERSION, 0, "/a"), id="set at another version"),
        pytest.param([Delete("/no")], Refused(Refusal.NO_NODE, 0, "/no"), id="delete what is not there"),
        pytest.param([Delete("/no/a")], Refused(Refusal.NO_NODE, 0, "/no/a"), id="delete without a parent"),
        pytest.param([Delete("/a", 1)], Refused(Refusal.BAD_VERSION, 0, "/a"), id="delete at another version"),
        pytest.param([Delete("/p")], Refused(Refusal.NOT_EMPTY, 0, "/p"), id="delete what has children"),
        pytest.param(
            [Delete("/p", 1)], Refused(Refusal.BAD_VERSION, 0, "/p"), id="the version is judged before the children"
        ),
        pytest.param([Check("/no", None)], Refused(Refusal.NO_NODE, 0, "/no"), id="check what is not there"),
        pytest.param([Check("/a", 1)], Refused(Refusal.BAD_VERSION, 0, "/a"), id="check another version"),
        pytest.param(
            [Check("/a", 0), Set("/a", b"", 0), Create("/b"), Check("/a", 0), Create("/a")],
            Refused(Refusal.BAD_VERSION, 3, "/a"),
            id="the first of several, by what the earlier ones did",
        ),
        pytest.param(
            [Set("/a", b"1", 0), Set("/a", b"2", 1), Delete("/a"), Create("/a", b"3"), Delete("/a"), Check("/a", 0)],
            Refused(Refusal.NO_NODE, 5, "/a"),
            id="after much ado about one record",
        ),
        pytest.param(
            [Create("/x", ephemeral=True), Create("/x/y")],
            Refused(Refusal.NO_CHILDREN_FOR_EPHEMERALS, 1, "/x/y"),
            id="under an ephemeral of the same commit",
        ),
        pytest.param(
            [Delete("/p/c"), Delete("/p"), Create("/p/c")],
            Refused(Refusal.NO_NODE, 2, "/p/c"),
            id="under what the same commit deleted",
        ),
        pytest.param(
            [Create("/x"), Create("/x/y"), Delete("/x")],
            Refused(Refusal.NOT_EMPTY, 2, "/x"),
            id="not empty by the same commit",
        ),
    ],
)
def test_a_refusal_names_why_and_where_and_nothing_of_the_commit_happens(
    tree: Tree, ops: Sequence[Op], refused: Refused
) -> None:
    tree.commit([Create("/a"), Create("/p"), Create("/p/c"), Create("/e", ephemeral=True)])
    everything = (Children("/"), Get("/a"), Get("/p"), Get("/p/c"), Get("/e"), Get("/b"), Get("/x"))
    before = tree.read(*everything)
    assert tree.commit(ops) == refused
    assert tree.read(*everything) == before


def test_operations_see_what_the_earlier_ones_of_their_commit_did(tree: Tree) -> None:
    """A slot is deleted under one name and created under the next in one go."""
    answer = tree.commit(
        [
            Create("/a", b"1"),
            Create("/a/b"),
            Check("/a", 0),
            Set("/a", b"2", 0),
            Check("/a", 1),
            Delete("/a/b", 0),
            Create("/a/b", b"again"),
        ]
    )
    assert isinstance(answer, Committed)
    path, child, nothing, stat, also_nothing, deleted, again = answer.results
    assert (path, child, nothing, also_nothing, deleted, again) == ("/a", "/a/b", None, None, None, "/a/b")
    assert isinstance(stat, Stat)
    assert (stat.version, stat.children) == (1, 1)
    assert [record.data for record in tree.read(Get("/a"), Get("/a/b")) if isinstance(record, Record)] == [
        b"2",
        b"again",
    ]


def test_a_version_of_none_means_any(tree: Tree) -> None:
    tree.commit([Create("/a"), Set("/a", b"", None)])
    assert isinstance(tree.commit([Check("/a", None), Set("/a", b"x", None), Delete("/a", None)]), Committed)


def test_the_children_version_changes_with_every_child_that_comes_or_goes(tree: Tree) -> None:
    """Names and version are read together, so an unchanged version means unchanged names."""
    tree.commit([Create("/p")])
    seen = []
    for ops in ([Create("/p/a")], [Create("/p/b")], [Delete("/p/a")], [Create("/p/a")]):
        tree.commit(ops)
        names = tree.children("/p")
        assert names is not None
        seen.append((names.names, names.stat.children_version, names.stat.children, names.stat.version))
    assert seen == [(("a",), 1, 1, 0), (("a", "b"), 2, 2, 0), (("b",), 3, 1, 0), (("a", "b"), 4, 2, 0)]


def test_a_change_of_a_child_does_not_change_its_parents_versions(tree: Tree) -> None:
    tree.commit([Create("/p"), Create("/p/a")])
    before = tree.get("/p")
    tree.commit([Set("/p/a", b"x", None)])
    assert tree.get("/p") == before


def test_children_are_read_sorted(tree: Tree) -> None:
    tree.commit([Create("/p"), *(Create(f"/p/{name}") for name in ("c", "a", "b"))])
    assert names_of(tree, "/p") == ("a", "b", "c")


def test_the_numbers_of_a_sequence_rise_and_never_come_again(tree: Tree) -> None:
    tree.commit([Create("/q")])
    created = [tree.commit([Create("/q/", sequence=True)]) for _ in range(2)]
    assert created == [Committed(("/q/0000000000",)), Committed(("/q/0000000001",))]
    tree.commit([Delete("/q/0000000001"), Create("/q/plain")])
    answer = tree.commit([Create("/q/5.", sequence=True), Create("/q/5.", sequence=True)])
    assert answer == Committed(("/q/5.0000000003", "/q/5.0000000004"))


def test_a_refused_commit_uses_up_no_number(tree: Tree) -> None:
    tree.commit([Create("/q")])
    tree.commit([Create("/q/", sequence=True), Check("/q", 9)])
    assert tree.commit([Create("/q/", sequence=True)]) == Committed(("/q/0000000000",))


def test_the_root_is_a_record_like_any_other(tree: Tree) -> None:
    assert isinstance(tree.commit([Set("/", b"x", 0), Check("/", 1)]), Committed)
    root = tree.get("/")
    assert root is not None
    assert (root.data, root.stat.version) == (b"x", 1)


def test_a_commit_as_large_as_promised_goes_through(tree: Tree) -> None:
    tree.commit([Create("/p")])
    data = b"x" * (MOST_BYTES - 200)
    assert tree.commit([Create("/p/a", data)]) == Committed(("/p/a",))
    record = tree.get("/p/a")
    assert record is not None
    assert record.data == data


def test_more_operations_than_any_move_needs_go_in_one_commit(tree: Tree) -> None:
    """Putting a task away deletes 500 ends at a time; with rights every create weighs several times as much."""
    tree.commit([Create("/p")])
    answer = tree.commit([Create(f"/p/node-{number:05d}", b"x" * 20) for number in range(1000)])
    assert isinstance(answer, Committed)
    assert len(names_of(tree, "/p")) == 1000


@pytest.mark.parametrize(
    "ops",
    [
        pytest.param([], id="empty"),
        pytest.param([Create("relative")], id="relative"),
        pytest.param([Check("/a/", 0)], id="trailing slash"),
        pytest.param([Create("/a//b")], id="empty name"),
        pytest.param([Delete("/")], id="the root"),
        pytest.param([Create("/a", b"x" * MOST_BYTES)], id="too large for the wire"),
    ],
)
def test_what_cannot_be_sent_is_a_bug_at_once(tree: Tree, ops: Sequence[Op]) -> None:
    """Sent, it would be an answer that never comes."""
    with pytest.raises(Bug):
        tree.commit(ops)


def test_reads_are_answered_in_their_order(tree: Tree) -> None:
    tree.commit([Create("/a", b"1"), Create("/a/b")])
    record, nothing, stat, names, also = tree.read(Get("/a"), Get("/no"), Exists("/a"), Children("/a"), Get("/a"))
    assert isinstance(record, Record)
    assert nothing is None
    assert stat == record.stat
    assert names == Names(("b",), record.stat)
    assert also == record


def test_ensure_creates_what_is_missing_and_leaves_the_rest(tree: Tree) -> None:
    tree.commit([Create("/a", b"kept")])
    for _ in range(2):
        tree.ensure("/a/b/c", "/a/d", "/")
        record = tree.get("/a")
        assert record is not None
        assert (record.data, record.stat.version, names_of(tree, "/a")) == (b"kept", 0, ("b", "d"))


def test_clients_see_each_others_commits_after_a_sync(ground: Ground, tree: Tree) -> None:
    other = ground.open()
    tree.commit([Create("/a", b"x")])
    other.sync("/a")
    assert other.get("/a") == tree.get("/a")


def test_a_closed_client_says_so(ground: Ground) -> None:
    tree = ground.open()
    tree.close()
    tree.close()
    assert tree.session is None
    with pytest.raises(CoordinationUnavailable):
        tree.get("/")
    with pytest.raises(CoordinationUnavailable):
        tree.commit([Create("/a")])


def test_a_client_can_be_opened_again_with_another_session(ground: Ground) -> None:
    """An agent without work holds no session."""
    tree = ground.open()
    first = tree.session
    tree.open()
    assert tree.session == first
    tree.close()
    tree.open()
    assert tree.session not in (None, first)


def test_rights_that_make_a_commit_too_heavy_are_a_bug_at_once() -> None:
    """The server would drop the connection without a word, and the commit would stay unknown for ever."""
    ops = [Create(f"/p/{number}") for number in range(10)]
    refuse_unsendable(ops, beside=1_000_000)
    with pytest.raises(Bug, match="at most"):
        refuse_unsendable(ops, beside=1_048_576)
