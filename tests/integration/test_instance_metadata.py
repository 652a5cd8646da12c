"""Who this machine is: asked of its metadata service over HTTP, with a token, and never guessed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from taskerman.adapters.instance_metadata import InstanceMetadata
from taskerman.errors import Ec2Unavailable, UsageError

KNOWN = {
    "/latest/meta-data/instance-id": "i-0abc",
    "/latest/meta-data/tags/instance/taskerman:cluster": "redis:sessions",
}


class _Service(BaseHTTPRequestHandler):
    """Metadata as EC2 serves it: no token, no answer."""

    failures = 0

    def do_PUT(self) -> None:
        if type(self).failures:
            type(self).failures -= 1
            return self._say(503, "")
        return self._say(200, "token-1" if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else "")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "token-1":
            return self._say(401, "")
        return self._say(200 if self.path in KNOWN else 404, KNOWN.get(self.path, ""))

    def _say(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    _Service.failures = 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_instance_is_told_its_id_and_its_cluster(endpoint: str) -> None:
    """With a token, as version 2 of the service demands."""
    metadata = InstanceMetadata(endpoint=endpoint)
    assert metadata.instance_id() == "i-0abc"
    assert metadata.tag("taskerman:cluster") == "redis:sessions"


def test_a_missing_tag_is_said_at_once(endpoint: str) -> None:
    """A definite no is not retried for a minute, and names the way out."""
    with pytest.raises(UsageError, match="TASKERMAN_CLUSTERS"):
        InstanceMetadata(endpoint=endpoint).tag("other")


def test_a_service_that_wakes_up_late_is_waited_for(endpoint: str) -> None:
    """A machine that has just booted does not know itself yet."""
    _Service.failures = 1
    assert InstanceMetadata(endpoint=endpoint).instance_id() == "i-0abc"


def test_nobody_answers_and_nothing_is_guessed() -> None:
    """Off EC2 the id must be set: the host name is never taken for it."""
    nobody = InstanceMetadata(endpoint="http://127.0.0.1:9", patience=timedelta(0))
    with pytest.raises(Ec2Unavailable, match="TASKERMAN_NODE_ID"):
        nobody.instance_id()
