"""The plan: the nodes that a task chose, fixed for ever. It is the custody of the work."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

from taskerman.errors import Bug
from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import ClusterName, NodeId, Owner, ScopeName, TaskId, clusters_among, named_among
from taskerman.model.task import TaskDocument
from taskerman.model.window import WindowArgs

__all__ = [
    "LANE",
    "Accepted",
    "Lane",
    "OpenTask",
    "Plan",
    "PlannedNode",
    "Refusal",
    "ScopePlace",
    "Tombstone",
    "filled_in",
    "unpack_task",
]

LANE = "0"
"""The first lane of a task, and the only one where all nodes have the same scopes."""


class PlannedNode(Noun):
    """One node of the plan. `rank`: its place in the order of the plan, from 0. `scopes`: where it takes a slot, the
    task's own cluster first; nodes with the same scopes share a lane."""

    id: NodeId
    source: Literal["ec2", "given"]
    rank: int = Field(ge=0)
    lane: str = LANE
    scopes: tuple[str, ...]
    az: str = ""

    @property
    def clusters(self) -> tuple[ClusterName, ...]:
        """The clusters among its scopes."""
        return clusters_among(self.scopes)

    @property
    def named(self) -> ScopeName | None:
        """The named scope among its scopes."""
        return named_among(self.scopes)


class Accepted(Noun):
    """What acceptance filled in; it stands beside the document, whose hash is of what was received.

    `discovered`: how many nodes the cluster had, before any `limit`; None when the document named its nodes.
    `filled`: what the runner declares and the document does not say: groups of `taskerman_params`. `replaces`: the
    action terminates its machine, for another one to take its place. `machines`: how many ran in the cluster then, also
    of a document that named its nodes; only where it replaces.
    """

    at: Timestamp
    not_after: Timestamp
    discovered: int | None = None
    filled: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    replaces: bool = False
    machines: int | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What stands for nothing is not written: a build that does not know a field reads each plan without it."""
        said: dict[str, Any] = whole(self)
        unused: dict[str, Any] = {"filled": {}, "replaces": False, "machines": None}
        return {name: value for name, value in said.items() if name not in unused or value != unused[name]}


def filled_in(received: Mapping[str, Any], filled: Mapping[str, Mapping[str, JsonValue]]) -> TaskDocument:
    """The document as it came, with `filled` where it says nothing. What it says stands."""
    if not filled:
        return TaskDocument.model_validate_json(json.dumps(received))
    params = dict(received.get("taskerman_params") or {})
    for name, group in filled.items():
        params[name] = {**group, **(params.get(name) or {})}
    return TaskDocument.model_validate_json(json.dumps({**received, "taskerman_params": params}))


class Plan(Noun):
    """`/tasks/<t>`: written once, create-if-absent, never changed."""

    v: Literal[1] = 1
    doc: dict[str, JsonValue]
    hash: str
    accepted: Accepted
    cap: int = Field(ge=1)
    nodes: tuple[PlannedNode, ...] = Field(min_length=1)

    @cached_property
    def task(self) -> TaskDocument:
        """The document, validated, with what acceptance filled in."""
        return filled_in(self.doc, self.accepted.filled)

    def node(self, node: NodeId) -> PlannedNode | None:
        """The planned node of that id, if it is in the plan."""
        return next((planned for planned in self.nodes if planned.id == node), None)

    @cached_property
    def header(self) -> OpenTask:
        """What others must know of it."""
        task = self.task
        lanes = {node.lane: node.scopes for node in reversed(self.nodes)}
        return OpenTask(
            task=task.task_id,
            owner=task.owner,
            cap=self.cap,
            max_failures=task.taskerman_params.failure_args.max_failures,
            exclusive=task.taskerman_params.lease_args.exclusive,
            window=self.window,
            lanes=tuple(Lane(name=name, scopes=lanes[name]) for name in sorted(lanes)),
        )

    @property
    def window(self) -> WindowArgs | None:
        """When its nodes may start, if that is not at any time."""
        window = self.task.taskerman_params.window_args
        return None if window.always else window

    @property
    def clusters(self) -> tuple[ClusterName, ...]:
        """Every cluster in which a node of the plan takes a slot, the task's own first."""
        return tuple(dict.fromkeys(cluster for lane in self.header.lanes for cluster in lane.clusters))

    def assignment(self, node: NodeId) -> dict[str, Any]:
        """The document with `destnode` filled in: what the node's runner sees, in the shape of the wire."""
        return {**self.doc, "destnode": node}

    def pack(self) -> bytes:
        """Compressed JSON, for a record that may name ten thousand nodes."""
        return zlib.compress(self.to_json(), 6)

    @classmethod
    def unpack(cls, data: bytes) -> Plan:
        """The plan that `pack` wrote."""
        try:
            return cls.model_validate_json(zlib.decompress(data))
        except (zlib.error, ValueError) as error:
            raise Bug(f"A plan cannot be read: {error}") from error


class Tombstone(Noun):
    """`/tasks/<t>` after the task was put away: so that a late copy of its message does not run it again.

    `hash`: of the document. `kept_until`: no copy of the message can come after it. `summary`: nodes by outcome.
    """

    v: Literal[1] = 1
    tombstone: Literal[True] = True
    hash: str
    cluster_name: ClusterName
    owner: Owner
    planned_at: Timestamp
    not_after: Timestamp
    put_away_at: Timestamp
    kept_until: Timestamp
    summary: dict[str, int]


def unpack_task(data: bytes) -> Plan | Tombstone:
    """What a task's own record holds. A tombstone is plain JSON, a plan never begins like it."""
    if not data.startswith(b"{"):
        return Plan.unpack(data)
    try:
        return Tombstone.model_validate_json(data)
    except ValueError as error:
        raise Bug(f"A tombstone cannot be read: {error}") from error


class Lane(Noun):
    """The nodes of one task with the same scopes, which stand in one line."""

    name: str = LANE
    scopes: tuple[str, ...]

    @property
    def clusters(self) -> tuple[ClusterName, ...]:
        """The clusters among its scopes."""
        return clusters_among(self.scopes)

    @property
    def named(self) -> ScopeName | None:
        """The named scope among its scopes."""
        return named_among(self.scopes)


class OpenTask(Noun):
    """The header of an open task, in each cluster of its nodes: what others must know of it, without its plan."""

    v: Literal[1] = 1
    task: TaskId
    owner: Owner
    cap: int
    max_failures: int
    exclusive: bool = False
    window: WindowArgs | None = None
    lanes: tuple[Lane, ...] = ()

    def lanes_in(self, cluster: ClusterName) -> tuple[Lane, ...]:
        """Its lanes whose nodes take a slot in `cluster`."""
        return tuple(lane for lane in self.lanes if cluster in lane.scopes)


class ScopePlace(Noun):
    """`/waits/<s>/<seq>`: a lane's place in the queue of a named scope. It is the lane's: whoever heads it uses it.

    `node`: who made it. `header`: of the lane's task, for those behind.
    """

    v: Literal[1] = 1
    lane: str
    node: NodeId
    header: OpenTask

    @property
    def of(self) -> tuple[TaskId, str]:
        """Whose place it is."""
        return self.header.task, self.lane


class Refusal(Noun):
    """`/refused/<sha256>`: a body that was not accepted, and why.

    `at`: by the router's clock. `sent_at`: of the message, by the queue's; two clocks must not be compared.
    """

    v: Literal[1] = 1
    sha256: str
    code: str
    reason: str
    at: Timestamp
    sent_at: Timestamp | None = None
    queue: str
    body: str
    body_bytes: int
    body_truncated: bool
    cluster_name: ClusterName | None = None
    task_id: TaskId | None = None
    dead_letter: Literal["owed", "sent", "discarded"] = "owed"
