"""`taskerman schedules add`, `edit` and `remove`: schedules that people declare beside the reviewed files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taskerman.cli import task_options as options
from taskerman.cli.printing import Json, Why, desk, print_value

__all__ = ["declare", "remove"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


def declare(
    context: typer.Context,
    name: Name,
    why: Why,
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="The whole schedule, as YAML or JSON; - reads standard input.")
    ] = None,
    cron: Annotated[str | None, typer.Option(help="When: five fields such as '0 2 * * *', or @daily.")] = None,
    every: Annotated[str | None, typer.Option(help="When, instead: 30m, 6h, 1d; counted from 1970 in UTC.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Of --cron and --window: an IANA name such as Europe/Berlin. Default: UTC.")
    ] = None,
    jitter: Annotated[str | None, typer.Option(help="Up to so much later, always the same: 10m. Default: 0.")] = None,
    catch_up: Annotated[
        str | None, typer.Option(help="What is made up for: none, latest, all (with --overlap queue). Default: latest.")
    ] = None,
    catch_up_horizon: Annotated[str | None, typer.Option(help="How far back. Default: 1h.")] = None,
    overlap: Annotated[
        str | None, typer.Option(help="While its last task is open: skip, queue, cancel_previous. Default: skip.")
    ] = None,
    not_after: Annotated[str | None, typer.Option(help="How long after its time nodes may still start: 4h.")] = None,
    stale_after: Annotated[str | None, typer.Option(help="Stale without a success for so long: 2d.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    runbook: Annotated[str | None, typer.Option(help="Where it stands what to do when it fails.")] = None,
    notify: Annotated[list[str] | None, typer.Option(help="Who is told; repeat it for several.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enabled/--disabled", help="Whether it fires.")] = None,
    command: Annotated[
        str | None, typer.Option(help="""Instead of --action, a program: '["df", "-h"]', without a shell.""")
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
        bool | None,
        typer.Option("--exclusive/--not-exclusive", help="No other task acts in the cluster beside its tasks."),
    ] = None,
    window: options.Window = None,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Do not ask whether the action and the discovery are installed here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Declare a schedule: of options, or of a file."""
    from taskerman import bootstrap, control  # noqa: PLC0415
    from taskerman.cli import declaration_views, declarations, documents  # noqa: PLC0415
    from taskerman.errors import UsageError  # noqa: PLC0415

    said = declarations.Said(
        cron=cron,
        every=every,
        timezone=timezone,
        jitter=jitter,
        catch_up=catch_up,
        catch_up_horizon=catch_up_horizon,
        overlap=overlap,
        not_after=not_after,
        stale_after=stale_after,
        description=description,
        runbook=runbook,
        notify=tuple(notify) if notify else None,
        enabled=enabled,
        command=command,
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
        exclusive=exclusive,
        windows=tuple(window or ()),
    )
    given = None
    if file is not None:
        if (said, flags) != (declarations.Said(), documents.Flags()):
            raise UsageError(
                "--file has the whole schedule.", next_step="Leave the other options out, or write them in it."
            )
        raw = documents.read_file(file, stdin=sys.stdin.buffer, folder=Path())
        given = declarations.definition_in_file(bootstrap.read_mapping(raw, file), name, file)
    with desk() as at, bootstrap.open_schedule_store(bootstrap.read_settings().settings) as store:
        if context.info_name == "add":
            definition = given or declarations.new_definition(name, said, flags, by=at.by)
            added = control.add_schedule(at, store, definition, why, place=file or name, unchecked=unchecked)
            print_value(added, as_json, declaration_views.added(added))
            return
        before = None
        if given is None:
            before = control.declared_definition(at, store, name)
            given = declarations.changed_definition(before, said, flags)
        edited = control.edit_schedule(
            at, store, given, why, place=file or name, instead_of=before, unchecked=unchecked
        )
        print_value(edited, as_json, declaration_views.edited(edited))


def remove(name: Name, why: Why, as_json: Json = False) -> None:
    """Declare a schedule no more. What it has started goes on."""
    from taskerman import bootstrap, control  # noqa: PLC0415
    from taskerman.cli import declaration_views  # noqa: PLC0415

    with desk() as at, bootstrap.open_schedule_store(bootstrap.read_settings().settings) as store:
        done = control.remove_schedule(at, store, name, why)
        print_value(done, as_json, declaration_views.removed(done))
