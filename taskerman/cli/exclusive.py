"""`taskerman exclusive`: a command of this host under a slot; `taskerman groups`: on which hosts a group's may run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from taskerman.cli.printing import Json, Why, desk, print_value, print_values

__all__ = ["exclusive", "groups"]


def exclusive(
    scope: Annotated[str, typer.Option(help="The named scope in which it takes a slot. Need not be declared.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD ARGS", help="What runs, after two dashes.")],
    concurrency: Annotated[
        int, typer.Option(help="It runs beside at most so many, itself included; binds those that come later, too.")
    ] = 1,
    group: Annotated[
        str | None, typer.Option(help="Only while this host is in this group; it is stopped when it leaves it.")
    ] = None,
    wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="Wait for its turn: 90s, 10m, 2h. Absent: give up at once.")
    ] = None,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="Between TERM and KILL when its host leaves its group.")
    ] = "10s",
) -> int:
    """Run a command when there is room for it, anywhere. Exits with the command's code."""
    from taskerman import bootstrap, control  # noqa: PLC0415
    from taskerman.cli.printing import be_quiet  # noqa: PLC0415
    from taskerman.exclusive import Order, run_exclusively  # noqa: PLC0415

    given = control.check_order(scope, concurrency, group, wait, grace)
    order = Order(given.scope, tuple(command), given.promise, given.group, given.wait, given.grace)
    be_quiet()
    sys.stdout.flush()
    return run_exclusively(bootstrap.open_exclusive(bootstrap.read_settings().settings, _say), order)


def _say(text: str) -> None:
    sys.stderr.write(f"taskerman: {text}\n")
    sys.stderr.flush()


groups = typer.Typer(
    rich_markup_mode=None,
    help="Groups of hosts, on which `exclusive --group` runs: list, set.",
    no_args_is_help=True,
)


@groups.command("list")
def _list(as_json: Json = False) -> None:
    """Every group and its hosts."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import group_views  # noqa: PLC0415

    with desk() as at:
        found = control.list_groups(at)
        print_values(found, as_json, group_views.groups(found))


@groups.command("set")
def _set(
    name: Annotated[str, typer.Argument(help="The group: letters, digits, _ and -.")],
    why: Why,
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="HOST...", help="Its hosts, instead of those that were.")
    ] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="It has no host: its commands run nowhere.")] = False,
    as_json: Json = False,
) -> None:
    """Say which hosts are in a group. What runs on one that is not any more is stopped."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import group_views  # noqa: PLC0415

    with desk() as at:
        done = control.set_group(at, name, hosts or [], why, nobody=nobody)
        print_value(done, as_json, group_views.group_set(done))
