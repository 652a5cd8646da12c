"""An Elasticsearch that is not there: three nodes that answer HTTP as the API of 8.x is documented to, from one state.

Each node listens on loopback; one that is down refuses connections. The few requests that change something are done.
`says` puts any text in the place of an answer, which is how broken ones are recorded; `asked` keeps every request.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

__all__ = ["Copy", "RecordedElasticsearch", "RecordedNode"]

ENABLE = "cluster.routing.allocation.enable"


@dataclass
class Copy:
    """One copy of a shard. `node`: an index into the nodes; None: it has no place, and `reason` says why."""

    index: str
    primary: bool
    node: int | None
    state: str = "STARTED"
    reason: str = ""


@dataclass
class RecordedNode:
    """One node. `started_ms`: of its process. `joined`: it is in the cluster."""

    name: str
    version: str = "8.15.3"
    roles: tuple[str, ...] = ("data", "ingest", "master")
    started_ms: int = field(default_factory=lambda: int(time.time() - 7200) * 1000)
    joined: bool = True
    server: ThreadingHTTPServer | None = None
    port: int = 0

    @property
    def id(self) -> str:
        return f"id-{self.name}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class RecordedElasticsearch:
    """The cluster. `health`: what differs from green. `rejoins`: whether a restarted node is counted again."""

    nodes: list[RecordedNode] = field(default_factory=lambda: [RecordedNode(f"es{n}") for n in range(3)])
    copies: list[Copy] = field(
        default_factory=lambda: [Copy("logs-1", True, 0), Copy("logs-1", False, 1), Copy("logs-2", True, 1),
                                 Copy("logs-2", False, 2)]
    )  # fmt: skip
    health: dict[str, Any] = field(default_factory=dict)
    master: int = 2
    settings: dict[str, dict[str, str]] = field(default_factory=lambda: {"persistent": {}, "transient": {}})
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    repositories: set[str] = field(default_factory=lambda: {"nightly"})
    write_index: str = "logs-000001"
    conditions_met: bool = True
    rejoins: bool = True
    says: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    # --- as a machine ------------------------------------------------------------------------------------

    def up(self) -> RecordedElasticsearch:
        """Every node listens."""
        for node in self.nodes:
            self.start(node)
        return self

    def start(self, node: RecordedNode) -> None:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                status, text = cluster.answer(node, self.command, self.path, body)
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  (the library's names)

            def log_message(self, *_: object) -> None:
                return

        node.server = ThreadingHTTPServer(("127.0.0.1", node.port), Handler)
        node.server.daemon_threads = True
        node.port = node.server.server_address[1]
        threading.Thread(target=node.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self, node: RecordedNode) -> None:
        if node.server is not None:
            node.server.shutdown()
            node.server.server_close()
            node.server = None
        node.joined = False

    def down(self) -> None:
        for node in self.nodes:
            self.stop(node)

    def restart(self, node: RecordedNode, version: str = "") -> None:
        """As the service manager does."""
        self.stop(node)
        node.started_ms = max(int(time.time() * 1000), node.started_ms + 1)
        node.version = version or node.version
        self.start(node)
        node.joined = self.rejoins

    @property
    def allocation(self) -> str:
        return self.settings["transient"].get(ENABLE) or self.settings["persistent"].get(ENABLE) or "all"

    # --- as an API ---------------------------------------------------------------------------------------

    def answer(self, node: RecordedNode, method: str, path: str, body: Mapping[str, Any]) -> tuple[int, str]:
        place, _, query = path.partition("?")
        self.asked.append((method, place))
        if place in self.says:
            return self.says[place]
        status, said = self._answer(node, method, unquote(place), query, body)
        return status, json.dumps(said)

    def _answer(
        self, node: RecordedNode, method: str, place: str, query: str, body: Mapping[str, Any]
    ) -> tuple[int, Any]:
        match method, place.strip("/").split("/"):
            case "GET", [""]:
                return 200, {"name": node.name, "cluster_name": "recorded", "version": {"number": node.version}}
            case "GET", ["_cluster", "health"]:
                return 200, self._health()
            case "GET", ["_nodes", "_local", "jvm"]:
                return 200, {"nodes": {node.id: _jvm(node)}}
            case "GET", ["_nodes", "jvm"]:
                return 200, {"nodes": {each.id: _jvm(each) for each in self.nodes if each.joined}}
            case "GET", ["_cluster", "state", _]:
                voters = [each.id for each in self.nodes if "master" in each.roles]
                committed = {"cluster_coordination": {"last_committed_config": voters}}
                return 200, {"master_node": self.nodes[self.master].id, "metadata": committed}
            case "GET", ["_cluster", "settings"]:
                return 200, self.settings
            case "PUT", ["_cluster", "settings"]:
                for group, values in body.items():
                    for key, value in values.items():
                        if value is None:
                            self.settings[group].pop(key, None)
                        else:
                            self.settings[group][key] = value
                return 200, {"acknowledged": True}
            case "GET", ["_cat", "shards"]:
                return 200, [self._row(copy) for copy in self.copies]
            case "POST", ["_flush"]:
                return 200, {"_shards": {"total": 4, "successful": 4, "failed": 0}}
            case "POST", [alias, "_rollover"]:
                return self._rollover(alias, dry="dry_run" in query)
            case _, ["_snapshot", *rest]:
                return self._snapshot(method, rest, body)
        return 400, _error("illegal_argument_exception", f"no handler for {method} {place}")

    def _health(self) -> dict[str, Any]:
        lost = [copy for copy in self.copies if copy.node is None]
        red = any(copy.primary for copy in lost)
        return {
            "cluster_name": "recorded",
            "status": "red" if red else "yellow" if lost else "green",
            "timed_out": False,
            "number_of_nodes": sum(node.joined for node in self.nodes),
            "relocating_shards": 0,
            "initializing_shards": 0,
            "unassigned_shards": len(lost),
            "delayed_unassigned_shards": 0,
            "number_of_pending_tasks": 0,
            **self.health,
        }

    def _row(self, copy: Copy) -> dict[str, str | None]:
        return {
            "index": copy.index,
            "shard": "0",
            "prirep": "p" if copy.primary else "r",
            "state": copy.state if copy.node is not None else "UNASSIGNED",
            "node": None if copy.node is None else self.nodes[copy.node].name,
            "unassigned.reason": copy.reason or None,
        }

    def _rollover(self, alias: str, *, dry: bool) -> tuple[int, Any]:
        if alias != "logs":
            return 400, _error("illegal_argument_exception", f"rollover target [{alias}] does not exist")
        old = self.write_index
        new = f"logs-{int(old.rpartition('-')[2]) + 1:06d}"
        done = self.conditions_met and not dry
        if done:
            self.write_index = new
            self.conditions_met = False
        return 200, {
            "old_index": old,
            "new_index": new,
            "rolled_over": done,
            "dry_run": dry,
            "conditions": {"[max_docs: 5]": done or self.conditions_met},
        }

    def _snapshot(self, method: str, rest: list[str], body: Mapping[str, Any]) -> tuple[int, Any]:
        if rest == ["_status"]:
            running = [name for name, each in self.snapshots.items() if each["state"] == "IN_PROGRESS"]
            return 200, {"snapshots": [{"snapshot": name, "state": "STARTED"} for name in running]}
        if rest[0] not in self.repositories:
            return 404, _error("repository_missing_exception", f"[{rest[0]}] missing")
        if len(rest) == 1:
            return 200, {rest[0]: {"type": "s3"}}
        name = rest[1]
        if method == "PUT":
            self.snapshots[name] = {"snapshot": name, "state": "SUCCESS", "start_time_in_millis": len(self.snapshots)}
            return 200, {"accepted": True}
        if method == "DELETE":
            self.snapshots.pop(name, None)
            return 200, {"acknowledged": True}
        if name.endswith("*"):
            return 200, {"snapshots": [each for key, each in self.snapshots.items() if key.startswith(name[:-1])]}
        if name not in self.snapshots:
            return 404, _error("snapshot_missing_exception", f"[{rest[0]}:{name}] is missing")
        return 200, {"snapshots": [self.snapshots[name]]}


def _jvm(node: RecordedNode) -> dict[str, Any]:
    started = {"start_time_in_millis": node.started_ms}
    return {"name": node.name, "version": node.version, "roles": list(node.roles), "jvm": started}


def _error(kind: str, reason: str) -> dict[str, Any]:
    return {"error": {"type": kind, "reason": reason}, "status": 400}
