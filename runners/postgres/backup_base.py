"""`postgres_task:backup_base`: the whole data folder of one server, streamed to S3 by `pg_basebackup` with its WAL.

One stream can hold one tablespace, so a server with more is refused by name rather than half saved.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, JsonValue

from runners.backups import Unfinished
from runners.postgres.backing_up import BackupArgs, BackupRunner
from runners.postgres.view import Server
from taskerman import Check, Refuse

__all__ = ["BASE", "BackupBase"]

BASE = "base.tar"

_ABOUT = """
SELECT json_build_object(
  'tablespaces', (SELECT coalesce(json_agg(spcname), '[]') FROM pg_tablespace
      WHERE spcname NOT IN ('pg_default', 'pg_global')),
  'may_replicate', (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user),
  'superuser', (SELECT rolname FROM pg_roles WHERE oid = 10),
  'databases', (SELECT json_agg(datname ORDER BY datname) FROM pg_database WHERE datallowconn),
  'bytes', (SELECT sum(pg_tablespace_size(oid)) FROM pg_tablespace) + (SELECT sum(size) FROM pg_ls_waldir()),
  'senders', current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication))
"""
_POINT = re.compile(r"write-ahead log (start|end) point: ([0-9A-F]+/[0-9A-F]+)(?: on timeline (\d+))?")


class BackupBase(BackupRunner):
    """Copies one server of the cluster."""

    class Args(BackupArgs):
        """Of `action_args`."""

        checkpoint: Literal["fast", "spread"] = Field(
            default="spread", description="how the server gets ready: at once, or gently over minutes"
        )
        compress: int = Field(default=1, ge=0, le=9, description="gzip's level; 0: not at all")
        max_rate_kib_s: int = Field(
            default=0, ge=0, le=1024 * 1024, description="how fast it reads, from 32; 0: as fast as it can"
        )

    args: Args
    description = "copies the data folder of one server of the cluster to S3, with the WAL that makes it whole"
    kind = "base"
    program = "pg_basebackup"

    def may_begin(self, own: Server) -> Check | None:
        """One tablespace, the right to replicate, and a place to send from."""
        about = self._about(own)
        if about["tablespaces"]:
            return Refuse(
                f"the server has tablespaces, which one stream cannot hold: {', '.join(sorted(about['tablespaces']))}. "
                "Use backup_logical, or move their tables into pg_default"
            )
        if not about["may_replicate"]:
            return Refuse(f"the user {self.config.user} may not make a base backup: ALTER ROLE ... REPLICATION")
        if about["senders"] < 1:
            return Refuse("all of max_wal_senders are in use: raise it, or end what replicates and is not needed")
        return None

    def size_of(self, own: Server) -> int:
        """As large as the folder, and a tenth for what is written meanwhile."""
        return int(self._about(own)["bytes"] * 1.1)

    def copy(self, backup: Unfinished, own: Server) -> dict[str, JsonValue]:
        """One part."""
        about = self._about(own)
        access = self.access()
        argv = ["--pgdata=-", "--format=tar", "--wal-method=fetch", f"--checkpoint={self.args.checkpoint}"]
        argv += [f"--label={backup.name}", "--verbose", "--no-password"]
        argv += [f"--max-rate={max(32, self.args.max_rate_kib_s)}"] if self.args.max_rate_kib_s else []
        argv += [f"--compress={self.args.compress}"] if self.args.compress else []
        program = access.programs.streaming("pg_basebackup", argv, env=access.env(own.address))
        backup.add(BASE, program.chunks())
        points: dict[str, Any] = {}
        for which, place, timeline in _POINT.findall(program.said):
            points[f"{which}_lsn"] = place
            if timeline:
                points["timeline"] = int(timeline)
        if set(points) != {"start_lsn", "end_lsn", "timeline"}:
            raise ValueError(f"pg_basebackup did not say where it began and ended: {program.said[-500:]!r}")
        return {
            "part": BASE,
            "gzip": bool(self.args.compress),
            "bytes": about["bytes"],
            "superuser": about["superuser"],
            "databases": about["databases"],
            **points,
        }

    def _about(self, own: Server) -> dict[str, Any]:
        found = self.access().ask(own.address, _ABOUT)
        assert isinstance(found, dict)
        return found
