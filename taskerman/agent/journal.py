"""The agent's journal: the little that must survive it, on its own disk.

One file, replaced whole: write, fsync, rename, fsync of the folder. One agent at a time: a lock beside it. What is in
it: who this node is, which assignments it accepted, and how far the attempt in hand had come.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from pathlib import Path
from typing import Literal, Self

from pydantic import ValidationError

from taskerman.errors import LockedByAnother, StopNow
from taskerman.model.attempt import Phase
from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import AttemptId, NodeId, TaskId
from taskerman.model.outcome import Outcome

__all__ = ["Accepted", "Journal", "JournalFile", "JournalledAttempt", "JournalledEnd", "prune"]


class Accepted(Noun):
    """An assignment that this node goes on with after a restart, before its doorbell is delivered again."""

    task_id: TaskId
    hash: str


class JournalledAttempt(Noun):
    """How far the attempt had come. `phase` execute_action means: the action had begun, or was about to."""

    id: AttemptId
    task: TaskId
    fence: int
    phase: Phase
    boot_id: str = ""
    pid: int = 0
    pid_start: int = 0
    cgroup: str = ""
    deadline_boottime: float = 0.0


class JournalledEnd(Noun):
    """How it ended, before that was recorded where others see it."""

    outcome: Outcome
    reason: str
    code: str = ""
    tail: str = ""
    retry: bool = True
    post_check_passed: bool = False
    until: Timestamp | None = None
    whole_cluster: bool = False
    at: Timestamp


class Journal(Noun):
    """The whole file. `uuid`: drawn when it was made; an attempt of another journal's is not ours to judge.

    `installation`, `epoch`, `takes`: what this node has seen recorded of itself, to notice a ZooKeeper that is behind.
    """

    v: Literal[1] = 1
    uuid: str
    node: NodeId
    installation: str = ""
    epoch: int = 0
    takes: int = 0
    accepted: tuple[Accepted, ...] = ()
    attempt: JournalledAttempt | None = None
    end: JournalledEnd | None = None


class JournalFile:
    """The journal of one node, locked for as long as this object is open.

    `write` returns when the journal is on disk: only then may what it announces begin. Raises `OSError` when the disk
    is full or broken; then `now` has not changed, and the file is as it was or as it should have become.
    """

    def __init__(self, folder: Path, node: NodeId) -> None:
        """Open or make the journal of `node` in `folder`.

        Raises `LockedByAnother`, and `StopNow` when the journal belongs to another node, cannot be read, or cannot be
        made.
        """
        self.folder = folder
        self._path = folder / "journal.json"
        self._doubtful = False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / "journal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(folder, error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise LockedByAnother(
                f"Another agent of {node} has {folder}.", next_step="One agent a node: leave it to that one."
            ) from None
        try:
            self._now = self._read(node)
        except OSError as error:
            self.close()
            raise _unusable(folder, error) from None
        except BaseException:
            self.close()
            raise

    @property
    def now(self) -> Journal:
        """What is on disk."""
        return self._now

    def write(self, **changes: object) -> None:
        """Replace those fields, durably. Writes nothing when nothing changes."""
        after = self._now.model_copy(update=changes)
        if after != self._now or self._doubtful:
            self._store(after)

    def attempts(self) -> Path:
        """The folder below which every attempt has one of its own."""
        return self.folder / "attempts"

    def close(self) -> None:
        """Give up the lock. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, node: NodeId) -> Journal:
        try:
            found = Journal.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            fresh = Journal(uuid=str(uuid.uuid4()), node=node)
            self._store(fresh)
            return fresh
        except ValidationError as error:
            raise StopNow(
                f"{self._path} cannot be read: {error.errors(include_url=False)[0]['msg']}.",
                next_step="Move it away: the node's attempt in hand, if any, then counts as lost.",
            ) from None
        if found.node != node:
            raise StopNow(
                f"{self._path} belongs to {found.node}, and this node is {node}.",
                next_step="Was the disk cloned? Give each node a TASKERMAN_STATE_DIR of its own.",
            )
        return found

    def _store(self, journal: Journal) -> None:
        self._doubtful = True  # a write that fails after the rename has changed the file all the same
        new = self._path.with_suffix(".new")
        with open(new, "wb", opener=_private) as file:
            file.write(journal.to_json())
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._now, self._doubtful = journal, False


def _unusable(folder: Path, error: OSError) -> StopNow:
    return StopNow(
        f"The journal in {folder} cannot be used: {error.strerror or error}.",
        next_step="Mend the disk or its rights, or set TASKERMAN_STATE_DIR.",
    )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def prune(folder: Path, *, keep: int) -> None:
    """Remove the folders of all but the `keep` newest attempts below `folder`. What cannot be removed stays."""
    try:
        found = sorted(folder.iterdir(), key=lambda entry: entry.stat().st_mtime, reverse=True)
    except OSError:
        return
    for old in found[keep:]:
        shutil.rmtree(old, ignore_errors=True)
