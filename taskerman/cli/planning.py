"""Verbs that look ahead: what will fire, and what another version of the schedules would change. Both only look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskerman.cli.printing import Json, be_quiet, desk, print_value

if TYPE_CHECKING:
    from taskerman.model.schedule_record import Declaration

__all__ = ["diff", "plan"]

From = Annotated[
    str, typer.Option("--from", metavar="TIME", help="From then on: now, 2h (from now), 2026-01-31, 2026-01-31T12:00Z.")
]
Until = Annotated[
    str, typer.Option("--until", metavar="TIME", help="Up to then: 7d (after --from), 2026-01-31, 2026-01-31T12:00Z.")
]


def plan(
    begin: From = "now",
    until: Until = "7d",
    schedule: Annotated[str | None, typer.Option(help="Only this schedule.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Only on this cluster, <kind>:<name>.")] = None,
    files: Annotated[
        Path | None, typer.Option(help="What this folder or file declares, instead of what is in force.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask discovery for nodes.")] = False,
    as_json: Json = False,
) -> None:
    """What schedules will do, and which get in each other's way."""
    from taskerman import bootstrap, control  # noqa: PLC0415
    from taskerman.cli import planning_views  # noqa: PLC0415
    from taskerman.model.schedule_record import Declaration  # noqa: PLC0415

    with desk() as at:
        first, last = control.time_to_come(begin, until, at.now())
        control.check_wanted(schedule, cluster)
        if files is None:
            records = [one for one in control.in_force(at) if one.retired_at is None]
            declared = [Declaration(schedule=one.schedule, origin=one.origin, place=one.place) for one in records]
            paused = {one.schedule.name for one in records if one.paused is not None}
        else:
            declared, paused = list(_declarations(files)), set()
        chosen = control.wanted(declared, schedule, cluster)
        with bootstrap.open_history_reader(bootstrap.read_settings().settings) as history:
            found = control.foresee(at, history, chosen, first, last, paused=paused, offline=offline)
        print_value(found, as_json, planning_views.outlook(found))


def diff(
    old: Annotated[Path, typer.Argument(help="A folder or file of schedules, as they are.")],
    new: Annotated[Path, typer.Argument(help="The same, as they would be.")],
    begin: From = "now",
    until: Until = "7d",
    as_json: Json = False,
) -> None:
    """What another version of the schedules would change."""
    from datetime import UTC  # noqa: PLC0415
    from datetime import datetime as time_of_day  # noqa: PLC0415

    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import planning_views  # noqa: PLC0415

    be_quiet()
    first, last = control.time_to_come(begin, until, time_of_day.now(UTC))
    found = control.compare(_declarations(old), _declarations(new), first, last)
    print_value(found, as_json, planning_views.comparison(found))


def _declarations(path: Path) -> Sequence[Declaration]:
    """What `path`, a folder or a file, declares. Raises `SchedulesInvalid`, `UsageError`."""
    from taskerman import bootstrap  # noqa: PLC0415

    with bootstrap.open_schedule_files(bootstrap.read_settings().settings, str(path)) as files:
        return files.read()
