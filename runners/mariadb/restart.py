"""`mariadb_task:restart`: restarts one member of a Galera cluster, when the others can do without it.

It acts and asks; what is looked at, and what follows from it, stands in rules.py, and how it is seen in view.py. It
never begins a cluster, and never says which half of a torn one is the true one.
"""

from __future__ import annotations

import time
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from runners.mariadb import rules
from runners.mariadb.client import Denied
from runners.mariadb.config import MariadbConfig
from runners.mariadb.view import View, look, start_of
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, TaskRunner, Wait, steadily

__all__ = ["Restart"]

APART_S = 0.5
"""Between two looks of which paces are told."""
LOOK_EVERY_S = 0.2
RECOVER_WITHIN_S = 20.0


class Restart(TaskRunner):
    """Looks at all members, notes which start this is, has the service manager restart the server, and calls it well
    when it is in step and the others count it in."""

    class Args(BaseModel):
        """Of a restart."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        majority: bool = Field(
            default=True,
            description="the other members must be a majority of votes also if this one left in disorder; a cluster of "
            "two without an arbitrator needs `false`",
        )
        full_copy: bool = Field(
            default=False,
            description="restart also when no other member could hand on what is written meanwhile, so that the server "
            "copies all data when it comes back (SST)",
        )
        outage_s: float = Field(
            default=300.0, gt=0, le=86400, description="for how long of writes the others must be able to hand them on"
        )
        max_queue: int = Field(
            default=100, ge=0, description="how many write-sets a member may have to apply and count as in step"
        )
        max_paused: float = Field(
            default=0.1, ge=0, le=1, description="the share of time in which flow control may hold up writes"
        )

    Config = MariadbConfig
    args: Args
    config: MariadbConfig
    description = "restarts the node's MariaDB, a member of a Galera cluster, when the others can do without it"
    soft = timedelta(minutes=20)
    settle = timedelta(minutes=30)

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when the cluster can do without this server now, and the server will join it again."""
        if wrong := self.config.client.wrong():
            return Refuse(wrong)
        try:
            before = self._look()
            if before.own is not None:
                time.sleep(APART_S)
            view = self._look()
        except Denied as error:
            return Refuse(
                f"the server does not let us ask: {error}. Correct user and password in defaults_file, or grant PROCESS"
            )
        except CommandFailed as failed:
            return Refuse(f"{failed.why}: install MariaDB's client (Debian: mariadb-client)")
        self.ctx.log("looked at the cluster", **shown(view))
        answer = rules.may_restart(before, view, self._limits())
        return self._will_join() if isinstance(answer, Go) else answer

    def execute_action(self) -> None:
        """Note which start this is, then have the server restarted."""
        own = self._look().own
        self.ctx.save(start=None if own is None else dict(start_of(own)), asked=False, restarted=False)
        self.ctx.save(asked=True)
        self.ctx.command(self.config.restart)
        self.ctx.save(restarted=True)

    def post_check(self) -> Check:
        """Well when it is in step and the others count it in; after a restart that was carried out, only the new start
        counts."""
        try:
            view = self._look()
        except Denied as error:
            return Wait(f"the server does not let us ask: {error}")
        answer: Check = rules.is_well(view, self._limits())
        if view.own is not None and self.ctx.saved.get("restarted") and not self._is_new(view):
            answer = Wait("the server still runs as it was started before")
        return steadily(self.ctx, answer)

    def recover(self) -> Recovered:
        """Compare the start that runs with the one that was noted. A restart that was asked for is given some time."""
        if not self.ctx.saved.get("asked"):
            return Recovered.NOT_DONE
        give_up_at = time.monotonic() + RECOVER_WITHIN_S
        while True:
            if self._is_new(self._look()):
                return Recovered.DONE
            if time.monotonic() >= give_up_at:
                return Recovered.UNKNOWN  # it may still be on its way
            time.sleep(LOOK_EVERY_S)

    def abort(self) -> None:
        """Nothing goes on without the action but what the service manager was asked for, which is not taken back: a
        server that is stopped half-way is worse than one that was restarted."""
        self.ctx.log("nothing to take back")

    # --- its parts ---------------------------------------------------------------------------------------

    def _look(self) -> View:
        return look(self.ctx, self.config.client, self.config.own, self.config.others)

    def _limits(self) -> rules.Limits:
        args = self.args
        return rules.Limits(
            expected=self.config.expected,
            others_at_once=self.ctx.cap - 1,
            majority=args.majority,
            max_queue=args.max_queue,
            max_paused=args.max_paused,
            outage_s=None if args.full_copy else args.outage_s,
        )

    def _is_new(self, view: View) -> bool:
        """Whether a server answers that was started after the noted one. By its process where that is known of both:
        a membership may also change without a start."""
        if view.own is None:
            return False
        noted = self.ctx.saved.get("start")
        if not isinstance(noted, dict):
            return True  # nothing ran
        now = start_of(view.own)
        by = "process" if noted.get("process") and now["process"] else "id"
        return now[by] != noted.get(by)

    def _will_join(self) -> Check:
        """Refuse when the server's next start would begin a cluster of its own."""
        try:
            said = self.ctx.ask(self.config.print_defaults, timeout=timedelta(seconds=20))
        except CommandFailed as failed:
            return Refuse(f"{failed.why}: how the server will be started is not known; correct print_defaults")
        if said.exit:
            return Refuse(f"how the server will be started is not known: {said.output.strip()[-200:]}")
        if why := rules.bootstraps(said.output.partition("\n")[2]):
            return Refuse(
                f"the server would begin a cluster of its own when it starts: {why}. Name the other members in "
                "wsrep_cluster_address (gcomm://host,host) in its settings file"
            )
        return Go()


def shown(view: View) -> dict[str, object]:
    """Of a view, for the log."""
    own = view.own
    return {
        "own": view.own_why if own is None else {"state": own.state, "size": own.size, "committed": own.committed},
        "answering": {name: server.state for name, server in view.answers.items()},
        "silent": dict(view.silent),
    }
