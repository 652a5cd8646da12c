"""Verbs on the breakers of clusters: show, reset."""

from __future__ import annotations

from typing import Annotated

import typer

from taskerman.cli.printing import Json, Why, desk, print_value, print_values

__all__ = ["breaker"]

breaker = typer.Typer(
    rich_markup_mode=None,
    help="Breakers of clusters: what failed in a row; closing one.",
)


@breaker.command("show")
def _show(
    cluster: Annotated[str | None, typer.Argument(help="A cluster. Absent: all with anything to show.")] = None,
    as_json: Json = False,
) -> None:
    """What failed in a row, and which node tries. Until when its cluster is left alone."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        found = control.show_breakers(at, cluster)
        print_values(found, as_json, views.breakers(found, at.now()))


@breaker.command("reset")
def _reset(
    cluster: Annotated[str, typer.Argument(help="A cluster.")],
    why: Why,
    as_json: Json = False,
) -> None:
    """Close the breaker and forget the failures. A kept slot goes on stopping the cluster."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        done = control.reset_breaker(at, cluster, why)
        print_value(done, as_json, views.breaker_reset(done))
