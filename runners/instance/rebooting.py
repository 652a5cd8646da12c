"""What every operation shares that ends with a reboot: asking for it once, and telling afterwards whether it came.

What was asked of the machine is not taken back: nobody can know whether that came in time. A machine that was asked
and did not go down may do so at any moment, so its attempt ends unsafe, with its slot kept, for a person to look at.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NoReturn

from runners.instance.config import InstanceConfig
from runners.instance.health import why_ill
from taskerman import Check, CommandFailed, Go, Recovered, TaskRunner, Wait

__all__ = ["Rebooting"]


class Rebooting(TaskRunner):
    """Asks once, waits to be killed, and is asked after the reboot how the node is."""

    Config = InstanceConfig
    config: InstanceConfig
    reboots = True

    def post_check(self) -> Check:
        """Well in another boot when its checks pass; in the same one only if nobody was asked for a reboot."""
        if not self.rebooted and self.ctx.saved.get("asked"):
            return Wait("it was asked to reboot and has not yet; it may go down at any moment")
        ill = why_ill(self.ctx, self.config.checks)
        return Wait(ill) if ill else Go()

    def recover(self) -> Recovered:
        """Compare this boot with the one that was noted."""
        if self.rebooted:
            return Recovered.DONE
        return Recovered.UNKNOWN if self.ctx.saved.get("asked") else Recovered.NOT_DONE

    @property
    def rebooted(self) -> bool:
        """Whether this is another boot than the one that was noted."""
        return self.ctx.boot_id != self.ctx.saved.get("boot_id", self.ctx.boot_id)

    def note_boot(self) -> None:
        """Before anything else: which boot this is, and that nothing was asked yet."""
        self.ctx.save(boot_id=self.ctx.boot_id, asked=False)

    def may_reboot(self) -> Check:
        """Go when the node works and nobody else is about to shut it down."""
        scheduled = Path(self.config.scheduled_file)
        if scheduled.exists():
            return Wait(f"somebody has a shutdown scheduled ({scheduled})")
        ill = why_ill(self.ctx, self.config.checks)
        return Wait(f"the node is not well before its reboot: {ill}") if ill else Go()

    def ask_for_reboot(self) -> NoReturn:
        """Ask; then there is nothing left to do but to be killed by it, or by the timeout."""
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
