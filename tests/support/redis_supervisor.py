"""One Redis process under a small supervisor that plays systemd. A script of the standard library alone.

A restart asked of systemd is done by systemd: the server is no descendant of whoever asked, goes on when the asker
dies, and must not die with a process group. So does it here. One supervisor per server, started by the test harness:

    python redis_supervisor.py serve SPEC.json       runs until its standard input closes; then nothing is left
    python redis_supervisor.py ask SOCKET VERB       what a node's configuration names as its restart command

Verbs: `restart`, `start`, `stop`; `break` (from now on starts fail), `isolate` (from the next start on the server looks
well and its peers cannot reach it), `repair` (starts work again; starts nothing); `status`. An answer begins with "ok"
or "failed"; `ask` exits 0 or 1 by it.

Each stop and start is one line in a file shared by all nodes: {"node", "event": "down" | "up", "pid", "at"}, `at` being
CLOCK_MONOTONIC. "down" is written before the server is told to stop, or when it was found dead, and "up" after it
answered PING: so the lines never make an outage look shorter than it was asked to be.

It refuses to restart anything by itself: a server that died stays dead until somebody asks.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

TERM_TO_KILL_S = 15.0
START_DEADLINE_S = 15.0
LOOK_S = 0.02
BLACK_HOLE_PORT = 1  # nobody listens there
NEVER_MS = 24 * 3600 * 1000

LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """In the new child: a supervisor that is killed takes its server with it."""
    os.setsid()
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Supervisor:
    """`spec`: node, socket, events, folder, port, spare_port, argv (runs the server in the foreground)."""

    def __init__(self, spec: dict) -> None:
        self.node: str = spec["node"]
        self.socket_path: str = spec["socket"]
        self.events: str = spec["events"]
        self.folder = Path(spec["folder"])
        self.port: int = spec["port"]
        self.argv: list[str] = spec["argv"]
        self.spare_port: int = spec["spare_port"]  # where an isolated one listens for peers that do not know of it
        self.server: subprocess.Popen[bytes] | None = None
        self.broken = False
        self.isolated = False
        self.true_bus_ports: dict[int, int] = {}  # by a peer's port, while isolated

    # --- the server ---------------------------------------------------------------------------------------

    def start(self) -> str:
        if self.server is not None:
            return f"ok already up, pid {self.server.pid}"
        argv = list(self.argv)
        if self.broken:
            argv += ["--maxmemory-policy", "broken-on-purpose"]
        if self.isolated:
            argv += ["--cluster-port", str(self.spare_port), "--cluster-node-timeout", str(NEVER_MS)]
            self._point_peers_at(None)
        log = self.folder / "redis.log"
        with log.open("ab") as output:
            self.server = subprocess.Popen(
                argv,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  (this process has one thread)
            )
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            code = self.server.poll()
            if code is not None:
                self.server = None
                tail = log.read_text(errors="replace").strip().splitlines()[-3:]
                return f"failed {self.node} exited with {code}: {' / '.join(tail)}"
            if self._answers():
                self._write("up", self.server.pid)
                return f"ok up, pid {self.server.pid}"
            time.sleep(LOOK_S / 4)
        self.server.kill()
        self.server.wait()
        self.server = None
        return f"failed {self.node} did not answer PING within {START_DEADLINE_S:.0f} s"

    def stop(self) -> str:
        if self.server is None:
            return "ok already down"
        server = self.server
        self._write("down", server.pid)
        server.terminate()
        try:
            server.wait(TERM_TO_KILL_S)
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

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    # --- verbs --------------------------------------------------------------------------------------------

    def perform(self, verb: str) -> str:
        self.bury()
        match verb:
            case "start":
                return self.start()
            case "stop":
                return self.stop()
            case "restart":
                self.stop()
                return self.start()
            case "break":
                self.broken = True
                return "ok starts fail from now on"
            case "isolate":
                self.isolated = True
                return "ok isolated from the next start on"
            case "repair":
                return self._repair()
            case "status":
                return f"ok up, pid {self.server.pid}" if self.server else "ok down"
            case _:
                return f"failed no such verb: {verb}"

    def _repair(self) -> str:
        self.broken = False
        if self.isolated and self.server is not None:
            return f"failed {self.node} runs isolated; stop it first: it would write its view of its peers again"
        if self.isolated:
            self._point_peers_at(self.true_bus_ports)
            self.isolated = False
        return "ok starts work again"

    def _point_peers_at(self, bus_ports: dict[int, int] | None) -> None:
        """Rewrite where this server believes its peers' cluster bus to be: None = nowhere. Only while it is down.

        Replication and clients use the other port, so a server that cannot gossip still looks well to whoever asks it.
        """

        def moved(found: re.Match[str]) -> str:
            port, bus_port = int(found[1]), int(found[2])
            if bus_ports is None and bus_port != BLACK_HOLE_PORT:
                self.true_bus_ports[port] = bus_port
            return f":{port}@{BLACK_HOLE_PORT if bus_ports is None else bus_ports[port]}"

        path = self.folder / "nodes.conf"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(x if "myself" in x else re.sub(r":(\d+)@(\d+)", moved, x, count=1) for x in lines))

    def _write(self, event: str, pid: int) -> None:
        line = json.dumps({"node": self.node, "event": event, "pid": pid, "at": time.monotonic()}) + "\n"
        with open(self.events, "a", encoding="utf-8") as events:  # one write of one short line: whole or not at all
            events.write(line)

    # --- the loop -----------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer verbs, one after another, until standard input closes: the harness ended, however it ended."""
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(self.socket_path)
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


def ask(socket_path: str, verb: str, timeout_s: float = 60.0) -> str:
    """The supervisor's answer. Raises OSError when there is no supervisor, or it is silent for `timeout_s`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(socket_path)
        connection.sendall(verb.encode() + b"\n")
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
        return answer.decode().strip()


def main(argv: list[str]) -> int:
    match argv:
        case ["serve", spec]:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's; it closes our standard input
            Supervisor(json.loads(Path(spec).read_text(encoding="utf-8"))).serve()
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
