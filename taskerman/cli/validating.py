"""`taskerman validate`: are the declared schedules such that a scheduler may take them?"""

from __future__ import annotations

from typing import Annotated

import typer

from taskerman.cli.printing import Json, desk, print_value

__all__ = ["validate"]


def validate(
    path: Annotated[
        str | None,
        typer.Argument(
            help="A folder or a file; also s3://bucket/prefix. Default: TASKERMAN_SCHEDULES, else configs/tasks."
        ),
    ] = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Ask discovery and ZooKeeper too: has each cluster nodes, each scope a capacity?"
        ),
    ] = False,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="Take actions and discoveries that are not installed here as they are."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Judge declared schedules. Every fault is a line, by file, line and field; none of them is an exit code of 0."""
    from taskerman import bootstrap, control  # noqa: PLC0415

    with desk() as at, bootstrap.open_schedule_files(bootstrap.read_settings().settings, path) as files:
        found = control.validate(at, files, online=online, unchecked=unchecked)
        good = f"{_count(found.schedules, 'schedule')} in {_count(found.files, 'file')}"
        said = [*found.faults, f"{good}: {_count(len(found.faults), 'fault')}."] if found.faults else [f"{good}: good."]
        print_value(found, as_json, said)
        return found.exit_code


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
