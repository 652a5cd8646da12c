"""Verbs about the installation itself: init, doctor, settings, schema."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from taskerman.cli.printing import Json, Table, Why, be_quiet, desk, one_line, print_blocks, print_value

__all__ = ["Document", "doctor", "init", "schema", "settings"]


class Document(StrEnum):
    """What has a schema."""

    task = "task"
    doorbell = "doorbell"
    dead_letter = "dead-letter"
    journal = "journal"
    result = "result"
    schedule = "schedule"


def init(
    why: Why = "",
    accept_installation: Annotated[
        bool,
        typer.Option(
            "--accept-installation",
            help="After ZooKeeper was emptied or restored: let the nodes that it stopped go on.",
        ),
    ] = False,
    of: Annotated[
        str | None, typer.Option("--of", help="With it: of which installation, when no node has reported it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the records and queues that are absent. A new installation begins with a hold on everything."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415
    from taskerman.errors import UsageError  # noqa: PLC0415

    if of is not None and not accept_installation:
        raise UsageError("--of says which installation is accepted.", next_step="Give --accept-installation too.")
    if accept_installation:
        control.check_why(why)
    with desk() as at:
        done = control.initialise(at, why or "a new installation", accept=accept_installation, of=of)
        said = [f"Accepted: {one}. Its nodes go on within half a minute." for one in done.accepted]
        said += [f"Installation {done.installation}, with the queues {' and '.join(done.queues)}."]
        said += [
            f"Hold {one.id} stands on {one.target}: {one.why}. Lift it: taskerman unhold {one.id}" for one in done.holds
        ]
        if done.secured is not None:
            said.append(f"{done.secured} records were given their rights.")
        print_value(done, as_json, [*said, *views.strangers(done.strangers, at.now())])


def doctor(as_json: Json = False) -> int:
    """Look whether everything is there and reachable. For what is not well it says the next step."""
    from taskerman import bootstrap, control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    be_quiet()
    loaded = bootstrap.read_settings()
    with bootstrap.open_desk(loaded.settings) as at:
        found = control.examine(at, bootstrap.subject_of(loaded))
        print_value(found, as_json, views.examined(found))
        return found.exit_code


def settings(as_json: Json = False) -> None:
    """Every setting: its value, where it came from, what it is. Secrets are masked; --json has long values whole."""
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    from taskerman import bootstrap  # noqa: PLC0415

    listing = bootstrap.read_settings().listing()
    if as_json:
        print(json.dumps([asdict(setting) for setting in listing], indent=2))
        return
    rows = tuple(
        (
            one.variable,
            one_line(one.value if isinstance(one.value, str) else json.dumps(one.value)),
            one.origin,
            one.about,
        )
        for one in listing
    )
    print_blocks([Table(("SETTING", "VALUE", "FROM", "WHAT IT IS"), rows)])


def schema(
    document: Annotated[Document, typer.Argument(help="Of which document.")],
) -> None:
    """Print the JSON Schema of a document."""
    import json  # noqa: PLC0415

    from taskerman.cli.schemas import schema_of  # noqa: PLC0415

    print(json.dumps(schema_of(document.value), indent=2))
