"""What systemd is on a real node: the parent of one service, which restarts it when it is asked to.

A script of the standard library alone. A service must not be a child of the action that restarts it: what an action
leaves behind is killed. So the node's configuration names a command that asks, and this process does it.

    python supervisor.py serve FOLDER      runs the service until standard input closes; then nothing is left
    python supervisor.py ask FOLDER VERB   restart | status; exits 0 or 1 by the answer, which it prints

`serve` prints one JSON line when the service listens: its port, which stays the same over restarts. While FOLDER has
a file `ill`, the service is started ill: it listens, and answers 500. It restarts nothing unasked.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PAUSE_S = 1.0  # between stop and start, so that a person can see it
ANSWER_WITHIN_S = 30.0
WEB = Path(__file__).with_name("web.py")
DOOR = "door"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """In a new child: the kernel kills it when the thread that made it is gone."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Supervisor:
    """One service and the folder that it lives in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service: subprocess.Popen[bytes] | None = None
        # Bound and never listening: nobody else gets the port while the service is down, and callers are refused.
        self.place = socket.socket()
        self.place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.place.bind(("127.0.0.1", 0))
        self.port = int(self.place.getsockname()[1])

    def start(self) -> str:
        """Start the service and wait until it listens, which is not yet: until it is well."""
        ill = ["ill"] if (self.folder / "ill").exists() else []
        with (self.folder / "service.log").open("ab") as log:
            self.service = subprocess.Popen(
                [sys.executable, "-I", "-S", str(WEB), str(self.port), *ill],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509  (this process has one thread)
            )
        assert self.service.stdout is not None
        with self.service.stdout as said:
            if said.readline().strip() == b"listening":
                return f"ok: started, pid {self.service.pid}"
        return f"failed: the service ended with {self.service.wait()}"

    def stop(self) -> None:
        """End the service and wait until it has ended."""
        if self.service is not None:
            self.service.terminate()
            self.service.wait()
            self.service = None

    def perform(self, verb: str) -> str:
        """Do what a caller asks for; the answer begins with ok or failed."""
        match verb:
            case "restart":
                self.stop()
                time.sleep(PAUSE_S)
                return self.start()
            case "status":
                running = self.service is not None and self.service.poll() is None
                return f"ok: pid {self.service.pid}" if running and self.service else "failed: not running"
            case _:
                return f"failed: {verb!r} is not a verb"

    def serve(self) -> None:
        """Answer callers, one after another, until standard input closes."""
        with socket.socket(socket.AF_UNIX) as door:
            os.chdir(self.folder)  # a socket's path may have 107 characters, and a folder's more
            door.bind(DOOR)
            door.listen()
            said = self.start()
            print(json.dumps({"port": self.port, "said": said}), flush=True)
            while True:
                ready, _, _ = select.select([sys.stdin, door], [], [])
                if sys.stdin in ready:
                    break
                caller, _ = door.accept()
                with caller:
                    self.answer(caller)
        if self.service is not None:
            self.service.kill()
            self.service.wait()

    def answer(self, caller: socket.socket) -> None:
        """One caller. What was asked is done even if the caller goes away meanwhile, as with systemd."""
        caller.settimeout(5)
        try:
            verb = caller.recv(64).decode().strip()
            caller.sendall(self.perform(verb).encode() + b"\n")
        except OSError:
            return


def ask(folder: Path, verb: str) -> str:
    """The supervisor's answer. Raises `OSError` when there is none."""
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_WITHIN_S)
        connection.connect(DOOR)
        connection.sendall(verb.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode().strip()


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    match argv:
        case ["serve", folder]:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            Supervisor(Path(folder)).serve()
            return 0
        case ["ask", folder, verb]:
            answer = ask(Path(folder), verb)
            print(answer)
            return 0 if answer.startswith("ok") else 1
        case _:
            print(__doc__)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
