"""`instance_task:patch`: upgrades the machine's packages, and reboots it when they say that it must.

An upgrade can be begun again: one that was broken off is finished by the next. So it is repeated when nobody knows how
far it came. A reboot that was asked for is not taken back.
"""

from __future__ import annotations

import fcntl
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runners.instance.rebooting import Rebooting
from taskerman import Check, CommandFailed, Recovered, Refuse, Wait

__all__ = ["Patch"]

MIB = 1024 * 1024
_ENV = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "a", "LC_ALL": "C.UTF-8"}


class Patch(Rebooting):
    """Upgrades, and then reboots or not."""

    class Args(BaseModel):
        """Of an upgrade."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        reboot: Literal["when_required", "never"] = Field(
            default="when_required", description="whether to reboot where `required_file` is there after the upgrade"
        )
        reason: str = Field(default="", max_length=500, description="for the attempt's log")

    args: Args
    description = "upgrades the machine's packages, and reboots it when that is required"
    soft = timedelta(hours=1)

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when nobody else installs anything, there is room, and the node works."""
        self.note_boot()
        # Before it is so: any reboot from here on is taken for the action's own, unless this says otherwise.
        self.ctx.save(stage="upgrading")
        if (program := shutil.which(self.config.upgrade[0])) is None:
            return Refuse(f"{self.config.upgrade[0]} is not on this machine; set `upgrade` in its configuration")
        self.ctx.log("upgrades with", program=program)
        if busy := self._busy():
            return Wait(f"somebody else installs packages ({busy} is locked)")
        for place in self.config.room_in:
            free = shutil.disk_usage(place).free // MIB if Path(place).exists() else None
            if free is not None and free < self.config.room_mb:
                return Refuse(f"{free} MiB are free in {place}, less than room_mb ({self.config.room_mb}): make room")
        return self.may_reboot()

    def execute_action(self) -> None:
        """Finish what was broken off, upgrade, and ask for the reboot if it is required."""
        self.ctx.log("patches the machine", reason=self.args.reason)
        for words in (self.config.finish, self.config.refresh, self.config.upgrade):
            if words:
                self.ctx.command(words, env=_ENV)
        self.ctx.save(stage="upgraded")
        required = Path(self.config.required_file)
        if self.args.reboot == "never" or not required.exists():
            self.ctx.log("no reboot", required=required.exists())
            return
        self.ask_for_reboot()

    def post_check(self) -> Check:
        """Well when nothing is half installed and the node works, in another boot if one was asked for."""
        if self.ctx.saved.get("stage") == "upgrading":
            finish = f"finish it ({' '.join(self.config.finish)}), and redrive the task" if self.config.finish else ""
            if self.rebooted:
                return Refuse(f"the machine rebooted in the middle of the upgrade, and not because of it; {finish}")
            if half := self._half_installed():
                return Refuse(f"packages are half installed, because the upgrade was broken off: {half}; {finish}")
        return super().post_check()

    def recover(self) -> Recovered:
        """By how far it came: an upgrade that did not end was not done."""
        if self.ctx.saved.get("asked"):
            return super().recover()
        required = Path(self.config.required_file)
        done = self.ctx.saved.get("stage") == "upgraded" and (self.args.reboot == "never" or not required.exists())
        return Recovered.DONE if done else Recovered.NOT_DONE

    # --- looking -----------------------------------------------------------------------------------------

    def _half_installed(self) -> str:
        """What `audit` says; empty when nothing is, or nobody is asked."""
        if not self.config.audit:
            return ""
        try:
            said = self.ctx.command(self.config.audit, timeout=timedelta(seconds=20), env=_ENV).output.strip()
        except CommandFailed as failed:
            return str(failed)
        return said.splitlines()[0][:200] if said else ""

    def _busy(self) -> str:
        """The lock file that another process holds; empty when none does."""
        for name in self.config.lock_files:
            try:
                with open(name, "rb+") as file:
                    try:
                        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except OSError:
                        return name
                    fcntl.lockf(file, fcntl.LOCK_UN)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.ctx.log("cannot look at a lock", file=name, why=str(error))
        return ""
