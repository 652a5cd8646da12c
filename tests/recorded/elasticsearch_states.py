"""States of an Elasticsearch, and what a careful operator decides in them: a test's data, and a page's table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from runners.elasticsearch.restart import Restart
from runners.elasticsearch.rollover import Rollover
from runners.elasticsearch.snapshot import Snapshot
from runners.elasticsearch.upgrade import Upgrade
from taskerman import Check, Go, Refuse, Skip, TaskRunner, Wait
from taskerman.runner import check_from_json, check_to_json
from taskerman.testing.harness import RunnerHarness
from tests.recorded.elasticsearch import ENABLE, Copy, RecordedElasticsearch, RecordedNode
from tests.recorded.table import Line, markdown

__all__ = ["LINES", "RUNNERS", "decide", "harness", "page"]

RUNNERS: dict[str, type[TaskRunner]] = {
    "restart": Restart, "upgrade": Upgrade, "snapshot": Snapshot, "rollover": Rollover,
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "restart": {}, "upgrade": {"version": "8.16.0"}, "snapshot": {"repository": "nightly"},
    "rollover": {"alias": "logs", "max_docs": 5},
}  # fmt: skip
Cluster = RecordedElasticsearch


def _set(**changes: Any) -> Callable[[Cluster], object]:
    def arrange(cluster: Cluster) -> None:
        for name, value in changes.items():
            setattr(cluster, name, value)

    return arrange


def _ill(**health: Any) -> Callable[[Cluster], object]:
    return lambda cluster: cluster.health.update(health)


def _says(place: str, text: str, status: int = 200) -> Callable[[Cluster], object]:
    return lambda cluster: cluster.says.update({place: (status, text)})


def _gone(*nodes: int) -> Callable[[Cluster], object]:
    def arrange(cluster: Cluster) -> None:
        for node in nodes:
            cluster.stop(cluster.nodes[node])

    return arrange


def _lost(reason: str, *, primary: bool = False) -> Callable[[Cluster], object]:
    return lambda cluster: cluster.copies.append(Copy("old-1", primary, None, reason=reason))


def _version(node: int, version: str) -> Callable[[Cluster], object]:
    return lambda cluster: setattr(cluster.nodes[node], "version", version)


def _roles(node: int, *roles: str) -> Callable[[Cluster], object]:
    return lambda cluster: setattr(cluster.nodes[node], "roles", roles)


def _all(*several: Callable[[Cluster], object]) -> Callable[[Cluster], object]:
    return lambda cluster: [one(cluster) for one in several]


def _snapshot(name: str, state: str) -> Callable[[Cluster], object]:
    return lambda cluster: cluster.snapshots.update({name: {"snapshot": name, "state": state}})


def _line(operation: str, state: str, arrange: Callable[[Cluster], object], *rest: Any, **more: Any) -> Line[Cluster]:
    return Line(operation, state, arrange, *rest, **more)


LINES: tuple[Line[Cluster], ...] = (
    _line("restart", "green, all nodes there", _set(), Go),
    _line("restart", "a primary is missing", _lost("NODE_LEFT", primary=True), Wait, "red"),
    _line("restart", "a replica lost its node", _lost("NODE_LEFT"), Wait, "old-1[0] has lost a copy (NODE_LEFT)"),
    _line("restart", "a replica could not be built", _lost("ALLOCATION_FAILED"), Wait, "ALLOCATION_FAILED"),
    _line("restart", "yellow that has settled: a new replica never had a place", _lost("INDEX_CREATED"), Go),
    _line("restart", "shards are being moved", _ill(relocating_shards=2), Wait, "2 shards are being moved"),
    _line("restart", "shards are being built", _ill(initializing_shards=1), Wait, "1 are being built"),
    _line("restart", "shards wait for a node to return", _ill(delayed_unassigned_shards=3), Wait, "3 shards wait"),
    _line("restart", "cluster tasks have piled up", _ill(number_of_pending_tasks=50), Wait, "50 tasks wait"),
    _line("restart", "the health timed out", _ill(timed_out=True), Wait, "did not tell"),
    _line("restart", "a status that nobody knows", _ill(status="blue"), Wait, "'blue'"),
    _line("restart", "another node is missing", _gone(1), Wait, "1 of 3 nodes are not in the cluster"),
    _line("restart", "another node is missing, the task may have two down", _all(_gone(1), lambda c: c.nodes.append(
        RecordedNode("es3")), lambda c: c.start(c.nodes[3]), lambda c: c.nodes.append(RecordedNode("es4")),
        lambda c: c.start(c.nodes[4])), Go, cap=2, settings={"expected_nodes": 5}),
    _line("restart", "without this node the voters are no majority", _gone(1), Wait, "voting nodes",
          cap=2, settings={"expected_nodes": 3}),
    _line("restart", "allocation is off", lambda c: c.settings["persistent"].update({ENABLE: "none"}), Wait,
          "the allocation of shards is 'none': somebody turned it off"),
    _line("restart", "allocation is off, transient", lambda c: c.settings["transient"].update({ENABLE: "primaries"}),
          Wait, "'primaries'"),
    _line("restart", "a snapshot is being made", _snapshot("s", "IN_PROGRESS"), Wait, "a snapshot is being made"),
    _line("restart", "an index has its only copy here", lambda c: c.copies.append(Copy("solo", True, 0)), Wait,
          "the only copy of solo[0] is here"),
    _line("restart", "an index has its only copy elsewhere", lambda c: c.copies.append(Copy("solo", True, 1)), Go),
    _line("restart", "its replica here is still being built",
          lambda c: c.copies.extend([Copy("solo", True, 0), Copy("solo", False, 1, "INITIALIZING")]), Wait, "solo[0]"),
    _line("restart", "elected master, others not restarted yet", _set(master=0), Wait, "es1, es2"),
    _line("restart", "elected master, all others restarted", _all(_set(master=0), *(
        lambda c, n=n: setattr(c.nodes[n], "started_ms", 4_000_000_000_000) for n in (1, 2))), Go),
    _line("restart", "this node runs and is not in the cluster", lambda c: setattr(c.nodes[0], "joined", False), Wait,
          "not in the cluster"),
    _line("restart", "this node is down, the others are there", _gone(0), Go),
    _line("restart", "this node is down, and another one", _gone(0, 1), Wait, "2 nodes are not in the cluster"),
    _line("restart", "this node is down, and no peer answers", _gone(0, 1, 2), Wait, "of its peers the last one says"),
    _line("restart", "this node is down, no peer is configured", _gone(0), Refuse, "no peer", settings={"peers": []}),
    _line("restart", "wrong password", _says("/_nodes/_local/jvm", '{"error":{"type":"security_exception","reason":'
          '"unable to authenticate user [taskerman]"}}', 401), Refuse, "check username"),
    _line("restart", "a right is missing", _says("/_cluster/state/master_node,metadata",
          '{"error":{"type":"security_exception","reason":"is unauthorized"}}', 403), Refuse, "the user's rights"),
    _line("restart", "the master is not elected", _says("/_cluster/health", '{"error":{"type":'
          '"master_not_discovered_exception","reason":""}}', 503), Wait, "master_not_discovered"),
    _line("restart", "a version that nobody knows", _version(0, "5.6.16"), Refuse, "elasticsearch 5.6.16"),
    _line("restart", "OpenSearch", _says("/", '{"version":{"distribution":"opensearch","number":"2.17.0"}}'), Go),
    _line("restart", "an answer is no JSON", _says("/_cluster/health", "<html>502</html>"), Refuse, "no JSON"),
    _line("restart", "an answer is empty", _says("/_cat/shards", ""), Refuse),
    _line("restart", "an answer lacks a field", _says("/_cluster/health", '{"status":"green"}'), Refuse,
          "number_of_nodes"),
    _line("upgrade", "a minor version ahead", _set(), Go),
    _line("upgrade", "it has the version", _set(), Skip, "it has version", args={"version": "8.15.3"}),
    _line("upgrade", "a step back", _set(), Refuse, "a step back", args={"version": "8.14.0"}),
    _line("upgrade", "the next major version", _set(), Go, args={"version": "9.0.1"}),
    _line("upgrade", "two major versions", _version(0, "7.17.0"), Refuse, "more than one major",
          args={"version": "9.0.1"}),
    _line("upgrade", "another node is newer", _version(1, "8.17.0"), Refuse, "es1 has version 8.17.0"),
    _line("upgrade", "nodes that cannot become master are not done", _roles(1, "data"), Wait, "es1"),
    _line("upgrade", "this one cannot become master", _roles(0, "data"), Go),
    _line("upgrade", "a primary is missing", _lost("NODE_LEFT", primary=True), Wait, "red"),
    _line("upgrade", "no command that upgrades", _set(), Refuse, "{version}", settings={"upgrade": []}),
    _line("snapshot", "nothing is made", _set(), Go),
    _line("snapshot", "this task's is made", _snapshot("taskerman-t-harness", "SUCCESS"), Skip, "is made"),
    _line("snapshot", "this task's is being made", _snapshot("taskerman-t-harness", "IN_PROGRESS"), Wait, "being made"),
    _line("snapshot", "another is being made", _snapshot("s", "IN_PROGRESS"), Wait, "being made"),
    _line("snapshot", "this task's is not whole", _snapshot("taskerman-t-harness", "PARTIAL"), Refuse, "PARTIAL"),
    _line("snapshot", "the repository is not there", _set(repositories=set()), Refuse, "register it"),
    _line("snapshot", "a primary is missing", _lost("NODE_LEFT", primary=True), Wait, "red"),
    _line("snapshot", "the server is down", _gone(0), Wait, "refuses connections"),
    _line("rollover", "a condition is met", _set(), Go),
    _line("rollover", "none is met", _set(conditions_met=False), Skip, "no condition is met for logs-000001"),
    _line("rollover", "no such alias", _set(), Refuse, "does not exist", args={"alias": "nobodys"}),
    _line("rollover", "a primary is missing", _lost("NODE_LEFT", primary=True), Wait, "red"),
    _line("rollover", "the server is down", _gone(0), Wait, "refuses connections"),
)  # fmt: skip


def harness(cluster: Cluster, operation: str, **more: Any) -> RunnerHarness[TaskRunner]:
    """The operation on the first node of a cluster that is up."""
    own: dict[str, Any] = {
        "url": cluster.nodes[0].url,
        "peers": [node.url for node in cluster.nodes[1:3]],
        "expected_nodes": 3,
        "upgrade": ["install", "{version}"],
        "timeout_s": 5,
    }
    settings = {**own, **more.pop("settings", {})}
    args = {**DEFAULTS[operation], **more.pop("args", {})}
    return RunnerHarness(RUNNERS[operation], args=args, settings=settings, accepted_at=_accepted(), **more)


def _accepted() -> str:
    """After the recorded nodes were started, and before now."""
    return (datetime.now(UTC) - timedelta(minutes=10)).isoformat()


def decide(line: Line[Cluster]) -> Check:
    """What the runner says in that state."""
    cluster = Cluster().up()
    try:
        run = harness(cluster, line.operation, args=dict(line.args), settings=dict(line.settings), cap=line.cap)
        line.arrange(cluster)
        return _without_ports(run.pre_check(), cluster)
    finally:
        cluster.down()


def _without_ports(answer: Check, cluster: Cluster) -> Check:
    """With the name of each node in the place of where it happens to listen."""
    said = check_to_json(answer)
    for node in cluster.nodes:
        said["reason"] = (said.get("reason") or "").replace(node.url, node.name)
    return check_from_json(said)


def page() -> str:
    """docs/reference/states-elasticsearch.md."""
    head = (
        "# States of Elasticsearch, and what is decided in them\n\n"
        "Made by `make docs` from the data of a test, which asks the runner in every one of them. No real cluster was\n"
        "asked: the answers are those that the HTTP API is documented to give. This node is `es0`, of three.\n"
    )
    return head + markdown(LINES, decide)
