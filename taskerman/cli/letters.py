"""Verbs about dead letters: what will not go on by itself, and what a person does about it."""

from __future__ import annotations

from typing import Annotated

import typer

from taskerman.cli.printing import Json, Why, desk, print_value, print_values

__all__ = ["dlq"]

dlq = typer.Typer(rich_markup_mode=None, help="Dead letters: what will not go on by itself.")

Name = Annotated[
    str,
    typer.Argument(metavar="TASK", help="A task; or a refused document's id or sha256; or the key of a letter."),
]
Node = Annotated[str | None, typer.Argument(help="The node. Not needed when the task has one dead letter.")]


@dlq.command("list")
def _list(
    everything: Annotated[bool, typer.Option("--all", help="Redriven and discarded ones too.")] = False,
    as_json: Json = False,
) -> None:
    """What needs a person, oldest first."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        found = control.list_letters(at, everything=everything)
        print_values(found, as_json, views.letters(found, at.now()))


@dlq.command("show")
def _show(name: Name, node: Node = None, as_json: Json = False) -> None:
    """One dead letter, whole. The reason, the end of the output, the document, what may be typed next."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        found = control.show_letter(at, name, node)
        print_value(found, as_json, views.shown_letter(found))


@dlq.command("redrive")
def _redrive(name: Name, node: Node = None, why: Why = "", as_json: Json = False) -> None:
    """Try it again, after the repair. In its task, or as a new one when that is over."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        done = control.redrive(at, name, node, why)
        print_value(done, as_json, views.redriven(done))


@dlq.command("discard")
def _discard(name: Name, why: Why, node: Node = None, as_json: Json = False) -> None:
    """Nothing more is to be done about it. A slot that was kept stays kept."""
    from taskerman import control  # noqa: PLC0415

    with desk() as at:
        done = control.discard(at, name, node, why)
        print_value(done, as_json, [f"{done.key} is discarded."])
