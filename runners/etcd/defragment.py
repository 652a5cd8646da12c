"""`etcd_task:defragment`: gives back the space that compaction freed in one member's database.

A member answers nobody while it does so, which takes about ten seconds a gigabyte: so one at a time, all others well,
and never as the leader.
"""

from __future__ import annotations

import shutil
import time
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from runners.etcd import rules
from runners.etcd.node import Cluster, EtcdConfig
from runners.etcd.restart import NotReady, hand_over
from runners.etcd.view import Server, View, shown
from runners.turns import begun_at
from taskerman import Check, Go, Recovered, Refuse, Skip, TaskRunner, Wait, steadily

__all__ = ["Defragment"]

LOOK_EVERY_S = 0.2
RECOVER_WITHIN_S = 20.0
ROOM = 1.2
"""The new database is written beside the old one."""
BELOW_QUOTA = 0.9


class Defragment(TaskRunner):
    """Skips a member with little to give back; leaves the leader for last, and moves its leadership away."""

    class Args(BaseModel):
        """What a task may say."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        at_least_bytes: int = Field(
            default=16 * 1024 * 1024, ge=0, description="a member with less to give back is skipped"
        )
        disarm: bool = Field(default=False, description="disarm NOSPACE when every member is below its quota again")
        move_leader_s: float = Field(
            default=10.0, gt=0, le=600, description="how long handing leadership over may take"
        )
        leader_patience_s: float = Field(
            default=900.0, ge=0, le=86400, description="how long the leader waits for the others"
        )
        outage: bool = Field(default=False, description="also a single server, which serves nobody meanwhile")
        within_s: float = Field(default=600.0, gt=0, le=86400, description="how long the server may take")

    Config = EtcdConfig
    args: Args
    config: EtcdConfig
    description = "defragments the node's etcd database: one member at a time, the leader last, after it handed over"
    soft = timedelta(minutes=15)
    settle = timedelta(minutes=5)

    def pre_check(self) -> Check:
        """Go when all members are well, there is something to give back, and it is this one's turn."""
        try:
            view = self._cluster().look()
        except ValueError as error:
            return Refuse(str(error))
        self.ctx.log("looked at the cluster", **shown(view))
        answer = rules.may_act(view, self.config.max_lag_entries, cap=self.ctx.cap)
        own = view.own
        if not isinstance(answer, Go) or not isinstance(own, Server):
            return answer
        return self._hindered(view, own) or self._worthless(view, own) or (self._turn(view) if view.leads else Go())

    def execute_action(self) -> None:
        """Hand leadership over, note what tells whether it happened, defragment, and disarm where that was wanted."""
        cluster = self._cluster()
        view = cluster.look()
        answer = rules.may_act(view, self.config.max_lag_entries, cap=self.ctx.cap)
        if not isinstance(answer, Go) or not isinstance(view.own, Server):
            raise NotReady(f"the cluster has changed since it was looked at: {getattr(answer, 'reason', answer)}")
        if view.leads and len(view.voters) > 1:
            within_s, began = self.args.move_leader_s, begun_at(self.ctx.accepted_at)
            heir = hand_over(cluster, view, self.config.max_lag_entries, began, within_s)
            self.ctx.log("handed over", to=view.name(heir))
        metrics = view.own.metrics
        self.ctx.save(
            start=cluster.start(view), times=metrics.defragmented, size=view.own.size, used=view.own.used, asked=True
        )
        if not view.alarms or self._worth_it(view, view.own):
            cluster.own().call("maintenance/defragment", within_s=self.args.within_s)
        after = cluster.look()
        self.ctx.log("defragmented", **shown(after))
        self._disarm(after)

    def post_check(self) -> Check:
        """Well when the member is in step again and a majority confirms a read, several times in a row."""
        return steadily(self.ctx, rules.is_well(self._cluster().look(), self.config.max_lag_entries))

    def recover(self) -> Recovered:
        """The server counts how often it has defragmented since it was started, and says while it does so."""
        saved = self.ctx.saved
        if not saved.get("asked"):
            return Recovered.NOT_DONE
        give_up_at = time.monotonic() + RECOVER_WITHIN_S
        while True:
            view = self._cluster().look()
            if (known := self._happened(view)) is not None:
                return known
            if time.monotonic() >= give_up_at:
                return Recovered.UNKNOWN  # it is still at it, or does not answer meanwhile
            time.sleep(LOOK_EVERY_S)

    # --- the parts ---------------------------------------------------------------------------------------

    def _cluster(self) -> Cluster:
        return Cluster(self.ctx, self.config)

    def _happened(self, view: View) -> Recovered | None:
        """None: that cannot be told now."""
        saved, own = self.ctx.saved, view.own
        if not isinstance(own, Server) or own.metrics.defragmented is None or own.metrics.defragments is not False:
            return None
        if self._cluster().start(view) == saved.get("start"):
            return Recovered.DONE if own.metrics.defragmented > int(str(saved["times"] or 0)) else Recovered.NOT_DONE
        before, used = int(str(saved["size"])), int(str(saved["used"]))
        return Recovered.DONE if own.size < (before + used) / 2 else Recovered.NOT_DONE

    def _hindered(self, view: View, own: Server) -> Refuse | None:
        if other := [alarm for alarm in view.alarms if alarm.kind != "NOSPACE"]:
            return Refuse(f"the alarm {other[0].kind} of {view.name(other[0].member)}: look at that member first")
        if len(view.voters) < 2 and not self.args.outage:
            return Refuse("nobody serves while the only member defragments. Accept that with outage: true")
        why = self._no_room(own)
        return Refuse(why) if why else None

    def _worthless(self, view: View, own: Server) -> Check | None:
        if self._worth_it(view, own):
            return None
        if view.alarms and self.args.disarm and self._below_quota(view):
            return Go()  # only the alarm is left
        return Skip(f"{own.size - own.used:,} of {own.size:,} bytes could be given back; that is little")

    def _worth_it(self, view: View, server: Server) -> bool:
        """With NOSPACE nothing is written, so what a compaction freed is not counted yet: then it is done all the same
        while the database is near its quota."""
        quota = server.metrics.quota_bytes
        full = bool(view.alarms) and (quota is None or server.size >= quota * BELOW_QUOTA)
        return full or server.size - server.used >= max(self.args.at_least_bytes, 1)

    def _no_room(self, own: Server) -> str:
        if not self.config.data_dir:
            return ""
        try:
            free = shutil.disk_usage(self.config.data_dir).free
        except OSError as error:
            return f"the free space in {self.config.data_dir} (data_dir) cannot be looked at: {error.strerror}"
        needed = int(own.used * ROOM)
        return "" if free >= needed else f"{self.config.data_dir} has {free:,} bytes free; {needed:,} are needed"

    def _turn(self, view: View) -> Check:
        """The leader waits for the others that have something to give back; not for ever."""
        others = [view.serving[name] for name in view.voters if name != view.me and name in view.serving]
        left = sum(self._worth_it(view, each) for each in others)
        began = begun_at(self.ctx.accepted_at)
        if left and len(self.ctx.nodes) > 1 and began is not None and time.time() - began < self.args.leader_patience_s:
            return Wait(f"the leader goes last: {left} others have not been defragmented yet")
        return Go()

    def _below_quota(self, view: View) -> bool:
        quotas = [(each.size, each.metrics.quota_bytes) for each in view.serving.values()]
        known = len(view.serving) == len(view.members)
        return known and all(quota is not None and size < quota * BELOW_QUOTA for size, quota in quotas)

    def _disarm(self, view: View) -> None:
        if not view.alarms:
            return
        if not self.args.disarm or not self._below_quota(view):
            why = "disarm is not set" if not self.args.disarm else "a member is not below its quota yet"
            self.ctx.log("NOSPACE stays armed; when all have space: etcdctl alarm disarm", why=why)
            return
        for alarm in view.alarms:
            if alarm.kind == "NOSPACE":
                self._cluster().own().call(
                    "maintenance/alarm", action="DEACTIVATE", memberID=alarm.member, alarm="NOSPACE"
                )
                self.ctx.log("disarmed NOSPACE", member=view.name(alarm.member))
