"""The dead man's switch: a timer that is nobody's child of ours, and undoes a fault when nothing of ours does.

What an action starts is killed with it, so it cannot keep a process for this. Systemd can: a transient timer of its
own. It is armed before the fault is done, and its time is longer than the fault's: normally it finds nothing to do.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import sys
from datetime import timedelta
from pathlib import Path

from runners.fault.config import FaultConfig
from taskerman import CommandFailed, Context

__all__ = ["GRACE_S", "arm", "disarm", "missing"]

GRACE_S = 5.0
"""How much later than the fault's own end it comes."""
ASK_TIMEOUT = timedelta(seconds=20)
SYSTEMD = Path("/run/systemd/system")
"""There when systemd is the machine's first process: sd_booted(3)."""


def missing(config: FaultConfig) -> str:
    """Why no switch can be armed on this machine, in words; "" when it can."""
    program = config.switch.arm[0]
    if shutil.which(program) is None:
        return f"no such program: {program}"
    if program == "systemd-run" and not SYSTEMD.exists():
        return "systemd does not run this machine"
    return ""


def arm(config: FaultConfig, ctx: Context, fault: str, after_s: float) -> None:
    """Have the fault undone in `after_s` seconds. Raises `CommandFailed`; then nothing may be begun."""
    undo = [sys.executable, "-I", "-m", "runners.fault.undo", config.state_folder, fault]
    ctx.command([*_words(config.switch.arm, fault, after_s), *undo], timeout=ASK_TIMEOUT)


def disarm(config: FaultConfig, ctx: Context, fault: str) -> None:
    """It is undone. A switch that goes off all the same finds nothing, so this may fail."""
    try:
        ctx.command(_words(config.switch.disarm, fault, 0), timeout=ASK_TIMEOUT)
    except CommandFailed as failed:
        ctx.log("the switch could not be disarmed; it will find nothing to undo", why=str(failed))


def _words(command: tuple[str, ...], fault: str, after_s: float) -> list[str]:
    # A unit's name has few characters and few of them; a fault's has a task's and a node's.
    name = f"taskerman-fault-{hashlib.sha256(fault.encode()).hexdigest()[:16]}"
    return [word.replace("{name}", name).replace("{seconds}", str(math.ceil(after_s))) for word in command]
