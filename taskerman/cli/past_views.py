"""How the past looks to people. Pure. Times are written out: "3d04h ago" says nothing in a report on last Tuesday."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from taskerman.cli.printing import Block, Table, ago, one_line
from taskerman.cli.views import counts
from taskerman.control.history import AuditLine, PastEndLine, PastTaskLine
from taskerman.control.past_commands import PastCommandLine
from taskerman.control.values import LetterLine
from taskerman.model.task import TaskState

__all__ = ["audit", "commands", "letters", "tasks"]


def tasks(values: Sequence[PastTaskLine], *, with_ends: bool, whole: bool) -> list[Block]:
    """A line a task; with its ends a line an end, and of one task (`whole`) also what it was."""
    if not values:
        return ["Nothing in the history is like that."]
    if whole:
        return [block for value in values for block in _whole(value)]
    if with_ends:
        return [_ends([(value, end) for value in values for end in value.ends])]
    return [
        Table(
            ("ENDED", "TASK", "CLUSTER", "ACTION", "OWNER", "NODES"),
            tuple(
                (
                    _at(value.ended_at),
                    value.task_id,
                    value.cluster_name,
                    value.action,
                    value.owner,
                    counts(value.counts),
                )
                for value in values
            ),
        )
    ]


def letters(values: Sequence[LetterLine]) -> list[Block]:
    """What needed a person, and what was done about it."""
    if not values:
        return ["No dead letter in the history is like that."]
    return [
        Table(
            ("AT", "TASK", "NODE", "CLUSTER", "OUTCOME", "STATE", "REASON"),
            tuple(
                (
                    _at(value.at),
                    value.task_id or value.key[:12],
                    value.node or "(document)",
                    value.cluster_name or "",
                    value.outcome.value,
                    value.state,
                    _reason(value.code, value.reason),
                )
                for value in values
            ),
        )
    ]


def audit(values: Sequence[AuditLine]) -> list[Block]:
    """Who did what."""
    if not values:
        return ["Nothing in the audit is like that."]
    return [
        Table(
            ("AT", "BY", "VERB", "TARGET", "WHY"),
            tuple((_at(one.at), one.by, one.verb, one.target, one_line(one.why)) for one in values),
        )
    ]


def commands(values: Sequence[PastCommandLine]) -> list[Block]:
    """What ran where, and how it ended."""
    if not values:
        return ["No command in the history is like that."]
    return [
        Table(
            ("ENDED", "SCOPE", "HOST", "EXIT", "TOOK", "COMMAND", "WHY"),
            tuple(
                (
                    _at(one.ended_at),
                    one.scope,
                    one.host,
                    one.how.value if one.exit is None else str(one.exit),
                    ago(one.began, one.ended_at),
                    one_line(" ".join(one.argv)),
                    one_line(one.why),
                )
                for one in values
            ),
        )
    ]


def _whole(value: PastTaskLine) -> list[Block]:
    why = f" ({value.why})" if value.why else ""
    return [
        f"{value.task_id}: {value.action} on {value.cluster_name}, {value.cap} at a time, for {value.owner}",
        f"{'ended' if value.state is TaskState.OPEN else value.state.value}{why}: {counts(value.counts)}",
        f"planned {_at(value.planned_at)}, ended {_at(value.ended_at)}",
        _ends([(value, end) for end in value.ends]) if value.ends else "No node of it ended like that.",
    ]


def _ends(rows: Sequence[tuple[PastTaskLine, PastEndLine]]) -> Table:
    return Table(
        ("AT", "TASK", "NODE", "AZ", "ACTION", "OUTCOME", "TRIED", "WHAT"),
        tuple(
            (
                _at(end.at),
                task.task_id,
                end.node,
                end.az,
                task.action,
                end.outcome.value,
                str(end.attempts),
                _what(end),
            )
            for task, end in rows
        ),
    )


def _what(end: PastEndLine) -> str:
    parts = [_reason(end.code, end.reason)]
    if end.kept:
        parts.append("slot kept")
    if end.dead_letter not in ("none", "sent"):
        parts.append(f"dead letter {end.dead_letter.value}")
    return "; ".join(part for part in parts if part)


def _reason(code: str, reason: str) -> str:
    return one_line(f"{code}: {reason}" if code else reason)


def _at(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}Z"
