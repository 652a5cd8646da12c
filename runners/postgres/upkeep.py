"""What vacuum and reindexing share: only on the primary, only when nobody is kept waiting or left behind by it.

Both write WAL for every page they touch and hold up nobody's locks but for moments; what can make them harmful is an
old transaction (they wait for it, or clean up nothing because of it) and replicas that cannot follow. So both are
looked at, before and between one table and the next.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from runners.postgres import rules
from runners.postgres.config import PostgresConfig
from runners.postgres.programs import ProgramFailed, ProgramMissing
from runners.postgres.psql import Access, Denied, QueryFailed, Unreachable, access_of, session_name
from runners.postgres.view import View, look
from taskerman import Check, Go, Refuse, Skip, TaskRunner, Wait, steadily

__all__ = ["UpkeepArgs", "UpkeepRunner", "may_maintain"]

LOOK_EVERY_S = 1.0

_OLD = """
SELECT coalesce(json_agg(what), '[]') FROM (
  SELECT format('pid %%s of %%s in %%s, for %%s s', pid, usename, datname,
      extract(epoch FROM clock_timestamp() - xact_start)::int) AS what
  FROM pg_stat_activity WHERE xact_start < clock_timestamp() - interval '%(age)s s' AND pid <> pg_backend_pid()
      AND backend_type = 'client backend'
  UNION ALL
  SELECT format('the prepared transaction %%s in %%s', gid, database) FROM pg_prepared_xacts
  WHERE prepared < clock_timestamp() - interval '%(age)s s') AS old
"""
_DATABASES = "SELECT json_agg(datname ORDER BY datname) FROM pg_database WHERE datallowconn AND NOT datistemplate"


class UpkeepArgs(BaseModel):
    """What both are told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    databases: tuple[str, ...] = Field(default=(), description="in which; empty: all that take connections")
    max_lag_bytes: int = Field(
        default=256 * 1024 * 1024, ge=0, description="how far a replica may be behind before and while it is done"
    )
    max_transaction_age_s: int = Field(
        default=3600, ge=1, description="it waits while a transaction is older: nothing would come of it"
    )
    lock_timeout_s: int = Field(default=10, ge=1, le=3600, description="how long it waits for a lock on one table")


def may_maintain(view: View, max_lag_bytes: int) -> Check:
    """Whether this is the primary of a cluster that can take it."""
    if wrong := rules.may_be_asked(view):
        return wrong
    if view.own is None:
        return Wait(f"the server does not answer: {view.why}")
    if view.own.replica:
        return Skip("this is a replica; upkeep is the primary's")
    if ill := rules.unwell(view, max_lag_bytes):
        words = ", ".join(f"{name} {why}" for name, why in sorted(ill.items()))
        return Wait(f"not well: {words}", of="cluster")
    return Go()


class UpkeepRunner(TaskRunner):
    """Looks at the cluster, does one thing after another, and ends what the server does for it when it is stopped."""

    Config = PostgresConfig
    args: UpkeepArgs
    config: PostgresConfig
    when_lost = "retry"

    def may_begin(self) -> Check | None:
        """What else speaks against it, or that there is nothing to do."""
        return None

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go on a primary whose replicas are in step and which has no old transaction."""
        try:
            answer = may_maintain(look(self.config, self.access()), self.args.max_lag_bytes)
            if not isinstance(answer, Go):
                return answer
            if missing := sorted(set(self.args.databases) - set(self._all_databases())):
                return Refuse(f"there is no database {', '.join(missing)}")
            if old := self.old_transactions():
                return Wait(f"a transaction is older than {self.args.max_transaction_age_s} s: {'; '.join(old[:5])}")
            return self.may_begin() or answer
        except Unreachable as error:
            return Wait(str(error))
        except (Denied, QueryFailed, ProgramMissing, ProgramFailed) as error:
            return Refuse(str(error))

    def post_check(self) -> Check:
        """Well when the primary answers and its replicas have followed."""
        try:
            view = look(self.config, self.access())
        except (Denied, QueryFailed) as error:
            return steadily(self.ctx, Wait(f"the server refuses to be asked: {error}"))
        return steadily(self.ctx, rules.is_well(view, max_lag_bytes=self.args.max_lag_bytes))

    def abort(self) -> None:
        """The server goes on with a statement whose client has died: end it there, cleanly."""
        left = self.access().end_sessions(self.config.own)
        self.ctx.log("sessions of this attempt are ended", left=left)

    # --- the parts ---------------------------------------------------------------------------------------

    def access(self) -> Access:
        """Of this attempt."""
        return access_of(self.config, session_name(self.ctx.attempt_id))

    def ask(self, sql: str, database: str = "") -> Any:
        """The JSON that it selects at the own server."""
        return self.access().ask(self.config.own, sql, database=database)

    def databases(self) -> Sequence[str]:
        """In which something is done."""
        return self.args.databases or self._all_databases()

    def old_transactions(self) -> list[str]:
        """Those that are older than they may be, in words."""
        found = self.ask(_OLD % {"age": self.args.max_transaction_age_s})
        return [str(each) for each in found]

    def wait_for_replicas(self) -> None:
        """Between one table and the next: nobody is left behind. The soft timeout bounds it."""
        said = ""
        while True:
            answer = may_maintain(look(self.config, self.access()), self.args.max_lag_bytes)
            if isinstance(answer, Skip):
                raise QueryFailed("the server is not the primary any more")
            if isinstance(answer, Refuse):
                raise QueryFailed(answer.reason)
            if isinstance(answer, Go):
                return
            if answer.reason != said:
                said = answer.reason
                self.ctx.log("waits", why=said)
            time.sleep(LOOK_EVERY_S)

    def _all_databases(self) -> list[str]:
        return [str(each) for each in self.ask(_DATABASES) or ()]
