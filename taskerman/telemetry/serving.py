"""Where metrics can be read: at `/metrics` of a daemon that stays, or in a file that another program serves.

Reading metrics must never stop the work: an address that is taken or a folder that is full is told, and that is all.
Whoever reaches the address reads: there are no secrets in metrics, and no rights are asked for.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from prometheus_client import CollectorRegistry, generate_latest, write_to_textfile
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from taskerman.model.event import Event, Listener

__all__ = ["serving", "write"]

_PATIENCE_S = 10.0


@contextmanager
def serving(registry: CollectorRegistry, address: tuple[str, int], emit: Listener) -> Iterator[None]:
    """Answer `GET /metrics` at `address` (host, port; port 0: any free one) for as long as the block lasts.

    Emits `metrics_served` with the port, or `metrics_not_served`; the block goes on all the same.
    """
    handler = type("Handler", (_Answering,), {"registry": registry})
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        server = type("Server", (_Server,), {"address_family": family})(address, handler)
    except OSError as error:
        emit(Event("metrics_not_served", {"address": _shown(address), "why": str(error)}, "error"))
        yield
        return
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.5}, name="metrics", daemon=True)
    thread.start()
    emit(Event("metrics_served", {"address": _shown((address[0], server.server_address[1]))}))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write(registry: CollectorRegistry, path: Path, emit: Listener) -> None:
    """Leave the metrics in `path`, whole or not at all, for node_exporter's textfile collector.

    Emits `metrics_not_written` when that cannot be.
    """
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        emit(Event("metrics_not_written", {"path": str(path), "why": str(error)}, "error"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a reader who does not read must not keep a daemon from ending
    request_queue_size = 16

    def server_bind(self) -> None:
        """Without the look-up of our own name, which the base class does and which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Who asks for metrics and goes away is nobody's concern; the base class would print a traceback."""


class _Answering(BaseHTTPRequestHandler):
    """One request a connection; `timeout` ends a connection that says nothing."""

    registry: ClassVar[CollectorRegistry]
    timeout = _PATIENCE_S
    server_version = "taskerman"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "There is /metrics")
            return
        body = generate_latest(self.registry)
        with suppress(OSError):  # whoever asked has left
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Nobody wants a line for each scrape."""


def _shown(address: tuple[str | bytes | bytearray, int]) -> str:
    host, port = address
    text = host if isinstance(host, str) else bytes(host).decode()
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
