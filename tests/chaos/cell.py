"""A cell: namespaces of one's own for network, mounts and processes, so that nothing of a run outlives it.

Whatever ends the run (its end, Ctrl-C, SIGKILL), the kernel then ends every process in the cell and forgets its
networks and mounts. Its first process, this module, does nothing but make the network, reap orphans and wait.
Needs root; where cells cannot be made, `open_cell` says so and the run goes on without, and without the faults that
need one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

__all__ = ["BRIDGE", "IN_A_CELL", "NETWORK", "can_make_cells", "open_cell"]

IN_A_CELL = "TASKERMAN_TEST_CELL"
NETWORK = "10.77.0"
BRIDGE = "br0"
_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")


def can_make_cells() -> bool:
    """Whether this machine lets us; tries it."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        return False
    tried = subprocess.run(
        [*_UNSHARE, "ip", "link", "add", BRIDGE, "type", "bridge"], check=False, capture_output=True, timeout=20
    )
    return tried.returncode == 0


def open_cell(argv: Sequence[str]) -> int:
    """Run `argv` in a cell of its own, and return how it ended."""
    inside = [sys.executable, "-m", "tests.chaos.cell", *argv]
    outside = subprocess.Popen([*_UNSHARE, *inside], env={**os.environ, IN_A_CELL: "1"})

    def pass_on(number: int, _: FrameType | None) -> None:
        outside.send_signal(number)

    # A terminal's Ctrl-C reaches the run by itself; whoever kills only us, as a test does, is passed on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, pass_on)
    return outside.wait()


def _first_process(argv: Sequence[str]) -> int:
    for line in (
        "ip link set lo up",
        f"ip link add {BRIDGE} type bridge",
        f"ip addr add {NETWORK}.1/24 dev {BRIDGE}",
        f"ip link set {BRIDGE} up",
        "mount -t tmpfs -o mode=755 none /run",  # where `ip netns` keeps names: not the machine's
        "mkdir /run/netns",
    ):
        subprocess.run(line.split(), check=True)
    run = subprocess.Popen(argv)
    signal.signal(signal.SIGINT, lambda number, _: run.send_signal(number))
    signal.signal(signal.SIGTERM, lambda number, _: run.send_signal(number))
    while True:
        pid, status = os.wait()
        if pid == run.pid:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_first_process(sys.argv[1:]))
