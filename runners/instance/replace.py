"""`instance_task:replace`: drains the machine and has its Auto Scaling group end it and start another in its place.

The node dies of it, so nobody is left here to say that it went well: the janitor holds the slot until as many machines
serve as before, and then records that the attempt succeeded. What is told here is only what can be seen before.
"""

from __future__ import annotations

import time
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from runners.instance.config import InstanceConfig
from runners.instance.group import IN_SERVICE, Group, Groups, GroupUnavailable, NotAsked
from runners.instance.health import why_ill
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, TaskRunner, Wait

__all__ = ["Replace", "may_replace"]


class Replace(TaskRunner):
    """Asks once, and waits to be terminated."""

    class Args(BaseModel):
        """Of a replacement."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        reason: str = Field(default="", max_length=500, description="for the attempt's log")
        drain_timeout_s: int = Field(default=900, ge=1, le=86400, description="how long `drain` may take")

    Config = InstanceConfig
    args: Args
    config: InstanceConfig
    replaces = True
    description = "drains the node's machine and has its Auto Scaling group replace it"
    soft = timedelta(minutes=45)

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when the group has all its machines in service and will start another one."""
        self.ctx.save(asked=False, drained=False)
        if ill := why_ill(self.ctx, self.config.checks):
            return Wait(f"the node is not well before it is replaced, and so may its cluster be: {ill}")
        try:
            group = Groups().of(self.ctx.node_id)
        except GroupUnavailable as error:
            return Refuse(str(error)) if error.for_good else Wait(str(error))
        return may_replace(self.ctx.node_id, group, others_at_once=self.ctx.cap - 1)

    def execute_action(self) -> None:
        """Drain, ask, and wait to be terminated with the machine, or to be stopped by the timeout."""
        self.ctx.log("replaces the machine", reason=self.args.reason)
        if self.config.drain:
            self.ctx.save(drained=True)  # before it is: half drained is to be taken back as well
            try:
                self.ctx.command(self.config.drain, timeout=timedelta(seconds=self.args.drain_timeout_s))
            except CommandFailed:
                self.abort()
                raise
        self.ctx.save(asked=True)  # before it is: who cannot say whether it was asked must take it that it was
        try:
            Groups().terminate(self.ctx.node_id)
        except NotAsked:
            self.ctx.save(asked=False)
            self.abort()
            raise
        while True:
            time.sleep(1)

    def post_check(self) -> Check:
        """Only asked when the machine lives on: well if it was not asked to end, and serves as before."""
        if self.ctx.saved.get("asked"):
            return Wait("its group was asked to terminate it; it may go down at any moment")
        if self.ctx.saved.get("drained"):
            return Wait("it was drained, and that has not been taken back")
        ill = why_ill(self.ctx, self.config.checks)
        return Wait(ill) if ill else Go()

    def recover(self) -> Recovered:
        """The machine lives, so it was not replaced; whether it will be is known only if it was not asked for."""
        if self.ctx.saved.get("asked"):
            return Recovered.UNKNOWN
        self.abort()
        return Recovered.NOT_DONE

    def abort(self) -> None:
        """Take the draining back, if the machine was not asked to end."""
        saved = self.ctx.saved
        if not saved.get("drained") or saved.get("asked"):
            return
        if self.config.undrain:
            try:
                self.ctx.command(self.config.undrain, timeout=timedelta(seconds=25))
            except CommandFailed as failed:
                self.ctx.log("the draining is not taken back", why=str(failed))
                return
        self.ctx.save(drained=False)


def may_replace(machine: str, group: Group | None, *, others_at_once: int) -> Check:
    """Whether `group` will start another one in the place of `machine`, and has no more missing than the task itself
    may have taken. Pure."""
    if group is None:
        return Refuse(f"{machine} is in no Auto Scaling group: nobody would start another one. Replace it by hand")
    if group.suspended:
        return Refuse(f"{', '.join(group.suspended)} is suspended in {group.name}: resume it, and redrive the task")
    if group.state != IN_SERVICE:
        return Wait(f"the machine is {group.state} in its group {group.name}")
    if group.desired - group.serving > others_at_once:
        return Wait(f"{group.serving} of {group.desired} machines of {group.name} are in service", of="cluster")
    return Go()
