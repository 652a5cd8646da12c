"""`postgres_task:reindex_concurrently`: rebuilds indexes that are invalid, bloated or named, without a lock that
anybody would notice, and leaves no half-built one behind.

REINDEX CONCURRENTLY builds a second index beside the first; cut off, it leaves one that is invalid and still has to be
kept up to date by every write. PostgreSQL names it `_ccnew` or `_ccold`, and so it is found again, whoever left it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pydantic import Field

from runners.postgres.psql import Denied, QueryFailed, Unreachable, literal
from runners.postgres.upkeep import UpkeepArgs, UpkeepRunner
from taskerman import Check, Recovered, Refuse, Skip

__all__ = ["ReindexConcurrently"]

_INDEXES = """
SELECT coalesce(json_agg(json_build_object('name', format('%I.%I', n.nspname, c.relname), 'valid', i.indisvalid,
    'bytes', pg_relation_size(c.oid), 'file', pg_relation_filenode(c.oid)::bigint, 'btree', a.amname = 'btree',
    'exclusion', i.indisexclusion, 'busy', EXISTS (SELECT FROM pg_stat_progress_create_index AS p
        WHERE p.relid = i.indrelid AND p.datname = current_database()))
    ORDER BY i.indisvalid, pg_relation_size(c.oid) DESC, c.oid), '[]')
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_am AS a ON a.oid = c.relam
WHERE c.relkind = 'i' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_LEFTOVERS = """
SELECT coalesce(json_agg(format('%I.%I', n.nspname, c.relname)), '[]')
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p
      WHERE p.relid = i.indrelid AND p.datname = current_database())
"""
_DENSITY = "SELECT to_json(avg_leaf_density) FROM {schema}.pgstatindex({index})"
_PGSTATTUPLE = (
    "SELECT to_json(max(quote_ident(n.nspname))) FROM pg_extension AS e JOIN pg_namespace AS n "
    "ON n.oid = e.extnamespace WHERE e.extname = 'pgstattuple'"
)


class ReindexConcurrently(UpkeepRunner):
    """Rebuilds one index after another."""

    class Args(UpkeepArgs):
        """Of `action_args`."""

        indexes: tuple[str, ...] = Field(
            default=(), description='which, "schema.index" as SQL writes it; empty: those that are invalid or bloated'
        )
        min_density_percent: float = Field(
            default=50.0, ge=0, le=90, description="an index whose leaves are less full is bloated (needs pgstattuple)"
        )
        min_index_bytes: int = Field(
            default=8 * 1024 * 1024, ge=0, description="a smaller one is not looked at for bloat"
        )
        max_indexes: int = Field(default=20, ge=1, le=200, description="at most so many in one attempt")

    args: Args
    description = "rebuilds the primary's invalid, bloated or named indexes without locking writers out"
    soft = timedelta(hours=6)
    settle = timedelta(minutes=10)

    def may_begin(self) -> Check | None:
        """Named ones are there, there is something to do, and there is room for a second copy of the largest."""
        wanted = self._wanted()
        names = {each["name"] for each in wanted}
        if missing := [name for name in self.args.indexes if name not in names]:
            return Refuse(
                f"there is no index {', '.join(missing)} that can be rebuilt concurrently; write schema.index"
            )
        if not wanted and not self._leftovers():
            return Skip("no index is invalid or bloated")
        needed = 2 * max((each["bytes"] for each in wanted), default=0)
        if self.config.data:
            disk = os.statvfs(self.config.data)
            if disk.f_bavail * disk.f_frsize < needed:
                return Refuse(f"the largest index needs about {needed:,} bytes beside it, and the disk has less")
        return None

    def execute_action(self) -> None:
        """What others left half built goes first; then one index after another."""
        self._drop_leftovers()
        wanted = self._wanted()
        self.ctx.save(before=[[each["database"], each["name"], each["file"]] for each in wanted])
        settings = {"lock_timeout": f"{self.args.lock_timeout_s}s", "statement_timeout": "0"}
        try:
            for each in wanted:
                self.wait_for_replicas()
                self.ctx.log("rebuilds", database=each["database"], index=each["name"], bytes=each["bytes"])
                self.access().tell(
                    self.config.own,
                    [f"REINDEX INDEX CONCURRENTLY {each['name']}"],
                    database=each["database"],
                    settings=settings,
                )
        except (QueryFailed, Denied, Unreachable):
            with suppress(QueryFailed, Denied, Unreachable):  # else the next attempt does
                self._drop_leftovers()
            raise
        self.ctx.log("rebuilt", indexes=len(wanted))

    def recover(self) -> Recovered:
        """A rebuilt index is kept in another file. What was left half built is dropped."""
        self.abort()
        before = self.ctx.saved.get("before")
        if not isinstance(before, list):
            return Recovered.NOT_DONE
        now = {(each["database"], each["name"]): each["file"] for each in self._all()}
        noted = [each for each in before if isinstance(each, list)]
        left = [name for database, name, file in noted if now.get((str(database), str(name)), file) == file]
        return Recovered.NOT_DONE if left else Recovered.DONE

    def abort(self) -> None:
        """End the statement at the server, and drop what it leaves."""
        super().abort()
        self._drop_leftovers()

    # --- the parts ---------------------------------------------------------------------------------------

    def _wanted(self) -> list[dict[str, Any]]:
        can = [each for each in self._all() if not each["exclusion"] and not each["busy"]]
        if self.args.indexes:
            return [each for each in can if each["name"] in self.args.indexes][: self.args.max_indexes]
        leftovers = set(self._leftovers())
        found = [each for each in can if (each["database"], each["name"]) not in leftovers and self._needs_it(each)]
        return found[: self.args.max_indexes]

    def _needs_it(self, index: dict[str, Any]) -> bool:
        if not index["valid"]:
            return True
        if not index["btree"] or index["bytes"] < self.args.min_index_bytes or not self.args.min_density_percent:
            return False
        schema = self.ask(_PGSTATTUPLE, index["database"])
        if not schema:
            return False
        sql = _DENSITY.format(schema=schema, index=literal(index["name"]))
        density = self.ask(sql, index["database"])
        return isinstance(density, (int, float)) and density < self.args.min_density_percent

    def _all(self) -> list[dict[str, Any]]:
        return [
            {**each, "database": database} for database in self.databases() for each in self.ask(_INDEXES, database)
        ]

    def _leftovers(self) -> list[tuple[str, str]]:
        return [(database, str(name)) for database in self.databases() for name in self.ask(_LEFTOVERS, database)]

    def _drop_leftovers(self) -> None:
        settings = {"lock_timeout": f"{self.args.lock_timeout_s}s", "statement_timeout": "0"}
        for database, name in self._leftovers():
            self.ctx.log("drops an index that was left half built", database=database, index=name)
            statement = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
            self.access().tell(self.config.own, [statement], database=database, settings=settings)
