"""`taskerman schedules`: what is declared to happen again and again, how it stands, and stopping it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taskerman.cli.printing import Json, Why, desk, print_value

__all__ = ["schedules"]

schedules = typer.Typer(
    rich_markup_mode=None,
    help="What happens again and again. taskerman schedules lists it.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


@schedules.command("list")
def _list(
    cluster: Annotated[str | None, typer.Option(help="Of this cluster, <kind>:<name>.")] = None,
    ill: Annotated[
        bool, typer.Option("--ill", help="Only what is stale or overdue, or whose last task did not come out well.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What is in force: when each fires next, how its last task ended."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import schedule_views  # noqa: PLC0415

    with desk() as at:
        found = control.list_schedules(at, cluster=cluster, ill=ill)
        print_value(found, as_json, schedule_views.overview(found, at.now()))


@schedules.command("show")
def _show(name: Name, as_json: Json = False) -> None:
    """One schedule, with its definition and the document that is next."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import schedule_views  # noqa: PLC0415

    with desk() as at:
        found = control.show_schedule(at, name)
        print_value(found, as_json, schedule_views.shown(found, at.now()))


@schedules.command("pause")
def _pause(name: Name, why: Why, as_json: Json = False) -> None:
    """Fire it no more, until somebody resumes it. What it has started goes on, and is named."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import schedule_views  # noqa: PLC0415

    with desk() as at:
        done = control.pause_schedule(at, name, why)
        print_value(done, as_json, schedule_views.paused(done))


@schedules.command("resume")
def _resume(name: Name, why: Why = "", as_json: Json = False) -> None:
    """Let a paused one fire again, from now on. What it would have done meanwhile is not made up for."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import schedule_views  # noqa: PLC0415

    with desk() as at:
        done = control.resume_schedule(at, name, why)
        print_value(done, as_json, schedule_views.resumed(done, at.now()))


@schedules.command("trigger")
def _trigger(
    name: Name,
    why: Why,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Judge the document's form only: no action or cluster is checked.")
    ] = False,
    sign_with: Annotated[
        Path | None, typer.Option("--sign-with", help="Sign it with the Ed25519 private key in this file.")
    ] = None,
    key_id: Annotated[str, typer.Option(help="The key's id. Default: the file's name without its ending.")] = "",
    as_json: Json = False,
) -> None:
    """Fire it once now, also when it is paused. Its times stay as they are."""
    import json  # noqa: PLC0415

    from taskerman import bootstrap, control  # noqa: PLC0415
    from taskerman.cli import schedule_views  # noqa: PLC0415

    with desk() as at:
        document = control.trigger_document(at, name)
        if sign_with is not None:
            document = bootstrap.sign_document(document, sign_with, key_id)
        prepared = control.prepare(json.dumps(document))
        done = control.trigger_schedule(at, name, prepared, why, unchecked=unchecked)
        print_value(done, as_json, schedule_views.triggered(done))
