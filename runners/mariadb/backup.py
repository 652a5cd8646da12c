"""`mariadb_task:backup`: one member's data into an object store, while the cluster does not wait for that member.

The server is taken out of flow control (`wsrep_desync`) before its files are read, so that a slow disk holds up
nobody's writes, and back into it afterwards whatever happens: by the action, by `abort`, by `recover`; and `post_check`
calls nobody well who is still out of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from runners.backups import Backup as Stored
from runners.backups import Backups, Damaged, not_now
from runners.mariadb import rules
from runners.mariadb.client import Denied, ServerError, Unreachable
from runners.mariadb.config import MariadbConfig
from runners.mariadb.copying import Method, missing, stream
from runners.mariadb.restart import APART_S, shown
from runners.mariadb.view import View, look, look_at
from runners.objects import ObjectStore, StoreUnavailable
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, Skip, TaskRunner, Wait, steadily

__all__ = ["Backup"]


class Backup(TaskRunner):
    """Looks at all members, takes the server out of flow control, streams its data away; the manifest comes last."""

    class Args(BaseModel):
        """Of a backup."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        method: Method = Field(
            default="mariabackup",
            description="`mariabackup`: the server's files as an xbstream, quick to restore; `mariadb-dump`: SQL of "
            "one moment, gzipped, for another version or a single table",
        )
        each_node: bool = Field(
            default=False, description="every node of the task makes one; else one node does, and the others skip"
        )
        keep: int = Field(default=7, ge=1, description="so many of the newest backups by this method are always kept")
        keep_days: float = Field(default=14.0, ge=0, description="older ones beyond these are removed afterwards")
        max_queue: int = Field(
            default=100, ge=0, description="how many write-sets a member may have to apply and count as in step"
        )
        max_paused: float = Field(
            default=0.1, ge=0, le=1, description="the share of time in which flow control may hold up writes"
        )

    Config = MariadbConfig
    args: Args
    config: MariadbConfig
    description = "streams the data of the node's MariaDB, a member of a Galera cluster, to an object store"
    scope = "backup"
    soft = timedelta(hours=6)
    settle = timedelta(minutes=30)

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when the cluster can do with this server out of step, and all that is needed is there."""
        try:
            return self._look_at_the_store() or self._look_at_the_cluster()
        except (StoreUnavailable, Damaged) as error:
            return not_now(error)
        except Denied as error:
            return Refuse(
                f"the server does not let us ask: {error}. Correct user and password in defaults_file, or grant PROCESS"
            )
        except CommandFailed as failed:
            return Refuse(f"{failed.why}: install MariaDB's client (Debian: mariadb-client)")

    def execute_action(self) -> None:
        """Stream it away with the server out of flow control; then the manifest; then remove what is too old."""
        backups, began = self._backups(), datetime.now(UTC)
        unfinished = backups.begin(self.ctx.attempt_id, began)
        before = look_at(self.ctx, self.config.client, self.config.own)
        self.ctx.save(begun=True)
        with self._out_of_step():
            position = stream(self.ctx, self.config, self.args.method, unfinished.add)
            after = look_at(self.ctx, self.config.client, self.config.own)
        facts: dict[str, JsonValue] = {
            "task": self.ctx.task_id,
            "node": self.ctx.node_id,
            "server": before.name,
            "version": before.version,
            "method": self.args.method,
            "cluster_state": before.cluster,
            "position": position,
            "committed_before": before.committed,
            "committed_after": after.committed,
            "seconds": round((datetime.now(UTC) - began).total_seconds(), 3),
        }
        whole = unfinished.finish(**facts)
        self.ctx.save(backup=whole.name)
        self.ctx.log("made", backup=whole.name, bytes=whole.size, **facts)
        try:
            gone = backups.prune(
                datetime.now(UTC),
                keep=self.args.keep,
                keep_for=timedelta(days=self.args.keep_days),
                alike={"method": self.args.method},
            )
        except (StoreUnavailable, Damaged) as error:
            self.ctx.log("old backups could not be removed; the next backup tries again", why=str(error))
        else:
            self.ctx.log("removed old backups", removed=gone)

    def post_check(self) -> Check:
        """Well when the server is in step again, the others count it in, and what was written is in the store."""
        try:
            view = self._look()
        except Denied as error:
            return Wait(f"the server does not let us ask: {error}")
        answer = rules.is_well(view, self._limits())
        if isinstance(answer, Go) and (why := self._not_stored()):
            return Refuse(why)
        return steadily(self.ctx, answer)

    def recover(self) -> Recovered:
        """A backup happened when its manifest is there. Puts the server back into step first."""
        if not self.ctx.saved.get("begun"):
            return Recovered.NOT_DONE
        self._back_into_step()
        try:
            made = self._backups().made_by(self.ctx.attempt_id)
        except (StoreUnavailable, Damaged) as error:
            self.ctx.log("the store could not be asked", why=str(error))
            return Recovered.UNKNOWN
        return Recovered.NOT_DONE if made is None else Recovered.DONE

    def abort(self) -> None:
        """Put the server back into step. What was written has no manifest, and is no backup."""
        self._back_into_step()

    # --- in and out of step ------------------------------------------------------------------------------

    @contextmanager
    def _out_of_step(self) -> Iterator[None]:
        self.ctx.save(desync=True)
        try:
            self.config.client.ask(self.ctx, self.config.own, "SET GLOBAL wsrep_desync = ON")
            yield
        finally:
            self._back_into_step()

    def _back_into_step(self) -> None:
        """Undo what this attempt did, if it did. Idempotent; what cannot be undone now is seen by `post_check`."""
        if not self.ctx.saved.get("desync"):
            return
        try:
            if look_at(self.ctx, self.config.client, self.config.own).desynced:
                self.config.client.ask(self.ctx, self.config.own, "SET GLOBAL wsrep_desync = OFF")
        except (Unreachable, ServerError, CommandFailed) as error:
            self.ctx.log("wsrep_desync could not be set OFF", why=str(error))
            return
        self.ctx.save(desync=False)

    # --- its parts ---------------------------------------------------------------------------------------

    def _look_at_the_store(self) -> Check | None:
        if wrong := self.config.client.wrong():
            return Refuse(wrong)
        if not self.config.backups:
            return Refuse("this node's configuration does not say where backups go: set backups to s3://bucket/prefix")
        self._store().check()
        made = self._made_for_task()
        return None if made is None else Skip(f"{made.facts.get('node')} has made this task's backup: {made.name}")

    def _look_at_the_cluster(self) -> Check:
        before = self._look()
        time.sleep(APART_S)
        view = self._look()
        self.ctx.log("looked at the cluster", **shown(view))
        answer = rules.may_back_up(before, view, self._limits())
        if isinstance(answer, Go) and view.own is not None:
            why = missing(self.ctx, self.config, view.own, self.args.method)
            return Refuse(why) if why else answer
        return answer

    def _look(self) -> View:
        return look(self.ctx, self.config.client, self.config.own, self.config.others)

    def _limits(self) -> rules.Limits:
        return rules.Limits(
            expected=self.config.expected,
            others_at_once=self.ctx.cap - 1,
            max_queue=self.args.max_queue,
            max_paused=self.args.max_paused,
        )

    def _store(self) -> ObjectStore:
        return ObjectStore(self.config.backups)

    def _backups(self) -> Backups:
        return Backups(self._store(), self.ctx.cluster)

    def _made_for_task(self) -> Stored | None:
        for made in reversed(self._backups().whole()):
            own = made.facts.get("node") == self.ctx.node_id
            if made.facts.get("task") == self.ctx.task_id and (own or not self.args.each_node):
                return made
        return None

    def _not_stored(self) -> str:
        """Why the backup of this attempt is not what was written; asked of the store until it was found so once."""
        name = self.ctx.saved.get("backup")
        if name is None or self.ctx.saved.get("found"):
            return ""
        try:
            made = self._backups().made_by(self.ctx.attempt_id)
            if made is None:
                return f"the backup {name} is not in the store any more"
            sizes = {each.key: each.size for each in self._store().list(f"{made.name}/")}
        except (StoreUnavailable, Damaged) as error:
            return str(error)
        if wrong := [each.key for each in made.parts if sizes.get(f"{made.name}/{each.key}") != each.size]:
            return f"parts of {name} are not what was written: {', '.join(wrong)}"
        self.ctx.save(found=True)
        return ""
