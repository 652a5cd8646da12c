"""`postgres_task:restore_check`: restores the newest backup into a server of its own, and believes nothing that it
did not see there.

A backup is proved by what came out of it: checksums of its parts, the server's own programs for it, and every table
compared with what was noted when the backup was made. What was found is kept beside the backups.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runners.backups import Backup, Backups, Damaged, not_now
from runners.objects import StoreUnavailable
from runners.postgres import rules
from runners.postgres.backing_up import backups_of, made_for, needs_store
from runners.postgres.backup_base import BASE
from runners.postgres.backup_logical import ROLES
from runners.postgres.config import Address, PostgresConfig
from runners.postgres.facts import SETTINGS, depth_of, differences, facts_of
from runners.postgres.programs import ProgramFailed, ProgramMissing
from runners.postgres.psql import Denied, QueryFailed, access_of
from runners.postgres.scratch import Scratch, leftovers, room
from runners.postgres.view import look
from taskerman import Check, Go, Recovered, Refuse, Skip, TaskRunner, Wait

__all__ = ["NotProved", "RestoreCheck"]

CHECKS = "restore-check"
_MOST_ROLES = 64 * 1024 * 1024
_KEEP_CHECKS = 100


class NotProved(Exception):
    """The backup does not restore to what it says it is. The text says how it differs."""


class RestoreCheck(TaskRunner):
    """Restores, compares, and leaves nothing but its word."""

    class Args(BaseModel):
        """Of `action_args`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        kind: Literal["logical", "base"] = Field(default="logical", description="which kind of backup is restored")
        max_age_hours: int = Field(
            default=48, ge=1, le=24 * 366, description="an older newest backup is a failure of its own"
        )
        room_factor: float = Field(
            default=1.5, ge=1, le=10, description="so much more room than the backup's size is asked for"
        )

    Config = PostgresConfig
    args: Args
    config: PostgresConfig
    description = "restores the cluster's newest backup into a scratch server and compares it with what was noted"
    when_lost = "retry"
    scope = "backup"
    soft = timedelta(hours=12)
    settle = timedelta(minutes=1)

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:  # noqa: PLR0911  (a branch for each answer)
        """Go when there is a backup that is not too old, and room for it."""
        try:
            if wrong := needs_store(self.config):
                return wrong
            if made := made_for(self.ctx, self._checks()):
                return Skip(f"this task has checked already, on {made.facts.get('node')}")
            if (skip := self._leaves_it_to_others()) is not None:
                return skip
            backup = self._backups().newest()
            if backup is None:
                return Refuse(f"there is no {self.args.kind} backup of {self.ctx.cluster} in {self.config.backups}")
            age = datetime.now(UTC) - backup.at
            if age > timedelta(hours=self.args.max_age_hours):
                return Refuse(f"the newest backup, {backup.name}, is {age.total_seconds() / 3600:.0f} hours old")
            return self._can_restore(backup)
        except (StoreUnavailable, Damaged) as error:
            return not_now(error)
        except (Denied, QueryFailed, ProgramMissing, ProgramFailed, ValueError) as error:
            return Refuse(str(error))

    def execute_action(self) -> None:
        """Restore, compare, remove. Raises `NotProved`, `Damaged`."""
        for old in leftovers(self.config):
            self.ctx.log("removes what an earlier check left", folder=str(old))
            shutil.rmtree(old, ignore_errors=True)
        backup = self._backups().newest()
        if backup is None:
            raise NotProved("the backup is not there any more")
        began = datetime.now(UTC)
        scratch = Scratch(self.config, self.ctx.attempt_id)
        self.ctx.save(backup=backup.name, scratch=str(scratch.folder))
        self.ctx.log("restores", backup=backup.name, bytes=backup.size)
        try:
            scratch.make()
            if self.args.kind == "logical":
                self._prove_logical(backup, scratch)
            else:
                self._prove_base(backup, scratch)
        finally:
            scratch.remove()
        seconds = (datetime.now(UTC) - began).total_seconds()
        checks = self._checks()
        checks.begin(self.ctx.attempt_id, datetime.now(UTC)).finish(
            task=self.ctx.task_id, node=self.ctx.node_id, backup=backup.name, seconds=round(seconds, 1)
        )
        self.ctx.log("proved", backup=backup.name, seconds=round(seconds, 1))
        with suppress(StoreUnavailable, Damaged):  # the next check tries again
            checks.prune(datetime.now(UTC), keep=_KEEP_CHECKS, keep_for=timedelta(0))

    def post_check(self) -> Check:
        """Well when nothing of the scratch server is left."""
        folder = Path(str(self.ctx.saved.get("scratch") or "/nonexistent"))
        return Wait(f"the scratch folder {folder} is still there") if folder.exists() else Go()

    def recover(self) -> Recovered:
        """What was found is written last."""
        self.abort()
        return Recovered.DONE if self._checks().made_by(self.ctx.attempt_id) else Recovered.NOT_DONE

    def abort(self) -> None:
        """The scratch server and its folder are gone afterwards."""
        with suppress(ValueError):
            Scratch(self.config, self.ctx.attempt_id).remove()

    # --- before ------------------------------------------------------------------------------------------

    def _leaves_it_to_others(self) -> Check | None:
        """A primary has better things to do, when the task has another node."""
        view = look(self.config, access_of(self.config))
        own = view.own
        replicas = any(server.replica for server in view.peers.values())
        if own is not None and not own.replica and replicas and len(self.ctx.nodes) > 1:
            return Skip("this is the primary; a replica of this task checks")
        return None

    def _can_restore(self, backup: Backup) -> Check:
        facts: Mapping[str, Any] = backup.facts
        scratch = Scratch(self.config, self.ctx.attempt_id)
        if not Path(self.config.scratch).is_dir() or not os.access(self.config.scratch, os.W_OK):
            return Refuse(f"the scratch folder {self.config.scratch} is not there, or we may not write into it")
        scratch.programs.check_user()
        if os.geteuid() == 0 and not self.config.run_as:
            return Refuse("PostgreSQL does not run as root: set run_as in this node's configuration")
        for name in ("initdb", "postgres", "psql", "pg_restore"):
            scratch.programs.path(name)
        ours, made = scratch.programs.version("postgres"), int(facts["version"]) // 10000
        if made not in rules.KNOWN:
            return Refuse(f"the backup is of version {made}, which this build does not know")
        if ours < made or (self.args.kind == "base" and ours != made):
            return Refuse(f"the backup is of version {made}, and the server's programs here are of {ours}")
        needed = int(self.args.room_factor * _size_of(facts))
        there = room(self.config)
        if there < needed:
            return Refuse(
                f"the restored backup needs about {needed:,} bytes in {self.config.scratch}, and {there:,} are free "
                f"beside the reserve: make room, or name another scratch folder"
            )
        return Go()

    # --- a logical backup --------------------------------------------------------------------------------

    def _prove_logical(self, backup: Backup, scratch: Scratch) -> None:
        scratch.initdb()
        with scratch.running() as server:
            access = scratch.access()
            access.tell(server, ["DROP DATABASE postgres"])  # the backup may bring its own
            roles = b"".join(self._read(backup, ROLES, most=_MOST_ROLES))
            argv = ["--no-psqlrc", "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-f", "-"]
            scratch.programs.run("psql", argv, env=access.env(server), stdin=roles)
            databases: Mapping[str, Any] = backup.facts["databases"]  # type: ignore[assignment]
            wrong: list[str] = []
            for name, noted in databases.items():
                self.ctx.log("restores a database", database=name)
                self._restore(backup, noted["part"], scratch, server)
                wrong += [f"{name}: {each}" for each in self._compare(noted["facts"], scratch, server, name)]
            there: Any = access.ask(
                server, "SELECT json_agg(datname) FROM pg_database WHERE datallowconn AND NOT datistemplate"
            )
            wrong += [f"there is no database {name}" for name in sorted(set(databases) - set(there or ()))]
        if wrong:
            raise NotProved(f"{backup.name} does not restore to what was noted: {'; '.join(wrong)[:2000]}")

    def _restore(self, backup: Backup, part: str, scratch: Scratch, server: Address) -> None:
        """Stream one dump into pg_restore. Raises `Damaged` rather than pg_restore's complaint about damage."""
        argv = ["--dbname=template1", "--create", "--exit-on-error", "--no-tablespaces", "--no-password"]
        argv += ["--no-subscriptions", "--no-publications"]
        env = scratch.access().env(server)
        words = scratch.folder / "pg_restore.log"
        with (
            words.open("wb") as said,
            scratch.programs.started("pg_restore", argv, env=env, stdin=subprocess.PIPE, stderr=said) as program,
        ):
            assert program.stdin is not None
            taken = True
            for chunk in self._backups().read(backup, part):  # to its end, also when pg_restore gave up: damage first
                if taken:
                    try:
                        program.stdin.write(chunk)
                    except BrokenPipeError:
                        taken = False
            with suppress(BrokenPipeError):
                program.stdin.close()
            code = program.wait()
        if code:
            raise NotProved(f"{backup.name}/{part}: {ProgramFailed('pg_restore', code, words.read_text()[-4000:])}")

    def _compare(self, noted: Mapping[str, Any], scratch: Scratch, server: Address, database: str) -> list[str]:
        if not noted:
            self.ctx.log("nothing was noted to compare with", database=database)
            return []
        with scratch.access().session(server, database=database, settings=SETTINGS) as session:
            session.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            found = facts_of(session.ask, depth_of(noted))
        return differences(noted, json.loads(json.dumps(found)))

    # --- a base backup -----------------------------------------------------------------------------------

    def _prove_base(self, backup: Backup, scratch: Scratch) -> None:
        facts: Mapping[str, Any] = backup.facts
        stream = io.BufferedReader(_Stream(self._read(backup, BASE)), 1 << 20)
        try:
            with tarfile.open(fileobj=stream, mode="r|gz" if facts["gzip"] else "r|") as archive:
                archive.extractall(scratch.data, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise NotProved(f"{backup.name}/{BASE} cannot be unpacked: {error}") from error
        finally:
            while stream.read(1 << 20):  # to its end, where it is known whether it is what was written
                pass
        scratch.data.chmod(0o700)
        scratch.own()
        self._verify_files(scratch)
        role = str(facts["superuser"])
        with scratch.running(role) as server:
            access = scratch.access(role)
            about: Any = access.ask(
                server,
                "SELECT json_build_object('databases', (SELECT json_agg(datname ORDER BY datname) FROM pg_database "
                "WHERE datallowconn), 'system', (SELECT system_identifier::text FROM pg_control_system()))",
            )
            for name in ("databases", "system"):
                if about[name] != facts[name]:
                    raise NotProved(f"{backup.name}: {name} is {about[name]}, and {facts[name]} was noted")
            self._amcheck(scratch, access.env(server))

    def _verify_files(self, scratch: Scratch) -> None:
        try:
            argv = ["--exit-on-error", str(scratch.data)]
            scratch.programs.run("pg_verifybackup", argv)
        except ProgramMissing:
            self.ctx.log("pg_verifybackup is not here; files are not compared with their manifest")
        except ProgramFailed as error:
            raise NotProved(f"the files are not those of the backup's own manifest: {error}") from error

    def _amcheck(self, scratch: Scratch, env: Mapping[str, str]) -> None:
        try:
            scratch.programs.run("pg_amcheck", ["--all", "--install-missing", "--no-password"], env=env)
        except ProgramMissing:
            self.ctx.log("pg_amcheck is not here; tables and indexes are not looked into")
        except ProgramFailed as error:
            if "amcheck" in error.said and "not available" in error.said:
                self.ctx.log("the extension amcheck is not here; tables and indexes are not looked into")
                return
            raise NotProved(f"tables or indexes are damaged: {error.said[-1000:]}") from error

    # --- the store ---------------------------------------------------------------------------------------

    def _read(self, backup: Backup, part: str, *, most: int | None = None) -> Iterator[bytes]:
        size = 0
        for chunk in self._backups().read(backup, part):
            size += len(chunk)
            if most is not None and size > most:
                raise NotProved(f"{backup.name}/{part} has more than {most:,} bytes")
            yield chunk

    def _backups(self) -> Backups:
        return backups_of(self.config, self.ctx.cluster, self.args.kind)

    def _checks(self) -> Backups:
        return backups_of(self.config, self.ctx.cluster, f"{CHECKS}/{self.args.kind}")


class _Stream(io.RawIOBase):
    """Chunks as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _size_of(facts: Mapping[str, Any]) -> int:
    """Bytes on disk when it is restored, as they were when it was made."""
    if "bytes" in facts:
        return int(facts["bytes"])
    return sum(int(each["bytes"]) for each in facts["databases"].values())
