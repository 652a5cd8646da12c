"""What the agent asks the machine it runs on: which boot this is, how long it has been up, who a process is."""

from __future__ import annotations

from pathlib import Path

from taskerman.child.clocks import boottime
from taskerman.child.kin import process_start

__all__ = ["boot_id", "boottime", "process_start"]


def boot_id(path: str = "/proc/sys/kernel/random/boot_id") -> str:
    """The id that the kernel drew at this boot. A changed one means that the machine was rebooted.

    Raises `OSError` when it cannot be read: not to know is not to be the same.
    """
    return Path(path).read_text(encoding="ascii").strip()
