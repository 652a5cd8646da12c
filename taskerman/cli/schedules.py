"""`taskerman schedules`: what is declared to happen again and again, how it stands, and stopping it."""

from __future__ import annotations

import typer

__all__ = ["schedules"]

schedules = typer.Typer(
    rich_markup_mode=None,
    help="What happens again and again: list, show, pause, trigger.",
    no_args_is_help=True,
)
