"""The process in which the demo is played, below the warden. Starts at once what takes long to start.

Its exit code is the demo's: 0 when everything that it claims was so, 1 when something was not, and then its last line
says what.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from taskerman.demo.claims import NotSo
from taskerman.demo.crew import Crew
from taskerman.demo.screen import Screen
from taskerman.errors import TaskermanError
from taskerman.testing.zookeeper_server import ZookeeperServer, find_classpath

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """`argv`: the folder for everything, and perhaps `embedded`."""
    signal.signal(signal.SIGTERM, _leave)
    folder = Path(argv[0])
    screen = Screen()
    screen.title("Taskerman: a cluster of six, restarted node by node under its limit")
    try:
        crew = Crew(folder)
        crew.start("local-aws", [sys.executable, "-P", "-m", "taskerman.demo.local_aws"], says=True)
        zookeeper, why = _zookeeper(embedded="embedded" in argv[1:])
        from taskerman.demo.play import Ground, play  # noqa: PLC0415  (seconds of imports, while cloud and JVM start)

        last = play(Ground(folder, crew, screen, zookeeper, why))
    except (NotSo, TaskermanError) as error:
        screen.gap()
        screen.say(f"What every process said is in {folder}.", "dim")
        screen.say(f"NOT SO: {' '.join(str(error).split())}", "bold red")
        return 1
    screen.gap()
    screen.say(last, "dim")
    return 0


def _zookeeper(*, embedded: bool) -> tuple[ZookeeperServer | None, str]:
    """A server that is starting; or none, and why."""
    if embedded:
        return None, "as asked for"
    if find_classpath() is None:
        return None, "no java or no zookeeper.jar on this machine; `apt-get install zookeeper` brings both"
    server = ZookeeperServer()
    server.launch()
    return server, ""


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(130)  # the terminal is left as it was found


def _perform() -> int:
    try:
        return main(sys.argv[1:])
    except SystemExit as left:
        return int(left.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1


if __name__ == "__main__":
    code = _perform()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads of the embedded way wait in long polls; nobody needs to wait for them
