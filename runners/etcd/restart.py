"""`etcd_task:restart`: takes one member down and up, where the others are a quorum in step; a leader hands over first.

Leadership is moved to a member that is well, so that no election is waited for; and the leader goes last, so that it
is moved once.
"""

from __future__ import annotations

import time
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from runners.etcd import rules
from runners.etcd.gateway import EtcdError
from runners.etcd.node import Cluster, EtcdConfig
from runners.etcd.view import Silent, View, shown
from runners.turns import begun_at, leader_last
from taskerman import Check, Go, Recovered, Refuse, TaskRunner, Wait, steadily

__all__ = ["NotReady", "Restart", "hand_over"]

LOOK_EVERY_S = 0.1
RECOVER_WITHIN_S = 20.0


class NotReady(Exception):
    """The action found, before it did any harm, that it may not go on."""


class Restart(TaskRunner):
    """Looks at every member, leaves the leader for last, moves its leadership away, has the server restarted."""

    class Args(BaseModel):
        """What a task may say."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        move_leader_s: float = Field(
            default=10.0, gt=0, le=600, description="how long handing leadership over may take"
        )
        leader_patience_s: float = Field(
            default=900.0,
            ge=0,
            le=86400,
            description="how long the leader waits for others when nothing moves on",
        )
        outage: bool = Field(
            default=False, description="also where nobody serves meanwhile: a single server, a cluster of two"
        )

    Config = EtcdConfig
    args: Args
    config: EtcdConfig
    description = (
        "restarts the node's etcd while the others are a quorum in step; the leader last, after it handed over"
    )
    soft = timedelta(minutes=5)
    settle = timedelta(minutes=5)

    def pre_check(self) -> Check:
        """Go when the cluster can do without this member now, and it is this one's turn."""
        try:
            view = self._cluster().look()
        except ValueError as error:
            return Refuse(str(error))
        self.ctx.log("looked at the cluster", **shown(view))
        answer = self._judge(view)
        return self._turn(view) if isinstance(answer, Go) and view.leads else answer

    def execute_action(self) -> None:
        """Look once more, hand leadership over, note which start this is, and have the server restarted."""
        view = self._ready()
        if view.leads and len(view.voters) > 1:
            lag, began = self.config.max_lag_entries, begun_at(self.ctx.accepted_at)
            heir = hand_over(self._cluster(), view, lag, began, self.args.move_leader_s)
            self.ctx.log("handed over", to=view.name(heir))
            view = self._ready()
        down = isinstance(view.own, Silent) and view.own.refused
        self.ctx.save(start=self._cluster().start(view), was_up=not down, asked=True, restarted=False)
        self.ctx.command(self.config.restart)
        self.ctx.save(restarted=True)

    def post_check(self) -> Check:
        """Well when it answers, is in step with its leader, and a majority confirms a read, several times in a row."""
        view = self._cluster().look()
        saved = self.ctx.saved
        now = self._cluster().start(view)
        if saved.get("restarted") and now is not None and now == saved.get("start"):
            return steadily(self.ctx, Wait("the server still runs as it was started before"))
        return steadily(self.ctx, rules.is_well(view, self.config.max_lag_entries))

    def recover(self) -> Recovered:
        """Compare the start that runs with the one that was noted. A restart that was asked for is given some time."""
        saved = self.ctx.saved
        if not saved.get("asked"):
            return Recovered.NOT_DONE
        give_up_at = time.monotonic() + RECOVER_WITHIN_S
        while True:
            now = self._cluster().start(self._cluster().look())
            if now is not None and now != saved.get("start") and (saved.get("start") or not saved.get("was_up")):
                return Recovered.DONE
            if time.monotonic() >= give_up_at:
                return Recovered.UNKNOWN  # it may still be on its way, or its process is not ours to look at
            time.sleep(LOOK_EVERY_S)

    def abort(self) -> None:
        """What the service manager was asked to do it does; leadership stays where it is."""
        self.ctx.log("nothing to take back")

    # --- the parts ---------------------------------------------------------------------------------------

    def _cluster(self) -> Cluster:
        return Cluster(self.ctx, self.config)

    def _ready(self) -> View:
        """The cluster as it is now. Raises `NotReady` when it cannot do without the server any more."""
        view = self._cluster().look()
        answer = self._judge(view)
        if not isinstance(answer, Go):
            raise NotReady(f"the cluster has changed since it was looked at: {getattr(answer, 'reason', answer)}")
        return view

    def _judge(self, view: View) -> Check:
        return rules.may_restart(view, self.config.max_lag_entries, cap=self.ctx.cap, outage=self.args.outage)

    def _turn(self, view: View) -> Check:
        others = [view.serving[name] for name in view.voters if name != view.me and name in view.serving]
        return leader_last(
            [each.metrics.started_at for each in others],
            others_planned=len(self.ctx.nodes) - 1,
            began=begun_at(self.ctx.accepted_at),
            now=time.time(),
            patience_s=self.args.leader_patience_s,
        )


def hand_over(cluster: Cluster, view: View, lag: int, began: float | None, within_s: float) -> str:
    """Move leadership from the own server to the fittest other; its id, when all that answer see it lead.

    Raises `NotReady` when nobody is fit, or it does not become so in time.
    """
    heir = rules.heir(view, lag, began)
    if heir is None:
        raise NotReady("no other member is fit to lead")
    try:
        cluster.own().call("maintenance/transfer-leadership", within_s=within_s, targetID=heir)
    except (EtcdError, OSError) as error:
        raise NotReady(f"leadership could not be moved to {view.name(heir)}: {error}") from error
    give_up_at = time.monotonic() + within_s
    while {each.leader for each in cluster.look().serving.values()} != {heir}:
        if time.monotonic() >= give_up_at:
            raise NotReady(f"{view.name(heir)} did not take over within {within_s:g} s")
        time.sleep(LOOK_EVERY_S)
    return heir
