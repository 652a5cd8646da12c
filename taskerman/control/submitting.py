"""SUBMIT: a document is judged as routers and nodes would judge it, and then sent. And the same without sending.

Whatever can be known now is said now: the same errors, in the same words, that the queue would give as a dead letter.
The id is drawn before the document is sent, so that sending it twice is one task.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskerman.control.desk import Desk
from taskerman.control.values import Preview, PreviewedNode, Submitted
from taskerman.coordination import overview as reading
from taskerman.coordination.plans import put_away
from taskerman.coordination.snapshot import Around, snapshot_of, survey
from taskerman.errors import ActionUnknown, DocumentFieldInvalid, NotFound, TaskEnded, TaskExists
from taskerman.model.assignment import Progress
from taskerman.model.attempt import NodeRecord
from taskerman.model.base import content_hash, parse_json_object
from taskerman.model.ids import ScopeName, draw_task_id
from taskerman.model.plan import Plan, PlannedNode, Tombstone, filled_in
from taskerman.model.task import MAX_DOCUMENT_BYTES, TaskControl, TaskDocument, TaskState, parse_task_document
from taskerman.policy.admission import admit
from taskerman.policy.guards import suspicion
from taskerman.policy.routing import deadline, make_plan
from taskerman.policy.snapshot import Admission, Waiting
from taskerman.ports.tree import Tree

__all__ = ["Prepared", "check_known", "prepare", "preview", "submit"]

_UNSENDABLE = re.compile("[\ufffe\uffff]")
"""What JSON may hold as it is, and a message only escaped."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document with its id, as it is sent."""

    document: TaskDocument
    received: Mapping[str, Any]
    body: str

    @property
    def hash(self) -> str:
        """What the plan will keep, to tell the same document from another one under its id."""
        return content_hash(self.received)


def prepare(text: str | bytes) -> Prepared:
    """Read a document and give it an id if it has none. Raises the `DocumentError` that a router would."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    received: Mapping[str, Any] | None = None
    if len(raw) <= MAX_DOCUMENT_BYTES:
        try:
            received = parse_json_object(raw.decode("utf-8"))
        except UnicodeDecodeError:
            received = None  # judged below, in the words that everybody uses
    if received is None:
        body = text
    else:
        if "task_id" not in received:
            received = {**received, "task_id": draw_task_id()}
        body = json.dumps(received, ensure_ascii=False, separators=(",", ":"))
        body = _UNSENDABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", body)
    document, as_received = parse_task_document(body)
    return Prepared(document, as_received, body if isinstance(body, str) else body.decode("utf-8"))


def submit(desk: Desk, prepared: Prepared, *, unchecked: bool = False) -> Submitted:
    """Send a document to the global queue. Sending it again is harmless: its nodes without an end are rung again.

    `unchecked`: only its form is judged here; an action that this build does not have, or an EC2 or a ZooKeeper that
    this machine does not reach, does not keep it from being sent.
    Raises what `preview` raises, `NotFound` (no global queue yet), `QueuesUnavailable`, `NotPermitted`.
    """
    before = not unchecked and _planned_before(desk, prepared)
    plan = None if unchecked or before else _judge(desk, prepared)[0]
    at = desk.now()
    try:
        desk.queues.send(desk.names.tasks, prepared.body)
    except NotFound:
        raise NotFound(
            f"There is no queue {desk.names.tasks}.",
            next_step="Create the installation: `taskerman init`; or correct TASKERMAN_QUEUE_PREFIX.",
        ) from None
    return Submitted(
        task_id=prepared.document.task_id,
        queue=desk.names.tasks,
        at=at,
        hash=prepared.hash,
        sha256=hashlib.sha256(prepared.body.encode()).hexdigest(),
        nodes=None if plan is None else len(plan.nodes),
        cap=None if plan is None else plan.cap,
        planned_before=before,
    )


def preview(desk: Desk, prepared: Prepared) -> Preview:
    """The plan that would be made now, and for each node what would hold it, as admission says it. Sends nothing.

    Raises every `DocumentError` that a router would, `TaskExists`, `TaskEnded`, `DiscoveryFailed`,
    `CoordinationUnavailable`.
    """
    _planned_before(desk, prepared)
    plan, discovered = _judge(desk, prepared)
    own = desk.catalog.traits(plan.task.action).own_scope(plan.task)
    now = desk.now()
    tree = desk.opened()
    would_be = _control_of(desk, plan)
    records = reading.node_records(tree, [node.id for node in plan.nodes])
    return Preview(
        task_id=prepared.document.task_id,
        cluster_name=prepared.document.cluster_name,
        action=prepared.document.action,
        cap=plan.cap,
        discovered=discovered,
        not_after=plan.accepted.not_after,
        nodes=tuple(
            _previewed(node, answer)
            for node, answer in zip(plan.nodes, _would_be(tree, plan, would_be, records, now, own), strict=True)
        ),
    )


def check_known(desk: Desk, document: TaskDocument) -> None:
    """The document's action is installed here and takes its arguments, and its source of discovery is known.

    Raises the `DocumentError` that says which is not, and that it may be so on this machine alone.
    """
    try:
        desk.catalog.check_args(document.action, document.taskerman_params.action_args)
    except ActionUnknown as error:
        raise ActionUnknown(
            error.what,
            next_step=f"{error.next_step} If the nodes have a newer build than this machine: --unchecked.".strip(),
        ) from None
    if document.discovery not in desk.discoveries:
        raise DocumentFieldInvalid(
            f"discovery: {document.discovery!r} is not known here.",
            next_step=f"Known: {', '.join(sorted(desk.discoveries))}. If the routers have a package that this machine "
            "has not: --unchecked.",
        )


def _judge(desk: Desk, prepared: Prepared) -> tuple[Plan, int]:
    """The plan that a router would make now, and how many nodes were discovered."""
    document = prepared.document
    check_known(desk, document)
    discovery = desk.discoveries[document.discovery]
    now = desk.now()
    if now >= deadline(document, now):
        raise TaskEnded(
            f"not_after ({document.not_after:%Y-%m-%dT%H:%M:%SZ}) has passed.", next_step="Give it a later one."
        )
    traits = desk.catalog.traits(document.action)
    if filled := traits.fill(document):
        document = filled_in(prepared.received, filled)
    if traits.own_scope(document) is None:
        desk.router_moves().check_scope(document)
    discovered = discovery.nodes(document.cluster_name)
    strangers = set(document.nodes) - {node.id for node in discovered}
    registered = desk.router_moves().registered(strangers) if strangers else ()
    elsewhere = discovery.known(strangers) if strangers else ()
    plan = make_plan(
        document,
        prepared.received,
        prepared.hash,
        discovered,
        registered=registered,
        elsewhere=elsewhere,
        sent_at=now,
        now=now,
        filled=filled,
        replaces=traits.replaces,
    )
    return plan, len(discovered)


def _planned_before(desk: Desk, prepared: Prepared) -> bool:
    """Whether this very document has a plan. Raises `TaskExists` when another one has its id, and `TaskEnded` when it
    was done and put away: a router would delete a copy of it."""
    task = prepared.document.task_id
    there = desk.router_moves().plan(task)
    if there is not None and there.hash != prepared.hash:
        raise TaskExists(
            f"Task {task} exists with other content ({there.hash[:19]} there, {prepared.hash[:19]} here).",
            next_step="Give the new task an id of its own, or leave task_id out.",
        )
    if isinstance(there, Tombstone):
        raise put_away(task, there)
    return there is not None


def _control_of(desk: Desk, plan: Plan) -> TaskControl:
    """Open, or parked as a router would park it."""
    size = plan.accepted.discovered
    known = desk.router_moves().size(plan.task.cluster_name)
    why = None if size is None else suspicion(known, size, desk.guard)
    return TaskControl() if why is None else TaskControl(state=TaskState.PARKED, why=why)


def _would_be(
    tree: Tree,
    plan: Plan,
    control: TaskControl,
    records: Sequence[NodeRecord | None],
    now: datetime,
    own: ScopeName | None,
) -> Iterator[Admission]:
    """What admission would say of each node if the plan stood now and all of them had joined, in their order.

    `own`: the runner's own scope, which a router would declare first.
    """
    arounds: dict[tuple[str, ...], Around] = {}
    places: Counter[str] = Counter()
    for planned, found in zip(plan.nodes, records, strict=True):
        record = found or NodeRecord()
        key = (planned.lane, *record.kept)
        if key not in arounds:
            arounds[key] = survey(tree, plan, planned, record, now, hypothetical=True).with_declared(own)
        yield admit(
            snapshot_of(
                plan,
                planned,
                control=control,
                record=record,
                progress=Progress(),
                place=places[planned.lane],
                around=arounds[key],
            ),
            now,
        )
        places[planned.lane] += 1


def _previewed(node: PlannedNode, answer: Admission) -> PreviewedNode:
    waiting = answer if isinstance(answer, Waiting) else None
    return PreviewedNode(
        node=node.id,
        az=node.az,
        rank=node.rank,
        reason=waiting.reason.value if waiting else None,
        text=waiting.text if waiting else "It could begin now.",
        until=waiting.until if waiting else None,
    )
