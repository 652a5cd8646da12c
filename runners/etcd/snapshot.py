"""`etcd_task:snapshot`: the database of a cluster as one member has it, into an object store, checked on the way.

etcd sends the sha256 of what it sends behind it. The file waits in a scratch folder until that and a program of
etcd's own have found it whole; only then it is uploaded. All nodes of the task make one snapshot.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from runners.backups import Backups, Damaged
from runners.etcd import rules
from runners.etcd.node import Cluster, EtcdConfig
from runners.etcd.view import Server, View, shown
from runners.objects import ObjectStore, StoreRefuses, StoreUnavailable
from runners.turns import backup_turn, begun_at, made_for
from taskerman import Check, Go, Recovered, Refuse, TaskRunner, Wait, steadily

__all__ = ["BadSnapshot", "Snapshot", "save"]

PART = "snapshot.db"
ROOM = 1.2
_SHA256 = 32
_CHUNK = 1024 * 1024


class BadSnapshot(Exception):
    """What the server sent is not whole."""


class Snapshot(TaskRunner):
    """One snapshot a task, by the first node of it whose member follows and is well."""

    class Args(BaseModel):
        """What a task may say."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        keep: int = Field(default=7, ge=1, le=1000, description="snapshots that are always kept, the newest")
        keep_days: float = Field(default=14.0, ge=0, le=3650, description="older ones beyond those are removed")
        leader_patience_s: float = Field(
            default=900.0,
            ge=0,
            le=86400,
            description="after so long the leader makes it, when no follower has",
        )
        within_s: float = Field(
            default=60.0, gt=0, le=3600, description="how long the server may be silent in the midst of it"
        )

    Config = EtcdConfig
    args: Args
    config: EtcdConfig
    description = "saves a snapshot of the cluster, verifies it, and copies it to S3"
    scope = "backup"
    soft = timedelta(hours=1)
    settle = timedelta(minutes=2)

    def pre_check(self) -> Check:
        """Go on the first follower that is well; Skip when the task has its snapshot."""
        if not self.config.backups:
            return Refuse(
                "this node's configuration does not say where snapshots go: set backups to s3://bucket/prefix"
            )
        try:
            made = made_for(self._backups(), self.ctx.task_id)
            view = self._cluster().look()
        except (ValueError, StoreRefuses, Damaged) as error:
            return Refuse(str(error))
        except StoreUnavailable as error:
            return Wait(str(error))
        self.ctx.log("looked at the cluster", **shown(view))
        turn = backup_turn(
            made,
            leads=view.leads,
            others_planned=len(self.ctx.nodes) - 1,
            began=begun_at(self.ctx.accepted_at),
            now=time.time(),
            patience_s=self.args.leader_patience_s,
        )
        if not isinstance(turn, Go):
            return turn
        return self._fit(view)

    def execute_action(self) -> None:
        """Save, verify, upload, remove what is too old; the scratch file goes, whatever happens."""
        view = self._cluster().look()
        if not isinstance(view.own, Server):
            raise BadSnapshot(f"the server does not answer any more: {view.own.why}")
        store, file = self._backups(), self._file(view.own.id)
        self._clear(view.own.id)
        try:
            pieces = self._cluster().own().snapshot(within_s=self.args.within_s)
            size, sha256 = save(file, pieces)
            facts = self._verified(file)
            unfinished = store.begin(self.ctx.attempt_id, datetime.now(UTC))
            stored = unfinished.add(PART, _content(file))
            if (stored.size, stored.sha256) != (size, sha256):
                raise BadSnapshot(f"{file} was changed while it was uploaded")
            made = unfinished.finish(
                task=self.ctx.task_id,
                node=self.ctx.node_id,
                cluster=view.own.cluster,
                version=view.own.version,
                hash=facts["hash"],
                revision=facts["revision"],
                keys=facts["totalKey"],
            )
        finally:
            file.unlink(missing_ok=True)
        self.ctx.log("saved a snapshot", name=made.name, size=made.size, **made.facts)
        gone = store.prune(datetime.now(UTC), keep=self.args.keep, keep_for=timedelta(days=self.args.keep_days))
        self.ctx.log("removed old snapshots", names=gone)

    def post_check(self) -> Check:
        """Well when the member serves as before: a snapshot changes nothing in it."""
        return steadily(self.ctx, rules.is_well(self._cluster().look(), self.config.max_lag_entries))

    def recover(self) -> Recovered:
        """A snapshot is there as a whole or not at all, and its name has the attempt in it."""
        return Recovered.DONE if self._backups().made_by(self.ctx.attempt_id) else Recovered.NOT_DONE

    def abort(self) -> None:
        """Remove the scratch file of an action that was killed."""
        for file in Path(self.config.scratch).glob(f"taskerman-etcd-*-{self.ctx.attempt_id}.db"):
            file.unlink(missing_ok=True)

    # --- the parts ---------------------------------------------------------------------------------------

    def _fit(self, view: View) -> Check:
        own = view.own
        if not isinstance(own, Server):
            return Refuse(f"the server does not let us ask: {own.why}") if own.forbidden else Wait(own.why)
        if own.learner:
            return Wait("the member is a learner, and has not all yet")
        if bad := [alarm for alarm in view.alarms if alarm.kind == "CORRUPT"]:
            return Refuse(f"the alarm CORRUPT of {view.name(bad[0].member)}: look at the cluster first")
        why = self._cannot_keep(own)
        if no := rules.known_version(own) or (Refuse(why) if why else None):
            return no
        return rules.is_well(view, self.config.max_lag_entries)

    def _cannot_keep(self, own: Server) -> str:
        """What this machine lacks; "" when it lacks nothing."""
        program, scratch, needed = self.config.snapshot_status[0], self.config.scratch, int(own.size * ROOM)
        if shutil.which(program) is None:
            return f"{program} is not on this machine: install it, or correct snapshot_status"
        try:
            free = shutil.disk_usage(scratch).free
        except OSError as error:
            return f"the scratch folder {scratch} cannot be used: {error.strerror}"
        return "" if free >= needed else f"{scratch} has {free:,} bytes free; {needed:,} are needed"

    def _verified(self, file: Path) -> dict[str, int]:
        """What etcd's own program says of the file. Raises `CommandFailed`, `BadSnapshot`."""
        answer = self.ctx.command([*self.config.snapshot_status, str(file), "-w", "json"], env={"ETCDCTL_API": "3"})
        for line in reversed(answer.output.splitlines()):
            with suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict) and {"hash", "revision", "totalKey"} <= set(said):
                    return said
        raise BadSnapshot(f"{self.config.snapshot_status[0]} does not say what the file is: {answer.output[-200:]}")

    def _file(self, member: str) -> Path:
        return Path(self.config.scratch, f"taskerman-etcd-{member}-{self.ctx.attempt_id}.db")

    def _clear(self, member: str) -> None:
        """What earlier attempts on this member were killed over."""
        for left in Path(self.config.scratch).glob(f"taskerman-etcd-{member}-*.db"):
            left.unlink(missing_ok=True)

    def _backups(self) -> Backups:
        return Backups(ObjectStore(self.config.backups), self.ctx.cluster)

    def _cluster(self) -> Cluster:
        return Cluster(self.ctx, self.config)


def save(file: Path, pieces: Iterable[bytes]) -> tuple[int, str]:
    """Write what a server sends to a file that is ours alone; its size and its sha256, of all of it.

    Raises `BadSnapshot` when its last bytes are not the sha256 of those before, and what `pieces` raises.
    """
    of_file, of_content, tail, size = hashlib.sha256(), hashlib.sha256(), b"", 0
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as out:
        for piece in pieces:
            out.write(piece)
            of_file.update(piece)
            size += len(piece)
            both = tail + piece
            of_content.update(both[:-_SHA256])
            tail = both[-_SHA256:]
        out.flush()
        os.fsync(out.fileno())
    if size <= _SHA256 or tail != of_content.digest():
        raise BadSnapshot(f"of the {size:,} bytes that the server sent, the last are not the checksum of the others")
    return size, of_file.hexdigest()


def _content(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            yield chunk
