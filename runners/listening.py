"""Which start of a server listens on a port of this machine, as the kernel knows it.

A server's own uptime may begin anew without a start (ZooKeeper's does with each election), so whoever must say whether
a restart happened X
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["start_of"]

_LISTENS = "0A"


def start_of(port: int, boot_id: str, *, proc: Path = Path("/proc")) -> str | None:
    """A text that is another one after each start of whoever listens on `port`; None when nobody does, or it is not
    ours to know."""
    inodes = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not inodes:
        return None
    for process in proc.iterdir():
        if process.name.isdigit() and _holds(process, inodes):
            began = _began(process)
            return None if began is None else f"{boot_id}/{process.name}/{began}"
    return None


def _inodes(port: int, proc: Path) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 9 and words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                found.add(words[9])
    return found


def _holds(process: Path, inodes: set[str]) -> bool:
    try:
        names = os.listdir(process / "fd")
    except OSError:
        return False  # ended in between, or not ours to look at
    return any(_link(process / "fd" / name) in inodes for name in names)


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # it was closed in between


def _began(process: Path) -> str | None:
    """In ticks since the machine came up: with the id of the boot and the pid, no two starts have the same."""
    try:
        return (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
