"""`postgres_task:restart`: restarts one server; replicas first, and a primary after another took over from it.

What is looked at, and what follows from it, stands in rules.py; the built-in handover in switchover.py.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from runners.postgres import rules
from runners.postgres.config import PostgresConfig, shown
from runners.postgres.programs import ProgramFailed, ProgramMissing
from runners.postgres.psql import Access, Denied, QueryFailed, access_of
from runners.postgres.switchover import NotReady, Switchover, checkpoint, wrong_folder
from runners.postgres.view import View, look
from taskerman import Check, Go, Recovered, Refuse, TaskRunner, Wait, steadily

__all__ = ["Restart"]

LOOK_EVERY_S = 0.05
RECOVER_WITHIN_S = 20.0


class Restart(TaskRunner):
    """Looks at the whole cluster, gives a primary's role away, has the service manager restart the server, and calls it
    well when its peers do."""

    class Args(BaseModel):
        """Of `action_args`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        max_lag_bytes: int = Field(
            default=16 * 1024 * 1024, ge=0, description="how far a replica may be behind and count as in step"
        )
        allow_primary_downtime: bool = Field(
            default=False,
            description="a primary without a configured handover restarts in place: writes fail meanwhile",
        )
        wait_for_replicas: bool = Field(
            default=True, description="a primary waits until the task has restarted its other nodes"
        )
        handover_timeout_s: float = Field(
            default=60.0, gt=0, le=600, description="how long each step of a handover may take"
        )

    Config = PostgresConfig
    args: Args
    config: PostgresConfig
    description = "restarts the node's PostgreSQL, the primary last and after another took over"
    soft = timedelta(minutes=10)
    settle = timedelta(minutes=5)

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when the cluster can do without this server now."""
        try:
            view = self._look()
            self.ctx.log("looked at the cluster", **_shown(view))
            answer = rules.may_restart(view, self._intent(view))
            if isinstance(answer, Go) and (why := self._cannot_hand_over(view)):
                return Refuse(why)
        except (Denied, QueryFailed, ProgramMissing, ProgramFailed, ValueError) as error:
            return Refuse(str(error))
        return answer

    def execute_action(self) -> None:
        """Note which start this is, give the role away, then have the server restarted."""
        view = self._look()
        own = view.own
        self.ctx.save(started=own.started if own else None, asked=False, restarted=False, step="")
        again = rules.may_restart(view, self._intent(view))
        if not isinstance(again, Go):  # it may have been a while, and this is the last moment
            raise NotReady(f"it may not be restarted any more: {getattr(again, 'reason', again)}")
        if own is not None and not own.replica and view.peers and self.config.handover != "none":
            heir = rules.heir(view, self.args.max_lag_bytes)
            if heir is None:
                raise NotReady("no replica is in step to take over")
            if self.config.handover == "built_in":
                self.ctx.save(asked=True)
                self._switchover().hand_over(heir)
                self.ctx.save(restarted=True)
                return
            self._have_handed_over()
        elif own is not None and not own.replica:
            checkpoint(self._access(), self.config, self.args.handover_timeout_s)  # so that the outage is short
        self.ctx.save(asked=True)
        self.ctx.command(self.config.restart if own is not None else self.config.start)
        self.ctx.save(restarted=True)

    def post_check(self) -> Check:
        """Well when it says so and its peers do; after a restart that was asked for, only the new start counts."""
        try:
            view = self._look()
        except (Denied, QueryFailed) as error:
            return steadily(self.ctx, Wait(f"the server refuses to be asked: {error}"))
        saved = self.ctx.saved
        if view.own is not None and saved.get("restarted") and view.own.started == saved.get("started"):
            return steadily(self.ctx, Wait("the server still runs as it was started before"))
        answer = rules.is_well(view, max_lag_bytes=self.args.max_lag_bytes)
        return steadily(self.ctx, answer)

    def recover(self) -> Recovered:
        """Bring a handover to an end that was cut off; then compare the start that runs with the one that was noted."""
        saved = self.ctx.saved
        if not saved.get("asked"):
            return Recovered.NOT_DONE
        self._settle()
        give_up_at = time.monotonic() + RECOVER_WITHIN_S
        while True:
            own = self._look().own
            if own is not None and own.started != saved.get("started"):
                return Recovered.DONE
            if time.monotonic() >= give_up_at:
                return Recovered.UNKNOWN  # it may still be on its way
            time.sleep(LOOK_EVERY_S)

    def abort(self) -> None:
        """Bring a handover to one of its two ends; a restart that was asked for is the service manager's."""
        self._settle()

    # --- the parts ---------------------------------------------------------------------------------------

    def _settle(self) -> None:
        if self.config.handover == "built_in" and (how := self._switchover().settle()):
            self.ctx.log("a handover was cut off", how=how)

    def _have_handed_over(self) -> None:
        """By the configured command; back when another is the primary and this server follows it."""
        self.ctx.command(self.config.switchover, timeout=timedelta(seconds=self.args.handover_timeout_s))
        give_up_at = time.monotonic() + self.args.handover_timeout_s
        while True:
            view = self._look()
            if view.own is not None and view.own.replica:
                answer = rules.is_well(view, max_lag_bytes=self.args.max_lag_bytes)
                if isinstance(answer, Go):
                    return
                why = getattr(answer, "reason", "")
            else:
                why = "this server is still the primary" if view.own else f"it does not answer: {view.why}"
            if time.monotonic() >= give_up_at:
                raise NotReady(f"after the switchover: {why}")
            time.sleep(LOOK_EVERY_S)

    def _cannot_hand_over(self, view: View) -> str:
        """What is wrong with this node, rather than with the cluster, for a handover that is built in."""
        own = view.own
        if self.config.handover != "built_in" or own is None or own.replica or not view.peers:
            return ""
        return wrong_folder(self.config, self._access(), own)

    def _intent(self, view: View) -> rules.Intent:
        starts_as, timeline = ("", 0) if view.own is not None else self._what_is_down()
        return rules.Intent(
            max_lag_bytes=self.args.max_lag_bytes,
            others_at_once=self.ctx.cap - 1,
            others_first=len(self.ctx.nodes) - 1,
            since_s=self._since_s(),
            allow_primary_downtime=self.args.allow_primary_downtime,
            handover=self.config.handover,
            starts_as=starts_as,
            own_timeline=timeline,
        )

    def _what_is_down(self) -> tuple[str, int]:
        """As what a server that is down would come up, and its timeline; ("", 0) when nobody can say."""
        if not self.config.data:
            return "", 0
        place = Path(self.config.data)
        try:
            timeline = self._switchover().control().timeline
            signalled = any((place / name).exists() for name in ("standby.signal", "recovery.signal"))
        except (OSError, ProgramFailed, NotReady):
            return "", 0
        return ("replica" if signalled else "primary"), timeline

    def _since_s(self) -> float | None:
        if not self.args.wait_for_replicas or not self.ctx.accepted_at:
            return None
        return (datetime.now(UTC) - datetime.fromisoformat(self.ctx.accepted_at)).total_seconds()

    def _look(self) -> View:
        return look(self.config, self._access())

    def _access(self) -> Access:
        return access_of(self.config)

    def _switchover(self) -> Switchover:
        return Switchover(self.ctx, self.config, self._access(), self.args.handover_timeout_s)


def _shown(view: View) -> dict[str, object]:
    primary = view.primary
    return {
        "role": None if view.own is None else "replica" if view.own.replica else "primary",
        "primary": None if primary is None else shown(primary.address),
        "answering": len(view.peers),
        "silent": dict(view.silent),
    }
