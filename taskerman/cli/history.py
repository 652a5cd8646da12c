"""Verbs about the past: tasks that were put away, their dead letters, who changed what; and the tables of it all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from taskerman.cli.printing import Json, be_quiet, print_value, print_values

if TYPE_CHECKING:
    from datetime import datetime

    from taskerman.ports.history import HistoryReader

__all__ = ["history"]

history = typer.Typer(
    rich_markup_mode=None,
    help="What is over: tasks, dead letters, commands, the audit. taskerman history [OPTIONS] lists tasks.",
)

Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Not older: 90m, 2h, 7d, or 2026-01-31, 2026-01-31T12:00Z.")
]
Limit = Annotated[int, typer.Option(help="The newest so many.", min=1, max=10_000)]


@history.command("list")
def _list(
    task: Annotated[str | None, typer.Option(help="This task, with each of its nodes and its document.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Of this cluster, <kind>:<name>.")] = None,
    node: Annotated[str | None, typer.Option(help="That acted on this node; how it ended there.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="With a node that ended so, and which: failed, unsafe, lost, ...")
    ] = None,
    action: Annotated[str | None, typer.Option(help="Of this action, <runner>:<operation>.")] = None,
    owner: Annotated[str | None, typer.Option(help="Of this owner.")] = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Ended tasks, the newest first. With --task, --node or --outcome also how the nodes ended."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import past_views  # noqa: PLC0415
    from taskerman.ports.history import TaskQuery  # noqa: PLC0415

    ended = None if outcome is None else control.outcome_named(outcome)
    query = TaskQuery(task, cluster, owner, action, node, ended, since=_since(since), most=limit)
    with _reader() as reader:
        found = control.past_tasks(reader, query)
        print_values(found, as_json, past_views.tasks(found, with_ends=query.wants_ends, whole=task is not None))


@history.command("letters")
def _letters(
    task: Annotated[str | None, typer.Option(help="Of this task.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Of this cluster, <kind>:<name>.")] = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Dead letters that were put away, the newest first. Of nodes, and of refused documents."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import past_views  # noqa: PLC0415

    with _reader() as reader:
        found = control.past_letters(reader, task=task, cluster=cluster, since=_since(since), most=limit)
        print_values(found, as_json, past_views.letters(found))


@history.command("audit")
def _audit(
    target: Annotated[
        str | None, typer.Option(help="What was changed: a task, a task/node, what a hold stands on, a node.")
    ] = None,
    verb: Annotated[str | None, typer.Option(help="Only this verb: hold, cancel, redrive, ...")] = None,
    by: Annotated[str | None, typer.Option(help="Only by this person, as recorded.")] = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Who changed what, when and why, the newest first."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import past_views  # noqa: PLC0415
    from taskerman.ports.history import AuditQuery  # noqa: PLC0415

    with _reader() as reader:
        found = control.past_audit(reader, AuditQuery(target, verb, by, _since(since), limit))
        print_values(found, as_json, past_views.audit(found))


@history.command("commands")
def _commands(
    scope: Annotated[str | None, typer.Option(help="In this scope.")] = None,
    host: Annotated[str | None, typer.Option(help="On this host.")] = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Commands that ran under a slot (`exclusive`), the newest first. As JSON with the end of their output."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import past_views  # noqa: PLC0415
    from taskerman.ports.history import CommandQuery  # noqa: PLC0415

    with _reader() as reader:
        found = control.past_commands(reader, CommandQuery(scope, host, _since(since), limit))
        print_values(found, as_json, past_views.commands(found))


@history.command("upgrade")
def _upgrade(as_json: Json = False) -> None:
    """Make the history's tables, or bring them up to date. Safe to repeat, and while janitors run."""
    from taskerman import bootstrap  # noqa: PLC0415

    be_quiet()
    done = bootstrap.upgrade_history(bootstrap.read_settings().settings)
    print_value(done, as_json, [f"The history in {done.place} has schema {done.revision}, which this build needs."])


@contextmanager
def _reader() -> Iterator[HistoryReader]:
    """The past, as this machine is configured; ZooKeeper is not asked."""
    from taskerman import bootstrap  # noqa: PLC0415

    be_quiet()
    with bootstrap.open_history_reader(bootstrap.read_settings().settings) as reader:
        yield reader


def _since(text: str | None) -> datetime | None:
    from datetime import UTC, datetime  # noqa: PLC0415

    from taskerman.control import point_in_time  # noqa: PLC0415

    return None if text is None else point_in_time(text, datetime.now(UTC))
