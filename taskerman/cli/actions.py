"""Verbs about actions: which are installed, what one takes, whether a node is configured for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taskerman.cli.printing import Json, print_value, print_values

__all__ = ["actions"]

actions = typer.Typer(rich_markup_mode=None, help="Actions that are installed here, and what each takes.")


@actions.command("list")
def _list(as_json: Json = False) -> None:
    """List every installed action. A runner that cannot be imported is named with the reason."""
    from taskerman import bootstrap, control  # noqa: PLC0415
    from taskerman.cli import action_views  # noqa: PLC0415

    found = control.list_actions(bootstrap.guide())
    print_values(found, as_json, action_views.listed(found))


@actions.command("show")
def _show(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="<runner>:<operation>, as `actions list` has it.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Only judge this settings file of a node: its [runners.<runner>] for that runner."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what an action does, its arguments, the node's configuration, and how it is used."""
    from taskerman import bootstrap, control  # noqa: PLC0415
    from taskerman.cli import action_views  # noqa: PLC0415
    from taskerman.settings import read_toml  # noqa: PLC0415

    guide = bootstrap.guide()
    if config is not None:
        checked = control.check_config(guide, action, read_toml(config), str(config))
        print_value(checked, as_json, action_views.checked(checked, str(config)))
        return
    shown = control.show_action(guide, action, bootstrap.shipped_schedules())
    print_value(shown, as_json, action_views.shown(shown))
