"""The tables of the past, and of what people declare. A change here needs a migration beside it: a test compares the
two on both databases.

A task is known by its id and the time of its planning: long after a task was forgotten its id may be given again. A
row of `assignment` is one *end*: a node that was redriven has several in the same task. Nothing refers to anything by
foreign key, because the parts of one task may arrive in any order and by two writers.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, MetaData, Table

from taskerman.adapters.sql.columns import UtcTime, Words

__all__ = ["VERSION_TABLE", "assignment", "audit", "command", "metadata", "refusal", "schedule", "task"]

VERSION_TABLE = "taskerman_schema"
"""Where the migrations note how far they are."""

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"},
)

task = Table(
    "task",
    metadata,
    Column("task_id", Words, primary_key=True),
    Column("planned_at", UtcTime, primary_key=True),
    Column("cluster_name", Words, nullable=False),
    Column("owner", Words, nullable=False),
    Column("action", Words, nullable=False),
    Column("state", Words, nullable=False),
    Column("why", Words, nullable=False),
    Column("cap", Integer, nullable=False),
    Column("nodes", Integer, nullable=False),
    Column("not_after", UtcTime, nullable=False),
    Column("ended_at", UtcTime, nullable=False),
    Column("hash", Words, nullable=False),
    Column("document", JSON, nullable=False),
    Column("control", JSON, nullable=False),
    Index(None, "ended_at"),
    Index(None, "cluster_name", "ended_at"),
)
"""`state` and `why`: of `control`, for queries. `ended_at`: of its last end."""

assignment = Table(
    "assignment",
    metadata,
    Column("task_id", Words, primary_key=True),
    Column("planned_at", UtcTime, primary_key=True),
    Column("node", Words, primary_key=True),
    Column("attempt", Words, primary_key=True),
    Column("az", Words, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("outcome", Words, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("code", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("tail", Words, nullable=False),
    Column("kept", JSON, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("dead_letter", Words, nullable=False),
    Index(None, "node", "at"),
    Index(None, "outcome", "at"),
)
"""One end of one node's share, with its dead letter. `attempt`: the key of the end."""

refusal = Table(
    "refusal",
    metadata,
    Column("sha256", Words, primary_key=True),
    Column("received_at", UtcTime, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("sent_at", UtcTime, nullable=True),
    Column("code", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("queue", Words, nullable=False),
    Column("body", Words, nullable=False),
    Column("body_bytes", Integer, nullable=False),
    Column("body_truncated", Boolean, nullable=False),
    Column("cluster_name", Words, nullable=True),
    Column("task_id", Words, nullable=True),
    Column("dead_letter", Words, nullable=False),
    Index(None, "at"),
)
"""A document that was not accepted. `received_at`: when it was sent, else when it was refused; part of its name."""

audit = Table(
    "audit",
    metadata,
    Column("id", Words, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("by", Words, nullable=False),
    Column("verb", Words, nullable=False),
    Column("target", Words, nullable=False),
    Column("why", Words, nullable=False),
    Index(None, "at"),
    Index(None, "target", "at"),
)
"""Who changed what, when and why."""

command = Table(
    "command",
    metadata,
    Column("holder", Words, primary_key=True),
    Column("host", Words, nullable=False),
    Column("scope", Words, nullable=False),
    Column("promise", Integer, nullable=False),
    Column("host_group", Words, nullable=True),
    Column("argv", JSON, nullable=False),
    Column("by", Words, nullable=False),
    Column("processes", JSON, nullable=False),
    Column("began", UtcTime, nullable=False),
    Column("ended_at", UtcTime, nullable=False),
    Column("how", Words, nullable=False),
    Column("exit", Integer, nullable=True),
    Column("max_rss_bytes", BigInteger, nullable=False),
    Column("tail", Words, nullable=False),
    Column("why", Words, nullable=False),
    Index(None, "ended_at"),
    Index(None, "scope", "ended_at"),
    Index(None, "host", "ended_at"),
)
"""A command that ran under a slot. `exit` NULL: nobody knows how it ended."""

schedule = Table(
    "schedule",
    metadata,
    Column("name", Words, primary_key=True),
    Column("definition", JSON, nullable=False),
    Column("by", Words, nullable=False),
    Column("why", Words, nullable=False),
    Column("added_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Column("removed_at", UtcTime, nullable=True),
    Column("revision", Integer, nullable=False),
    Index(None, "revision", unique=True),
)
"""A schedule that a person declared. `by`, `why`, `changed_at`: of its last change. `removed_at`: it is declared no
more since then; the row stays, so that a removal is a change like any other. `revision`: rises with every change of any
schedule, so that the highest one tells whether something changed."""
