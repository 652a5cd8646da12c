"""Throwaway ZooKeeper servers on loopback: for the demo, the tests and the benchmarks.

Data lives in a temporary folder and dies with the server; the process dies with the thread that started it, even when
that is killed. It refuses to be a production server: it syncs nothing to disk unless told, and listens on 127.0.0.1.
The server program is found, not shipped: Debian's `zookeeper` package, or a class path that the caller knows.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from taskerman.errors import CoordinationUnavailable, UsageError

__all__ = ["ZookeeperEnsemble", "ZookeeperServer", "find_classpath", "mode_of"]

_JAR_FOLDERS = (Path("/usr/share/java"), Path("/usr/share/zookeeper"))
_READY_S = 30.0
_POLL_S = 0.02
_NOT_OUTGOING = (10_000, 32_768)
"""Linux draws the ports of outgoing connections from 32768 on, other systems from 49152 on."""


def find_classpath() -> str | None:
    """The class path of Debian's ZooKeeper, or None where it or java is not installed. Idempotent, starts nothing."""
    found = [
        next((folder / jar for folder in _JAR_FOLDERS if (folder / jar).exists()), None)
        for jar in ("zookeeper.jar", "slf4j-simple.jar")
    ]
    if shutil.which("java") is None or found[0] is None:
        return None
    return os.pathsep.join(str(jar) for jar in found if jar is not None)


def mode_of(port: int) -> str | None:
    """`standalone`, `leader` or `follower` as the server on 127.0.0.1:`port` says itself; None while it does not serve.

    An open port is not a serving server: clients that connected too early stalled for ten seconds.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as wire:
            wire.sendall(b"srvr")
            answer = b"".join(iter(lambda: wire.recv(4096), b"")).decode()
    except OSError:
        return None
    return next((line.removeprefix("Mode: ") for line in answer.splitlines() if line.startswith("Mode: ")), None)


class ZookeeperServer:
    """One server process with its own data. A context manager: serving inside, gone outside."""

    def __init__(
        self,
        *,
        classpath: str | None = None,
        durable: bool = False,
        tick_ms: int = 500,
        port: int | None = None,
        member: tuple[int, tuple[str, ...]] | None = None,
        extra: tuple[str, ...] = (),
    ) -> None:
        """Not started yet.

        `classpath`: of the server program, kept under that name; found when None. `durable`: sync every write to disk,
        as production does. `tick_ms`: sessions may last from 2 to 20 ticks. `port`: of clients; a free one when None.
        `member`: its id in an ensemble and the ensemble's `server.N=` lines. `extra`: more lines of its configuration.

        Raises `UsageError` when there is no server program on this machine.
        """
        found = classpath or find_classpath()
        java = shutil.which("java")
        if found is None or java is None:
            raise UsageError(
                "There is no ZooKeeper server on this machine (java and zookeeper.jar).",
                next_step="Install it: `apt-get install zookeeper`.",
            )
        self.classpath, self._java = found, java
        self._durable, self._tick_ms, self._member, self._extra = durable, tick_ms, member, extra
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="taskerman-zookeeper-")

    @property
    def hosts(self) -> str:
        """What a client connects to: `127.0.0.1:<port>`."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id, while there is one."""
        return None if self._process is None else self._process.pid

    @property
    def data(self) -> Path:
        """Where its data is, below `version-2`; to be touched only while it does not run."""
        return Path(self._folder.name)

    @property
    def log(self) -> str:
        """What the server has said so far."""
        path = Path(self._folder.name, "log")
        return path.read_text(errors="replace") if path.exists() else ""

    def launch(self) -> None:
        """Start the process, with the data that is there, and do not wait. Idempotent."""
        if self._process is not None:
            return
        folder = Path(self._folder.name)
        (folder / "zoo.cfg").write_text(self._configuration(folder))
        if self._member is not None:
            (folder / "myid").write_text(str(self._member[0]))
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_dies_with_parent(), *self._command(folder)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_until_serving(self, timeout_s: float = _READY_S) -> None:
        """Wait until it answers clients. Raises `CoordinationUnavailable` with the end of its log."""
        deadline = time.monotonic() + timeout_s
        while mode_of(self.port) is None:
            dead = self._process is None or self._process.poll() is not None
            if dead or time.monotonic() > deadline:
                what = "ended" if dead else f"did not serve within {timeout_s:.0f} s"
                raise CoordinationUnavailable(f"The throwaway ZooKeeper on {self.hosts} {what}:\n{self.log[-2000:]}")
            time.sleep(_POLL_S)

    def start(self) -> None:
        """`launch` and `wait_until_serving`. Idempotent; after `kill` or `stop` it comes back with its data."""
        self.launch()
        self.wait_until_serving()

    def kill(self) -> None:
        """End it without warning (SIGKILL); its data stays. Idempotent."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order (SIGTERM); its data stays. Idempotent."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop its clock, not its connections (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its data. Idempotent."""
        self.kill()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _command(self, folder: Path) -> list[str]:
        return [
            self._java,
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dzookeeper.forceSync={'yes' if self._durable else 'no'}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            self.classpath,
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(folder / "zoo.cfg"),
        ]

    def _configuration(self, folder: Path) -> str:
        lines = [
            f"dataDir={folder}",
            f"tickTime={self._tick_ms}",
            "minSessionTimeout=1000",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            "extendedTypesEnabled=true",
        ]
        if self._member is None:
            lines += ["clientPortAddress=127.0.0.1", f"clientPort={self.port}"]
        else:
            lines += ["initLimit=20", "syncLimit=10", "standaloneEnabled=false", *self._member[1]]
        return "\n".join([*lines, *self._extra]) + "\n"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._signal(signal.SIGCONT)
            self._signal(number)
        self._process.wait()
        self._process = None


class ZookeeperEnsemble:
    """Several servers with one state, each to be killed, frozen and started alone. A context manager."""

    def __init__(self, size: int = 3, *, classpath: str | None = None, durable: bool = False) -> None:
        """Not started yet. `size`: an odd number of members. Raises `UsageError` like `ZookeeperServer`."""
        ports = [(free_port(), free_port(), free_port()) for _ in range(size)]
        lines = tuple(
            f"server.{number}=127.0.0.1:{quorum}:{election};127.0.0.1:{client}"
            for number, (quorum, election, client) in enumerate(ports, start=1)
        )
        self.members = tuple(
            ZookeeperServer(classpath=classpath, durable=durable, port=client, member=(number, lines))
            for number, (_, _, client) in enumerate(ports, start=1)
        )

    @property
    def hosts(self) -> str:
        """What a client connects to: all members, separated by commas."""
        return ",".join(member.hosts for member in self.members)

    @property
    def leader(self) -> ZookeeperServer | None:
        """The member that says that it leads, or None while none does."""
        return next((member for member in self.members if mode_of(member.port) == "leader"), None)

    def start(self) -> None:
        """Start every member and wait until all of them serve. Idempotent."""
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_until_serving()

    def close(self) -> None:
        """Kill all and remove their data. Idempotent."""
        for member in self.members:
            member.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now; somebody may a moment later. It is none that the system gives to
    outgoing connections, which are too many to be lucky with."""
    for port in random.sample(range(*_NOT_OUTGOING), 1000):
        with socket.socket() as wire, suppress(OSError):
            wire.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port of 127.0.0.1 is free")


def _dies_with_parent() -> list[str]:
    """util-linux' setpriv sets the death signal and becomes the command: no code of ours between fork and exec."""
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "KILL"]
