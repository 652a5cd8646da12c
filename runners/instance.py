"""`instance_task:reboot`: reboots the machine, and calls it well when it is up again and what it is for works.

The node's configuration for `instance_task`, all of it optional:

    reboot          the command that asks the machine to reboot (["systemctl", "reboot"]). It must end with 0 when it
                    has asked, and with another code only when it has not
    required_file   its presence says that a reboot is required ("/run/reboot-required", as on Debian)
    scheduled_file  its presence says that somebody has a shutdown scheduled ("/run/systemd/shutdown/scheduled")
    checks          commands that must all end with 0 before the node counts as well, before as after the reboot:
                    [["systemctl", "is-active", "redis-server"], ["redis-cli", "ping"]]

What was asked of the machine is not taken back: nobody can know whether that came in time. A machine that was asked
and did not go down may do so at any moment, so its attempt ends unsafe, with its slot kept, for a person to look at.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from taskerman import Check, CommandFailed, Go, Recovered, Refuse, Skip, TaskRunner, Wait

__all__ = ["Reboot"]

CHECK_TIMEOUT = timedelta(seconds=20)
KNOWN = ("reboot", "required_file", "scheduled_file", "checks")


class Reboot(TaskRunner):
    """Asks once, waits to be killed, and is asked after the reboot how the node is."""

    class Args(BaseModel):
        """`only_if_required`: skip a node that does not say that it needs one. `reason`: for the attempt's log."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        only_if_required: bool = False
        reason: str = Field(default="", max_length=500)

    args: Args
    reboots = True
    description = "reboots the node's machine"

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when the node works and nobody else is about to shut it down; note which boot this is."""
        if wrong := self._misconfigured():
            return Refuse(f"this node's configuration for instance_task: {wrong}")
        self.ctx.save(boot_id=self.ctx.boot_id, asked=False)
        required = self._path("required_file", "/run/reboot-required")
        if self.args.only_if_required and not required.exists():
            return Skip(f"no reboot is required ({required} is absent)")
        scheduled = self._path("scheduled_file", "/run/systemd/shutdown/scheduled")
        if scheduled.exists():
            return Wait(f"somebody has a shutdown scheduled ({scheduled})")
        ill = self._ill()
        return Wait(f"the node is not well before its reboot: {ill}") if ill else Go()

    def execute_action(self) -> None:
        """Ask for the reboot; then there is nothing left to do but to be killed by it, or by the timeout."""
        self.ctx.log("reboots the machine", reason=self.args.reason)
        self.ctx.save(asked=True)  # before it is: who cannot say whether it was asked must take it that it was
        try:
            self.ctx.command(self._words("reboot", ["systemctl", "reboot"]))
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
        for words in self._checks():
            try:
                self.ctx.command(words, timeout=CHECK_TIMEOUT)
            except CommandFailed as failed:
                return str(failed)
        return ""

    # --- the node's configuration ------------------------------------------------------------------------

    def _misconfigured(self) -> str:
        unknown = sorted(set(self.ctx.settings) - set(KNOWN))
        if unknown:
            return f"{', '.join(unknown)}: unknown; known are {', '.join(KNOWN)}"
        try:
            self._words("reboot", ["systemctl", "reboot"])
            self._checks()
        except ValueError as error:
            return str(error)
        return ""

    def _path(self, key: str, default: str) -> Path:
        return Path(str(self.ctx.settings.get(key, default)))

    def _words(self, key: str, default: list[str]) -> list[str]:
        return _command(key, self.ctx.settings.get(key, list[JsonValue](default)))

    def _checks(self) -> list[list[str]]:
        checks = self.ctx.settings.get("checks", [])
        if not isinstance(checks, list):
            raise ValueError(f"checks is {checks!r:.100}, not a list of commands")
        return [_command("each of checks", words) for words in checks]


def _command(key: str, words: JsonValue) -> list[str]:
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{key} is {words!r:.100}, not a list of words")
    return [str(word) for word in words]
