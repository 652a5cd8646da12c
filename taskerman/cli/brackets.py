"""Verbs on brackets: list, close."""

from __future__ import annotations

from typing import Annotated

import typer

from taskerman.cli.printing import Json, Why, desk, print_value, print_values

__all__ = ["brackets"]

brackets = typer.Typer(
    rich_markup_mode=None,
    help="Brackets of clusters: who acts in them; closing one.",
)


@brackets.command("list")
def _list(
    cluster: Annotated[str | None, typer.Argument(help="A cluster. Absent: all.")] = None,
    as_json: Json = False,
) -> None:
    """Which were begun, who acts in them, and how far their end is."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import bracket_views  # noqa: PLC0415

    with desk() as at:
        found = control.list_brackets(at, cluster)
        print_values(found, as_json, bracket_views.brackets(found, at.now()))


@brackets.command("close")
def _close(
    cluster: Annotated[str, typer.Argument(help="A cluster.")],
    name: Annotated[str, typer.Argument(help="The bracket's name.")],
    why: Why,
    as_json: Json = False,
) -> None:
    """Say that it was undone by hand; no node ends it any more."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import bracket_views  # noqa: PLC0415

    with desk() as at:
        done = control.close_bracket(at, cluster, name, why)
        print_value(done, as_json, bracket_views.closed(done))
