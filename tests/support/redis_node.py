"""One Redis of a test's cluster: how to ask it, and how to have its supervisor stop, start and break it.

It knows nothing of its peers; what a cluster is stands in redis_cluster.py.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support import redis_supervisor

__all__ = ["SUPERVISOR", "RedisNode"]

SUPERVISOR = Path(redis_supervisor.__file__)

Reply = str | int | None | list["Reply"]


@dataclass(frozen=True, slots=True)
class RedisNode:
    """One server and the handles on its supervisor. `id` is its name within the cluster (40 hex digits)."""

    name: str
    zone: str
    host: str
    port: int
    bus_port: int
    id: str
    folder: Path
    socket: Path

    def command_line(self, verb: str) -> tuple[str, ...]:
        """An argv that asks the supervisor, from any process; exits 0 when done, 1 with the reason on stdout."""
        return (sys.executable, "-I", "-S", str(SUPERVISOR), "ask", str(self.socket), verb)

    @property
    def restart_command(self) -> tuple[str, ...]:
        """What a node's configuration names for its service: returns when the server answers PING again, or fails."""
        return self.command_line("restart")

    def ask(self, verb: str) -> str:
        """The supervisor's answer, "ok ..." or "failed ..."."""
        return redis_supervisor.ask(str(self.socket), verb)

    def must(self, verb: str) -> None:
        """Ask for `verb`. Raises RuntimeError for "failed"."""
        answer = self.ask(verb)
        if not answer.startswith("ok"):
            raise RuntimeError(f"{verb} of {self.name}: {answer}")

    def restart(self) -> None:
        """Stop it (SIGTERM) and start it; back when it answers. Raises RuntimeError when it does not come back."""
        self.must("restart")

    def stop(self) -> None:
        """Stop it (SIGTERM); back when it is gone. Idempotent."""
        self.must("stop")

    def start(self) -> None:
        """Start it; back when it answers. Idempotent. Raises RuntimeError when it does not come up."""
        self.must("start")

    def break_next_start(self) -> None:
        """From now on it does not come back, until `repair`: its server exits at once, with a reason."""
        self.must("break")

    def isolate_next_start(self) -> None:
        """From the next start on it says that it is well, and its peers cannot reach it and mark it failed."""
        self.must("isolate")

    def repair(self) -> None:
        """Starts work again. Starts nothing. An isolated one must be stopped first."""
        self.must("repair")

    @property
    def pid(self) -> int | None:
        """Of the server, by its supervisor; None while it is down."""
        answer = self.ask("status")
        return int(answer.rsplit(" ", 1)[1]) if "pid" in answer else None

    def call(self, *words: str | int, timeout_s: float = 2.0) -> Reply:
        """The reply to one command, on a connection of its own. Raises OSError, or RuntimeError with Redis's error."""
        with socket.create_connection((self.host, self.port), timeout=timeout_s) as connection:
            parts = [str(word).encode() for word in words]
            connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            with connection.makefile("rb") as stream:
                return _reply(stream.readline, stream.read)

    def info(self, section: str) -> dict[str, str]:
        """`INFO section` as fields; `cluster_info` gives that of CLUSTER INFO."""
        text = self.call("CLUSTER", "INFO") if section == "cluster_info" else self.call("INFO", section)
        assert isinstance(text, str)
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _reply(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> Reply:
    line = readline()
    if not line:
        raise ConnectionError("Redis closed the connection")
    kind, rest = line[:1], line[1:].strip().decode()
    match kind:
        case b"+":
            return rest
        case b"-":
            raise RuntimeError(rest)
        case b":":
            return int(rest)
        case b"$":
            return None if rest == "-1" else read(int(rest) + 2)[:-2].decode()
        case b"*":
            return None if rest == "-1" else [_reply(readline, read) for _ in range(int(rest))]
    raise RuntimeError(f"not a reply: {line!r}")
