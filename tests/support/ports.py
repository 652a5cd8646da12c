"""Ports on loopback for servers of tests: of nobody else, also while the server is down for a moment.

They lie outside the range from which the system takes ports for outgoing connections, and each stays this process's
until its end, by a lock that every process of the machine's tests looks at: asking for a free port and binding it later
is a race that two workers lose now and then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

__all__ = ["free_ports"]

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_HIGHEST = 49_152
_kept: list[int] = []


def free_ports(count: int) -> list[int]:
    """So many. Raises RuntimeError when there are not enough."""
    outgoing = 32768
    if _RANGE.exists():
        outgoing = int(_RANGE.read_text().split()[0])
    candidates = list(range(_LOWEST, min(outgoing, _HIGHEST)))
    random.Random(os.urandom(8)).shuffle(candidates)
    folder = Path(tempfile.gettempdir()) / f"taskerman-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    free: list[int] = []
    for port in candidates:
        if _keep(folder / str(port)) and _nobody_listens(port):
            free.append(port)
        if len(free) == count:
            return free
    raise RuntimeError(f"fewer than {count} free ports on 127.0.0.1")


def _keep(file: Path) -> bool:
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return False
    _kept.append(handle)
    return True


def _nobody_listens(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
