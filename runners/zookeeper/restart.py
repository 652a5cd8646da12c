"""`zookeeper_task:restart`: takes one member of an ensemble down and up, where the others are a quorum in step."""

from __future__ import annotations

import time
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from runners.turns import begun_at, leader_last
from runners.zookeeper import rules
from runners.zookeeper.node import Ensemble, ZookeeperConfig
from runners.zookeeper.view import Member, View, shown
from runners.zookeeper.wire import Unlisted
from taskerman import Check, Go, Recovered, Refuse, TaskRunner, Wait, steadily

__all__ = ["NotReady", "Restart"]

LOOK_EVERY_S = 0.1
RECOVER_WITHIN_S = 20.0
CLOCKS_S = 2.0
"""How far an uptime may be off, by the way to the server and back."""


class NotReady(Exception):
    """The action found, before it did any harm, that it may not go on."""


class Restart(TaskRunner):
    """Looks at every member, leaves the leader for last, and calls a member well when its leader does."""

    class Args(BaseModel):
        """What a task may say."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        leader_patience_s: float = Field(
            default=900.0,
            ge=0,
            le=86400,
            description="how long the leader waits for others when nothing moves on",
        )
        stuck: bool = Field(default=False, description="also restart a server that runs and serves nobody")
        outage: bool = Field(
            default=False, description="also where nobody serves meanwhile: a single server, an ensemble of two"
        )

    Config = ZookeeperConfig
    args: Args
    config: ZookeeperConfig
    description = "restarts the node's ZooKeeper while the others are a quorum in step; the leader last"
    soft = timedelta(minutes=5)
    settle = timedelta(minutes=5)

    def pre_check(self) -> Check:
        """Go when the ensemble can do without this member now, and it is this one's turn."""
        try:
            view = self._ensemble().look()
        except (Unlisted, ValueError) as error:
            return Refuse(str(error))
        self.ctx.log("looked at the ensemble", **shown(view))
        answer = self._judge(view)
        if isinstance(answer, Go) and rules.leads(view):
            return self._turn(view)
        return answer

    def execute_action(self) -> None:
        """Look once more, note which start this is, and have the server restarted."""
        ensemble = self._ensemble()
        view = ensemble.look()
        answer = self._judge(view)
        if not isinstance(answer, Go):
            raise NotReady(f"the ensemble has changed since it was looked at: {getattr(answer, 'reason', answer)}")
        self.ctx.save(start=ensemble.start(), was_up=not view.own_is_down, asked_at=time.time(), restarted=False)
        self.ctx.command(self.config.restart)
        self.ctx.save(restarted=True)

    def post_check(self) -> Check:
        """Well when it serves, is in step, and its leader says so, several times in a row."""
        try:
            view = self._ensemble().look()
        except (Unlisted, ValueError) as error:
            return Wait(str(error))
        if self.ctx.saved.get("restarted") and self._same_start(view):
            return steadily(self.ctx, Wait("the server still runs as it was started before"))
        return steadily(self.ctx, rules.is_well(view, self._ensemble().bounds))

    def recover(self) -> Recovered:
        """Compare the start that runs with the one that was noted. A restart that was asked for is given some time."""
        saved = self.ctx.saved
        if "asked_at" not in saved:
            return Recovered.NOT_DONE
        give_up_at = time.monotonic() + RECOVER_WITHIN_S
        while True:
            now = self._ensemble().start()
            if now is not None and now != saved.get("start") and (saved.get("start") or not saved.get("was_up")):
                return Recovered.DONE
            if time.monotonic() >= give_up_at:
                return Recovered.UNKNOWN  # it may still be on its way, or its process is not ours to look at
            time.sleep(LOOK_EVERY_S)

    def abort(self) -> None:
        """What the service manager was asked to do it does; nothing else goes on."""
        self.ctx.log("nothing to take back")

    # --- the parts ---------------------------------------------------------------------------------------

    def _ensemble(self) -> Ensemble:
        return Ensemble(self.ctx, self.config)

    def _judge(self, view: View) -> Check:
        bounds = self._ensemble().bounds
        return rules.may_restart(view, bounds, cap=self.ctx.cap, outage=self.args.outage, stuck=self.args.stuck)

    def _turn(self, view: View) -> Check:
        """An uptime begins anew with an election too; then the leader may go before its turn, and no more."""
        now = time.time()
        return leader_last(
            [now - each.uptime_s for each in view.serving.values() if each.votes],
            others_planned=len(self.ctx.nodes) - 1,
            began=begun_at(self.ctx.accepted_at),
            now=now,
            patience_s=self.args.leader_patience_s,
        )

    def _same_start(self, view: View) -> bool:
        """Whether what runs now is what ran before. Where the kernel does not tell us, an uptime that is too long."""
        saved = self.ctx.saved
        if (now := self._ensemble().start()) is not None and saved.get("start") is not None:
            return now == saved["start"]
        since = time.time() - float(str(saved.get("asked_at", 0.0)))
        return bool(saved.get("was_up")) and isinstance(view.own, Member) and view.own.uptime_s > since + CLOCKS_S
