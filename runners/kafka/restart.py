"""`kafka_task:restart`: restarts one broker or controller, when all replicas are in step; the controller last."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from runners.kafka import rules
from runners.kafka.answers import Broker
from runners.kafka.operation import Operation
from runners.kafka.tools import CannotAsk, MayNotAsk
from runners.kafka.view import View
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, Wait, steadily

__all__ = ["Restart"]

RECOVER_WITHIN_S = 35.0
"""A hook that looks has 60 seconds, and one answer may take 20 of them."""
LOOK_EVERY_S = 2.0


class NotReady(Exception):
    """The action found, before it did any harm, that it may not go on."""


class Restart(Operation):
    """Has the service manager restart it, whose SIGTERM makes a broker hand its leaders over, and calls it well when it
    is in step with all its partitions."""

    class Args(BaseModel):
        """`action_args`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        accept_unavailable: tuple[str, ...] = Field(
            default=(), description="topics that may have too few replicas while the broker is down"
        )
        max_lag: int = Field(
            default=1000, ge=0, description="how far a controller may be behind and count as in step, records"
        )
        controller_waits_s: float = Field(
            default=600.0,
            ge=0,
            le=86400,
            description="how long the active controller lets each other node of the task go first, seconds",
        )

    args: Args
    description = "restarts the node's Kafka, the active controller last, and waits until it is in step"
    when_lost = "retry"
    soft = timedelta(minutes=15)
    settle = timedelta(hours=1)

    def pre_check(self) -> Check:
        """Go when the cluster can do without this node now."""
        if shutil.which(self.config.restart[0]) is None:
            return Refuse(f"{self.config.restart[0]} is not on this machine: correct `restart` of this node")
        answer = self.answered(self._can_tell_a_start)
        return answer if isinstance(answer, Refuse) else self.looked(self._may)

    def execute_action(self) -> None:
        """Look once more, note which start this is, and have it restarted."""
        answer = self.looked(self._may)
        if not isinstance(answer, Go):
            raise NotReady(f"it may not be restarted any more: {getattr(answer, 'reason', answer)}")
        self.ctx.save(started=self.tools.started(), boot=self.ctx.boot_id, asked=False)
        self.ctx.save(asked=True)
        try:
            self.ctx.command(list(self.config.restart))
        except CommandFailed:
            self.ctx.save(asked=False)  # so that nobody waits for a new start
            raise

    def post_check(self) -> Check:
        """After a restart that was asked for, only a new start counts."""
        return steadily(self.ctx, self.settled(self._well), over_s=10.0)

    def recover(self) -> Recovered:
        """Compare the start that runs with the one that was noted. What was asked for is given some time."""
        if not self.ctx.saved.get("asked"):
            return Recovered.NOT_DONE
        give_up_at = time.monotonic() + RECOVER_WITHIN_S
        while True:
            try:
                if self._is_new(self.tools.started()):
                    return Recovered.DONE
            except (CannotAsk, MayNotAsk) as error:
                self.ctx.log("does not know yet", why=str(error))
            if time.monotonic() >= give_up_at:
                return Recovered.UNKNOWN  # it may still be on its way
            time.sleep(LOOK_EVERY_S)

    def abort(self) -> None:
        """Nothing goes on without the action but the service manager's own restart, which is better finished."""
        self.ctx.log("nothing to take back")

    # --- the parts ---------------------------------------------------------------------------------------

    def _may(self, view: View) -> Check:
        answer = rules.may_restart(
            view,
            at_once=self.ctx.cap,
            accept_unavailable=self.args.accept_unavailable,
            max_lag=self.args.max_lag,
        )
        return self._goes_last(view) if isinstance(answer, Go) else answer

    def _well(self, view: View) -> Check:
        if self.ctx.saved.get("asked") and not self._is_new(self.tools.started()):
            return Wait("the server does not run as a new start yet")
        return rules.is_well(view, max_lag=self.args.max_lag)

    def _is_new(self, started: str) -> bool:
        """A mark of the service manager says something only within one boot of the machine."""
        if not started:
            return False
        return (started, self.ctx.boot_id) != (self.ctx.saved.get("started"), self.ctx.saved.get("boot"))

    def _can_tell_a_start(self) -> Check:
        self.tools.started()
        return Go()

    def _goes_last(self, view: View) -> Check:
        """The active controller lets the others go first: each of its restarts makes another the controller, and then
        that one would still have to go. A courtesy, that ends by patience; safety does not rest on it."""
        others = len(self.ctx.nodes) - 1
        if view.controller != view.me or others < 1 or not self.ctx.accepted_at:
            return Go()
        accepted = datetime.fromisoformat(self.ctx.accepted_at)
        patience_ends = accepted + timedelta(seconds=self.args.controller_waits_s * others)
        if datetime.now(UTC) >= patience_ends:
            self.ctx.log("the controller goes, though others may not have gone", waited_until=patience_ends.isoformat())
            return Go()
        for broker in view.brokers.values():  # one is enough, and each costs its time
            if broker.id != view.me and self._to_go(broker, accepted):
                return Wait(
                    f"it is the active controller, which goes last: broker {broker.id} was not restarted yet, or "
                    f"nobody knows; it waits until {patience_ends:%Y-%m-%dT%H:%M:%SZ} at most"
                )
        return Go()

    def _to_go(self, broker: Broker, accepted: datetime) -> bool:
        started = self.tools.peer_started(broker)
        return started is None or started < accepted.timestamp()
