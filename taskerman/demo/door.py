"""The demo's own process: it holds the terminal's Ctrl-C and one end of a pipe, and nothing else.

When this process ends, for whatever reason, the pipe closes, and the warden at its other end leaves nothing behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

__all__ = ["main"]

INTERRUPTED = 130
SHOW_CURSOR = "\x1b[?25h"


def main(*, embedded: bool = False) -> int:
    """Play the demo, on standard output; returns its exit code.

    0: everything that it claims was so. 1: something was not, and the last line says what. 130: interrupted.
    `embedded`: coordinate in memory even where a ZooKeeper could be started.
    """
    ends, ours = os.pipe()
    warden = subprocess.Popen(
        [sys.executable, "-P", "-m", "taskerman.demo.warden", *(["embedded"] if embedded else [])],
        stdin=ends,
        start_new_session=True,
    )
    os.close(ends)
    open_end = [ours]

    def stop(number: int, frame: FrameType | None) -> None:
        if open_end:
            os.close(open_end.pop())

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        code = warden.wait()
    finally:
        stop(0, None)
        for number, handler in before.items():
            signal.signal(number, handler)
        if sys.stdout.isatty():
            sys.stdout.write(SHOW_CURSOR)
            sys.stdout.flush()
    if code == INTERRUPTED:
        print("\nInterrupted. Nothing of the demo is left.")
    return code
