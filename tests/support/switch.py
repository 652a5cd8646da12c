"""A timer that plays systemd's transient one: what it starts is nobody's child, and goes on whoever dies.

    python switch.py arm FOLDER NAME SECONDS ARGV...
    python switch.py disarm FOLDER NAME

Of the standard library alone. FOLDER/NAME has the number of the waiting process; it is gone when the time has come.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def arm(place: Path, seconds: float, argv: list[str]) -> None:
    if os.fork():
        os.wait()  # the one in between
        return
    os.setsid()
    child = os.fork()
    if child:
        place.write_text(str(child))  # before whoever asked goes on
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    time.sleep(seconds)
    place.unlink(missing_ok=True)
    os.execvp(argv[0], argv)


def disarm(place: Path) -> None:
    if place.exists():
        os.kill(int(place.read_text()), signal.SIGKILL)
        place.unlink(missing_ok=True)


if __name__ == "__main__":
    verb, folder, name, *rest = sys.argv[1:]
    if verb == "arm":
        arm(Path(folder, name), float(rest[0]), rest[1:])
    else:
        disarm(Path(folder, name))
