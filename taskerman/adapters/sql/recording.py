"""Writing the past: rows from nouns, and upserts that may be repeated, cross each other, and erase nothing.

Rows are written in the order of their keys, so that two who write the same ones at once wait for each other and never
in a circle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, case, false, select
from sqlalchemy.dialects import postgresql, sqlite

from taskerman.adapters.sql.tables import assignment, audit, command, refusal, schedule, task
from taskerman.model.audit import AuditEntry
from taskerman.model.command import CommandRecord
from taskerman.model.history import TaskHistory
from taskerman.model.outcome import DeadLetterState
from taskerman.model.plan import Refusal

__all__ = ["write_audit", "write_commands", "write_nothing", "write_refusals", "write_task"]

Row = Mapping[str, Any]

_CHUNK = 1000


def write_nothing(connection: Connection) -> None:
    """What writing would do to each table, of no row at all: it fails as that would, and changes nothing."""
    for table in (task, assignment, audit, refusal, schedule, command):
        connection.execute(
            table.insert().from_select([column.name for column in table.c], select(table).where(false()))
        )
        first = table.primary_key.columns[0]
        connection.execute(table.update().values({first: first}).where(false()))


def write_task(connection: Connection, given: TaskHistory) -> None:
    """The task, and each of its ends: perhaps not all any more, or none, when it was recorded before."""
    planned = {node.id: node for node in given.plan.nodes}
    name = {"task_id": given.task_id, "planned_at": given.plan.accepted.at}
    document = given.plan.task
    _upsert(
        connection,
        task,
        [
            {
                **name,
                "cluster_name": document.cluster_name,
                "owner": document.owner,
                "action": document.action,
                "state": given.control.state.value,
                "why": given.control.why,
                "cap": given.plan.cap,
                "nodes": len(given.plan.nodes),
                "not_after": given.plan.accepted.not_after,
                "ended_at": max((one.end.at for one in given.assignments), default=given.plan.accepted.at),
                "hash": given.plan.hash,
                "document": given.plan.doc,
                "control": json.loads(given.control.to_json()),
            }
        ],
    )
    ends = [
        {
            **name,
            "node": one.node,
            "attempt": one.end.attempt,
            "az": planned[one.node].az,
            "rank": planned[one.node].rank,
            "outcome": one.end.outcome.value,
            "attempts": one.end.attempts,
            "code": one.end.code,
            "reason": one.end.reason,
            "tail": one.end.tail,
            "kept": list(one.end.kept),
            "at": one.end.at,
            "dead_letter": one.end.dead_letter.value,
        }
        for one in given.assignments
    ]
    _upsert(connection, assignment, sorted(ends, key=lambda row: (row["node"], row["attempt"])))


def write_audit(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Each entry once. An entry is never changed, so one that is there already is left as it is."""
    rows = [
        {"id": e.id, "at": e.at, "by": e.by, "verb": e.verb, "target": e.target, "why": e.why}
        for e in sorted(entries, key=lambda entry: entry.id)
    ]
    statement = _insert(connection, audit).on_conflict_do_nothing(index_elements=["id"])
    for start in range(0, len(rows), _CHUNK):
        connection.execute(statement, rows[start : start + _CHUNK])


def write_refusals(connection: Connection, refusals: Sequence[Refusal]) -> None:
    """Each refusal, by what was refused and when it was sent."""
    rows = [
        {
            "sha256": r.sha256,
            "received_at": r.sent_at or r.at,
            "at": r.at,
            "sent_at": r.sent_at,
            "code": r.code,
            "reason": r.reason,
            "queue": r.queue,
            "body": r.body,
            "body_bytes": r.body_bytes,
            "body_truncated": r.body_truncated,
            "cluster_name": r.cluster_name,
            "task_id": r.task_id,
            "dead_letter": r.dead_letter,
        }
        for r in refusals
    ]
    _upsert(connection, refusal, sorted(rows, key=lambda row: (row["sha256"], row["received_at"])))


def write_commands(connection: Connection, commands: Sequence[CommandRecord]) -> None:
    """Each command that has ended, once. An end is never changed, so one that is there already is left as it is."""
    rows = [
        {
            "holder": one.holder,
            "host": one.host,
            "scope": one.scope,
            "promise": one.promise,
            "host_group": one.group,
            "argv": list(one.argv),
            "by": one.by,
            "processes": json.loads(one.processes.to_json()),
            "began": one.began,
            "ended_at": one.end.at,
            "how": one.end.how.value,
            "exit": one.end.exit,
            "max_rss_bytes": one.end.max_rss_bytes,
            "tail": one.end.tail,
            "why": one.end.why,
        }
        for one in sorted(commands, key=lambda command: command.holder)
        if one.end is not None
    ]
    statement = _insert(connection, command).on_conflict_do_nothing(index_elements=["holder"])
    for start in range(0, len(rows), _CHUNK):
        connection.execute(statement, rows[start : start + _CHUNK])


def _upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert, or let the given row win, except that a dead letter never goes back to an earlier state."""
    insert = _insert(connection, table)
    keys = [column.name for column in table.primary_key]
    given: dict[str, ColumnElement[Any]] = {
        column.name: insert.excluded[column.name] for column in table.columns if column.name not in keys
    }
    if "dead_letter" in given:
        there = table.c.dead_letter
        given["dead_letter"] = case((_stage(there) > _stage(given["dead_letter"]), there), else_=given["dead_letter"])
    if "ended_at" in given:  # an end that was redriven is not among the given ones, and may be the later
        there = table.c.ended_at
        given["ended_at"] = case((there > given["ended_at"], there), else_=given["ended_at"])
    statement = insert.on_conflict_do_update(index_elements=keys, set_=given)
    for start in range(0, len(rows), _CHUNK):
        connection.execute(statement, rows[start : start + _CHUNK])


_STAGES = {DeadLetterState.NONE: 0, DeadLetterState.OWED: 1, DeadLetterState.SENT: 2}


def _stage(column: ColumnElement[Any]) -> ColumnElement[int]:
    """How far a dead letter is, as a number; settled is the furthest. See `further_letter`."""
    return case({state.value: stage for state, stage in _STAGES.items()}, value=column, else_=3)


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """The two dialects have the same upsert, under two names."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
