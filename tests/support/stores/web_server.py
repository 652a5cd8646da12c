"""A small HTTP service for tests of `service_task`: a script of the standard library alone.

    python web_server.py FOLDER NAME PORT PEERS_JSON

`/health`: 200, or 503 while FOLDER/ill exists. `/work`: what clients ask for. `/peers/NAME`: "up" or "down", as this
one sees that one. FOLDER/pid: its number. SIGHUP: one more in FOLDER/generation, unless FOLDER/fragile exists: then it
dies of it. SIGTERM: it takes no more connections and ends what is open.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

SLOW_START_S = 0.3


class Service(http.server.ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, folder: Path, name: str, port: int, peers: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.folder, self.name, self.peers = folder, name, peers


class Handler(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        match self.path.split("/")[1:]:
            case ["health"]:
                ill = (self.server.folder / "ill").exists()
                self._say(503 if ill else 200, "ill" if ill else f"ok {self.server.name}")
            case ["work"]:
                self._say(200, self.server.name)
            case ["peers", name]:
                self._say(200, "up" if self._sees(name) else "down")
            case ["moved"]:
                self.send_response(302)
                self.send_header("Location", "/health")
                self.end_headers()
            case ["trickle"]:
                self._trickle()
            case _:
                self._say(404, "no such page")

    def _sees(self, name: str) -> bool:
        if (self.server.folder / f"blind-to-{name}").exists() or name not in self.server.peers:
            return False
        try:
            with socket.create_connection(("127.0.0.1", self.server.peers[name]), timeout=1):
                return True
        except OSError:
            return False

    def _trickle(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            try:
                self.wfile.write(b".")
            except OSError:
                return
            time.sleep(0.1)

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode() + b"\n")

    def log_message(self, *words: object) -> None:
        return


def main(folder: Path, name: str, port: int, peers: dict[str, int]) -> None:
    time.sleep(SLOW_START_S)
    service = Service(folder, name, port, peers)

    def reload(signum: int, frame: object) -> None:
        if (folder / "fragile").exists():
            os._exit(1)
        at = folder / "generation"
        at.write_text(str(int(at.read_text() or 0) + 1))

    signal.signal(signal.SIGHUP, reload)
    signal.signal(signal.SIGTERM, lambda signum, frame: threading.Thread(target=service.shutdown).start())
    (folder / "generation").touch()
    (folder / "pid").write_text(str(os.getpid()))
    service.serve_forever(0.02)
    service.server_close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
