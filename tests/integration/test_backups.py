"""Backups on a local S3: one without its manifest is none, one that was changed is found out, and old ones go last."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runners.backups import Backup, Backups, Damaged, Unfinished
from runners.objects import ObjectStore, Stored, StoreUnavailable
from tests.support.aws import local_cloud
from tests.support.s3 import OpenStore, bucket, open_store, s3, s3_client

__all__ = ["bucket", "local_cloud", "open_store", "s3", "s3_client"]

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def store(open_store: OpenStore) -> ObjectStore:
    return open_store()


@pytest.fixture
def backups(store: ObjectStore) -> Backups:
    return Backups(store, "redis:sessions")


def made(backups: Backups, attempt: str = "t.n.1", at: datetime = NOW, content: bytes = b"data") -> Backup:
    unfinished = backups.begin(attempt, at)
    unfinished.add("dump", [content])
    unfinished.add("wal/1", [b"log"])
    return unfinished.finish(version="7.0")


def keys(store: ObjectStore) -> set[str]:
    return {each.key for each in store.list()}


def test_a_backup_counts_from_its_manifest_on_and_not_before(backups: Backups, store: ObjectStore) -> None:
    unfinished = backups.begin("t.n.1", NOW)
    assert backups.newest() is None
    unfinished.add("dump", [b"da", b"ta"])
    assert keys(store) == {"redis.sessions/20260131T120000Z-t.n.1/dump"}
    assert (backups.newest(), backups.made_by("t.n.1")) == (None, None)
    done = unfinished.finish(version="7.0")
    for found in (backups.newest(), backups.made_by("t.n.1"), backups.whole()[0]):
        assert found is not None
        assert (found.name, found.at, found.size, found.facts) == (done.name, NOW, 4, {"version": "7.0"})
        assert b"".join(backups.read(found, "dump")) == b"data"


def test_a_backup_of_nothing_is_one_too(backups: Backups) -> None:
    done = made(backups, content=b"")
    assert b"".join(backups.read(done, "dump")) == b""
    newest = backups.newest()
    assert newest is not None
    assert (newest.name, newest.size) == (done.name, 3)


class Killed(Exception):
    """The one who wrote is gone."""


@pytest.mark.parametrize("at", ["the first part", "the second part", "the manifest"])
def test_a_backup_that_was_broken_off_is_none_and_the_next_attempt_makes_one(
    backups: Backups, store: ObjectStore, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(content: bytes) -> Iterator[bytes]:
        yield content[:2]
        raise Killed

    steps = {"the first part": 1, "the second part": 2, "the manifest": 3}
    put, left = store.put, [steps[at]]

    def put_until_then(key: str, chunks: Iterable[bytes]) -> Stored:
        left[0] -= 1
        return put(key, chunks if left[0] else dies(b"".join(chunks)))

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", put_until_then)
        with pytest.raises(Killed):
            made(backups, "t.n.1")
    assert backups.whole() == []
    assert backups.made_by("t.n.1") is None
    again = made(backups, "t.n.2", NOW + timedelta(hours=1))
    assert [each.name for each in backups.whole()] == [again.name]


def test_an_attempt_is_not_taken_for_another_whose_id_ends_like_its_own(backups: Backups) -> None:
    made(backups, "nightly-t-1.i-1.1")
    assert backups.made_by("t-1.i-1.1") is None
    assert backups.made_by("1") is None
    found = backups.made_by("nightly-t-1.i-1.1")
    assert found is not None


def test_backups_of_one_are_not_those_of_another_whose_name_begins_alike(store: ObjectStore) -> None:
    made(Backups(store, "redis:sessions"))
    assert Backups(store, "redis:sess").whole() == []
    assert Backups(store, "redis:sessions-2").whole() == []


@pytest.mark.parametrize("part", ["manifest", "x/manifest"])
def test_no_part_is_called_like_the_manifest(backups: Backups, part: str) -> None:
    with pytest.raises(ValueError, match="a part is not called"):
        backups.begin("t.n.1", NOW).add(part, [b"{}"])


# --- damage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"dat", b"datX", b"data and more", b""])
def test_a_part_that_was_changed_is_found_out_at_its_end(backups: Backups, store: ObjectStore, content: bytes) -> None:
    done = made(backups)
    store.put(f"{done.name}/dump", [content])
    with pytest.raises(Damaged, match="is not what was written"):
        list(backups.read(done, "dump"))


def test_a_part_that_is_gone_or_never_was_is_named(backups: Backups, store: ObjectStore) -> None:
    done = made(backups)
    store.delete([f"{done.name}/dump"])
    with pytest.raises(Damaged, match="dump is not there any more"):
        list(backups.read(done, "dump"))
    with pytest.raises(Damaged, match="has no part other"):
        list(backups.read(done, "other"))


@pytest.mark.parametrize(
    "manifest", [b"", b"{", b"[]", b"{}", b'"x"', b'{"v": 1, "at": "x", "parts": [], "facts": {}}']
)
def test_a_manifest_that_cannot_be_read_is_told_and_an_older_backup_is_not_taken_for_the_newest(
    backups: Backups, store: ObjectStore, manifest: bytes
) -> None:
    older = made(backups, "t.n.0", NOW - DAY)
    newer = made(backups)
    store.put(f"{newer.name}/manifest", [manifest])
    for ask in (backups.newest, backups.whole, lambda: backups.made_by("t.n.1")):
        with pytest.raises(Damaged, match=rf"The manifest of {newer.name} cannot be read"):
            ask()
    found = backups.made_by("t.n.0")
    assert found is not None
    assert found.name == older.name


# --- retention -----------------------------------------------------------------------------------------------


def names(found: list[Backup] | Any) -> list[str]:
    return [each.name.rpartition("-")[2] for each in found]


def test_old_ones_go_and_the_newest_stay_however_old_they_are(backups: Backups, store: ObjectStore) -> None:
    for day in range(6):
        made(backups, f"a{day}", NOW - day * DAY)
    gone = backups.prune(NOW, keep=2, keep_for=3 * DAY)
    assert sorted(name.rpartition("-")[2] for name in gone) == ["a4", "a5"]
    assert names(backups.whole()) == ["a3", "a2", "a1", "a0"]
    assert backups.prune(NOW, keep=2, keep_for=3 * DAY) == []
    backups.prune(NOW + 365 * DAY, keep=0, keep_for=timedelta())
    assert names(backups.whole()) == ["a0"], "never the last one"
    assert all("-a0/" in key for key in keys(store)), "with all of its parts, and nothing of the others"


def test_one_of_less_never_pushes_out_one_of_more(backups: Backups) -> None:
    """Say, a dump of one database each day and of all once a month: they are counted apart."""
    for day in range(3):
        for only in ((), ("shop",)):
            backups.begin(f"a{day}{''.join(only)}", NOW - day * DAY).finish(only=list(only))
    gone = backups.prune(NOW, keep=1, keep_for=timedelta(), alike={"only": ["shop"]})
    assert sorted(name.rpartition("-")[2] for name in gone) == ["a1shop", "a2shop"]
    gone = backups.prune(NOW, keep=2, keep_for=timedelta(), alike={"only": []})
    assert [name.rpartition("-")[2] for name in gone] == ["a2"]


def test_a_manifest_goes_before_its_parts(
    backups: Backups, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that who is killed while removing leaves no backup whose parts are missing."""
    old = made(backups, "a1", NOW - 9 * DAY)
    made(backups, "a0", NOW)
    delete = store.delete

    def dies(removed: list[str]) -> None:
        delete(removed[:1])
        raise Killed

    monkeypatch.setattr(store, "delete", dies)
    with pytest.raises(Killed):
        backups.prune(NOW, keep=1, keep_for=DAY)
    assert names(backups.whole()) == ["a0"]
    assert f"{old.name}/dump" in keys(store)


def test_what_unfinished_ones_left_goes_when_it_is_old_and_not_before(backups: Backups, store: ObjectStore) -> None:
    """Its age is that of its newest object, by S3's own clock."""
    left = backups.begin("a1", NOW - 30 * DAY)
    left.add("dump", [b"data"])
    made(backups, "a0")
    store.put("redis.sessions/notes/of-a-person", [b"text"])
    inside = made(Backups(store, "redis:sessions/shard"))
    today = datetime.now(UTC)
    assert backups.prune(today + DAY, keep=9, keep_for=999 * DAY) == []
    assert f"{left.name}/dump" in keys(store)
    assert backups.prune(today + 3 * DAY, keep=9, keep_for=999 * DAY) == [left.name]
    assert f"{left.name}/dump" not in keys(store)
    assert names(backups.whole()) == ["a0", "t.n.1"]
    assert {f"{inside.name}/dump", "redis.sessions/notes/of-a-person"} <= keys(store), "what is no unfinished backup"


def test_one_that_is_written_for_days_is_left_alone_while_something_new_comes_into_it(
    backups: Backups, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its age is that of all of it: one part is of a folder of its own, and young."""
    writing = backups.begin("a1", NOW)
    writing.add("roles", [b"roles"])
    writing.add("databases/a", [b"data"])
    real, long_ago = store.list, datetime.now(UTC) - 3 * DAY

    def listed(below: str = "") -> list[Stored]:
        return [replace(each, at=long_ago) if each.key.endswith("/roles") else each for each in real(below)]

    monkeypatch.setattr(store, "list", listed)
    assert backups.prune(datetime.now(UTC), keep=1, keep_for=DAY) == []
    assert keys(store) == {f"{writing.name}/roles", f"{writing.name}/databases/a"}


@pytest.mark.parametrize("lost", ["dump", "wal/1"])
def test_one_of_which_a_part_is_gone_before_its_manifest_is_none(
    backups: Backups, store: ObjectStore, lost: str
) -> None:
    """Whoever removed it: a person, a rule of the bucket, another's retention."""
    writing = backups.begin("a1", NOW)
    writing.add("dump", [b"data"])
    writing.add("wal/1", [b"log"])
    store.delete([f"{writing.name}/{lost}"])
    with pytest.raises(Damaged, match=f"{lost} is not there any more"):
        writing.finish()
    assert backups.whole() == []


def test_one_with_a_missing_part_does_not_count_among_those_that_are_kept(backups: Backups, store: ObjectStore) -> None:
    """Else the last good one would be removed because a broken one is newer."""
    good = made(backups, "a1", NOW - 9 * DAY)
    broken = made(backups, "a0", NOW)
    store.delete([f"{broken.name}/dump"])
    assert backups.prune(NOW, keep=1, keep_for=DAY) == []
    store.put(f"{broken.name}/dump", [b"dat"])
    assert backups.prune(NOW, keep=1, keep_for=DAY) == []
    assert f"{good.name}/dump" in keys(store)
    assert f"{broken.name}/wal/1" in keys(store), "it is left to a person"


def test_where_a_manifest_cannot_be_read_nothing_is_removed(backups: Backups, store: ObjectStore) -> None:
    made(backups, "a1", NOW - 9 * DAY)
    broken = made(backups, "a0", NOW)
    store.put(f"{broken.name}/manifest", [b"{"])
    before = keys(store)
    with pytest.raises(Damaged):
        backups.prune(NOW, keep=1, keep_for=DAY)
    assert keys(store) == before


def test_many_pages_are_pruned_as_one_is(open_store: OpenStore) -> None:
    backups = Backups(open_store(page=3), "n")
    for day in range(5):
        made(backups, f"a{day}", NOW - day * DAY)
    assert len(backups.prune(NOW, keep=1, keep_for=timedelta())) == 4
    assert names(backups.whole()) == ["a0"]


def test_a_bucket_that_went_away_is_said_by_every_verb(
    backups: Backups, s3: Any, bucket: str, store: ObjectStore
) -> None:
    done = made(backups)
    for key in [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]:
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)
    unfinished: Unfinished = backups.begin("a", NOW)
    for ask in (
        backups.newest,
        backups.whole,
        lambda: backups.made_by("a"),
        lambda: list(backups.read(done, "dump")),
        lambda: unfinished.add("dump", [b"x"]),
        unfinished.finish,
        lambda: backups.prune(NOW, keep=1, keep_for=DAY),
    ):
        with pytest.raises(StoreUnavailable, match=f"the bucket {bucket} is not there"):
            ask()


def test_the_manifest_is_what_the_page_of_backups_says(backups: Backups, store: ObjectStore) -> None:
    done = made(backups)
    manifest = json.loads(store.read_all(f"{done.name}/manifest"))
    assert manifest["at"] == "20260131T120000Z"
    assert [(part["key"], part["size"]) for part in manifest["parts"]] == [("dump", 4), ("wal/1", 3)]
    assert manifest["facts"] == {"version": "7.0"}
