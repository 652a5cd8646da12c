"""An etcd cluster of three on loopback, and clients that speak its HTTP gateway."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import free_ports
from tests.support.services import require
from tests.support.stores.member import Member, start_together

__all__ = ["EtcdStore", "call", "running_etcd"]

REQUEST_WITHIN_S = 2.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(url: str, path: str, timeout_s: float = 5.0, token: str = "", **body: Any) -> dict[str, Any]:
    """One request to the gateway. Raises OSError."""
    headers = {"Authorization": token} if token else {}
    request = urllib.request.Request(url + path, data=json.dumps(body).encode(), headers=headers, method="POST")
    with _OPENER.open(request, timeout=timeout_s) as answer:
        return json.loads(answer.read())


def text(value: str) -> str:
    """As keys and values travel."""
    return base64.b64encode(value.encode()).decode()


class EtcdStore:
    """`members`: of the cluster. `urls`: of their clients, by name."""

    kind = "etcd"

    def __init__(self, size: int = 3, *, quota_bytes: int = 0) -> None:
        """Starts them. `quota_bytes`: of the database; 0: etcd's own. Raises RuntimeError."""
        self.folder = Path(tempfile.mkdtemp(prefix="etcd-"))
        self.events = self.folder / "events"
        self.events.touch()
        names = [f"etcd-{number}" for number in range(1, size + 1)]
        ports = free_ports(2 * size)
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)}
        peers = {name: f"http://127.0.0.1:{port}" for name, port in zip(names, ports[size:], strict=True)}
        cluster = ",".join(f"{name}={url}" for name, url in peers.items())
        self.members: Sequence[Member] = [self._member(name, peers[name], cluster, quota_bytes) for name in names]
        start_together(self.members, self.close)

    def _member(self, name: str, peer: str, cluster: str, quota_bytes: int) -> Member:
        place = self.folder / name
        place.mkdir()
        url = self.urls[name]
        port = url.rpartition(":")[2]
        argv = ["etcd", "--name", name, "--data-dir", str(place / "data"), "--initial-cluster", cluster]
        argv += ["--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer]
        argv += ["--initial-advertise-peer-urls", peer, "--initial-cluster-state", "new", "--log-level", "warn"]
        argv += ["--quota-backend-bytes", str(quota_bytes)]
        asks = "GET /health HTTP/1.0\\r\\n\\r\\n"
        ready = f"exec 3<>/dev/tcp/127.0.0.1/{port} && printf '{asks}' >&3 && grep -q '\"health\":\"true\"' <&3"
        return Member(name, place, argv, ["bash", "-c", ready], self.events)

    def settings(self, member: Member) -> Mapping[str, Any]:
        """Of the member's node."""
        return {
            "endpoint": self.urls[member.name],
            "name": member.name,
            "endpoints": [url for name, url in self.urls.items() if name != member.name],
            "restart": member.command_line("restart"),
            "timeout_s": 5.0,
        }

    def status(self, member: Member) -> dict[str, Any]:
        """As the member says it. Raises OSError."""
        return call(self.urls[member.name], "/v3/maintenance/status")

    def leader(self) -> Member:
        """As the members that answer see it. Raises AssertionError while they do not agree."""
        seen: dict[str, Member] = {}
        leaders = set()
        for member in self.members:
            try:
                said = self.status(member)
            except OSError:
                continue
            seen[said["header"]["member_id"]] = member
            leaders.add(said.get("leader"))
        assert len(leaders) == 1, f"they see {leaders}"
        return seen[str(leaders.pop())]

    def client(self) -> Callable[[], None]:
        """Writes a number and reads it again, on whatever member answers, as a balancing client does."""
        urls = list(self.urls.values())
        key = text(f"load-{secrets.token_hex(8)}")
        written = 0

        def request() -> None:
            nonlocal written
            written += 1
            give_up_at = time.monotonic() + REQUEST_WITHIN_S
            while True:
                left = max(give_up_at - time.monotonic(), 0.05)
                try:
                    call(urls[0], "/v3/kv/put", min(left, 1.0), key=key, value=text(str(written)))
                    (found,) = call(urls[0], "/v3/kv/range", min(left, 1.0), key=key)["kvs"]
                    assert base64.b64decode(found["value"]) == str(written).encode()
                    return
                except OSError:
                    if time.monotonic() >= give_up_at:
                        raise
                    urls.append(urls.pop(0))

        return request

    def wait_until_well(self) -> None:
        """Back when all have one leader and applied what it has."""
        deadline = time.monotonic() + 60
        while True:
            try:
                said = [self.status(member) for member in self.members]
                if len({(each["leader"], each["raftIndex"], each["raftAppliedIndex"]) for each in said}) == 1:
                    return
                why = str(said)
            except (OSError, KeyError) as error:
                why = repr(error)
            assert time.monotonic() < deadline, f"not well: {why}"
            time.sleep(0.05)

    def close(self) -> None:
        """End all, and remove their data."""
        for member in self.members:
            member.close()
        shutil.rmtree(self.folder)


@contextmanager
def running_etcd(**options: Any) -> Iterator[EtcdStore]:
    """A well cluster until the block ends. `options`: of `EtcdStore`."""
    require("etcd")
    store = EtcdStore(**options)
    try:
        store.wait_until_well()
        yield store
    finally:
        store.close()
