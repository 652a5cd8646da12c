"""`redis_task:backup`: a snapshot of each shard into an object store, made by a replica where one is in step.

What is looked at stands in roles.py, and how a snapshot is had in saving.py. Nothing goes on without the action but a
snapshot that the server writes, which harms nobody and ends by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from runners.backups import Backup as Stored
from runners.backups import Backups, Damaged, not_now
from runners.objects import ObjectStore, StoreUnavailable
from runners.redis import roles, rules
from runners.redis.config import RedisConfig
from runners.redis.handover import Handover, shown
from runners.redis.resp import ErrorReply
from runners.redis.saving import look_at_disk, room, save
from runners.redis.view import View
from taskerman import Check, Go, Recovered, Refuse, Skip, TaskRunner, Wait, steadily

__all__ = ["Backup"]


class Backup(TaskRunner):
    """Looks at the whole cluster, has the server write a snapshot, streams it away, and writes the manifest last."""

    class Args(BaseModel):
        """Of a backup."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        from_master: bool = Field(
            default=False, description="masters make one too; else one whose replica is in step leaves it to that"
        )
        keep: int = Field(default=7, ge=1, description="so many of the newest backups of a shard are always kept")
        keep_days: float = Field(default=14.0, ge=0, description="older ones beyond these are removed afterwards")
        max_lag_bytes: int = Field(
            default=1024 * 1024, ge=0, description="how far a replica may be behind its master and count as in step"
        )
        copied: float = Field(
            default=0.5,
            ge=0,
            le=2,
            description="the share of the data that may be written to, and so copied in memory, meanwhile",
        )

    Config = RedisConfig
    args: Args
    config: RedisConfig
    description = "stores a snapshot of the node's Redis; of a shard, a replica makes it"
    scope = "backup"
    soft = timedelta(hours=2)
    settle = timedelta(minutes=10)

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when this server is the one to make its shard's backup, is in step, and there is room."""
        if not self.config.backups:
            return Refuse("this node's configuration does not say where backups go: set backups to s3://bucket/prefix")
        try:
            view = self._look()
            self.ctx.log("looked at the cluster", **shown(view))
            answer = roles.may_back_up(view, max_lag_bytes=self.args.max_lag_bytes, from_master=self.args.from_master)
            return answer if not isinstance(answer, Go) else self._look_here(view)
        except ErrorReply as error:
            return Refuse(f"the server refuses to be asked: {error}")
        except OSError as error:
            return Wait(f"the server does not answer: {error}")
        except (StoreUnavailable, Damaged) as error:
            return not_now(error)

    def execute_action(self) -> None:
        """Have a snapshot made and stream it away; then the manifest; then remove what is too old."""
        view, began = self._look(), datetime.now(UTC)
        found = look_at_disk(self.config)
        shard = roles.shard_name(view)
        self.ctx.save(shard=shard)
        backups = self._backups(shard)
        unfinished = backups.begin(self.ctx.attempt_id, began)
        save(self.ctx, self.config, found, unfinished.add)
        own = view.own
        facts: dict[str, JsonValue] = {
            "task": self.ctx.task_id,
            "node": self.ctx.node_id,
            "shard": shard,
            "server": view.me,
            "replica": own is not None and own.replica,
            "offset_before": None if own is None else own.offset,
            "way": found.way,
            "seconds": round((datetime.now(UTC) - began).total_seconds(), 3),
        }
        whole = unfinished.finish(**facts)
        self.ctx.save(backup=whole.name)
        self.ctx.log("made", backup=whole.name, bytes=whole.size, **facts)
        try:
            gone = backups.prune(datetime.now(UTC), keep=self.args.keep, keep_for=timedelta(days=self.args.keep_days))
        except (StoreUnavailable, Damaged) as error:
            self.ctx.log("old backups could not be removed; the next backup tries again", why=str(error))
        else:
            self.ctx.log("removed old backups", removed=gone)

    def post_check(self) -> Check:
        """Well when the server is, in everybody's eyes, and what was written is in the store."""
        try:
            answer = rules.is_well(self._look(), max_lag_bytes=self.args.max_lag_bytes)
        except ErrorReply as error:
            return Wait(f"the server refuses to be asked: {error}")
        if isinstance(answer, Go) and (why := self._not_stored()):
            return Refuse(why)
        return steadily(self.ctx, answer)

    def recover(self) -> Recovered:
        """A backup happened when its manifest is there."""
        shard = self.ctx.saved.get("shard")
        if not isinstance(shard, str):
            return Recovered.NOT_DONE
        try:
            made = self._backups(shard).made_by(self.ctx.attempt_id)
        except (StoreUnavailable, Damaged) as error:
            self.ctx.log("the store could not be asked", why=str(error))
            return Recovered.UNKNOWN
        return Recovered.NOT_DONE if made is None else Recovered.DONE

    def abort(self) -> None:
        """A snapshot that the server writes ends by itself, and is no backup."""
        self.ctx.log("nothing to take back")

    # --- its parts ---------------------------------------------------------------------------------------

    def _look_here(self, view: View) -> Check:
        self._store().check()
        made = self._made_for_task(roles.shard_name(view))
        if made is not None:
            return Skip(f"{made.facts.get('node')} has made this task's backup of the shard: {made.name}")
        found = look_at_disk(self.config)
        if found.busy:
            return Wait("the server writes a snapshot, or rewrites its log, by itself")
        why = room(found, copied=self.args.copied)
        return Refuse(why) if why else Go()

    def _look(self) -> View:
        return Handover(self.ctx, self.config, max_lag_bytes=self.args.max_lag_bytes, timeout_s=0).look()

    def _store(self) -> ObjectStore:
        return ObjectStore(self.config.backups)

    def _backups(self, shard: str) -> Backups:
        return Backups(self._store(), f"{self.ctx.cluster}/{shard}")

    def _made_for_task(self, shard: str) -> Stored | None:
        whole = reversed(self._backups(shard).whole())
        return next((made for made in whole if made.facts.get("task") == self.ctx.task_id), None)

    def _not_stored(self) -> str:
        """Why the backup of this attempt is not what was written; asked of the store until it was found so once."""
        saved = self.ctx.saved
        if saved.get("backup") is None or saved.get("found"):
            return ""
        try:
            made = self._backups(str(saved["shard"])).made_by(self.ctx.attempt_id)
            sizes = {} if made is None else {each.key: each.size for each in self._store().list(f"{made.name}/")}
        except (StoreUnavailable, Damaged) as error:
            return str(error)
        if made is None:
            return f"the backup {saved['backup']} is not in the store any more"
        if wrong := [each.key for each in made.parts if sizes.get(f"{made.name}/{each.key}") != each.size]:
            return f"parts of {made.name} are not what was written: {', '.join(wrong)}"
        self.ctx.save(found=True)
        return ""
