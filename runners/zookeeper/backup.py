"""`zookeeper_task:backup`: one member's newest whole snapshot and the logs that belong to it, into an object store.

What is written is what the member had applied at one moment after the snapshot was done, no transaction less and none
that was not agreed on: the log that is being written is cut there. All nodes of the task make one backup.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from runners.backups import Backup, Backups, Damaged
from runners.objects import ObjectStore, StoreRefuses, StoreUnavailable
from runners.turns import backup_turn, begun_at, made_for
from runners.zookeeper import rules
from runners.zookeeper.files import (
    BrokenFile,
    Data,
    LogReader,
    Numbered,
    UnknownLayout,
    complete,
    logs_from,
    read_data,
    whole,
)
from runners.zookeeper.node import Ensemble, ZookeeperConfig
from runners.zookeeper.view import Member, shown
from runners.zookeeper.wire import NotServing, Unlisted
from taskerman import Check, Go, Recovered, Refuse, TaskRunner, Wait, steadily

__all__ = ["Chosen", "NothingWhole", "SnapshotBackup", "choose"]

LOOK_EVERY_S = 0.1
CATCH_UP_S = 15.0
"""How long a member's log may be behind what it has applied: it applies what the others have written already."""
CHOICES = 3
ENDLESS = 1 << 63


class NothingWhole(Exception):
    """No snapshot of the server is whole, or its logs do not reach to what it has applied."""


class Chosen:
    """A snapshot, the logs that it needs, and up to which transaction."""

    def __init__(self, snapshot: Numbered, logs: tuple[Numbered, ...], upto: int) -> None:
        self.snapshot, self.logs, self.upto = snapshot, logs, upto

    def pieces(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Each file by its name, with its content. In order. Raises `BrokenFile`, `OSError` while it is read."""
        yield self.snapshot.path.name, whole(self.snapshot.path)
        reader = LogReader(self.snapshot.zxid, self.upto)
        for log in self.logs:
            yield log.path.name, _content(reader, log.path)

    def reached(self) -> int:
        """The last transaction in it, after all of it was read and found whole. Raises `BrokenFile`, `OSError`."""
        reader = LogReader(self.snapshot.zxid, self.upto)
        for log in self.logs:
            for _ in _content(reader, log.path):
                pass
        return reader.last


def choose(data: Data, upto: int = ENDLESS) -> Chosen:
    """The newest snapshot that is whole, and what it needs. Raises `NothingWhole`, `OSError`."""
    broken = []
    for snapshot in reversed(data.snapshots):
        if snapshot.zxid > upto:
            continue  # it was begun after `upto` was asked for
        try:
            for _ in whole(snapshot.path):
                pass
        except BrokenFile as error:
            broken.append(str(error))
            continue
        return Chosen(snapshot, tuple(each for each in logs_from(data.logs, snapshot.zxid) if each.zxid <= upto), upto)
    raise NothingWhole(f"no snapshot is whole: {'; '.join(broken[:3]) or 'there is none'}")


class SnapshotBackup(TaskRunner):
    """One backup a task, by the first node of it that follows its leader and is well."""

    class Args(BaseModel):
        """What a task may say."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        keep: int = Field(default=7, ge=1, le=1000, description="backups that are always kept, the newest")
        keep_days: float = Field(default=14.0, ge=0, le=3650, description="older ones beyond those are removed")
        leader_patience_s: float = Field(
            default=900.0,
            ge=0,
            le=86400,
            description="after so long the leader makes it, when no follower has",
        )

    Config = ZookeeperConfig
    args: Args
    config: ZookeeperConfig
    description = "copies a snapshot and its transaction logs of one healthy follower to S3"
    scope = "backup"
    soft = timedelta(hours=2)
    settle = timedelta(minutes=2)

    def pre_check(self) -> Check:
        """Go on the first follower that is well; Skip when the task has its backup."""
        if not self.config.backups:
            return Refuse("this node's configuration does not say where backups go: set backups to s3://bucket/prefix")
        try:
            made = made_for(self._backups(), self.ctx.task_id)
            view = self._ensemble().look()
            layout = self._ensemble().layout()
            data = read_data(Path(layout.data), Path(layout.log))
        except (ValueError, StoreRefuses, Damaged, Unlisted, UnknownLayout) as error:
            return Refuse(str(error))
        except (StoreUnavailable, NotServing, OSError) as error:
            return Wait(f"the bucket or the server does not answer: {error}")
        self.ctx.log("looked at the ensemble", **shown(view))
        turn = backup_turn(
            made,
            leads=rules.leads(view),
            others_planned=len(self.ctx.nodes) - 1,
            began=begun_at(self.ctx.accepted_at),
            now=time.time(),
            patience_s=self.args.leader_patience_s,
        )
        if not isinstance(turn, Go):
            return turn
        if not data.snapshots:
            return Refuse(f"there is no snapshot in {layout.data}: look whether the server uses that folder")
        return rules.is_well(view, self._ensemble().bounds)

    def execute_action(self) -> None:
        """Choose, copy, remove what is too old."""
        store = self._backups()
        layout = self._ensemble().layout()
        for choice in range(1, CHOICES + 1):
            try:
                made = self._copy(store, Path(layout.data), Path(layout.log))
                break
            except FileNotFoundError as error:
                if choice == CHOICES:
                    raise
                self.ctx.log("a file was purged meanwhile; chooses anew", file=str(error.filename))
        self.ctx.log("backed up", name=made.name, size=made.size, **made.facts)
        gone = store.prune(datetime.now(UTC), keep=self.args.keep, keep_for=timedelta(days=self.args.keep_days))
        self.ctx.log("removed old backups", names=gone)

    def post_check(self) -> Check:
        """Well when the server serves as before: a backup changes nothing in it."""
        try:
            return steadily(self.ctx, rules.is_well(self._ensemble().look(), self._ensemble().bounds))
        except (Unlisted, ValueError) as error:
            return Wait(str(error))

    def recover(self) -> Recovered:
        """A backup is there as a whole or not at all, and its name has the attempt in it."""
        return Recovered.DONE if self._backups().made_by(self.ctx.attempt_id) else Recovered.NOT_DONE

    # --- the parts ---------------------------------------------------------------------------------------

    def _copy(self, store: Backups, data: Path, log: Path) -> Backup:
        # Found whole before the member is asked: one that is finished later holds more than what is asked for.
        done = (choose(read_data(data, log)).snapshot,)
        own = self._ensemble().look().own
        if not isinstance(own, Member):
            raise NothingWhole(f"the server does not serve any more: {own.why}")
        chosen = choose(Data(done, read_data(data, log).logs), own.zxid)
        give_up_at = time.monotonic() + CATCH_UP_S
        while not complete(reached := chosen.reached(), chosen.snapshot.zxid, own.zxid):
            if time.monotonic() >= give_up_at:
                raise NothingWhole(f"the logs end at {reached:#x}, and the server has applied {own.zxid:#x}")
            time.sleep(LOOK_EVERY_S)
            chosen = choose(Data(done, read_data(data, log).logs), own.zxid)
        self.ctx.log("chose", snapshot=chosen.snapshot.path.name, logs=[each.path.name for each in chosen.logs])
        unfinished = store.begin(self.ctx.attempt_id, datetime.now(UTC))
        for name, content in chosen.pieces():
            unfinished.add(f"version-2/{name}", content)
        return unfinished.finish(
            task=self.ctx.task_id,
            node=self.ctx.node_id,
            snapshot=f"{chosen.snapshot.zxid:#x}",
            upto=f"{reached:#x}",
            version=".".join(map(str, own.version)),
        )

    def _backups(self) -> Backups:
        return Backups(ObjectStore(self.config.backups), self.ctx.cluster)

    def _ensemble(self) -> Ensemble:
        return Ensemble(self.ctx, self.config)


def _content(reader: LogReader, log: Path) -> Iterator[bytes]:
    with log.open("rb") as file:
        yield from reader.read(log, file)
