"""The cluster as one of its servers sees it, in one look. Nothing is decided here.

Of the answers only what is needed is read, and all of that is required: a field that is missing means that the API is
another one than this was written for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runners.elasticsearch.config import ElasticsearchConfig
from runners.elasticsearch.http import Client, NotUnderstood, Refused, Unreachable

__all__ = ["ENABLE", "Health", "Member", "Shard", "View", "look", "look_at", "peer_view"]

ENABLE = "cluster.routing.allocation.enable"
_MASTERS = {"master", "cluster_manager"}
_SUPPORTED = {"elasticsearch": ("7.", "8.", "9."), "opensearch": ("1.", "2.", "3.")}


@dataclass(frozen=True, slots=True)
class Health:
    """Of the cluster. Counts of shards; `pending`: cluster tasks that wait for the master."""

    status: str
    nodes: int
    relocating: int
    initializing: int
    unassigned: int
    delayed: int
    pending: int


@dataclass(frozen=True, slots=True)
class Member:
    """One node that is in the cluster. `started_ms`: when its process was started, since 1970."""

    id: str
    name: str
    version: str
    started_ms: int
    may_be_master: bool


@dataclass(frozen=True, slots=True)
class Shard:
    """One copy. `node`: the name of the node it is on; empty: on none, and `reason` says why."""

    index: str
    number: str
    primary: bool
    state: str
    node: str
    reason: str

    @property
    def place(self) -> str:
        """Which shard it is a copy of."""
        return f"{self.index}[{self.number}]"


@dataclass(frozen=True, slots=True)
class View:
    """`by`: who was asked. `me`: the id of the own node, empty while its server has never been asked. `allocation`: of
    shards: all, primaries, new_primaries or none. `voters`: ids. `snapshotting`: a snapshot is being made."""

    by: str
    me: str
    health: Health
    members: Mapping[str, Member]
    master: str
    allocation: str
    voters: frozenset[str]
    shards: Sequence[Shard]
    snapshotting: bool

    @property
    def own(self) -> Member | None:
        """The own node, if it is in the cluster."""
        return self.members.get(self.me)


def look(config: ElasticsearchConfig) -> View:
    """As the own server sees it. Raises `Unreachable`, `Refused`, `NotUnderstood`."""
    client = Client(config.url, config)
    local = _fields(client.get("/_nodes/_local/jvm"), "nodes")
    if len(local) != 1:
        raise NotUnderstood(f"{config.url} calls {len(local)} nodes its own")
    return look_at(client, me=next(iter(local)))


def peer_view(config: ElasticsearchConfig, me: str) -> View:
    """As the first peer sees it that answers; without peers, the own server. Raises what the last one raised."""
    error: Exception = Unreachable(config.url, "it has no peers")
    for url in config.peers or (config.url,):
        try:
            return look_at(Client(url, config), me=me)
        except (Unreachable, Refused, NotUnderstood) as failed:
            error = failed
    raise error


def look_at(client: Client, *, me: str) -> View:
    """As `client`'s server sees it. Raises `Unreachable`, `Refused`, `NotUnderstood`."""
    _check_version(client)
    health = client.get("/_cluster/health")
    if isinstance(health, dict) and health.get("timed_out"):
        raise Unreachable(client.url, "its master did not tell the cluster's health in time")
    nodes = _fields(client.get("/_nodes/jvm"), "nodes")
    state = client.get("/_cluster/state/master_node,metadata?filter_path=master_node,metadata.cluster_coordination")
    settings = client.get("/_cluster/settings?flat_settings=true")
    shards = client.get("/_cat/shards?format=json&h=index,shard,prirep,state,node,unassigned.reason")
    running = client.get("/_snapshot/_status")
    try:
        return View(
            by=client.url,
            me=me,
            health=_health(health),
            members={name: _member(name, node) for name, node in nodes.items()},
            master=str(state["master_node"]),
            allocation=_allocation(settings),
            voters=frozenset(state["metadata"]["cluster_coordination"]["last_committed_config"]),
            shards=[_shard(shard) for shard in _listed(shards)],
            snapshotting=bool(running["snapshots"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotUnderstood(
            f"{client.url} answers otherwise than was expected: {type(error).__name__} {error}"
        ) from None


def _check_version(client: Client) -> None:
    root = client.get("/")
    version = _fields(root, "version")
    kind, number = str(version.get("distribution", "elasticsearch")), str(version.get("number", ""))
    if not number.startswith(_SUPPORTED.get(kind, ())):
        raise NotUnderstood(f"{client.url} is {kind} {number or 'of no version'}, which this runner does not know")


def _fields(answer: Any, name: str) -> dict[str, Any]:
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        raise NotUnderstood(f"an answer has no {name}: {str(answer)[:100]}")
    return found


def _listed(said: Any) -> list[Any]:
    if not isinstance(said, list):
        raise TypeError(f"{str(said)[:50]!r} is no list")
    return said


def _health(said: Mapping[str, Any]) -> Health:
    return Health(
        status=said["status"],
        nodes=int(said["number_of_nodes"]),
        relocating=int(said["relocating_shards"]),
        initializing=int(said["initializing_shards"]),
        unassigned=int(said["unassigned_shards"]),
        delayed=int(said["delayed_unassigned_shards"]),
        pending=int(said["number_of_pending_tasks"]),
    )


def _member(name: str, said: Mapping[str, Any]) -> Member:
    return Member(
        id=name,
        name=said["name"],
        version=said["version"],
        started_ms=int(said["jvm"]["start_time_in_millis"]),
        may_be_master=bool(_MASTERS & set(said["roles"])),
    )


def _allocation(said: Mapping[str, Any]) -> str:
    for group in ("transient", "persistent"):  # the order in which they count
        if (value := said[group].get(ENABLE)) is not None:
            return str(value)
    return "all"


def _shard(said: Mapping[str, Any]) -> Shard:
    return Shard(
        index=said["index"],
        number=str(said["shard"]),
        primary={"p": True, "r": False}[said["prirep"]],
        state=said["state"],
        node=(said["node"] or "").partition(" ")[0],
        reason=said.get("unassigned.reason") or "",
    )
