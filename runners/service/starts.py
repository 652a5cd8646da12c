"""Which start of a service runs now: what tells, after a crash, whether a restart happened.

"It is well" says nothing of that. A number of a process alone says little either, because numbers come again: so it
goes with the time at which the process began.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from runners.service.config import Service
from taskerman import Context

__all__ = ["NoService", "running_start"]

ASK_TIMEOUT = timedelta(seconds=10)
PROPERTIES = "LoadState,ActiveState,MainPID,ExecMainStartTimestampMonotonic,InvocationID"


class NoService(Exception):
    """There is no such service on this machine."""


def running_start(service: Service, ctx: Context) -> str | None:
    """What identifies the start that runs; None while it does not run.

    Raises `NoService`, and `CommandFailed` when systemd cannot be asked.
    """
    if service.identity is not None:
        answer = ctx.command(service.identity, timeout=ASK_TIMEOUT, check=False)
        return (answer.output.strip() or None) if answer.exit == 0 else None
    if service.identity_file is not None:
        return _content(Path(service.identity_file))
    if service.pid_file is not None:
        return _process(_content(Path(service.pid_file)))
    assert service.unit is not None
    return _unit(service.unit, ctx)


def _unit(unit: str, ctx: Context) -> str | None:
    answer = ctx.command(["systemctl", "show", f"--property={PROPERTIES}", unit], timeout=ASK_TIMEOUT)
    said = dict(line.split("=", 1) for line in answer.output.splitlines() if "=" in line)
    load = said.get("LoadState", "")
    if load != "loaded":
        # systemctl ends with 0 for a unit that is not there, too.
        raise NoService(f"systemd has no unit {unit} to work with: it is {load or 'unknown'}")
    if said.get("ActiveState") not in ("active", "reloading"):
        return None
    return "/".join(said.get(name, "") for name in PROPERTIES.split(",")[2:])


def _content(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()[:1000] or None
    except FileNotFoundError:
        return None


def _process(pid: str | None) -> str | None:
    """`pid` with its start time, in clock ticks since the boot; None when there is no such process, or it is dead."""
    if pid is None or not pid.isdigit():
        return None
    try:
        state, *rest = Path("/proc", pid, "stat").read_text().rsplit(") ", 1)[1].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in ("Z", "X") else f"{pid}/{rest[18]}/{boot}"
