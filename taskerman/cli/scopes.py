"""`taskerman scopes`: what named scopes there are, who is in them and who waits; and declaring how many may be."""

from __future__ import annotations

from typing import Annotated

import typer

from taskerman.cli.printing import Json, Why, desk, print_value, print_values

__all__ = ["scopes"]

scopes = typer.Typer(
    rich_markup_mode=None,
    help="Named scopes, which several clusters share: list, set.",
    no_args_is_help=True,
)


@scopes.command("list")
def _list(as_json: Json = False) -> None:
    """Every named scope: its capacity, who is in it, who waits."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        found = control.list_scopes(at)
        print_values(found, as_json, views.scopes(found, at.now()))


@scopes.command("set")
def _set(
    name: Annotated[str, typer.Argument(help="The scope: letters, digits, _ and -.")],
    capacity: Annotated[int, typer.Argument(help="How many nodes may be in it at once. 0 lets nothing start.")],
    why: Why,
    as_json: Json = False,
) -> None:
    """Declare a scope, or change its capacity. What runs goes on, also when there is room for fewer."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        done = control.set_scope(at, name, capacity, why)
        print_value(done, as_json, views.scope_set(done))
