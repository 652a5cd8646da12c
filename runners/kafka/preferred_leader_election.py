"""`kafka_task:preferred_leader_election`: gives this broker back the partitions that it should lead.

After a rolling restart the brokers that went last lead nothing. Each node asks for its own partitions only, so that a
task moves leaders broker by broker.
"""

from __future__ import annotations

import json
import tempfile
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from runners.kafka import rules
from runners.kafka.answers import NotUnderstood
from runners.kafka.operation import Operation
from runners.kafka.tools import CannotAsk, MayNotAsk
from runners.kafka.view import View
from taskerman import Check, Go, Recovered, Refuse, Skip, steadily

__all__ = ["PreferredLeaderElection"]


class NotElected(Exception):
    """Leaders could not be moved; those that were stay so."""


class PreferredLeaderElection(Operation):
    """Only when enough is out of balance, and only while every replica is in step."""

    class Args(BaseModel):
        """`action_args`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        above_percent: float = Field(
            default=10.0,
            ge=0,
            lt=100,
            description="act when more than so many of the partitions that the broker should lead are led by others, "
            "in percent",
        )

    args: Args
    description = "gives the broker back the partitions that it should lead"
    when_lost = "retry"
    soft = timedelta(minutes=10)
    settle = timedelta(minutes=10)

    def pre_check(self) -> Check:
        """Go when this broker leads too few, and all replicas are in step."""
        if self.config.role == "controller":
            return Skip("a controller leads no partition")
        return self.looked(self._may)

    def execute_action(self) -> None:
        """Elect the preferred leader of each of them, in one request. Raises `NotElected`, `CommandFailed`."""
        wanted: list[dict[str, str | int]] = []

        def judge(view: View) -> Check:
            wanted.extend({"topic": one.topic, "partition": one.number} for one in rules.unbalanced(view))
            return rules.may_elect(view)

        if (answer := self.looked(judge)) != Go():
            raise NotElected(f"leaders may not be moved any more: {getattr(answer, 'reason', answer)}")
        self.ctx.save(asked=True, partitions=len(wanted))
        if not wanted:
            return
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as listed:
            json.dump({"partitions": wanted}, listed)
            listed.flush()
            self.tools.do("leader-election", "--election-type", "preferred", "--path-to-json-file", listed.name)

    def post_check(self) -> Check:
        """Every partition has a leader, and every replica is in step. Who leads is no question of being well."""
        return steadily(self.ctx, self.settled(rules.may_elect), over_s=2.0)

    def recover(self) -> Recovered:
        """Compare the leaders: done when none is left that it should lead and does not."""
        if not self.ctx.saved.get("asked"):
            return Recovered.NOT_DONE
        left: list[int] = []

        def judge(view: View) -> Check:
            left.append(len(rules.unbalanced(view)))
            return Go()

        try:
            answer = self.looked(judge)
        except (CannotAsk, MayNotAsk, NotUnderstood):
            return Recovered.UNKNOWN
        if answer != Go():
            self.ctx.log("does not know", why=getattr(answer, "reason", ""))
            return Recovered.UNKNOWN
        return Recovered.DONE if left == [0] else Recovered.NOT_DONE

    def _may(self, view: View) -> Check:
        if (answer := rules.may_elect(view)) != Go():
            return answer
        if view.me not in view.brokers:
            return Refuse(f"nobody knows a broker {view.me}: correct node_id of this node")
        mine = [one for one in view.partitions if one.replicas[0] == view.me]
        lost = rules.unbalanced(view)
        percent = 100 * len(lost) / len(mine) if mine else 0.0
        if percent <= self.args.above_percent:
            return Skip(
                f"others lead {len(lost)} of the {len(mine)} partitions that this broker should lead: {percent:.0f} %, "
                f"and more than {self.args.above_percent:g} % are acted on"
            )
        return Go()
