"""What every place with files of schedules promises: a folder and S3 alike.

Both are read by the same rules and noticed by the same rule: seen twice the same.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from taskerman.adapters.aws import Aws
from taskerman.adapters.schedules import Bucket, DeclaredFiles, Folder
from taskerman.adapters.schedules.one_file import read_file
from taskerman.errors import SchedulesInvalid, SchedulesUnavailable
from taskerman.model.schedule_record import ScheduleOrigin
from tests.support.aws import LocalCloud, unique
from tests.support.schedules import names, one


class Ground(Protocol):
    """A place that a test writes to behind the source's back."""

    def put(self, name: str, text: str) -> None: ...
    def delete(self, name: str) -> None: ...
    def source(self) -> DeclaredFiles: ...


class OnDisk:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ticks = itertools.count(1_700_000_000_000_000_000, 1_000_000_000)

    def put(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        when = next(self._ticks)  # a clock that is too coarse is not what is tested
        os.utime(path, ns=(when, when))

    def delete(self, name: str) -> None:
        (self.folder / name).unlink()

    def source(self) -> DeclaredFiles:
        return DeclaredFiles(Folder(self.folder))


class InBucket:
    """A prefix of a bucket."""

    def __init__(self, aws: Aws, client: Any) -> None:
        self._aws, self._client = aws, client
        self.bucket = unique("schedules")
        client.create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": client.meta.region_name}
        )

    def put(self, name: str, text: str) -> None:
        self._client.put_object(Bucket=self.bucket, Key=f"conf/tasks/{name}", Body=text.encode())

    def delete(self, name: str) -> None:
        self._client.delete_object(Bucket=self.bucket, Key=f"conf/tasks/{name}")

    def source(self) -> DeclaredFiles:
        return DeclaredFiles(Bucket(self._aws, f"s3://{self.bucket}/conf/tasks"))


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.real)])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    if request.param == "folder":
        yield OnDisk(tmp_path)
        return
    cloud: LocalCloud = request.getfixturevalue("local_cloud")
    with cloud.client("s3") as client:
        yield InBucket(request.getfixturevalue("aws"), client)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a file was parsed: one entry each."""
    seen: list[int] = []

    def counting(raw: bytes, *args: Any) -> Any:
        seen.append(len(raw))
        return read_file(raw, *args)

    monkeypatch.setattr("taskerman.adapters.schedules.declared.read_file", counting)
    return seen


# --- what is declared --------------------------------------------------------------------------------------


def test_everything_is_read_by_name_with_its_place(ground: Ground) -> None:
    ground.put("b/redis.yaml", one("c") + one("a").removeprefix("schedules:\n"))
    ground.put("web.yml", one("b"))
    found = ground.source().read()
    assert [(one.schedule.name, one.place, one.origin) for one in found] == [
        ("a", "b/redis.yaml:5", ScheduleOrigin.FILES),
        ("b", "web.yml:2", ScheduleOrigin.FILES),
        ("c", "b/redis.yaml:2", ScheduleOrigin.FILES),
    ]


def test_hidden_and_other_files_are_left_out(ground: Ground) -> None:
    ground.put("a.yaml", one("a"))
    for name in (".git/b.yaml", "x/.hidden/b.yaml", ".b.yaml", "README.md", "b.yaml.orig", "yaml"):
        ground.put(name, one("b"))
    assert names(ground.source()) == ["a"]
    assert ground.source().look().files == 1


def test_a_place_without_a_file_is_a_fault_and_never_the_same_as_none_being_declared(ground: Ground) -> None:
    """A mount that went away leaves an empty folder: that must not retire everything."""
    source = ground.source()
    assert source.changed()
    with pytest.raises(SchedulesInvalid, match="no file of schedules") as raised:
        source.read()
    assert "schedules: []" in raised.value.next_step
    assert not source.changed()
    ground.put("a.yaml", "schedules: []\n")
    assert names(source) == []


def test_a_name_that_stands_twice_is_told_with_both_places(ground: Ground) -> None:
    ground.put("a.yaml", one("same"))
    ground.put("b.yaml", one("other") + one("same").removeprefix("schedules:\n"))
    with pytest.raises(SchedulesInvalid) as raised:
        ground.source().read()
    assert raised.value.faults == (
        "b.yaml:5: schedules[1] (same) name: another schedule is called 'same', in a.yaml:2",
    )


def test_all_faults_of_all_files_are_told_and_nothing_is_taken(ground: Ground) -> None:
    ground.put("a.yaml", one("a", every="never"))
    ground.put("b.yaml", "schedules: [\n")
    ground.put("c.yaml", one("c"))
    source = ground.source()
    with pytest.raises(SchedulesInvalid) as raised:
        source.read()
    assert [fault.split(": ")[0] for fault in raised.value.faults] == ["a.yaml:3", "b.yaml:2"]
    looked = source.look()
    assert looked.faults == raised.value.faults
    assert [one.schedule.name for one in looked.declarations] == ["c"]
    assert looked.files == 3


# --- what has changed --------------------------------------------------------------------------------------


def test_nothing_has_changed_while_nothing_did(ground: Ground) -> None:
    ground.put("a.yaml", one("a"))
    source = ground.source()
    assert source.changed()
    source.read()
    assert [source.changed() for _ in range(3)] == [False] * 3


@pytest.mark.parametrize("change", ["another text", "a new file", "a file less"])
def test_a_change_is_one_when_it_was_seen_twice_the_same(ground: Ground, change: str) -> None:
    ground.put("a.yaml", one("a"))
    ground.put("b.yaml", one("b"))
    source = ground.source()
    source.read()
    assert not source.changed()
    if change == "another text":
        ground.put("a.yaml", one("z"))
    elif change == "a new file":
        ground.put("c.yaml", one("c"))
    else:
        ground.delete("a.yaml")
    assert [source.changed() for _ in range(3)] == [False, True, True]
    assert names(source) == {"another text": ["b", "z"], "a new file": ["a", "b", "c"], "a file less": ["b"]}[change]
    assert not source.changed()


def test_a_checkout_under_way_is_no_change_until_it_is_at_its_end(ground: Ground) -> None:
    for name in "abc":
        ground.put(f"{name}.yaml", one(name))
    source = ground.source()
    source.read()
    for name in "abc":
        ground.delete(f"{name}.yaml")
        assert not source.changed()
    for name in "abc":
        ground.put(f"{name}.yaml", one(f"{name}-2"))
        assert not source.changed()
    assert source.changed()
    assert names(source) == ["a-2", "b-2", "c-2"]


def test_what_begins_to_change_after_it_was_told_is_not_read_as_if_it_had_been(ground: Ground) -> None:
    """Between the word and the reading the next checkout may have begun; it has to come to rest as well."""
    ground.put("a.yaml", one("a"))
    source = ground.source()
    source.read()
    ground.put("b.yaml", one("b"))
    assert [source.changed(), source.changed()] == [False, True]
    ground.delete("a.yaml")
    with pytest.raises(SchedulesUnavailable, match="being changed"):
        source.read()
    assert [source.changed(), source.changed()] == [False, True]
    assert names(source) == ["b"]


def test_faults_are_an_answer_that_does_not_change_by_itself(ground: Ground) -> None:
    ground.put("a.yaml", one("a", every="never"))
    source = ground.source()
    assert source.changed()
    with pytest.raises(SchedulesInvalid):
        source.read()
    assert [source.changed(), source.changed()] == [False, False]
    ground.put("a.yaml", one("a"))
    assert [source.changed(), source.changed()] == [False, True]
    assert names(source) == ["a"]


def test_what_did_not_change_is_not_parsed_again(ground: Ground, parsed: list[int]) -> None:
    ground.put("a.yaml", one("a"))
    ground.put("b.yaml", one("b"))
    source = ground.source()
    source.read()
    assert len(parsed) == 2
    ground.put("b.yaml", one("longer"))
    source.read()
    assert parsed[2:] == [len(one("longer"))]
    ground.put("b.yaml", one("longer"))  # written again, as a checkout does
    assert names(source) == ["a", "longer"]
    assert len(parsed) == 3


def test_what_did_not_change_is_not_fetched_again(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.put("a.yaml", one("a"))
    ground.put("b.yaml", one("b"))
    source = ground.source()
    source.read()
    shelf, fetched = source._shelf, []
    fetch = shelf.fetch

    def counting(name: str, stamp: Any) -> bytes:
        fetched.append(name)
        return fetch(name, stamp)

    monkeypatch.setattr(shelf, "fetch", counting)
    ground.put("b.yaml", one("longer"))
    assert names(source) == ["a", "longer"]
    assert fetched == ["b.yaml"]


def test_a_file_that_is_gone_and_comes_back_is_read_as_it_is_then(ground: Ground) -> None:
    ground.put("a.yaml", one("a"))
    source = ground.source()
    source.read()
    ground.put("b.yaml", one("other"))
    ground.delete("a.yaml")
    assert names(source) == ["other"]
    ground.delete("b.yaml")
    ground.put("a.yaml", one("b"))
    assert names(source) == ["b"]


def test_what_changes_while_it_is_read_is_read_again(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is one version: not the old a with the new b."""
    ground.put("a.yaml", one("a"))
    ground.put("b.yaml", one("b"))
    source = ground.source()
    shelf = source._shelf
    fetch = shelf.fetch
    left = ["once"]

    def changing(name: str, stamp: Any) -> bytes:
        raw = fetch(name, stamp)
        if name == "a.yaml" and left:
            left.pop()
            ground.put("a.yaml", one("a-2"))
            ground.put("b.yaml", one("b-2"))
        return raw

    monkeypatch.setattr(shelf, "fetch", changing)
    assert names(source) == ["a-2", "b-2"]


def test_what_never_comes_to_rest_is_not_answered(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.put("a.yaml", one("a"))
    source = ground.source()
    shelf = source._shelf
    fetch = shelf.fetch
    count = itertools.count()

    def changing(name: str, stamp: Any) -> bytes:
        raw = fetch(name, stamp)
        ground.put("a.yaml", one(f"a-{next(count)}"))
        return raw

    monkeypatch.setattr(shelf, "fetch", changing)
    with pytest.raises(SchedulesUnavailable, match="being changed"):
        source.read()
    assert source.changed(), "nothing was read yet"


def test_a_judge_is_asked_of_each_and_remembers_nothing(ground: Ground) -> None:
    ground.put("a.yaml", one("a"))
    source = ground.source()
    source.read()
    (fault,) = source.look(lambda schedule, document: [(("task", "action"), f"{document.action} is not here")]).faults
    assert fault == "a.yaml:4: schedules[0] (a) task.action: a:b is not here"
    assert names(source) == ["a"]
