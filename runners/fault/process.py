"""Finding processes, and meaning these very ones: a number comes again, a number with its start time does not.

Never found: the first process, the kernel's own, and whoever looks with all its ancestors: the agent is among them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["find", "itself", "same", "send", "state"]

Process = tuple[int, int]
"""Its number, and when it began, in clock ticks since the boot."""


def find(target: Mapping[str, Any]) -> tuple[Process, ...]:
    """Who `target` means now: by its `pid_file`, its `pid_command`, or a `pattern` of command lines."""
    spared = {1, *_lineage(os.getpid())}
    if target.get("pid_file"):
        try:
            words = Path(str(target["pid_file"])).read_text().split()
        except FileNotFoundError:
            words = []
    elif target.get("pid_command"):
        done = subprocess.run(list(target["pid_command"]), check=False, capture_output=True, text=True, timeout=20)
        words = done.stdout.split() if done.returncode == 0 else []
    else:
        pattern = re.compile(str(target["pattern"]))
        words = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and _matches(entry, pattern)]
    numbers = sorted(int(word) for word in words if word.isdigit() and int(word) > 0)
    known = [(number, _began(number)) for number in numbers if number not in spared]
    return tuple((number, began) for number, began in known if began is not None)


def itself() -> Process:
    """Whoever asks."""
    began = _began(os.getpid())
    assert began is not None
    return os.getpid(), began


def same(process: Sequence[int]) -> bool:
    """Whether it still is: this very one, and not dead."""
    return _began(process[0]) == process[1]


def state(process: Sequence[int]) -> str:
    """The kernel's letter for what it does ("T": it is stopped); "" when it is no more."""
    stat = _stat(process[0])
    return stat[0] if stat is not None and int(stat[19]) == process[1] else ""


def send(process: Sequence[int], signum: int) -> bool:
    """Signal this very one; False when it is no more. Raises `PermissionError`."""
    try:
        handle = os.pidfd_open(process[0])
    except ProcessLookupError:
        return False
    try:
        # The handle holds whoever has the number now; it is looked at after that, so it cannot change any more.
        if not same(process):
            return False
        signal.pidfd_send_signal(handle, signum)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def _lineage(pid: int) -> list[int]:
    found = []
    while pid > 1:
        found.append(pid)
        stat = _stat(pid)
        pid = 0 if stat is None else int(stat[1])
    return found


def _matches(entry: Path, pattern: re.Pattern[str]) -> bool:
    try:
        line = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return bool(line) and pattern.search(line) is not None


def _began(pid: int) -> int | None:
    stat = _stat(pid)
    return None if stat is None or stat[0] in ("Z", "X") else int(stat[19])


def _stat(pid: int) -> list[str] | None:
    """proc_pid_stat(5), from the state on."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rsplit(") ", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
