"""`instance_task:reboot`: reboots the machine, and calls it well when it is up again and what it is for works.

What was asked of the machine is not taken back: nobody can know whether that came in time. A machine that was asked
and did not go down may do so at any moment, so its attempt ends unsafe, with its slot kept, for a person to look at.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from runners.instance.config import InstanceConfig
from taskerman import Check, CommandFailed, Go, Recovered, Skip, TaskRunner, Wait

__all__ = ["Reboot"]

CHECK_TIMEOUT = timedelta(seconds=20)


class Reboot(TaskRunner):
    """Asks once, waits to be killed, and is asked after the reboot how the node is."""

    class Args(BaseModel):
        """Of a reboot."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        only_if_required: bool = Field(default=False, description="skip nodes whose `required_file` is absent")
        reason: str = Field(default="", max_length=500, description="for the attempt's log")

    Config = InstanceConfig
    args: Args
    config: InstanceConfig
    reboots = True
    description = "reboots the node's machine"

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when the node works and nobody else is about to shut it down; note which boot this is."""
        self.ctx.save(boot_id=self.ctx.boot_id, asked=False)
        required = Path(self.config.required_file)
        if self.args.only_if_required and not required.exists():
            return Skip(f"no reboot is required ({required} is absent)")
        scheduled = Path(self.config.scheduled_file)
        if scheduled.exists():
            return Wait(f"somebody has a shutdown scheduled ({scheduled})")
        ill = self._ill()
        return Wait(f"the node is not well before its reboot: {ill}") if ill else Go()

    def execute_action(self) -> None:
        """Ask for the reboot; then there is nothing left to do but to be killed by it, or by the timeout."""
        self.ctx.log("reboots the machine", reason=self.args.reason)
        self.ctx.save(asked=True)  # before it is: who cannot say whether it was asked must take it that it was
        try:
            self.ctx.command(self.config.reboot)
        except CommandFailed as failed:
            if failed.exit is None or failed.exit > 0:
                self.ctx.save(asked=False)
                raise
            # Ended by a signal: that may already be the shutdown.
            self.ctx.log("the command was ended by a signal; waiting all the same", exit=failed.exit)
        while True:
            time.sleep(1)

    def post_check(self) -> Check:
        """Well in another boot when its checks pass; in the same one only if nobody was asked for a reboot."""
        if not self._rebooted() and self.ctx.saved.get("asked"):
            return Wait("it was asked to reboot and has not yet; it may go down at any moment")
        ill = self._ill()
        return Wait(ill) if ill else Go()

    def recover(self) -> Recovered:
        """Compare this boot with the one that was noted."""
        if self._rebooted():
            return Recovered.DONE
        return Recovered.UNKNOWN if self.ctx.saved.get("asked") else Recovered.NOT_DONE

    # --- looking -----------------------------------------------------------------------------------------

    def _rebooted(self) -> bool:
        return self.ctx.boot_id != self.ctx.saved.get("boot_id", self.ctx.boot_id)

    def _ill(self) -> str:
        """Why the node is not well; empty when every check passes."""
        for words in self.config.checks:
            try:
                self.ctx.command(words, timeout=CHECK_TIMEOUT)
            except CommandFailed as failed:
                return str(failed)
        return ""
