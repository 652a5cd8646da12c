"""A ZooKeeper ensemble of three that is maintained: not the one in which Taskerman keeps its records."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry

from taskerman.testing.zookeeper_server import mode_of
from tests.support.ports import free_ports
from tests.support.services import java, require, zookeeper_classpath
from tests.support.stores.member import Member, start_together

__all__ = ["ZookeeperStore", "running_zookeeper"]

REQUEST_WITHIN_S = 2.0


class ZookeeperStore:
    """`members`: of the ensemble. `ports`: of their clients, by name. `data`: their folders."""

    kind = "zookeeper"

    def __init__(self, size: int = 3, *, snap_count: int = 100_000, whitelist: str = "srvr,mntr,conf") -> None:
        """Starts them. `snap_count`: transactions between two snapshots. Raises RuntimeError."""
        self.folder = Path(tempfile.mkdtemp(prefix="zk-"))
        self.events = self.folder / "events"
        self.events.touch()
        drawn = iter(free_ports(3 * size))
        ports = list(zip(drawn, drawn, drawn, strict=True))
        lines = [
            f"server.{number}=127.0.0.1:{quorum}:{election};127.0.0.1:{client}"
            for number, (quorum, election, client) in enumerate(ports, start=1)
        ]
        self.ports = {f"zk-{number}": client for number, (_, _, client) in enumerate(ports, start=1)}
        self.lines = (f"snapCount={snap_count}", f"4lw.commands.whitelist={whitelist}", *lines)
        self.members: Sequence[Member] = [
            self._member(number, client) for number, (_, _, client) in enumerate(ports, start=1)
        ]
        self._clients: list[KazooClient] = []
        start_together(self.members, self.close)

    def _member(self, number: int, port: int) -> Member:
        name = f"zk-{number}"
        place = self.folder / name
        place.mkdir()
        (place / "myid").write_text(str(number))
        return Member(
            name,
            place,
            server_argv(place, self.lines),
            ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port} && printf srvr >&3 && grep -q Mode: <&3"],
            self.events,
        )

    def settings(self, member: Member) -> Mapping[str, Any]:
        """Of the member's node: its fellows it has from `conf` while it is up, and from here while it is not."""
        return {
            "port": self.ports[member.name],
            "peers": [f"127.0.0.1:{port}" for name, port in self.ports.items() if name != member.name],
            "restart": member.command_line("restart"),
            "timeout_s": 5.0,
        }

    def leader(self) -> Member:
        """Raises AssertionError while none leads."""
        found = [member for member in self.members if mode_of(self.ports[member.name]) == "leader"]
        assert len(found) == 1, f"{len(found)} members lead"
        return found[0]

    def kazoo(self, only: Member | None = None) -> KazooClient:
        """A connected client, closed with the store. `only`: of that member, and of no other."""
        ports = self.ports.values() if only is None else [self.ports[only.name]]
        client = KazooClient(
            hosts=",".join(f"127.0.0.1:{port}" for port in ports),
            timeout=8.0,
            connection_retry=KazooRetry(max_tries=-1, delay=0.02, backoff=2, max_delay=0.2),
        )
        self._clients.append(client)
        client.start(timeout=30)
        return client

    def client(self) -> Callable[[], None]:
        """Writes a number and reads it again, on whatever member answers."""
        client = self.kazoo()
        path = f"/load-{secrets.token_hex(8)}"
        with suppress(NodeExistsError):
            client.create(path, b"0")
        written = 0

        def request() -> None:
            nonlocal written
            written += 1
            give_up_at = time.monotonic() + REQUEST_WITHIN_S
            while True:
                left = give_up_at - time.monotonic()
                try:
                    client.set_async(path, str(written).encode()).get(timeout=max(left, 0.01))
                    found = client.get_async(path).get(timeout=max(left, 0.01))[0]
                    assert int(found) == written, f"wrote {written} and read {found!r}"
                    return
                except (KazooException, KazooTimeoutError):
                    if time.monotonic() >= give_up_at:
                        raise
                    time.sleep(0.02)

        return request

    def wait_until_well(self) -> None:
        """Back when all serve and one of them leads."""
        deadline = time.monotonic() + 60
        while True:
            modes = {member.name: mode_of(self.ports[member.name]) for member in self.members}
            if sorted(map(str, modes.values())) == ["follower"] * (len(modes) - 1) + ["leader"]:
                return
            assert time.monotonic() < deadline, f"not well: {modes}"
            time.sleep(0.05)

    def close(self) -> None:
        """End clients and servers; remove their data."""
        for client in self._clients:
            client.stop()
            client.close()
        for member in self.members:
            member.close()
        shutil.rmtree(self.folder)


def server_argv(place: Path, lines: Sequence[str]) -> list[str]:
    """The command of a server with its data in `place`. `lines`: of its configuration, besides."""
    own = [
        f"dataDir={place}",
        "tickTime=500",
        "initLimit=20",
        "syncLimit=10",
        "minSessionTimeout=1000",
        "maxClientCnxns=0",
        "admin.enableServer=false",
        "standaloneEnabled=false",
        "extendedTypesEnabled=true",
    ]
    config = place / "zoo.cfg"
    config.write_text("\n".join([*own, *lines]) + "\n")
    return [
        java(),
        "-Xmx192m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dzookeeper.forceSync=no",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        zookeeper_classpath(),
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        str(config),
    ]


@contextmanager
def running_zookeeper(**options: Any) -> Iterator[ZookeeperStore]:
    """A well ensemble until the block ends. `options`: of `ZookeeperStore`."""
    require("zookeeper")
    store = ZookeeperStore(**options)
    try:
        store.wait_until_well()
        yield store
    finally:
        store.close()
