"""What both kinds of backup share: where they go, which node makes them, and when one is there.

One node of a task is enough. A replica by preference: the primary skips when the task has another node and the
cluster a replica; whoever finds a backup that this very task made skips, too.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from runners.backups import Backup, Backups, Damaged, Unfinished, not_now
from runners.objects import PART_BYTES, ObjectStore, StoreUnavailable
from runners.postgres import rules
from runners.postgres.config import PostgresConfig
from runners.postgres.programs import ProgramFailed, ProgramMissing
from runners.postgres.psql import Access, Denied, QueryFailed, Unreachable, access_of, session_name
from runners.postgres.view import Server, View, look
from taskerman import Check, Context, Go, Recovered, Refuse, Skip, TaskRunner, Wait, steadily

__all__ = ["BackupArgs", "BackupRunner", "backups_of", "needs_store"]

Where = Literal["replica_if_any", "replica", "primary", "anywhere"]


class BackupArgs(BaseModel):
    """What both kinds are told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: Where = Field(
        default="replica_if_any", description="which server is read; the primary only when it is alone, or as said"
    )
    max_lag_bytes: int = Field(
        default=256 * 1024 * 1024, ge=0, description="how far a replica may be behind the primary and be backed up"
    )
    keep: int = Field(
        default=7, ge=1, le=1000, description="the newest backups of the same extent that are kept, however old"
    )
    keep_for_days: int = Field(default=30, ge=0, le=3650, description="for how long all are kept")


def backups_of(config: PostgresConfig, cluster: str, kind: str, *, bytes_to_come: int = 0) -> Backups:
    """All of a kind of a cluster. `bytes_to_come`: how much one may have, which decides in what pieces it is sent."""
    # S3 takes ten thousand pieces; a thousand of them are left for what grows meanwhile.
    piece = max(PART_BYTES, math.ceil(bytes_to_come / 9000))
    return Backups(ObjectStore(config.backups, part_bytes=piece), f"{cluster}/{kind}")


def needs_store(config: PostgresConfig) -> Check | None:
    """What is wrong with where backups are."""
    if not config.backups:
        return Refuse("nobody said where backups are: set backups = s3://bucket/prefix in this node's configuration")
    try:
        ObjectStore(config.backups).check()
    except StoreUnavailable as error:
        return not_now(error)
    return None


def who(view: View, on: Where, *, nodes: int, max_lag_bytes: int) -> Check:  # noqa: PLR0911  (a branch for each answer)
    """Whether the own server is the one to be read. `nodes`: how many the task has."""
    if wrong := rules.may_be_asked(view):
        return wrong
    own = view.own
    if own is None:
        return Wait(f"the server does not answer: {view.why}")
    if not own.replica:
        others = bool(view.silent) or any(server.replica for server in view.peers.values())
        if on == "replica" and not others:
            return Refuse("only a replica may be backed up, and there is none: say on: replica_if_any")
        if on == "replica" or (on == "replica_if_any" and others and nodes > 1):
            return Skip("this is the primary; a replica of this task is backed up")
    elif on == "primary":
        return Skip("this is a replica, and the primary is to be backed up")
    elif why := rules.out_of_step(view, own, max_lag_bytes):
        return Wait(f"this replica {why}")
    if own.copying:
        return Wait(f"another backup reads from this server: {', '.join(sorted(set(own.copying)))}")
    return Go()


class BackupRunner(TaskRunner):
    """Looks, streams, and counts as done when the manifest is there."""

    Config = PostgresConfig
    args: BackupArgs
    config: PostgresConfig
    kind: ClassVar[str]
    """Of backup; part of each key."""
    program: ClassVar[str]
    """What makes it; must not be older than the server."""
    when_lost = "retry"
    scope = "backup"
    soft = timedelta(hours=12)
    settle = timedelta(minutes=5)

    @abstractmethod
    def may_begin(self, own: Server) -> Check | None:
        """What else speaks against it."""

    @abstractmethod
    def copy(self, backup: Unfinished, own: Server) -> dict[str, JsonValue]:
        """Stream all parts; what is to be noted in the manifest."""

    @abstractmethod
    def size_of(self, own: Server) -> int:
        """How many bytes the largest part may have."""

    def extent(self) -> dict[str, JsonValue]:
        """What the backup is of, for the manifest: those of another extent are counted apart by retention."""
        return {}

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:  # noqa: PLR0911  (a branch for each answer)
        """Go when this is the server to read, and everything that is needed is there."""
        try:
            view = look(self.config, access_of(self.config))
            answer = who(view, self.args.on, nodes=len(self.ctx.nodes), max_lag_bytes=self.args.max_lag_bytes)
            if not isinstance(answer, Go):
                return answer
            assert view.own is not None
            if wrong := needs_store(self.config):
                return wrong
            version = self.access().programs.version(self.program)
            if version < view.own.major:
                return Refuse(
                    f"{self.program} is of version {version}, older than the server ({view.own.major}), and would "
                    "refuse: install the server's, or name its folder (programs)"
                )
            if made := made_for(self.ctx, backups_of(self.config, self.ctx.cluster, self.kind)):
                return Skip(f"this task has a backup already: {made.name}")
            return self.may_begin(view.own) or answer
        except Unreachable as error:
            return Wait(str(error))
        except (StoreUnavailable, Damaged) as error:
            return not_now(error)
        except (Denied, QueryFailed, ProgramMissing, ProgramFailed) as error:
            return Refuse(str(error))

    def execute_action(self) -> None:
        """Stream it; then the manifest; then what is too old goes."""
        own = self._own()
        backups = backups_of(self.config, self.ctx.cluster, self.kind, bytes_to_come=self.size_of(own))
        unfinished = backups.begin(self.ctx.attempt_id, datetime.now(UTC))
        self.ctx.save(backup=unfinished.name)
        facts = self.copy(unfinished, own)
        backup = unfinished.finish(
            task=self.ctx.task_id,
            node=self.ctx.node_id,
            system=own.system,
            version=own.version,
            role="replica" if own.replica else "primary",
            **self.extent(),
            **facts,
        )
        self.ctx.log("backed up", backup=backup.name, bytes=backup.size, parts=len(backup.parts))
        try:
            gone = backups.prune(
                datetime.now(UTC),
                keep=self.args.keep,
                keep_for=timedelta(days=self.args.keep_for_days),
                alike=self.extent(),
            )
        except (StoreUnavailable, Damaged) as error:
            self.ctx.log("old backups could not be removed; the next backup tries again", why=str(error))
        else:
            self.ctx.log("old backups removed", names=gone)

    def post_check(self) -> Check:
        """Well when the server is, and what was written is there in its full length."""
        try:
            view = look(self.config, access_of(self.config))
        except (Denied, QueryFailed) as error:
            return steadily(self.ctx, Wait(f"the server refuses to be asked: {error}"))
        if view.own is None:
            return steadily(self.ctx, Wait(f"the server does not answer: {view.why}"))
        if view.own.replica and (why := rules.out_of_step(view, view.own, self.args.max_lag_bytes)):
            return steadily(self.ctx, Wait(f"the server {why}"))
        return steadily(self.ctx, self._is_there())

    def recover(self) -> Recovered:
        """The manifest is there, or it did not happen: nothing of it goes on without us."""
        backups = backups_of(self.config, self.ctx.cluster, self.kind)
        return Recovered.DONE if backups.made_by(self.ctx.attempt_id) else Recovered.NOT_DONE

    def abort(self) -> None:
        """End what the server still does for us."""
        left = self.access().end_sessions(self.config.own)
        self.ctx.log("sessions of this attempt are ended", left=left)

    # --- the parts ---------------------------------------------------------------------------------------

    def access(self) -> Access:
        """Of this attempt. The name of its sessions tells others that a backup reads."""
        return access_of(self.config, f"{self.program} {session_name(self.ctx.attempt_id)}")

    def _own(self) -> Server:
        own = look(self.config, access_of(self.config)).own
        if own is None:
            raise Unreachable("the server does not answer any more")
        return own

    def _is_there(self) -> Check:
        """Looked at part by part, when a manifest says that there is a backup at all."""
        name = str(self.ctx.saved.get("backup") or "")
        if not name:
            return Go()
        try:
            backups = backups_of(self.config, self.ctx.cluster, self.kind)
            made = backups.made_by(self.ctx.attempt_id)
            if made is None:
                return Go()  # the action failed, and left nothing that looks like one
            store = ObjectStore(self.config.backups)
            sizes = {each.key.removeprefix(f"{made.name}/"): each.size for each in store.list(f"{made.name}/")}
        except (StoreUnavailable, Damaged) as error:
            return Wait(str(error))
        wrong = [part.key for part in made.parts if sizes.get(part.key) != part.size]
        return Refuse(f"{made.name} lacks {', '.join(wrong)}") if wrong else Go()


def made_for(ctx: Context, backups: Backups) -> Backup | None:
    """The backup that any node made for this task."""
    return next((each for each in backups.whole() if each.facts.get("task") == ctx.task_id), None)
