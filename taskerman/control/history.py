"""HISTORY: what was put away. Reads only, and only from the history: ZooKeeper need not be there.

The present is not in it: a task is in the history when every node of it has an end and the janitor has put it away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from taskerman.control.naming import check_cluster, check_node, check_task
from taskerman.control.values import LetterLine
from taskerman.errors import TaskUnknown, UsageError
from taskerman.model.base import Noun, Timestamp
from taskerman.model.history import PastEnd, PastTask
from taskerman.model.ids import AttemptId, ClusterName, NodeId, TaskId
from taskerman.model.outcome import DeadLetterState, Outcome
from taskerman.model.task import TaskState
from taskerman.policy.letters import dead_letter_of_document
from taskerman.ports.history import AuditQuery, HistoryReader, RefusalQuery, TaskQuery

__all__ = [
    "AuditLine",
    "HistoryUpgraded",
    "PastEndLine",
    "PastTaskLine",
    "outcome_named",
    "past_audit",
    "past_letters",
    "past_tasks",
    "point_in_time",
]


class PastEndLine(Noun):
    """One end of one node's share, as the history has it. A node that was redriven has several."""

    node: NodeId
    az: str
    rank: int
    outcome: Outcome
    attempt: AttemptId
    attempts: int
    code: str
    reason: str
    at: Timestamp
    kept: tuple[str, ...]
    dead_letter: DeadLetterState
    tail: str


class PastTaskLine(Noun):
    """A task that was put away. `counts`: its nodes by the outcome that each ended with last.

    `document`: when the task was asked for by its id. `ends`: when a task, a node or an outcome was asked for; only
    those that fit.
    """

    task_id: TaskId
    cluster_name: ClusterName
    owner: str
    action: str
    state: TaskState
    why: str
    cap: int
    planned_at: Timestamp
    ended_at: Timestamp
    not_after: Timestamp
    counts: dict[str, int]
    document: dict[str, JsonValue] | None = None
    ends: tuple[PastEndLine, ...] = ()


class AuditLine(Noun):
    """Who changed what, when and why. `by`: as claimed."""

    at: Timestamp
    by: str
    verb: str
    target: str
    why: str


class HistoryUpgraded(Noun):
    """The history's tables are those of this build. `place`: where, without its password."""

    place: str
    revision: str


def past_tasks(reader: HistoryReader, query: TaskQuery) -> Sequence[PastTaskLine]:
    """Tasks that were put away, the newest first. Raises `TaskUnknown` when one was named that is not among them."""
    check_names(query.task, query.cluster, query.node)
    found = reader.ended_tasks(query)
    if not found and query.task is not None and not reader.ended_tasks(TaskQuery(task=query.task, most=1)):
        raise TaskUnknown(
            f"Task {query.task} is not in the history.",
            next_step=f"If it has not been put away yet: `taskerman status {query.task}`.",
        )
    return tuple(_line(task) for task in found)


def past_letters(
    reader: HistoryReader,
    *,
    task: TaskId | None = None,
    cluster: ClusterName | None = None,
    since: datetime | None = None,
    most: int = 50,
) -> Sequence[LetterLine]:
    """Dead letters that were put away, of assignments and of documents, the newest first; at most `most`."""
    check_names(task, cluster)
    tasks = TaskQuery(task=task, cluster=cluster, letters=True, since=since, most=most)
    documents = RefusalQuery(task=task, cluster=cluster, since=since, most=most)
    lines = [
        LetterLine(
            key=one.end.attempt,
            kind="assignment",
            task_id=ended.task_id,
            node=one.node,
            cluster_name=ended.cluster_name,
            outcome=one.end.outcome,
            code=one.end.code,
            reason=one.end.reason,
            at=one.end.at,
            state=one.end.dead_letter.value,
        )
        for ended in reader.ended_tasks(tasks)
        for one in ended.ends
        if since is None or one.end.at >= since
    ]
    for refusal in reader.refused_documents(documents):
        letter = dead_letter_of_document(refusal)
        lines.append(
            LetterLine(
                key=refusal.sha256,
                kind="document",
                task_id=refusal.task_id,
                node=None,
                cluster_name=refusal.cluster_name,
                outcome=letter.outcome,
                code=refusal.code,
                reason=refusal.reason,
                at=refusal.at,
                state=refusal.dead_letter,
            )
        )
    return tuple(sorted(lines, key=lambda line: (line.at, line.key), reverse=True)[:most])


def past_audit(reader: HistoryReader, query: AuditQuery) -> Sequence[AuditLine]:
    """Who changed what, when and why, the newest first."""
    return tuple(
        AuditLine(at=entry.at, by=entry.by, verb=entry.verb, target=entry.target, why=entry.why)
        for entry in reader.audit_entries(query)
    )


def check_names(task: str | None, cluster: str | None, node: str | None = None) -> None:
    """What was given can be such names. Raises `UsageError`."""
    if task is not None:
        check_task(task)
    if cluster is not None:
        check_cluster(cluster)
    if node is not None:
        check_node(node)


def point_in_time(text: str, now: datetime) -> datetime:
    """`90m`, `2h` or `7d` before `now`; or a day, or a time (UTC unless it says otherwise). Raises `UsageError`."""
    if span := re.fullmatch(r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?", text.strip()):
        days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
        if days or hours or minutes or seconds:
            try:
                return now - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
            except OverflowError:
                return datetime.min.replace(tzinfo=UTC)
    try:
        when = datetime.fromisoformat(text.strip())
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is not a time.", next_step="Write 90m, 2h, 7d, 2026-01-31 or 2026-01-31T12:00Z."
        ) from None


def outcome_named(text: str) -> Outcome:
    """The outcome of that name. Raises `UsageError`."""
    try:
        return Outcome(text)
    except ValueError:
        names = ", ".join(outcome.value for outcome in Outcome if outcome is not Outcome.DEFERRED)
        raise UsageError(f"{text!r} is not an outcome.", next_step=f"There are {names}.") from None


def _line(task: PastTask) -> PastTaskLine:
    return PastTaskLine(
        task_id=task.task_id,
        cluster_name=task.cluster_name,
        owner=task.owner,
        action=task.action,
        state=task.state,
        why=task.why,
        cap=task.cap,
        planned_at=task.planned_at,
        ended_at=task.ended_at,
        not_after=task.not_after,
        counts={outcome.value: nodes for outcome, nodes in task.counts.items()},
        document=task.document,
        ends=tuple(_end(one) for one in task.ends),
    )


def _end(one: PastEnd) -> PastEndLine:
    return PastEndLine(
        node=one.node,
        az=one.az,
        rank=one.rank,
        outcome=one.end.outcome,
        attempt=one.end.attempt,
        attempts=one.end.attempts,
        code=one.end.code,
        reason=one.end.reason,
        at=one.end.at,
        kept=one.end.kept,
        dead_letter=one.end.dead_letter,
        tail=one.end.tail,
    )
