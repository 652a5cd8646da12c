"""A snapshot counts when it is whole, newer, and there was room for it; without a Redis."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runners.piped import Failed
from runners.redis import saving
from runners.redis.config import RedisConfig
from runners.redis.resp import ErrorReply
from runners.redis.saving import Persistence, room, save
from taskerman import TaskRunner
from taskerman.testing.harness import RunnerHarness

SNAPSHOT = b"REDIS0010" + bytes(range(255)) * 9 + b"\xff" + b"12345678"
MARK = b"0123456789abcdef" * 2 + b"01234567"
"""Made anew by every server for every snapshot; forty digits."""


class Nothing(TaskRunner):
    def pre_check(self) -> Any: ...

    def execute_action(self) -> None: ...

    def post_check(self) -> Any: ...


def found(folder: Path | None, **other: Any) -> Persistence:
    file = None if folder is None else folder / "dump.rdb"
    whole = Persistence(file, keeps=True, busy=False, saves=3, last_ok=True, used_bytes=1000, run_id="r-1")
    return replace(whole, **other)


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


@pytest.mark.parametrize("size", [1, 7, 40, 48, 1000, 100_000])
def test_the_mark_behind_a_snapshot_is_taken_off_whatever_the_pieces(size: int) -> None:
    assert b"".join(saving._without_mark(pieces(SNAPSHOT + MARK, size))) == SNAPSHOT
    assert b"".join(saving._without_mark(pieces(SNAPSHOT, size))) == SNAPSHOT
    assert b"".join(saving._whole(pieces(SNAPSHOT, size))) == SNAPSHOT


@pytest.mark.parametrize(
    "wrong", [b"", b"REDIS", SNAPSHOT[:-1], SNAPSHOT[:-9], b"-ERR no\r\n" + SNAPSHOT, SNAPSHOT + MARK]
)
def test_what_does_not_begin_and_end_as_a_snapshot_is_none(wrong: bytes) -> None:
    with pytest.raises(Failed, match="no whole snapshot"):
        list(saving._whole(pieces(wrong, 100)))


def test_a_file_is_taken_only_where_a_snapshot_is_kept_anyway(tmp_path: Path) -> None:
    assert found(tmp_path).way == "file"
    assert found(tmp_path, keeps=False).way == "stream", "it would come back to life with the next start"
    (tmp_path / "dump.rdb").touch()
    assert found(tmp_path, keeps=False).way == "file", "it does so already"
    assert found(None).way == "stream", "where it is, is not known"
    assert found(tmp_path / "elsewhere").way == "stream", "on another machine, or not for us to read"


def test_room_is_asked_for_in_memory_and_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "_available_bytes", lambda: 500)
    assert room(found(tmp_path), copied=0.5) == ""
    assert "500 left" in room(found(tmp_path), copied=0.6)
    monkeypatch.setattr(saving, "_available_bytes", lambda: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("D", (), {"free": 100})())
    assert "100 are free" in room(found(tmp_path), copied=2.0)
    assert room(found(tmp_path, file=None), copied=2.0) == "", "nothing is written"
    (tmp_path / "dump.rdb").write_bytes(b"x" * 80)
    assert room(found(tmp_path), copied=2.0) == "", "the last one says how much it takes: 80 and a quarter"
    (tmp_path / "dump.rdb").write_bytes(b"x" * 81)
    assert "takes about 101 bytes" in room(found(tmp_path), copied=2.0)


class Served:
    """A connection whose BGSAVE is answered so."""

    def __init__(self, answer: str | ErrorReply) -> None:
        self.answer = answer

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def call(self, *words: str) -> str:
        assert words == ("BGSAVE",)
        if isinstance(self.answer, ErrorReply):
            raise self.answer
        return self.answer


def saved(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str | ErrorReply, then: Iterable[dict[str, Any]]
) -> bytes:
    """What is stored when the server answers so, and says these things afterwards."""
    later = iter(then)
    monkeypatch.setattr(saving, "ASK_EVERY_S", 0.0)
    monkeypatch.setattr(saving, "look_at_disk", lambda config: found(folder, **next(later)))
    monkeypatch.setattr("runners.redis.view.Access.open", lambda access, address: Served(answer))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    stored: list[bytes] = []
    ctx = RunnerHarness(Nothing).runner().ctx
    save(ctx, RedisConfig(), found(folder), lambda name, chunks: stored.extend(chunks))
    return b"".join(stored)


def test_a_snapshot_is_stored_when_the_server_counts_one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dump.rdb").write_bytes(SNAPSHOT)
    busy = {"busy": True}
    assert saved(tmp_path, monkeypatch, "Background saving started", [busy, busy, {"saves": 4}]) == SNAPSHOT
    other = ErrorReply("ERR Background save already in progress")
    assert saved(tmp_path, monkeypatch, other, [busy, {"saves": 4}]) == SNAPSHOT


@pytest.mark.parametrize(
    ("answer", "then", "error", "why"),
    [
        ("Background saving started", {"busy": False, "last_ok": False}, Failed, "rdb_last_bgsave_status"),
        ("Background saving started", {"busy": False}, Failed, "rdb_last_bgsave_status"),
        ("Background saving started", {"run_id": "r-2", "saves": 4}, Failed, "was restarted"),
        (ErrorReply("NOPERM this user has no permissions"), {}, ErrorReply, "NOPERM"),
    ],
)
def test_a_snapshot_that_was_not_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, then: Any, error: Any, why: str
) -> None:
    (tmp_path / "dump.rdb").write_bytes(SNAPSHOT)
    with pytest.raises(error, match=why):
        saved(tmp_path, monkeypatch, answer, [then])


def test_a_snapshot_that_redis_refuses_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dump.rdb").write_bytes(SNAPSHOT)
    harness = RunnerHarness(Nothing)
    harness.answer("redis-check-rdb", exit=1, output="--- RDB ERROR DETECTED ---\nWrong signature")
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/redis-check-rdb")
    with pytest.raises(Failed, match="Wrong signature"):
        saving._check(harness.runner().ctx, str(tmp_path / "dump.rdb"))
