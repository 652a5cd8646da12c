"""One server process under a small supervisor that plays systemd. A script of the standard library alone.

A restart asked of systemd is done by systemd: the server is no descendant of whoever asked, goes on when the asker
dies, and must not die with a process group. So does it here. One supervisor per server, started by the test harness:

    python supervisor.py serve SPEC.json       runs until its standard input closes; then nothing is left
    python supervisor.py ask SOCKET VERB       what a node's configuration names as its restart command

Verbs: `restart`, `start`, `stop`, `kill` (as kill -9; stays down); `break` (from now on starts fail), `repair` (starts
work again; starts nothing); `status`. An answer begins with "ok" or "failed"; `ask` exits 0 or 1 by it.

Each stop and start is one line in a file shared by all nodes: {"node", "event": "down" | "up", "pid", "at"}, `at` being
CLOCK_MONOTONIC. "down" is written before the server is told to stop, or when it was found dead, and "up" after it
was ready: so the lines never make an outage look shorter than it was asked to be.

It refuses to restart anything by itself: a server that died stays dead until somebody asks.
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

LOOK_S = 0.02

LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """In the new child: a supervisor that is killed takes its server with it."""
    os.setsid()
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Supervisor:
    """A subclass says what is special about its kind of server.

    `spec`: node, socket, events, folder, log; argv (runs the server in the foreground), env, user (None: our own);
    ready (an argv that ends with 0 when the server serves), stop_signal, stop_within_s, start_within_s."""

    def __init__(self, spec: dict) -> None:
        self.spec = spec
        self.node: str = spec["node"]
        self.folder = Path(spec["folder"])
        self.server: subprocess.Popen[bytes] | None = None
        self.broken = False

    # --- the server ---------------------------------------------------------------------------------------

    def argv(self) -> list[str]:
        return ["false"] if self.broken else list(self.spec["argv"])

    def start(self) -> str:
        if self.server is not None:
            return f"ok already up, pid {self.server.pid}"
        log = Path(self.spec["log"])
        with log.open("ab") as output:
            self.server = subprocess.Popen(
                self.argv(),
                cwd=self.folder,
                env={**os.environ, **self.spec.get("env", {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=self.spec.get("user"),
                preexec_fn=_die_with_parent,  # noqa: PLW1509  (this process has one thread)
            )
        within = float(self.spec.get("start_within_s", 30))
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            code = self.server.poll()
            if code is not None:
                self.server = None
                tail = log.read_text(errors="replace").strip().splitlines()[-3:]
                return f"failed {self.node} exited with {code}: {' / '.join(tail)}"
            if self.ready():
                self._write("up", self.server.pid)
                return f"ok up, pid {self.server.pid}"
            time.sleep(LOOK_S)
        self.server.kill()
        self.server.wait()
        self.server = None
        return f"failed {self.node} was not ready within {within:.0f} s"

    def stop(self, how: int | None = None) -> str:
        if self.server is None:
            return "ok already down"
        server = self.server
        self._write("down", server.pid)
        server.send_signal(how or int(self.spec.get("stop_signal", signal.SIGTERM)))
        try:
            server.wait(float(self.spec.get("stop_within_s", 30)))
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        self.server = None
        return f"ok down, was pid {server.pid}"

    def bury(self) -> None:
        """Take note of a server that died unasked."""
        if self.server is not None and self.server.poll() is not None:
            self._write("down", self.server.pid)
            self.server = None

    def ready(self) -> bool:
        asked = subprocess.run(
            self.spec["ready"], stdin=subprocess.DEVNULL, capture_output=True, user=self.spec.get("user"), check=False
        )
        return asked.returncode == 0

    # --- verbs --------------------------------------------------------------------------------------------

    def perform(self, verb: str) -> str:
        self.bury()
        match verb:
            case "start":
                return self.start()
            case "stop":
                return self.stop()
            case "kill":
                return self.stop(signal.SIGKILL)
            case "restart":
                self.stop()
                return self.start()
            case "break":
                self.broken = True
                return "ok starts fail from now on"
            case "repair":
                self.broken = False
                return "ok starts work again"
            case "status":
                return f"ok up, pid {self.server.pid}" if self.server else "ok down"
            case _:
                return f"failed no such verb: {verb}"

    def _write(self, event: str, pid: int) -> None:
        line = json.dumps({"node": self.node, "event": event, "pid": pid, "at": time.monotonic()}) + "\n"
        with open(self.spec["events"], "a", encoding="utf-8") as events:  # one short write: whole or not at all
            events.write(line)

    # --- the loop -----------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer verbs, one after another, until standard input closes: the harness ended, however it ended."""
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(self.spec["socket"])
            door.listen()
            print(self.start(), flush=True)
            while True:
                ready, _, _ = select.select([sys.stdin, door], [], [], LOOK_S)
                self.bury()
                if sys.stdin in ready:
                    break
                if door in ready:
                    caller, _ = door.accept()
                    with caller:
                        self._answer(caller)
        if self.server is not None:
            self.server.kill()
            self.server.wait()

    def _answer(self, caller: socket.socket) -> None:
        caller.settimeout(5)
        try:
            verb = caller.recv(64).decode().strip()
            caller.sendall(self.perform(verb).encode() + b"\n")
        except OSError:  # whoever asked is gone; what was asked is done all the same, as with systemd
            return


def ask(socket_path: str, verb: str, timeout_s: float = 90.0) -> str:
    """The supervisor's answer. Raises OSError when there is no supervisor, or it is silent for `timeout_s`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(socket_path)
        connection.sendall(verb.encode() + b"\n")
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
        return answer.decode().strip()


def main(argv: list[str], kind: type[Supervisor] = Supervisor) -> int:
    match argv:
        case ["serve", spec]:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's; it closes our standard input
            kind(json.loads(Path(spec).read_text(encoding="utf-8"))).serve()
            return 0
        case ["ask", socket_path, verb]:
            answer = ask(socket_path, verb)
            print(answer)
            return 0 if answer.startswith("ok") else 1
        case _:
            print(__doc__)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
