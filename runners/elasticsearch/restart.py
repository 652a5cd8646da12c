"""`elasticsearch_task:restart`: restarts one node with the allocation of shards off, and turns it on come what may."""

from __future__ import annotations

import time
from abc import abstractmethod
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from runners.elasticsearch import rules
from runners.elasticsearch.allocation import allocation_off, allocation_on, flush
from runners.elasticsearch.config import ElasticsearchConfig
from runners.elasticsearch.http import NotUnderstood, Refused, Unreachable
from runners.elasticsearch.view import View, look, peer_view
from taskerman import Check, Go, Recovered, Refuse, TaskRunner, Wait, steadily

__all__ = ["Restart", "Restarting"]

LOOK_EVERY_S = 0.5
RECOVER_WITHIN_S = 20.0


class DidNotJoin(Exception):
    """The node did not come back into its cluster in time."""


class Restarting(TaskRunner):
    """What a restart and an upgrade share: everything but how the server is brought down and up."""

    class Args(BaseModel):
        """Of a restart."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        join_timeout_s: float = Field(
            default=600, gt=0, le=7200, description="how long the node may take until its cluster counts it again"
        )
        master_patience_s: float = Field(
            default=3600,
            ge=0,
            le=7 * 86400,
            description="how long, from the task's acceptance, the elected master waits for the others to go first",
        )

    Config = ElasticsearchConfig
    args: Args
    config: ElasticsearchConfig
    soft = timedelta(minutes=30)
    settle = timedelta(minutes=60)
    bracket = "elasticsearch-allocation"

    @abstractmethod
    def bounce(self) -> None:
        """Bring the server down and up again, by the machine's service manager."""

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when the cluster can do without this node now."""
        others = self.ctx.cap - 1
        try:
            view = look(self.config)
        except Unreachable as error:
            if not error.refuses:
                return Wait(str(error))
            return self._down(others)
        except Refused as error:
            return Refuse(str(error)) if error.status in (401, 403) else Wait(str(error))
        except NotUnderstood as error:
            return Refuse(str(error))
        self.ctx.log("looked at the cluster", **_shown(view))
        answer = rules.may_restart(view, expected=self.config.expected_nodes, others_at_once=others)
        if not isinstance(answer, Go):
            return answer
        return rules.masters_turn(
            view,
            accepted_ms=self._accepted_ms(),
            now_ms=int(time.time() * 1000),
            patience_ms=int(self.args.master_patience_s * 1000),
        )

    def cluster_begin(self) -> None:
        """Nothing: each node turns the allocation off for itself, and on again before the next."""

    def cluster_end(self) -> None:
        """Whatever a node that died left behind: the allocation is on."""
        allocation_on(self.config)

    def execute_action(self) -> None:
        """Allocation off, flush, down and up, wait for the cluster to count the node, allocation on."""
        before = self._before()
        self.ctx.save(
            id=before.me if before else "",
            started_ms=before.own.started_ms if before and before.own else None,
            unassigned=before.health.unassigned if before else None,
            off=before is not None,
            asked=False,
        )
        try:
            if before is not None:
                allocation_off(self.config)
                if why := flush(self.config):
                    self.ctx.log("not everything was flushed; it goes on", why=why)
            self.ctx.save(asked=True)
            self.bounce()
            self._wait_joined()
        finally:
            if before is not None:
                self._on()

    def post_check(self) -> Check:
        """As a peer sees it: back, as a new start, with as many shards in place as before."""
        saved = self.ctx.saved
        try:
            view = peer_view(self.config, str(saved.get("id") or "") or look(self.config).me)
        except (Unreachable, Refused, NotUnderstood) as error:
            return Wait(str(error))
        started = saved.get("started_ms") if saved.get("asked") else None
        unassigned = saved.get("unassigned")
        answer = rules.is_well(
            view,
            started_before_ms=started if isinstance(started, int) else None,
            unassigned_before=unassigned if isinstance(unassigned, int) else 0,
        )
        return steadily(self.ctx, answer)

    def recover(self) -> Recovered:
        """By the start that runs; and the allocation is turned on, if it was turned off here."""
        saved = self.ctx.saved
        self.abort()
        if not saved.get("asked"):
            return Recovered.NOT_DONE
        give_up_at = time.monotonic() + RECOVER_WITHIN_S
        while True:
            try:
                own = look(self.config).own
            except (Unreachable, Refused, NotUnderstood):
                own = None
            if own is not None and own.started_ms != saved.get("started_ms"):
                return Recovered.DONE
            if time.monotonic() >= give_up_at:
                return Recovered.UNKNOWN  # it may still be on its way
            time.sleep(LOOK_EVERY_S)

    def abort(self) -> None:
        """Nothing goes on without the action but what it turned off."""
        if self.ctx.saved.get("off"):
            self._on()

    # --- the parts ---------------------------------------------------------------------------------------

    def _down(self, others: int) -> Check:
        """The own server does not run: a peer says whether it may be started."""
        if not self.config.peers:
            return Refuse("this node's server is down, and no peer is configured who could be asked")
        try:
            view = peer_view(self.config, "")
        except (Unreachable, Refused, NotUnderstood) as error:
            return Wait(f"this node's server is down, and of its peers the last one says: {error}")
        return rules.may_start(view, expected=self.config.expected_nodes, others_at_once=others)

    def _before(self) -> View | None:
        """None: the server is down, so that nothing is to be turned off."""
        try:
            return look(self.config)
        except Unreachable as error:
            if error.refuses:
                return None
            raise

    def _wait_joined(self) -> None:
        give_up_at = time.monotonic() + self.args.join_timeout_s
        while True:
            try:
                me = look(self.config).me
                if peer_view(self.config, me).own is not None:
                    return
                why = "its peers do not see it"
            except (Unreachable, Refused, NotUnderstood) as error:
                why = str(error)
            if time.monotonic() >= give_up_at:
                raise DidNotJoin(f"not in the cluster within {self.args.join_timeout_s:g} s: {why}")
            time.sleep(LOOK_EVERY_S)

    def _on(self) -> None:
        try:
            allocation_on(self.config)
        except (Unreachable, Refused, NotUnderstood) as error:
            self.ctx.log_as("error", "the allocation of shards is not turned on", {"why": str(error)})
            return
        self.ctx.save(off=False)

    def _accepted_ms(self) -> int:
        accepted = self.ctx.accepted_at
        return int(datetime.fromisoformat(accepted).timestamp() * 1000) if accepted else 0


class Restart(Restarting):
    """A restart and nothing else."""

    description = "restarts the node's Elasticsearch while the allocation of shards is off"

    def bounce(self) -> None:
        """See `Restarting.bounce`."""
        self.ctx.command(self.config.restart)


def _shown(view: View) -> dict[str, Any]:
    health = view.health
    return {
        "status": health.status,
        "nodes": len(view.members),
        "moving": health.relocating + health.initializing,
        "unassigned": health.unassigned,
        "allocation": view.allocation,
        "master": view.members[view.master].name if view.master in view.members else view.master,
    }
