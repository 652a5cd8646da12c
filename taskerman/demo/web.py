"""One node of the demo's cluster: a process that serves HTTP and says at /health who it is and how it feels.

A script of the standard library alone: `python web.py PORT [ill]`. Like a datastore it is up before it is well: it
warms up for some moments, in which it answers 503. Started ill it answers 500 for ever. It prints "listening" when it
listens, and dies at once when it is told to.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WARM_UP_S = 0.7
STARTED = time.time()
WELL_AT = time.monotonic() + WARM_UP_S
ILL = "ill" in sys.argv[2:]


class Health(BaseHTTPRequestHandler):
    """Answers GET /health, on connections that are kept."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer

    def do_GET(self) -> None:
        """200 well, 503 warming up, 500 ill; always with pid and start time."""
        if self.path != "/health":
            self._answer(404, {"status": "there is only /health"})
        elif ILL:
            self._answer(500, {"status": "ill: its data directory cannot be read"})
        elif time.monotonic() < WELL_AT:
            self._answer(503, {"status": "warming up"})
        else:
            self._answer(200, {"status": "well"})

    def _answer(self, code: int, said: dict[str, str]) -> None:
        body = json.dumps({**said, "pid": os.getpid(), "started": STARTED}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class names it so)
        """Fifty requests a second are nobody's reading."""


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Health)
    print("listening", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
