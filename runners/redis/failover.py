"""`redis_task:failover`: a master of a Redis Cluster gives its slots to a replica, in order, and stays up.

For whoever will work on its machine, or wants masters elsewhere. What is looked at, and what follows from it, stands in
roles.py; how it is done, and that nobody else acts in the shard meanwhile, in handover.py.
"""

from __future__ import annotations

import time
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from runners.redis import roles, rules
from runners.redis.config import RedisConfig
from runners.redis.handover import LOOK_EVERY_S, Handover, shown
from runners.redis.resp import ErrorReply
from taskerman import Check, Recovered, Refuse, TaskRunner, Wait, steadily

__all__ = ["Failover"]

FORGOTTEN_AFTER_S = 8.0
"""Redis forgets a manual failover that did not happen within five seconds; then it is known not to happen."""


class Failover(TaskRunner):
    """Looks at the whole cluster, has the replica that is furthest take over, and calls it well when all agree."""

    class Args(BaseModel):
        """Of a failover."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        max_lag_bytes: int = Field(
            default=1024 * 1024, ge=0, description="how far a replica may be behind its master and count as in step"
        )
        failover_timeout_s: float = Field(
            default=30.0,
            gt=0,
            le=600,
            description="how long taking over may take, and the wait for another of its shard",
        )

    Config = RedisConfig
    args: Args
    config: RedisConfig
    description = "has a replica take over the slots of the node's Redis, which stays up as its replica"
    soft = timedelta(minutes=5)
    settle = timedelta(minutes=5)

    def pre_check(self) -> Check:
        """Go when the server is a master with slots, and the cluster is well; a replica is skipped."""
        try:
            view = self._handover().look()
        except ErrorReply as error:
            return Refuse(f"the server refuses to be asked: {error}")
        self.ctx.log("looked at the cluster", **shown(view))
        return roles.may_hand_over(view, max_lag_bytes=self.args.max_lag_bytes, others_at_once=self.ctx.cap - 1)

    def execute_action(self) -> None:
        """Note of which epoch the server's claim is, then hand its slots over."""
        with self._handover().only_one_of_its_shard(failover=True) as view:
            if view.own is None:
                raise ConnectionError("the server does not answer any more")
            self.ctx.save(epoch=view.own.lines[view.me].epoch, handed=False)
            self._handover().hand_over(view)
            self.ctx.save(handed=True)

    def post_check(self) -> Check:
        """Well when it says so and its peers do; after a handover that was carried out, as a replica."""
        try:
            view = self._handover().look()
        except ErrorReply as error:
            return Wait(f"the server refuses to be asked: {error}")
        if self.ctx.saved.get("handed") and view.own is not None and not view.own.replica:
            return steadily(self.ctx, Wait("the server is a master again"))
        return steadily(self.ctx, rules.is_well(view, max_lag_bytes=self.args.max_lag_bytes))

    def recover(self) -> Recovered:
        """Compare roles and epochs with what was noted; a handover that was asked for is given the time it has."""
        saved = self.ctx.saved
        heir, epoch = saved.get("heir"), saved.get("epoch")
        if not isinstance(heir, str) or not isinstance(epoch, int):
            return Recovered.NOT_DONE
        forgotten_at = time.monotonic() + FORGOTTEN_AFTER_S
        while True:
            happened = roles.handed_over(self._handover().look(), heir, epoch)
            if happened:
                return Recovered.DONE
            if time.monotonic() >= forgotten_at:
                return Recovered.UNKNOWN if happened is None else Recovered.NOT_DONE
            time.sleep(LOOK_EVERY_S)

    def abort(self) -> None:
        """Nothing goes on without the action but the failover, which the cluster ends by itself within seconds."""
        self.ctx.log("nothing to take back")

    def _handover(self) -> Handover:
        args = self.args
        return Handover(self.ctx, self.config, max_lag_bytes=args.max_lag_bytes, timeout_s=args.failover_timeout_s)
