"""`postgres_task:vacuum`: VACUUM (ANALYZE) of the tables that need it, one after another, gently.

A table on which another vacuum works is left to it; one that is locked is passed over. Stopped at its soft timeout, the
statement is cancelled, which is what PostgreSQL itself does to a vacuum: nothing is half done.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import Field

from runners.postgres.psql import literal
from runners.postgres.upkeep import UpkeepArgs, UpkeepRunner
from taskerman import Recovered

__all__ = ["Vacuum"]

_TABLES = """
SELECT coalesce(json_agg(json_build_object('name', format('%%I.%%I', n.nspname, c.relname), 'oid', c.oid::bigint)
    ORDER BY coalesce(s.n_dead_tup, 0) DESC, c.oid), '[]')
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_(toast|temp)'
  AND coalesce(extract(epoch FROM s.last_vacuum), 0) < %(since)s
  AND (coalesce(s.n_dead_tup, 0) >= %(rows)s
      AND coalesce(s.n_dead_tup, 0) * 100 >= %(percent)s * (coalesce(s.n_live_tup, 0) + coalesce(s.n_dead_tup, 0))
      OR age(c.relfrozenxid) >= %(freeze)s)
  AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum AS v WHERE v.relid = c.oid AND v.datid = (
      SELECT oid FROM pg_database WHERE datname = current_database()))
"""


class Vacuum(UpkeepRunner):
    """Removes dead rows and renews statistics."""

    class Args(UpkeepArgs):
        """Of `action_args`."""

        min_dead_rows: int = Field(default=1000, ge=0, description="a table with fewer dead rows is passed over")
        min_dead_percent: float = Field(
            default=5.0, ge=0, le=100, description="and one in which they are a smaller part of all rows"
        )
        freeze_age: int = Field(
            default=150_000_000, ge=0, description="unless its oldest transaction is so many transactions old"
        )
        analyze: bool = Field(default=True, description="renew the planner's statistics, too")
        cost_limit: int = Field(default=200, ge=1, le=10_000, description="how much work between two pauses")
        cost_delay_ms: float = Field(default=2.0, ge=0, le=100, description="how long a pause is; 0: none")

    args: Args
    description = "vacuums the primary's tables that need it, gently, one after another"
    soft = timedelta(hours=4)
    settle = timedelta(minutes=10)

    def execute_action(self) -> None:
        """One table after another; what is locked or in another's hands is passed over, and named."""
        since = float(self.ask("SELECT to_json(extract(epoch FROM clock_timestamp()))"))
        self.ctx.save(since=since, ended=False)
        settings = {
            "vacuum_cost_limit": str(self.args.cost_limit),
            "vacuum_cost_delay": f"{self.args.cost_delay_ms}ms",
            "lock_timeout": f"{self.args.lock_timeout_s}s",
            "statement_timeout": "0",
        }
        done = 0
        for database in self.databases():
            for table in self._needing(database, since):
                self.wait_for_replicas()
                if self._is_vacuumed(database, table["oid"]):
                    self.ctx.log("another vacuum works on it", database=database, table=table["name"])
                    continue
                how = "VACUUM (ANALYZE, SKIP_LOCKED)" if self.args.analyze else "VACUUM (SKIP_LOCKED)"
                self.ctx.log("vacuums", database=database, table=table["name"])
                self.access().tell(self.config.own, [f"{how} {table['name']}"], database=database, settings=settings)
                done += 1
        self.ctx.log("vacuumed", tables=done)
        self.ctx.save(ended=True)

    def recover(self) -> Recovered:
        """By the server's own notes: it happened when no table is left that needed it and was not vacuumed since."""
        self.abort()
        saved = self.ctx.saved
        if saved.get("ended"):
            return Recovered.DONE
        if "since" not in saved:
            return Recovered.NOT_DONE
        since = float(str(saved["since"]))
        left = any(self._needing(database, since) for database in self.databases())
        return Recovered.NOT_DONE if left else Recovered.DONE

    def _needing(self, database: str, since: float) -> list[dict[str, Any]]:
        numbers = {
            "since": since,
            "rows": self.args.min_dead_rows,
            "percent": self.args.min_dead_percent,
            "freeze": self.args.freeze_age,
        }
        found: list[dict[str, Any]] = self.ask(_TABLES % numbers, database)
        return found

    def _is_vacuumed(self, database: str, table: int) -> bool:
        return bool(
            self.ask(
                "SELECT to_json(EXISTS (SELECT FROM pg_stat_progress_vacuum "  # noqa: S608
                f"WHERE relid = {int(table)} AND datname = {literal(database)}))"
            )
        )
