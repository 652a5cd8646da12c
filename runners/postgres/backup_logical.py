"""`postgres_task:backup_logical`: roles, tablespaces and a `pg_dump` of each database, streamed to S3.

Every database is dumped from a snapshot that a session of ours holds open, and in that session its rows are counted and
hashed: so the manifest says what is in the dump, and not what was there a moment before or after.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pydantic import Field, JsonValue

from runners.backups import Unfinished
from runners.postgres.backing_up import BackupArgs, BackupRunner
from runners.postgres.facts import SETTINGS, Depth, facts_of
from runners.postgres.view import Server
from taskerman import Check, Refuse

__all__ = ["ROLES", "TABLESPACES", "BackupLogical", "part_of"]

ROLES = "roles.sql"
TABLESPACES = "tablespaces.sql"

_DATABASES = (
    "SELECT coalesce(json_object_agg(datname, pg_database_size(oid)), '{}') FROM pg_database "
    "WHERE datallowconn AND NOT datistemplate"
)
_SUPERUSER = "SELECT to_json(rolsuper) FROM pg_roles WHERE rolname = current_user"


def part_of(database: str) -> str:
    """The key of a database's dump: any name is a database's."""
    return f"databases/{quote(database, safe='')}.dump"


class BackupLogical(BackupRunner):
    """Dumps databases from one server of the cluster."""

    class Args(BackupArgs):
        """Of `action_args`."""

        databases: tuple[str, ...] = Field(default=(), description="which; empty: all that take connections")
        facts: Depth = Field(
            default="hash",
            description="what is noted of every table to compare a restore with: hash (reads all rows once more), "
            "rows (counts them), none",
        )
        compress: int = Field(default=6, ge=0, le=9, description="how hard pg_dump compresses")
        lock_timeout_s: int = Field(default=60, ge=1, le=3600, description="how long it waits for a locked table")

    args: Args
    description = "dumps databases of one server of the cluster to S3, with what is needed to prove a restore"
    kind = "logical"
    program = "pg_dump"

    def may_begin(self, own: Server) -> Check | None:
        """Databases that are named are there."""
        there = self._databases(own)
        missing = sorted(set(self.args.databases) - set(there))
        if missing:
            return Refuse(f"there is no database {', '.join(missing)}; there are {', '.join(sorted(there))}")
        self.access().programs.path("pg_dumpall")
        return None

    def extent(self) -> dict[str, JsonValue]:
        """The databases that were named; [] = all."""
        return {"only": [*sorted(self.args.databases)]}

    def size_of(self, own: Server) -> int:
        """A dump is hardly ever larger than its database."""
        return max(self._wanted(own).values(), default=0)

    def copy(self, backup: Unfinished, own: Server) -> dict[str, JsonValue]:
        """Roles, tablespaces, and each database with its facts."""
        access = self.access()
        superuser = bool(access.ask(own.address, _SUPERUSER))
        env = access.env(own.address)
        for part, what in ((ROLES, "--roles-only"), (TABLESPACES, "--tablespaces-only")):
            argv = [what, "--no-password", *([] if superuser else ["--no-role-passwords"])]
            backup.add(part, access.programs.streaming("pg_dumpall", argv, env=env).chunks())
        databases: dict[str, JsonValue] = {
            name: self._dump(backup, own, name, size) for name, size in self._wanted(own).items()
        }
        return {"databases": databases, "role_passwords": superuser}

    def _dump(self, backup: Unfinished, own: Server, database: str, size: int) -> dict[str, JsonValue]:
        access = self.access()
        settings = {**SETTINGS, "lock_timeout": f"{self.args.lock_timeout_s}s"}
        with access.session(own.address, database=database, settings=settings) as session:
            session.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = session.ask("SELECT pg_export_snapshot()").strip()
            place = "pg_last_wal_replay_lsn()" if own.replica else "pg_current_wal_lsn()"
            lsn = session.ask(f"SELECT {place}").strip()
            noted = facts_of(session.ask, self.args.facts)
            self.ctx.log("dumps", database=database, snapshot=snapshot, tables=len(noted.get("tables", {})))
            argv = ["--format=custom", f"--compress={self.args.compress}", f"--snapshot={snapshot}", "--no-password"]
            argv += [f"--lock-wait-timeout={self.args.lock_timeout_s * 1000}"]
            program = access.programs.streaming("pg_dump", argv, env=access.env(own.address, database))
            backup.add(part_of(database), program.chunks())
            if program.said.strip():
                self.ctx.log("pg_dump said", database=database, words=program.said.strip()[-1000:])
            session.ask("COMMIT")
        return {"part": part_of(database), "bytes": size, "lsn": lsn, "facts": noted}

    def _wanted(self, own: Server) -> dict[str, int]:
        there = self._databases(own)
        return {name: there[name] for name in (self.args.databases or sorted(there)) if name in there}

    def _databases(self, own: Server) -> dict[str, int]:
        found: Any = self.access().ask(own.address, _DATABASES)
        return {str(name): int(size) for name, size in found.items()}
