"""`python -m taskerman.child SPEC.json --report-fd N`: commands on standard input, reports on descriptor N.

Started by the agent. By hand, `--report-fd 1` shows the reports on the terminal.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from taskerman.child import ABORT_SIGNAL
from taskerman.child.hand import adopt_orphans
from taskerman.child.keeper import Keeper

DEAF_TO = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR2)


def main(arguments: list[str]) -> int:
    """Keep the attempt of `SPEC.json --report-fd N` to its end."""
    if len(arguments) != 3 or arguments[1] != "--report-fd":
        sys.stderr.write("usage: python -m taskerman.child SPEC.json --report-fd N\n")
        return 2
    for signum in (*DEAF_TO, ABORT_SIGNAL, signal.SIGCHLD):
        signal.signal(signum, _stay)
    with open(arguments[0], encoding="utf-8") as file:
        spec = json.load(file)
    adopt_orphans()
    Keeper(spec, 0, int(arguments[2])).keep()
    return 0


def _stay(signum: int, frame: object) -> None:
    """A signal that would end others only wakes the loop, which reads its number from the pipe."""


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    # Everything is on disk and nobody is left: taking the interpreter apart would only keep the slot waiting.
    os._exit(code)
