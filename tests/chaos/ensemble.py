"""Three ZooKeepers, each on a host of its own, each to be killed, frozen, cut off and brought back.

Their transaction logs stay: the order of everything that was ever committed is read from them afterwards.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from taskerman.testing.zookeeper_server import free_port
from tests.chaos.ground import Ground, Host
from tests.support.services import java, zookeeper_classpath

__all__ = ["Ensemble", "Member"]

_READY_S = 60.0


class Member:
    """One server. `address`: host:port for clients."""

    def __init__(self, host: Host, port: int, folder: Path, number: int, servers: tuple[str, ...]) -> None:
        self.host, self.folder, self.number = host, folder, number
        self.address = f"{host.address}:{port}"
        self._port, self._servers = port, servers
        self._process: subprocess.Popen[bytes] | None = None
        # A process that dies with its parent dies with the thread that started it: that one must live as long.
        self._launcher = ThreadPoolExecutor(max_workers=1)

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start it with the data that is there. Idempotent."""
        if self.runs:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = [
            f"dataDir={self.folder}",
            "tickTime=500",
            "minSessionTimeout=1000",
            "maxClientCnxns=0",
            "initLimit=40",
            "syncLimit=10",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            "extendedTypesEnabled=true",
            "standaloneEnabled=false",
            *self._servers,
        ]
        (self.folder / "zoo.cfg").write_text("\n".join(settings) + "\n")
        (self.folder / "myid").write_text(str(self.number))
        with (self.folder / "log").open("ab") as log:
            self._process = self._launcher.submit(
                subprocess.Popen,
                [
                    *(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []),
                    *self.host.prefix,
                    java(),
                    "-Xmx192m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                    "-Dzookeeper.forceSync=no",
                    "-Dzookeeper.preAllocSize=1024",
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    "-cp",
                    zookeeper_classpath(),
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    str(self.folder / "zoo.cfg"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            ).result()

    def signal(self, number: signal.Signals) -> None:
        """Nothing happens when it does not run."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; its data stays. Idempotent."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def mode(self) -> str:
        """`leader`, `follower`; empty while it does not serve."""
        host, _, port = self.address.partition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=1) as wire:
                wire.sendall(b"srvr")
                answer = b"".join(iter(lambda: wire.recv(4096), b"")).decode()
        except OSError:
            return ""
        return next((line.removeprefix("Mode: ") for line in answer.splitlines() if line.startswith("Mode: ")), "")


class Ensemble:
    """The three. `hosts`: what a client connects to."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        places = [ground.host(f"zk{number}") for number in (1, 2, 3)]
        ports = [(2888, 3888, 2181) if ground.has_networks else (free_port(), free_port(), free_port()) for _ in places]
        servers = tuple(
            f"server.{number}={host.address}:{quorum}:{election};{host.address}:{client}"
            for number, (host, (quorum, election, client)) in enumerate(zip(places, ports, strict=True), start=1)
        )
        self.members = tuple(
            Member(host, port[2], folder / f"zookeeper-{number}", number, servers)
            for number, (host, port) in enumerate(zip(places, ports, strict=True), start=1)
        )

    @property
    def hosts(self) -> str:
        return ",".join(member.address for member in self.members)

    def whole(self) -> bool:
        """Whether each of them serves."""
        return all(member.mode() for member in self.members)

    def start(self) -> None:
        """All of them; back when each serves."""
        for member in self.members:
            member.launch()
        deadline = time.monotonic() + _READY_S
        while not self.whole():
            assert time.monotonic() < deadline, "the ensemble does not serve: " + " ".join(
                f"{member.number}={member.mode() or (member.folder / 'log').read_text()[-500:]}"
                for member in self.members
            )
            time.sleep(0.05)

    def close(self) -> None:
        """Kill all. Their folders stay."""
        for member in self.members:
            member.kill()

    def logs(self) -> tuple[tuple[Path, ...], ...]:
        """The files of the transaction log of each member."""
        return tuple(tuple(sorted((member.folder / "version-2").glob("log.*"))) for member in self.members)
