"""A folder of schedules: checkouts behind links that are moved, and everything that may lie in a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from taskerman.adapters.schedules import DeclaredFiles, Folder
from taskerman.adapters.schedules.composing import MAX_FILE_BYTES
from taskerman.errors import NotPermitted, SchedulesInvalid, SchedulesUnavailable
from tests.support.schedules import names, one


def checkout(at: Path, **files: str) -> Path:
    (at / "tasks").mkdir(parents=True)
    for name, text in files.items():
        (at / "tasks" / f"{name}.yaml").write_text(text)
    return at


def move_link(link: Path, target: Path) -> None:
    """As git-sync does: another link, renamed over the first."""
    made = link.with_name("new")
    made.symlink_to(target)
    made.rename(link)


def test_a_link_that_is_moved_to_the_next_checkout_is_a_change(tmp_path: Path) -> None:
    first = checkout(tmp_path / "one", a=one("a"), b=one("b"))
    second = checkout(tmp_path / "two", a=one("a"), c=one("c"))
    link = tmp_path / "current"
    link.symlink_to(first)
    source = DeclaredFiles(Folder(link / "tasks"))
    assert names(source) == ["a", "b"]
    move_link(link, second)
    shutil.rmtree(first)
    assert [source.changed(), source.changed()] == [False, True]
    assert names(source) == ["a", "c"]
    assert [found.place for found in source.read()] == ["a.yaml:2", "c.yaml:2"]


def test_a_link_that_is_moved_while_it_is_read_shows_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the old checkout may be gone at once."""
    first = checkout(tmp_path / "one", a=one("a"), b=one("b"))
    second = checkout(tmp_path / "two", a=one("a-2"), b=one("b-2"))
    link = tmp_path / "current"
    link.symlink_to(first)
    folder = Folder(link / "tasks")
    fetch = folder.fetch

    def moving(name: str, stamp: tuple[object, ...]) -> bytes:
        raw = fetch(name, stamp)
        if first.exists():
            move_link(link, second)
            shutil.rmtree(first)
        return raw

    monkeypatch.setattr(folder, "fetch", moving)
    assert names(DeclaredFiles(folder)) == ["a-2", "b-2"]


def test_links_in_the_folder_are_followed_and_never_for_ever(tmp_path: Path) -> None:
    """Kubernetes mounts files as links into a hidden folder; git-sync makes a link to a hidden one."""
    hidden = checkout(tmp_path / "folder" / ".worktrees" / "1", a=one("a"))
    (tmp_path / "folder" / "current").symlink_to(hidden)
    (tmp_path / "folder" / ".data").mkdir()
    (tmp_path / "folder" / ".data" / "b.yaml").write_text(one("b"))
    (tmp_path / "folder" / "b.yaml").symlink_to(Path(".data", "b.yaml"))
    (tmp_path / "folder" / "round").symlink_to(tmp_path / "folder")
    (hidden / "tasks" / "up").symlink_to(hidden)
    assert names(DeclaredFiles(Folder(tmp_path / "folder"))) == ["a", "b"]


def test_a_folder_that_is_not_there_is_not_one_without_schedules(tmp_path: Path) -> None:
    """Else a mount that is late would retire every schedule."""
    source = DeclaredFiles(Folder(tmp_path / "late"))
    assert source.changed()
    with pytest.raises(SchedulesUnavailable, match="TASKERMAN_SCHEDULES"):
        source.read()
    (tmp_path / "late").mkdir()
    assert source.changed()
    (tmp_path / "late" / "a.yaml").write_text(one("a"))
    assert names(source) == ["a"]
    shutil.rmtree(tmp_path / "late")
    with pytest.raises(SchedulesUnavailable):
        source.changed()


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(one("a"))
    with pytest.raises(SchedulesUnavailable):
        DeclaredFiles(Folder(tmp_path / "a.yaml")).read()


def test_one_file_alone_may_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(one("a"))
    (tmp_path / "b.yaml").write_text(one("b"))
    source = DeclaredFiles(Folder(tmp_path, only="b.yaml"))
    assert names(source) == ["b"]
    assert source.place == str(tmp_path / "b.yaml")


@pytest.mark.parametrize(("kind", "says"), [("fifo", "no file"), ("dangling", "leads nowhere")])
def test_what_cannot_be_a_file_of_schedules_is_a_fault_of_it(tmp_path: Path, kind: str, says: str) -> None:
    if kind == "fifo":
        os.mkfifo(tmp_path / "a.yaml")
    else:
        (tmp_path / "a.yaml").symlink_to("nothing")
    with pytest.raises(SchedulesInvalid, match=says) as raised:
        DeclaredFiles(Folder(tmp_path)).read()
    assert raised.value.faults[0].startswith("a.yaml:1: ")


def test_a_file_that_is_too_large_is_a_fault_and_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(50 * MAX_FILE_BYTES)
    folder = Folder(tmp_path)
    ((name, stamp),) = folder.stamps().items()
    assert len(folder.fetch(name, stamp)) == MAX_FILE_BYTES + 1
    with pytest.raises(SchedulesInvalid, match="split it"):
        DeclaredFiles(folder).read()


def test_what_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The superuser may read everything, so that the refusal is played."""
    (tmp_path / "a.yaml").write_text(one("a"))

    def refuse(*_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied", str(tmp_path / "a.yaml"))

    source = DeclaredFiles(Folder(tmp_path))
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(NotPermitted, match=r"a\.yaml may not be read"):
        source.read()


def test_a_file_that_is_rewritten_with_the_same_size_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(one("a"))
    source = DeclaredFiles(Folder(tmp_path))
    source.read()
    made = tmp_path / "new"
    made.write_text(one("b"))
    os.utime(made, ns=(0, (tmp_path / "a.yaml").stat().st_mtime_ns))
    made.rename(tmp_path / "a.yaml")  # as git does it: another inode
    assert [source.changed(), source.changed()] == [False, True]
    assert names(source) == ["b"]
