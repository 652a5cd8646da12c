"""Reading the past: what a question means in SQL, and nouns from rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, or_, select, tuple_

from taskerman.adapters.sql.tables import assignment, audit, command, refusal, task
from taskerman.model.audit import AuditEntry
from taskerman.model.command import CommandEnd, CommandHow, CommandRecord, Processes
from taskerman.model.history import PastEnd, PastTask
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.plan import Refusal
from taskerman.model.task import TaskState
from taskerman.ports.history import AuditQuery, CommandQuery, RefusalQuery, TaskQuery

__all__ = ["read_audit", "read_commands", "read_refusals", "read_tasks"]

Name = tuple[Any, Any]
Condition = ColumnElement[bool]


def read_tasks(connection: Connection, query: TaskQuery) -> Sequence[PastTask]:
    """The newest tasks that fit, with the ends that fit if ends were asked for."""
    conditions: list[Condition] = [
        column == value
        for column, value in (
            (task.c.task_id, query.task),
            (task.c.cluster_name, query.cluster),
            (task.c.owner, query.owner),
            (task.c.action, query.action),
        )
        if value is not None
    ]
    if query.since is not None:
        conditions.append(task.c.ended_at >= query.since)
    of_ends = _of_ends(query)
    if of_ends:
        mine = and_(assignment.c.task_id == task.c.task_id, assignment.c.planned_at == task.c.planned_at)
        conditions.append(exists().where(mine, *of_ends))
    newest = task.c.ended_at.desc(), task.c.task_id, task.c.planned_at
    rows = connection.execute(select(task).where(*conditions).order_by(*newest).limit(query.most)).all()
    names = [(row.task_id, row.planned_at) for row in rows]
    counts = _counts(connection, names)
    ends = _ends(connection, names, of_ends) if query.wants_ends else {}
    return [
        PastTask(
            task_id=row.task_id,
            planned_at=row.planned_at,
            ended_at=row.ended_at,
            cluster_name=row.cluster_name,
            owner=row.owner,
            action=row.action,
            state=TaskState(row.state),
            why=row.why,
            cap=row.cap,
            nodes=row.nodes,
            not_after=row.not_after,
            counts=counts.get(name, {}),
            document=row.document if query.task is not None else None,
            ends=tuple(ends.get(name, ())),
        )
        for name, row in zip(names, rows, strict=True)
    ]


def read_audit(connection: Connection, query: AuditQuery) -> Sequence[AuditEntry]:
    """The newest entries that fit."""
    conditions: list[Condition] = []
    if query.target is not None:
        below = audit.c.target.startswith(query.target + "/", autoescape=True)
        conditions.append(or_(audit.c.target == query.target, below))
    if query.verb is not None:
        conditions.append(audit.c.verb == query.verb)
    if query.by is not None:
        conditions.append(audit.c.by == query.by)
    if query.since is not None:
        conditions.append(audit.c.at >= query.since)
    rows = connection.execute(
        select(audit).where(*conditions).order_by(audit.c.at.desc(), audit.c.id).limit(query.most)
    ).all()
    return [AuditEntry(id=row.id, at=row.at, by=row.by, verb=row.verb, target=row.target, why=row.why) for row in rows]


def read_refusals(connection: Connection, query: RefusalQuery) -> Sequence[Refusal]:
    """The newest refusals that fit."""
    conditions: list[Condition] = []
    if query.task is not None:
        conditions.append(refusal.c.task_id == query.task)
    if query.cluster is not None:
        conditions.append(refusal.c.cluster_name == query.cluster)
    if query.since is not None:
        conditions.append(refusal.c.at >= query.since)
    newest = refusal.c.at.desc(), refusal.c.sha256, refusal.c.received_at
    rows = connection.execute(select(refusal).where(*conditions).order_by(*newest).limit(query.most)).all()
    return [
        Refusal(
            sha256=row.sha256,
            code=row.code,
            reason=row.reason,
            at=row.at,
            sent_at=row.sent_at,
            queue=row.queue,
            body=row.body,
            body_bytes=row.body_bytes,
            body_truncated=row.body_truncated,
            cluster_name=row.cluster_name,
            task_id=row.task_id,
            dead_letter=row.dead_letter,
        )
        for row in rows
    ]


def read_commands(connection: Connection, query: CommandQuery) -> Sequence[CommandRecord]:
    """The newest commands that fit."""
    conditions: list[Condition] = []
    if query.scope is not None:
        conditions.append(command.c.scope == query.scope)
    if query.host is not None:
        conditions.append(command.c.host == query.host)
    if query.since is not None:
        conditions.append(command.c.ended_at >= query.since)
    newest = command.c.ended_at.desc(), command.c.holder
    rows = connection.execute(select(command).where(*conditions).order_by(*newest).limit(query.most)).all()
    return [
        CommandRecord(
            holder=row.holder,
            host=row.host,
            scope=row.scope,
            promise=row.promise,
            group=row.host_group,
            argv=tuple(row.argv),
            by=row.by,
            processes=Processes.model_validate(row.processes),
            began=row.began,
            end=CommandEnd(
                at=row.ended_at,
                how=CommandHow(row.how),
                exit=row.exit,
                max_rss_bytes=row.max_rss_bytes,
                tail=row.tail,
                why=row.why,
            ),
        )
        for row in rows
    ]


def _of_ends(query: TaskQuery) -> list[Condition]:
    """What one end has to be."""
    conditions: list[Condition] = []
    if query.node is not None:
        conditions.append(assignment.c.node == query.node)
    if query.outcome is not None:
        conditions.append(assignment.c.outcome == query.outcome.value)
    if query.letters:
        conditions.append(assignment.c.dead_letter != DeadLetterState.NONE.value)
    return conditions


def _counts(connection: Connection, names: Sequence[Name]) -> dict[Name, dict[Outcome, int]]:
    """Of each task its nodes by the outcome that each ended with last."""
    if not names:
        return {}
    of = assignment.c
    latest = (
        func.row_number()
        .over(partition_by=(of.task_id, of.planned_at, of.node), order_by=(of.at.desc(), of.attempt.desc()))
        .label("age")
    )
    ends = select(of.task_id, of.planned_at, of.outcome, latest).where(_one_of(names)).subquery()
    rows = connection.execute(
        select(ends.c.task_id, ends.c.planned_at, ends.c.outcome, func.count().label("nodes"))
        .where(ends.c.age == 1)
        .group_by(ends.c.task_id, ends.c.planned_at, ends.c.outcome)
    ).all()
    found: dict[Name, dict[Outcome, int]] = {}
    for row in rows:
        found.setdefault((row.task_id, row.planned_at), {})[Outcome(row.outcome)] = row.nodes
    return {name: {one: counts[one] for one in Outcome if one in counts} for name, counts in found.items()}


def _ends(connection: Connection, names: Sequence[Name], conditions: list[Condition]) -> dict[Name, list[PastEnd]]:
    if not names:
        return {}
    of = assignment.c
    rows = connection.execute(
        select(assignment).where(_one_of(names), *conditions).order_by(of.rank, of.node, of.at, of.attempt)
    ).all()
    found: dict[Name, list[PastEnd]] = {}
    for row in rows:
        found.setdefault((row.task_id, row.planned_at), []).append(_end(row))
    return found


def _one_of(names: Sequence[Name]) -> Condition:
    return tuple_(assignment.c.task_id, assignment.c.planned_at).in_(names)


def _end(row: Row[Any]) -> PastEnd:
    end = End(
        outcome=Outcome(row.outcome),
        attempt=row.attempt,
        attempts=row.attempts,
        reason=row.reason,
        code=row.code,
        tail=row.tail,
        kept=tuple(row.kept),
        at=row.at,
        dead_letter=DeadLetterState(row.dead_letter),
    )
    return PastEnd(node=row.node, az=row.az, rank=row.rank, end=end)
