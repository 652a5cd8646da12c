"""`cassandra_task:backup`: a snapshot of the node, of which only files that no backup had are uploaded.

The snapshot is removed in the end, whatever happened: it holds disk space, more of it each day.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from runners.backups import Damaged, not_now
from runners.cassandra import rules
from runners.cassandra.answers import NotUnderstood
from runners.cassandra.nodetool import CannotAsk, MayNotAsk, Nodetool
from runners.cassandra.operation import Operation
from runners.cassandra.pool import FILES, Pool, listing, snapshot_files
from runners.cassandra.view import View
from runners.objects import ObjectStore, StoreUnavailable
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, Wait, steadily

__all__ = ["Backup"]

OURS = "taskerman-"


class BackupFailed(Exception):
    """There is no new backup, and why. What was uploaded is used by the next one."""


class Backup(Operation):
    """Snapshot, upload of what is new, schema and tokens, the manifest last; then old backups are removed."""

    class Args(BaseModel):
        """`action_args`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        keyspaces: tuple[str, ...] = Field(default=(), description="which; none named: all, Cassandra's own too")
        keep: int = Field(
            default=7,
            ge=1,
            le=10_000,
            description="how many backups of this node and these keyspaces are kept at least",
        )
        keep_days: float = Field(default=30.0, ge=0, description="backups younger than this are kept too, days")
        min_free_percent: float = Field(
            default=10.0,
            ge=0,
            le=90,
            description="of each data disk, in percent; a snapshot keeps what compaction frees",
        )

    args: Args
    description = "uploads a snapshot of the node, only what is new of it"
    when_lost = "retry"
    scope = "backup"
    soft = timedelta(hours=6)
    settle = timedelta(minutes=5)

    def pre_check(self) -> Check:
        """Go when the bucket can be used, the disks have room, and the node is well."""
        try:
            self._store().check()
        except ValueError as error:
            return Refuse(f"backup_to of this node: {error}")
        except StoreUnavailable as error:
            return not_now(error)
        return self.looked(self._may)

    def execute_action(self) -> None:
        """All of it. Raises `BackupFailed`, `StoreUnavailable`, `CommandFailed`; the snapshot is gone in any case."""
        tool, pool = self.tool(), Pool(self._store(), self.ctx.node_id)
        self._clear(tool)  # what a killed attempt left
        schema = self._schema()
        info, cluster = tool.info(), tool.cluster()
        self.ctx.save(tag=self._tag)
        try:
            tool.do("snapshot", "-t", self._tag, "--", *self.args.keyspaces)
            kept, uploaded = pool.add(snapshot_files(self.config.data_folders, self._tag))
            if not kept:
                raise BackupFailed(f"the snapshot {self._tag} has no file: correct data_folders of this node")
            if missing := pool.missing(kept):
                raise BackupFailed(f"{len(missing)} files are not in the store any more: {missing[0]}")
            unfinished = pool.backups.begin(self.ctx.attempt_id, datetime.now(UTC))
            unfinished.add(FILES, [listing(kept)])
            unfinished.add("schema.cql", [schema])
            whole = unfinished.finish(
                cluster=cluster.name,
                host_id=info.host_id,
                tokens=list(info.tokens),
                versions=list(cluster.versions),
                files=len(kept),
                bytes=sum(one.size for one in kept),
                uploaded_bytes=uploaded,
                keyspaces=self._keyspaces,
            )
            self.ctx.log("backup is whole", name=whole.name, files=len(kept), uploaded_bytes=uploaded)
        finally:
            self._clear(tool)
        self._prune(pool)

    def post_check(self) -> Check:
        """The backup is there, the snapshot is not, and the node is well."""
        return steadily(self.ctx, self.settled(self._judge), over_s=2.0)

    def recover(self) -> Recovered:
        """Done when this attempt's manifest is in the store: it is written last."""
        try:
            made = Pool(self._store(), self.ctx.node_id).backups.made_by(self.ctx.attempt_id)
        except (StoreUnavailable, Damaged) as error:
            self.ctx.log("does not know", why=str(error))
            return Recovered.UNKNOWN
        return Recovered.DONE if made is not None else Recovered.NOT_DONE

    def abort(self) -> None:
        """Remove the snapshot."""
        self._clear(self.tool())

    # --- the parts ---------------------------------------------------------------------------------------

    @property
    def _tag(self) -> str:
        return OURS + re.sub(r"[^A-Za-z0-9_-]", "-", self.ctx.attempt_id)

    @property
    def _keyspaces(self) -> list[JsonValue]:
        """As named; [] = all. Backups of others are counted apart."""
        return [*sorted(self.args.keyspaces)]

    def _store(self) -> ObjectStore:
        if not self.config.backup_to:
            raise ValueError("it is not set; write s3://bucket/prefix")
        return ObjectStore(self.config.backup_to)

    def _may(self, view: View) -> Check:
        if view.own is None:
            return Wait(view.silent)
        if view.own.net.mode != "NORMAL" or view.row is None or view.row.state != "N":
            return Wait(f"this node's server is {view.own.net.mode}, and not at rest in the ring")
        if not all(version.startswith("4.") for version in view.cluster.versions):
            return Refuse(f"Cassandra {', '.join(view.cluster.versions)} is not known to this runner, which knows 4.x")
        if missing := [name for name in self.args.keyspaces if name not in view.cluster.copies]:
            return Refuse(f"there is no keyspace {', '.join(missing)}")
        if view.disk.free_percent < self.args.min_free_percent:
            return Refuse(
                f"only {view.disk.free_percent:.1f} % of a data disk is free, and a snapshot keeps what compaction "
                f"would free (at least {self.args.min_free_percent:g} %)"
            )
        return Go()

    def _judge(self, view: View) -> Check:
        if left := sorted(name for name in self.tool().snapshots() if name.startswith(OURS)):
            return Wait(f"the snapshot {left[0]} is still there: nodetool clearsnapshot -t {left[0]}")
        return rules.is_well(view)

    def _schema(self) -> bytes:
        answer = self.ctx.ask(list(self.config.describe_schema), timeout=timedelta(seconds=self.config.answer_s))
        if answer.exit != 0 or "CREATE KEYSPACE" not in answer.output:
            raise BackupFailed(
                f"the schema was not printed by {self.config.describe_schema[0]}: {answer.output.strip()[-200:]}; "
                "correct describe_schema of this node"
            )
        return answer.output.encode()

    def _clear(self, tool: Nodetool) -> None:
        """Remove every snapshot of ours; nobody else of us is at work on this node."""
        try:
            for name in sorted(tool.snapshots()):
                if name.startswith(OURS):
                    tool.do("clearsnapshot", "-t", name, timeout=timedelta(seconds=25))
        except (CannotAsk, MayNotAsk, NotUnderstood, CommandFailed) as error:
            self.ctx.log("the snapshot is left; the next backup removes it", why=str(error))

    def _prune(self, pool: Pool) -> None:
        """A backup that is whole stays a success when old ones cannot be removed."""
        try:
            gone, contents = pool.prune(
                datetime.now(UTC),
                keep=self.args.keep,
                keep_for=timedelta(days=self.args.keep_days),
                alike={"keyspaces": self._keyspaces},
            )
            self.ctx.log("removed old backups", backups=gone, contents=contents)
        except (StoreUnavailable, Damaged) as error:
            self.ctx.log("old backups are left", why=str(error))
