"""A real Redis Cluster on loopback: three masters, three replicas, each under its own supervisor.

The six stand in three zones, and a master never shares a zone with its replica. Each node has a restart command that
any process may call. Everything ends with the test process, also when that is killed.

It refuses to heal: what a test stopped or broke stays so until the test asks.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import services
from tests.support.ports import free_ports
from tests.support.redis_node import SUPERVISOR, RedisNode

__all__ = ["RedisCluster", "RedisNode", "Shape", "forming_cluster"]

SLOTS = 16384
FORM_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Where one node stands at the beginning. `shard`: which third of the slots; `zone`: its availability zone."""

    name: str
    zone: str
    shard: int
    master: bool


SHAPES = (
    Shape("redis-0", "a", 0, master=True),
    Shape("redis-1", "b", 1, master=True),
    Shape("redis-2", "c", 2, master=True),
    Shape("redis-3", "b", 0, master=False),
    Shape("redis-4", "c", 1, master=False),
    Shape("redis-5", "a", 2, master=False),
)


@dataclass(frozen=True, slots=True)
class RedisCluster:
    """`nodes` in the order of SHAPES; `events`: the file of the supervisors' lines, for the witness."""

    nodes: tuple[RedisNode, ...]
    events: Path

    def node(self, name: str) -> RedisNode:
        """By name, "redis-0" to "redis-5"."""
        return next(node for node in self.nodes if node.name == name)

    def well(self) -> bool:
        """Every node answers, sees the whole cluster ok and no peer failing, and every replica is in step."""
        try:
            return all(self._well(node) for node in self.nodes)
        except (OSError, RuntimeError):
            return False

    def _well(self, node: RedisNode) -> bool:
        replication = node.info("replication")
        in_step = replication["role"] == "master" or replication.get("master_link_status") == "up"
        flags = [line.split()[2] for line in str(node.call("CLUSTER", "NODES")).splitlines()]
        return (
            in_step
            and node.info("cluster_info")["cluster_state"] == "ok"
            and len(flags) == len(self.nodes)
            and not any("fail" in flag or "handshake" in flag for flag in flags)
        )

    def wait_until_well(self, deadline_s: float = FORM_DEADLINE_S) -> None:
        """Back as soon as it is `well`. Raises TimeoutError, with what each node says, after `deadline_s`."""
        end = time.monotonic() + deadline_s
        while not self.well():
            if time.monotonic() > end:
                raise TimeoutError(f"Redis cluster not well after {deadline_s:.0f} s:\n{self._views()}")
            time.sleep(0.05)

    def masters(self) -> tuple[RedisNode, ...]:
        """Those that say they are masters, now. A node that does not answer is none."""
        return tuple(node for node in self.nodes if _role(node) == "master")

    def seen_failed(self, node: RedisNode) -> frozenset[str]:
        """Names of the nodes in whose eyes `node` has failed (FAIL, not just suspected)."""
        return frozenset(
            peer.name
            for peer in self.nodes
            for line in _lines(peer)
            if line.startswith(node.id) and "fail" in line.split()[2].split(",")
        )

    def _views(self) -> str:
        return "\n".join(f"{node.name}:\n  " + "\n  ".join(_lines(node) or ["no answer"]) for node in self.nodes)


def _role(node: RedisNode) -> str:
    try:
        return node.info("replication")["role"]
    except (OSError, RuntimeError):
        return "unknown"


def _lines(node: RedisNode) -> list[str]:
    try:
        return str(node.call("CLUSTER", "NODES")).splitlines()
    except (OSError, RuntimeError):
        return []


@contextmanager
def forming_cluster(node_timeout_ms: int = 2000) -> Iterator[RedisCluster]:
    """A cluster that is `well`, within seconds; gone with the block. Skips or fails when Redis is not installed.

    `node_timeout_ms`: after how long its nodes call a silent peer failed; a failover takes little longer.
    """
    services.require("redis")
    with ExitStack() as stack:
        # Not pytest's folder: the path of a unix socket has to be short.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-")))
        ports = free_ports(3 * len(SHAPES))
        events = folder / "events.jsonl"
        events.touch()
        nodes = tuple(_lay_out(folder, shape, *ports[3 * i : 3 * i + 2]) for i, shape in enumerate(SHAPES))
        for node, shape in zip(nodes, SHAPES, strict=True):
            (node.folder / "nodes.conf").write_text(_nodes_conf(nodes, shape))
        supervisors = [
            stack.enter_context(_supervised(node, events, spare_port, node_timeout_ms))
            for node, spare_port in zip(nodes, ports[2::3], strict=True)
        ]
        for node, supervisor in zip(nodes, supervisors, strict=True):
            assert supervisor.stdout is not None
            first = supervisor.stdout.readline().strip()
            if not first.startswith("ok"):
                raise RuntimeError(f"{node.name} did not start: {first}")
        cluster = RedisCluster(nodes, events)
        cluster.wait_until_well()
        yield cluster


def _lay_out(folder: Path, shape: Shape, port: int, bus_port: int) -> RedisNode:
    home = folder / shape.name
    home.mkdir()
    name = hashlib.sha1(f"{shape.name} {port}".encode(), usedforsecurity=False).hexdigest()
    return RedisNode(shape.name, shape.zone, "127.0.0.1", port, bus_port, name, home, folder / f"{shape.name}.sock")


def _nodes_conf(nodes: tuple[RedisNode, ...], me: Shape) -> str:
    """The cluster as if it had been formed before: Redis's own file, so that nobody waits for introductions."""
    lines = []
    for node, shape in zip(nodes, SHAPES, strict=True):
        master = next(n for n, s in zip(nodes, SHAPES, strict=True) if s.shard == shape.shard and s.master)
        flags = ("myself," if shape is me else "") + ("master" if shape.master else "slave")
        slots = f" {shape.shard * SLOTS // 3}-{(shape.shard + 1) * SLOTS // 3 - 1}" if shape.master else ""
        lines.append(
            f"{node.id} {node.host}:{node.port}@{node.bus_port} {flags} "
            f"{'-' if shape.master else master.id} 0 0 {shape.shard + 1} connected{slots}"
        )
    return "\n".join([*lines, "vars currentEpoch 3 lastVoteEpoch 0", ""])


@contextmanager
def _supervised(
    node: RedisNode, events: Path, spare_port: int, node_timeout_ms: int
) -> Iterator[subprocess.Popen[str]]:
    argv = [services.redis_server(), "--port", node.port, "--cluster-port", node.bus_port, "--bind", node.host]
    argv += ["--dir", node.folder, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
    # A snapshot at shutdown keeps the data over a restart. Not an append-only file: while Redis writes its first one,
    # just after a full resync, it ignores SIGTERM, and a restart takes as long as systemd's patience.
    argv += ["--cluster-node-timeout", node_timeout_ms, "--save", "3600", "1"]
    argv += ["--repl-diskless-sync-delay", "0", "--daemonize", "no", "--maxmemory", "64mb"]
    spec = {
        "node": node.name,
        "socket": str(node.socket),
        "events": str(events),
        "folder": str(node.folder),
        "port": node.port,
        "spare_port": spare_port,
        "argv": [str(word) for word in argv],
    }
    path = node.folder / "supervisor.json"
    path.write_text(json.dumps(spec))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(SUPERVISOR), "serve", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:  # closes its standard input, which ends it, and waits
        yield process
