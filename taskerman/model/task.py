"""The task document, as it travels, and the control record that says whether its task may go on."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal, NoReturn

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from taskerman.errors import (
    DocumentError,
    DocumentFieldInvalid,
    DocumentIdInvalid,
    DocumentNotJson,
    DocumentTooLarge,
    DocumentVersionUnsupported,
)
from taskerman.model.base import Noun, Timestamp, parse_json_object
from taskerman.model.ids import (
    ID,
    ActionName,
    BracketName,
    ClusterName,
    DiscoveryName,
    NodeId,
    Owner,
    ScopeName,
    TaskId,
)
from taskerman.model.window import WindowArgs

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "ActionTraits",
    "FailureArgs",
    "FailureMark",
    "LeaseArgs",
    "PuttingAway",
    "Signature",
    "TaskControl",
    "TaskDocument",
    "TaskState",
    "TaskermanParams",
    "TimeoutArgs",
    "WhenLost",
    "WorkqueueArgs",
    "parse_task_document",
]

MAX_DOCUMENT_BYTES = 64 * 1024

WhenLost = Literal["verify", "retry", "never"]
MAX_NODES = 10_000


class WorkqueueArgs(Noun):
    """How often to try again. `retry_count`: attempts after the first."""

    retry_count: int = Field(default=3, ge=0, le=100)


class LeaseArgs(Noun):
    """How many at once, and beside what. `concurrency`: a count, or a percentage of the discovered cluster such as
    "10%". `priority`: 0 to 9; the tasks of a cluster go by it first, then by age. `exclusive`: no other task acts in
    the cluster beside it. `scope`: a named scope in which each node takes a slot too; its capacity is declared.
    """

    concurrency: int | str = 1
    priority: int = Field(default=5, ge=0, le=9)
    exclusive: bool = False
    scope: ScopeName | None = None

    @field_validator("concurrency")
    @classmethod
    def _count_or_percentage(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= MAX_NODES:
            raise ValueError(f"{value} is not a count of nodes (1 to {MAX_NODES:,})")
        if isinstance(value, str) and not re.fullmatch(r"([1-9][0-9]?|100)%", value):
            raise ValueError(f'{value[:20]!r} is neither a count such as 2 nor a percentage such as "10%" (1% to 100%)')
        return value


class TimeoutArgs(Noun):
    """How long the phases may take, in whole seconds, and how much of the machine they may use.

    `soft_s`: then the action is asked to stop and clean up. `hard_s`: then everything it started is killed; default
    soft + 120. `settle_s`: how long post_check is asked again before the node counts as unsafe.
    `memory_mb` (MiB), `cpu_percent` (of one core) and `processes` (and threads) bind everything that an attempt
    starts, together; absent = as the node is configured, and the tighter counts. A node that cannot keep one of them
    rejects the assignment.
    """

    soft_s: int = Field(default=1800, ge=1, le=7 * 86400)
    hard_s: int | None = Field(default=None, ge=1, le=8 * 86400)
    settle_s: int = Field(default=600, ge=0, le=86400)
    memory_mb: int | None = Field(default=None, ge=32, le=16 * 1024 * 1024)
    cpu_percent: int | None = Field(default=None, ge=1, le=100_000)
    processes: int | None = Field(default=None, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _hard_is_not_before_soft(self) -> TimeoutArgs:
        if self.hard_s is not None and self.hard_s < self.soft_s:
            raise ValueError(f"hard_s ({self.hard_s}) is before soft_s ({self.soft_s})")
        return self

    @property
    def hard(self) -> timedelta:
        """The hard limit, with its default filled in."""
        return timedelta(seconds=self.soft_s + 120 if self.hard_s is None else self.hard_s)


class FailureArgs(Noun):
    """When to stop. `max_failures`: nodes that may fail before the task halts. `when_lost`: absent = the runner's."""

    max_failures: int = Field(default=0, ge=0, le=MAX_NODES)
    when_lost: WhenLost | None = None


class TaskermanParams(Noun):
    """The optional groups; every one has defaults."""

    action_args: dict[str, JsonValue] = Field(default_factory=dict)
    workqueue_args: WorkqueueArgs = WorkqueueArgs()
    lease_args: LeaseArgs = LeaseArgs()
    timeout_args: TimeoutArgs = TimeoutArgs()
    failure_args: FailureArgs = FailureArgs()
    window_args: WindowArgs = WindowArgs()


class Signature(Noun):
    """Who vouches for a document. `key`: the id of an Ed25519 key. `value`: base64 of the signature over the canonical
    JSON of the document (sorted keys, no spaces, UTF-8) without `signature`."""

    key: str = Field(pattern=rf"^{ID}$")
    value: str = Field(pattern=r"^[A-Za-z0-9+/]{86}==$")


class TaskDocument(Noun):
    """One firing: what must happen to a cluster. The wire format of the global queue, version 1.

    `limit`: on how many nodes the task acts in all; absent = on all of them. `nodes`: non-empty skips discovery.
    `destnode`: empty here; filled in on the node, where the document becomes an assignment.
    """

    action: ActionName
    version: float
    limit: int | None = Field(default=None, ge=1, le=MAX_NODES)
    cluster_name: ClusterName
    discovery: DiscoveryName = "aws_tags"
    owner: Owner
    task_id: TaskId
    taskerman_params: TaskermanParams = TaskermanParams()
    nodes: tuple[NodeId, ...] = Field(default=(), max_length=MAX_NODES)
    destnode: Literal[""] = ""
    scheduled_for: Timestamp | None = None
    not_after: Timestamp | None = None
    signature: Signature | None = None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> TaskDocument:
        if len(set(self.nodes)) != len(self.nodes):
            raise ValueError("nodes names a node twice")
        if self.nodes and isinstance(self.taskerman_params.lease_args.concurrency, str):
            raise ValueError("a percentage is of the discovered cluster; with nodes given, concurrency is a count")
        return self


class ActionTraits(Noun):
    """What a runner declares of one action.

    `when_lost`: what to do when nobody can say whether the action happened. `reboots`: a changed boot id after the
    action began means that it happened. `replaces`: a terminated machine means that it happened, and the slot is held
    until another one serves. `soft_s`, `settle_s`, `scope`: what stands where a task does not say; whole
    seconds, and the name of a scope.
    """

    when_lost: WhenLost = "verify"
    reboots: bool = False
    replaces: bool = False
    soft_s: int | None = Field(default=None, ge=1, le=7 * 86400)
    settle_s: int | None = Field(default=None, ge=0, le=86400)
    scope: ScopeName | None = None
    bracket: BracketName | None = None

    def own_scope(self, task: TaskDocument) -> ScopeName | None:
        """The named scope of `task`, filled in, if it is the runner's own: where nobody declared it, a router does."""
        return self.scope if task.taskerman_params.lease_args.scope == self.scope else None

    def fill(self, task: TaskDocument) -> dict[str, dict[str, JsonValue]]:
        """What of this stands where `task` is silent: groups of `taskerman_params`, without empty ones."""
        params = task.taskerman_params
        said = params.timeout_args.model_fields_set
        timeouts: dict[str, JsonValue] = {}
        if self.soft_s is not None and not said & {"soft_s", "hard_s"}:
            timeouts["soft_s"] = self.soft_s
        if self.settle_s is not None and "settle_s" not in said:
            timeouts["settle_s"] = self.settle_s
        lease: dict[str, JsonValue] = {}
        if self.scope is not None and "scope" not in params.lease_args.model_fields_set:
            lease["scope"] = self.scope
        return {name: group for name, group in (("timeout_args", timeouts), ("lease_args", lease)) if group}


class TaskState(StrEnum):
    """Whether attempts of the task may be taken: only while it is open."""

    PARKED = "parked"
    OPEN = "open"
    HALTED = "halted"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    CLOSING = "closing"


class FailureMark(StrEnum):
    """How a node stands in the failure budget: it will be tried again, or not."""

    RETRYING = "retrying"
    FINAL = "final"


class PuttingAway(Noun):
    """What is remembered of a task while its records are being deleted. `was`: its state before. `summary`: nodes by
    outcome, counted before the first was deleted."""

    was: TaskState
    summary: dict[str, int]


class TaskControl(Noun):
    """`/tasks/<t>/ctl`: checked by every take, so whoever changes it stops what was not yet taken.

    `failed`: nodes that use the failure budget. `excused`: those that a person forgave on resume.
    `wait_until`: a runner said that the whole cluster must wait. `why`: of the last change, for people.
    `putting_away`: only while it is closing.
    """

    v: Literal[1] = 1
    state: TaskState = TaskState.OPEN
    failed: dict[NodeId, FailureMark] = Field(default_factory=dict)
    excused: tuple[NodeId, ...] = ()
    wait_until: Timestamp | None = None
    why: str = ""
    putting_away: PuttingAway | None = None

    def counted(self) -> frozenset[NodeId]:
        """The nodes that use the budget now."""
        return frozenset(self.failed) - frozenset(self.excused)

    def final(self) -> frozenset[NodeId]:
        """Those of them that will not be tried again by themselves."""
        return frozenset(n for n in self.counted() if self.failed[n] is FailureMark.FINAL)


# --- reading a document ----------------------------------------------------------------------------------

_ID_FIELDS = frozenset({"task_id", "nodes", "destnode", "owner", "cluster_name", "action", "discovery"})


_TIMES = {"opens": "a time such as 22:00", "closes": "a time such as 04:00, or 24:00 for the end of the day"}
_SHAPES = {"cluster_name": "<kind>:<name>", "action": "<runner>:<operation>"}


def parse_task_document(body: str | bytes) -> tuple[TaskDocument, dict[str, Any]]:
    """The document in `body`, and the JSON object as received (what the hash is made of).

    Raises the `DocumentError` that names the field or thing, the reason and the next step. Never raises anything
    else, whatever `body` is.
    """
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(
            f"The document has {len(raw):,} bytes; at most {MAX_DOCUMENT_BYTES:,} are accepted.",
            next_step="Put large arguments into an object store and name their address in action_args.",
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentNotJson(
            f"The document is not UTF-8 (byte {error.start}).", next_step="Encode it as UTF-8."
        ) from None
    received = parse_json_object(text)
    _check_version(received)
    if "task_id" not in received:
        raise DocumentIdInvalid(
            "The document has no task_id.",
            next_step="Use `taskerman submit`, which draws one before it sends, or give it one that is yours alone.",
        )
    try:
        return TaskDocument.model_validate_json(text), received
    except ValidationError as error:
        _raise_named(error)


def _check_version(received: dict[str, Any]) -> None:
    version = received.get("version")
    if version is None:
        raise DocumentVersionUnsupported("The document has no version.", next_step='Write "version": 1.2.')
    if isinstance(version, bool) or not isinstance(version, int | float) or not 1 <= version < 2:
        raise DocumentVersionUnsupported(
            f"version {version!r} is not spoken here; this build speaks 1.x.",
            next_step="Upgrade the routers first, then emit the newer format.",
        )


def _raise_named(error: ValidationError) -> NoReturn:
    problems: list[str] = []
    found: list[tuple[tuple[str | int, ...], str]] = []
    ids = False
    for problem in error.errors(include_url=False, include_context=False):
        path = [str(part) for part in problem["loc"]]
        field = ".".join(path) or "document"
        message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
        if problem["type"] == "extra_forbidden":
            message = "unknown field"
        elif problem["type"] == "missing":
            message = "required, and missing"
        elif problem["type"] == "string_pattern_mismatch" and path[-1] in _TIMES:
            message = f"{problem['input']!r:.80} is not {_TIMES[path[-1]]}"
        elif problem["type"] == "string_pattern_mismatch" and (path[0] in _ID_FIELDS or path[-1] == "scope"):
            ids = True
            shape = _SHAPES.get(path[0], "a safe id")
            message = f"{problem['input']!r:.80} is not {shape} (letters, digits, _ and -, at most 63)"
        line = f"{field}: {message}"
        if line not in problems:
            problems.append(line)
            found.append((problem["loc"], message))
    shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
    kind: type[DocumentError] = DocumentIdInvalid if ids else DocumentFieldInvalid
    raise kind(
        f"The document cannot be accepted: {shown}.",
        next_step="`taskerman schema task` prints every field.",
        problems=tuple(found),
    ) from None
