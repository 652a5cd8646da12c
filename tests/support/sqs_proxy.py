"""A proxy in front of a local SQS that makes its bad days: for daemons that are processes and cannot be wrapped.

It forwards every request as it is, for all services, and does harm where its `Harm` says so. SQS requests are known by
their header `X-Amz-Target: AmazonSQS.<operation>`. A local cloud never doubles a message, never refuses for a moment
and never loses an answer; SQS promises none of that.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

__all__ = ["Harm", "SqsProxy", "running_proxy"]

UPSTREAM_TIMEOUT_S = 60.0
SENDS = frozenset({"SendMessage", "SendMessageBatch"})
THROTTLED = b"""<?xml version="1.0"?><Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Not now: a fault
of this test.</Message></Error></Errors><RequestID>none</RequestID></Response>"""
DELETES = frozenset({"DeleteMessage", "DeleteMessageBatch"})
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


@dataclass
class Harm:
    """What goes wrong; a test changes it at any time, and it holds from the next request on.

    `copies`: how often each send is forwarded. `refuse`, `swallow`: the share (0 to 1) of SQS requests that are
    answered "not now" without being forwarded, or forwarded while the answer is lost and the connection cut.
    `refuse_next`, `swallow_next`: the same for the next so many. `only`: the operations that these concern; empty =
    all. `refuse_with`: status and code of a refusal; by default half of them are throttling and half 503.
    `stall_after`: so many more of the requests in `only` are forwarded; those that follow are neither forwarded nor
    answered until it is None again, and then their connections are cut. `delay_most_s`: each message that is sent
    arrives later by up to so many seconds, so messages overtake each other. `forget`: the share of deletes that are
    answered well and not done. `again`: the share of receives whose messages are lent to the next one who asks, too.
    `refuse_others`: the share of requests to other services (EC2) that are
    throttled. `dice`: seeded, so that a failure can be seen again.
    """

    copies: int = 1
    refuse: float = 0.0
    swallow: float = 0.0
    refuse_next: int = 0
    swallow_next: int = 0
    only: frozenset[str] = frozenset()
    refuse_with: tuple[int, str] | None = None
    stall_after: int | None = None
    delay_most_s: int = 0
    forget: float = 0.0
    again: float = 0.0
    refuse_others: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(1))


class SqsProxy:
    """A running proxy. `url`: where it listens. `harm`: see `Harm`."""

    def __init__(self, upstream: str, address: str = "127.0.0.1") -> None:
        """`upstream`: the URL of the local cloud. `address`: to listen at."""
        parts = urlsplit(upstream)
        assert parts.hostname is not None
        assert parts.port is not None
        self.harm = Harm()
        self.seen: Counter[str] = Counter()
        """Requests by operation, forwarded or not; those of other services under their path."""
        self.harmed: Counter[str] = Counter()
        """Requests by what was done to them: "copied", "refused", "swallowed", "stalled", "delayed", "forgotten",
        "lent again"."""
        self._upstream = (parts.hostname, parts.port)
        self._lock = threading.Lock()
        self._address = address
        self._server = _Server((address, 0), self)

    @property
    def url(self) -> str:
        """For AWS_ENDPOINT_URL."""
        return f"http://{self._address}:{self._server.server_address[1]}"

    def serve(self) -> None:
        """Forward until `close`; on a thread of its own."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Take no more requests. Those under way end by themselves."""
        self._server.shutdown()
        self._server.server_close()

    def verdict(self, operation: str) -> str:
        """What to do with this request: "" (forward it), "refused", "swallowed" or "stalled"."""
        with self._lock:
            harm = self.harm
            self.seen[operation] += 1
            if not operation[:1].isupper() or (harm.only and operation not in harm.only):
                return ""
            verdict = ""
            if harm.stall_after == 0:
                verdict = "stalled"
            elif harm.refuse_next > 0:
                harm.refuse_next -= 1
                verdict = "refused"
            elif harm.swallow_next > 0:
                harm.swallow_next -= 1
                verdict = "swallowed"
            else:
                drawn = harm.dice.random()
                if drawn < harm.refuse:
                    verdict = "refused"
                elif drawn < harm.refuse + harm.swallow:
                    verdict = "swallowed"
            if harm.stall_after and not verdict:
                harm.stall_after -= 1
            if verdict:
                self.harmed[verdict] += 1
            return verdict

    def copies(self, operation: str) -> int:
        """How often to forward this request."""
        with self._lock:
            copies = self.harm.copies if operation in SENDS else 1
            self.harmed["copied"] += copies - 1
            return copies

    def refusal(self) -> tuple[int, str]:
        """Status and code of the next refusal. SQS calls throttling the client's fault."""
        with self._lock:
            either = (403, "RequestThrottled") if self.harm.dice.random() < 0.5 else (503, "ServiceUnavailable")
            return self.harm.refuse_with or either

    def happens(self, what: str, share: float) -> bool:
        """Throw the dice for something that happens to a share of the requests; counted when it does."""
        with self._lock:
            hit = share > 0 and self.harm.dice.random() < share
            self.harmed[what] += hit
            return hit

    def late(self, operation: str, body: bytes) -> bytes:
        """The request, its messages delayed."""
        with self._lock:
            most = self.harm.delay_most_s if operation in SENDS else 0
            if most == 0:
                return body
            request = json.loads(body)
            for entry in request.get("Entries", [request]):
                entry["DelaySeconds"] = self.harm.dice.randint(0, most)
            self.harmed["delayed"] += 1
            return json.dumps(request).encode()

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> _Answer:
        """Ask the local cloud."""
        connection = http.client.HTTPConnection(*self._upstream, timeout=UPSTREAM_TIMEOUT_S)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return _Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a long poll under way does not hold up the end of a test
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], proxy: SqsProxy) -> None:
        self.proxy = proxy
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed, or a cloud that has ended, in mid-request: the client's to notice."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        proxy = self.server.proxy
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:  # its sender died in the middle of it: nobody would take half a request for one
            self.close_connection = True
            return
        operation = self.headers.get("X-Amz-Target", self.path).removeprefix("AmazonSQS.")
        if not operation[:1].isupper() and proxy.happens("refused to others", proxy.harm.refuse_others):
            self._answer(_Answer(503, [("Content-Type", "text/xml")], THROTTLED))
            return
        verdict = proxy.verdict(operation)
        if verdict == "refused":
            self._answer(_refusal(*proxy.refusal()))
            return
        if verdict == "stalled":
            while proxy.harm.stall_after is not None:
                time.sleep(0.01)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if operation in DELETES and proxy.happens("forgotten", proxy.harm.forget):
            entries = json.loads(body).get("Entries", [])
            done = {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []} if entries else {}
            self._answer(_Answer(200, [("Content-Type", "application/x-amz-json-1.0")], json.dumps(done).encode()))
            return
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in ("connection", "content-length")
        }
        body = proxy.late(operation, body)
        for _ in range(proxy.copies(operation)):
            answer = proxy.forward(self.command, self.path, headers, body)
        if verdict == "swallowed":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if operation == "ReceiveMessage" and proxy.happens("lent again", proxy.harm.again):
            self._lend_again(headers, body, answer)
        self._answer(answer)

    do_GET = do_POST  # noqa: N815 - the name that http.server calls

    def _lend_again(self, headers: dict[str, str], body: bytes, answer: _Answer) -> None:
        queue = json.loads(body)["QueueUrl"]
        told = {name: value for name, value in headers.items() if name.lower() != "x-amz-target"}
        told["X-Amz-Target"] = "AmazonSQS.ChangeMessageVisibility"
        for message in json.loads(answer.body or b"{}").get("Messages", []):
            change = {"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 1}
            self.server.proxy.forward("POST", self.path, told, json.dumps(change).encode())

    def _answer(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Say nothing: `SqsProxy.seen` counts."""


def _refusal(status: int, code: str) -> _Answer:
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "Not now: a fault of this test."})
    return _Answer(status, [("Content-Type", "application/x-amz-json-1.0")], body.encode())


@contextmanager
def running_proxy(upstream: str, address: str = "127.0.0.1") -> Iterator[SqsProxy]:
    """A proxy in front of `upstream` until the block ends. `address`: where it listens."""
    proxy = SqsProxy(upstream, address)
    thread = threading.Thread(target=proxy.serve, name="sqs-proxy", daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(timeout=10)
