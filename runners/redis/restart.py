"""`redis_task:restart`: restarts one Redis; in a cluster, a master's slots are with a replica before it goes down.

It acts and asks; what is looked at, and what follows from it, stands in rules.py, and how it is seen in view.py.
"""

from __future__ import annotations

import time

from pydantic import BaseModel, ConfigDict, Field

from runners.redis import rules
from runners.redis.config import RedisConfig
from runners.redis.handover import LOOK_EVERY_S, Handover, shown
from runners.redis.resp import ErrorReply
from runners.redis.view import View
from taskerman import Check, Go, Recovered, Refuse, TaskRunner, Wait

__all__ = ["Restart"]

RECOVER_WITHIN_S = 20.0


class Restart(TaskRunner):
    """Looks at the whole cluster, hands a master's slots over, has the service manager restart the server, and calls
    it well when its peers do."""

    class Args(BaseModel):
        """Of a restart."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        failover: bool = Field(
            default=True, description="a master's slots go to a replica first; a master without one is refused"
        )
        max_lag_bytes: int = Field(
            default=1024 * 1024, ge=0, description="how far a replica may be behind its master and count as in step"
        )
        failover_timeout_s: float = Field(
            default=30.0,
            gt=0,
            le=600,
            description="how long taking over may take, and the wait for another restart in the same shard",
        )
        force: bool = Field(
            default=False, description="look at nobody else before the action (afterwards it looks all the same)"
        )

    Config = RedisConfig
    args: Args
    config: RedisConfig
    description = "restarts the node's Redis, after a replica has taken over from it"

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when the cluster can do without this server now."""
        try:
            view = self._look()
        except ErrorReply as error:
            return Refuse(f"the server refuses to be asked: {error}")
        self.ctx.log("looked at the cluster", **shown(view))
        answer: Check = Go()
        if self.args.force:
            self.ctx.log("looks at nobody else, as it was told")
        elif view.own is not None and not view.own.clustered:
            answer = rules.may_restart_alone(view.own, failover=self.args.failover)
        else:
            answer = rules.may_restart(
                view,
                failover=self.args.failover,
                max_lag_bytes=self.args.max_lag_bytes,
                others_at_once=self.ctx.cap - 1,
            )
        if isinstance(answer, Go) and (why := self._would_lose_data(view)):
            return Refuse(why)
        return answer

    def execute_action(self) -> None:
        """Note which start this is, hand the slots over, then have the server restarted."""
        view = self._look()
        self.ctx.save(run_id=view.own.run_id if view.own else None, asked=False, restarted=False)
        if self.args.force or view.own is None or not view.own.clustered:
            self._hand_over(view)
            self._restart()
            return
        with self._handover().only_one_of_its_shard(failover=self.args.failover) as ready:
            self._hand_over(ready)
            self._restart()

    def post_check(self) -> Check:
        """Well when it says so and its peers do; after a restart that was asked for, only the new start counts."""
        try:
            view = self._look()
        except ErrorReply as error:
            return Wait(f"the server refuses to be asked: {error}")
        saved = self.ctx.saved
        if view.own is not None and saved.get("restarted") and view.own.run_id == saved.get("run_id"):
            return Wait("the server still runs as it was started before")
        return rules.is_well(view, max_lag_bytes=self.args.max_lag_bytes)

    def recover(self) -> Recovered:
        """Compare the start that runs with the one that was noted. A restart that was asked for is given some time."""
        saved = self.ctx.saved
        if not saved.get("asked"):
            return Recovered.NOT_DONE
        give_up_at = time.monotonic() + RECOVER_WITHIN_S
        while True:
            own = self._look().own
            if own is not None and own.run_id != saved.get("run_id"):
                return Recovered.DONE
            if time.monotonic() >= give_up_at:
                return Recovered.UNKNOWN  # it may still be on its way
            time.sleep(LOOK_EVERY_S)

    def abort(self) -> None:
        """Nothing goes on without the action but a failover, which the cluster ends by itself within seconds."""
        self.ctx.log("nothing to take back")

    # --- the parts of the action -------------------------------------------------------------------------

    def _hand_over(self, view: View) -> None:
        if self.args.failover and view.own is not None and view.own.clustered:
            self._handover().hand_over(view)

    def _restart(self) -> None:
        self.ctx.save(asked=True)
        self.ctx.command(self.config.restart)
        self.ctx.save(restarted=True)

    # --- looking -----------------------------------------------------------------------------------------

    def _look(self) -> View:
        return self._handover().look()

    def _handover(self) -> Handover:
        args = self.args
        return Handover(self.ctx, self.config, max_lag_bytes=args.max_lag_bytes, timeout_s=args.failover_timeout_s)

    def _would_lose_data(self, view: View) -> str:
        """Why a restart would lose data: a master that keeps nothing on disk comes back empty, and its replicas follow.

        Asked only of a master that goes down as one. "" when nothing would be lost.
        """
        own = view.own
        if own is None or own.replica or (own.clustered and (self.args.failover or not own.lines[view.me].slots)):
            return ""
        with self.config.access.open(self.config.own_address) as connection:
            if connection.call("DBSIZE") == 0:
                return ""
            kept = dict.fromkeys(("save", "appendonly"), "")
            for name in kept:
                answer = connection.call("CONFIG", "GET", name)
                kept[name] = str(answer[1]) if isinstance(answer, tuple) and len(answer) == 2 else ""
        if kept["save"] or kept["appendonly"] == "yes":
            return ""
        return (
            "the server is a master that keeps nothing on disk (save is empty, appendonly is no): it would come back "
            "empty, and its replicas would empty themselves after it. Fail it over, or set save"
        )
