"""Verbs about a task as a whole: submit, status, explain."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskerman.cli import task_options as options
from taskerman.cli.printing import Block, Json, check_timeout, desk, live, print_blocks, print_value

if TYPE_CHECKING:
    from taskerman.control import Desk
    from taskerman.control.values import Submitted, TaskStatus

__all__ = ["explain", "status", "submit"]


def submit(
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="The task document, a JSON file; - reads standard input.")
    ] = None,
    action: options.Action = None,
    cluster: options.Cluster = None,
    owner: options.Owner = None,
    limit: options.Limit = None,
    concurrency: options.Concurrency = None,
    node: options.OnNode = None,
    arg: options.Arg = None,
    retries: options.Retries = None,
    max_failures: options.MaxFailures = None,
    scope: options.Scope = None,
    priority: options.Priority = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="No other task acts in the cluster beside it.")
    ] = False,
    window: options.Window = None,
    timezone: Annotated[
        str | None, typer.Option(help="Of the windows: an IANA name such as Europe/Berlin. Default: UTC.")
    ] = None,
    task_id: Annotated[str | None, typer.Option(help="Its id. Default: one is drawn.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: show nodes, order and what holds each now.")
    ] = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Judge the document's form only: no action, cluster or id is checked.")
    ] = False,
    sign_with: Annotated[
        Path | None, typer.Option("--sign-with", help="Sign it with the Ed25519 private key in this file.")
    ] = None,
    key_id: Annotated[str, typer.Option(help="The key's id. Default: the file's name without its ending.")] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow it to its end; the exit code says how it ended.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(help="With --wait: stop waiting after so many seconds (exit code 13).")
    ] = None,
    as_json: Json = False,
) -> int:
    """Send a task: from a document, or made of these options."""
    import json  # noqa: PLC0415

    from taskerman import bootstrap, control  # noqa: PLC0415
    from taskerman.cli import documents, views  # noqa: PLC0415
    from taskerman.errors import UsageError  # noqa: PLC0415

    check_timeout(timeout, wait)
    if dry_run and (wait or unchecked):
        raise UsageError(
            f"--dry-run sends nothing, so --{'wait' if wait else 'unchecked'} says nothing.",
            next_step="Leave one of the two out.",
        )
    flags = documents.Flags(
        action=action,
        cluster=cluster,
        owner=owner,
        limit=limit,
        concurrency=concurrency,
        nodes=tuple(node or ()),
        args=tuple(arg or ()),
        retries=retries,
        max_failures=max_failures,
        scope=scope,
        priority=priority,
        exclusive=exclusive or None,
        windows=tuple(window or ()),
        timezone=timezone,
        task_id=task_id,
    )
    with desk() as at:
        text = documents.read(file, flags, by=at.by, stdin=sys.stdin.buffer, folder=Path())
        prepared = control.prepare(text)
        if sign_with is not None:
            prepared = control.prepare(json.dumps(bootstrap.sign_document(prepared.received, sign_with, key_id)))
        if dry_run:
            preview = control.preview(at, prepared)
            print_value(preview, as_json, views.previewed(preview, at.now()))
            return 0
        sent = control.submit(at, prepared, unchecked=unchecked)
        if not wait:
            print_value(sent, as_json, views.submitted(sent))
            return 0
        return _follow(at, sent.task_id, sent, timeout, as_json)


def status(
    task: Annotated[str | None, typer.Argument(help="A task. Absent: everything that is open.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the task until it has ended or halted.")] = False,
    as_json: Json = False,
) -> None:
    """What is open, or how each node of one task stands."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415
    from taskerman.errors import UsageError  # noqa: PLC0415

    with desk() as at:
        if task is None:
            if watch:
                raise UsageError("--watch follows one task.", next_step="Name it: taskerman status TASK --watch.")
            seen = control.overview(at)
            print_value(seen, as_json, views.overview(seen, at.now()))
        elif watch:
            control.task_status(at, task)  # an unknown one is an error now, not a long wait
            _follow(at, task, None, None, as_json)
        else:
            found = control.task_status(at, task)
            print_value(found, as_json, views.task(found, at.now()))


def explain(
    task: Annotated[str, typer.Argument(help="A task.")],
    node: Annotated[str | None, typer.Argument(help="One of its nodes. Absent: all of them.")] = None,
    as_json: Json = False,
) -> None:
    """Why nodes wait, who holds the slots, and what to type next."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        found = control.explain(at, task, node)
        print_value(found, as_json, views.explained(found, at.now()))


def _follow(at: Desk, task: str, sent: Submitted | None, timeout: float | None, as_json: bool) -> int:
    """Show the task until it has come to something; its exit code. As JSON, one line a change."""
    import time  # noqa: PLC0415

    from taskerman import control  # noqa: PLC0415
    from taskerman.control.values import Verdict  # noqa: PLC0415

    patience = None if timeout is None else timedelta(seconds=timeout)
    last: TaskStatus | None = None
    shown = False
    with live() as screen:
        for seen in control.follow(at, task, sent=sent, patience=patience, pause=time.sleep):
            last = seen
            if as_json:
                line = seen if seen is not None else sent
                print(line.model_dump_json() if line is not None else "{}", flush=True)
            elif sys.stdout.isatty():
                screen.show(_view(at, task, seen))
            else:
                screen.show([_line(at, task, seen)])
            shown = True
    if last is not None and not as_json and shown and not sys.stdout.isatty():
        print_blocks(_view(at, task, last))
    return Verdict.GOING_ON.exit_code if last is None else last.verdict.exit_code


def _view(at: Desk, task: str, seen: TaskStatus | None) -> list[Block]:
    from taskerman.cli import views  # noqa: PLC0415

    return [_line(at, task, None)] if seen is None else views.task(seen, at.now())


def _line(at: Desk, task: str, seen: TaskStatus | None) -> str:
    from taskerman.cli import views  # noqa: PLC0415

    when = f"{at.now():%H:%M:%S}Z"
    if seen is None:
        return f"{when} {task} waits for a router"
    return f"{when} {task} is {views.standing(seen.state, seen.nodes)}: {views.counts(seen.counts)}"
