"""`instance_task:reboot`: reboots the machine, and calls it well when it is up again and what it is for works."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from runners.instance.rebooting import Rebooting
from taskerman import Check, Skip

__all__ = ["Reboot"]


class Reboot(Rebooting):
    """A reboot and nothing else."""

    class Args(BaseModel):
        """Of a reboot."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        only_if_required: bool = Field(default=False, description="skip nodes whose `required_file` is absent")
        reason: str = Field(default="", max_length=500, description="for the attempt's log")

    args: Args
    description = "reboots the node's machine"

    def pre_check(self) -> Check:
        """Go when the node works and nobody else is about to shut it down; note which boot this is."""
        self.note_boot()
        required = Path(self.config.required_file)
        if self.args.only_if_required and not required.exists():
            return Skip(f"no reboot is required ({required} is absent)")
        return self.may_reboot()

    def execute_action(self) -> None:
        """Ask for the reboot."""
        self.ctx.log("reboots the machine", reason=self.args.reason)
        self.ask_for_reboot()
