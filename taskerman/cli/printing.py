"""What every verb prints with: JSON for programs; for people plain text, and tables that a terminal draws nicer.

Rich is imported for a terminal only: what is piped is plain, aligned, and the same on every machine.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

if TYPE_CHECKING:
    from taskerman.control import Desk
    from taskerman.model.base import Noun

__all__ = [
    "Block",
    "Json",
    "Table",
    "Why",
    "ago",
    "be_quiet",
    "check_timeout",
    "desk",
    "live",
    "one_line",
    "print_blocks",
    "print_value",
    "print_values",
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")]
Why = Annotated[str, typer.Option("--why", help="The reason, in a few words; it is recorded.")]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings. A cell is one line."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


_CELL = 70

Block = str | Table
"""A line or a table."""


@contextmanager
def desk() -> Iterator[Desk]:
    """An operator's desk as this machine is configured, for one verb."""
    from taskerman import bootstrap  # noqa: PLC0415  not before a verb is called

    be_quiet()
    with bootstrap.open_desk(bootstrap.read_settings().settings) as opened:
        yield opened


def be_quiet() -> None:
    """A verb answers once: what the libraries say of each try on the way is not the answer, nor the error."""
    import logging  # noqa: PLC0415

    logging.getLogger().addHandler(logging.NullHandler())


def check_timeout(timeout: float | None, wait: bool) -> None:
    """Raise `UsageError` for a --timeout of nothing, or one that is no time."""
    from taskerman.errors import UsageError  # noqa: PLC0415

    if timeout is not None and not wait:
        raise UsageError("--timeout says how long to wait, and nothing waits.", next_step="Give --wait too.")
    if timeout is not None and not 0 <= timeout < math.inf:
        raise UsageError(f"--timeout {timeout} is not a time to wait.", next_step="Give seconds, 0 or more.")


def print_value(value: Noun, as_json: bool, blocks: Sequence[Block]) -> None:
    """One answer, in the form that is wanted."""
    if as_json:
        print(value.model_dump_json(indent=2))
    else:
        print_blocks(blocks)


def print_values(values: Sequence[Noun], as_json: bool, blocks: Sequence[Block]) -> None:
    """A list of answers; as JSON, an array."""
    if as_json:
        import json  # noqa: PLC0415

        print(json.dumps([value.model_dump(mode="json") for value in values], indent=2))
    else:
        print_blocks(blocks)


def print_blocks(blocks: Sequence[Block]) -> None:
    """For the eye."""
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415

        Console(highlight=False).print(_drawn(blocks))
        return
    for block in blocks:
        for line in _aligned(block) if isinstance(block, Table) else [block]:
            print(line)


class Screen(Protocol):
    """Something that shows the latest of several views."""

    def show(self, blocks: Sequence[Block]) -> None:
        """Show this now."""
        ...


@contextmanager
def live() -> Iterator[Screen]:
    """On a terminal each view replaces the one before; elsewhere they follow one another."""
    if not sys.stdout.isatty():
        yield _Scroll()
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    with Live(console=Console(highlight=False), auto_refresh=False) as drawing:
        yield _Canvas(drawing)


class _Scroll:
    def show(self, blocks: Sequence[Block]) -> None:
        print_blocks(blocks)
        sys.stdout.flush()


class _Canvas:
    def __init__(self, drawing: Any) -> None:
        self._drawing = drawing

    def show(self, blocks: Sequence[Block]) -> None:
        self._drawing.update(_drawn(blocks), refresh=True)


def ago(then: datetime | None, now: datetime) -> str:
    """`2m05s`: how long since `then`; `in 30s` when it is still to come; empty when there is no such time."""
    if then is None:
        return ""
    if then > now:
        return f"in {_span(then - now)}"
    return _span(now - then)


def one_line(text: str) -> str:
    """As a cell of a table shows it: no line breaks, and cut where it would push the other columns away."""
    line = " ".join(text.split())
    return line if len(line) <= _CELL else line[: _CELL - 3] + "..."


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86400}d{seconds % 86400 // 3600:02}h"


def _aligned(table: Table) -> Iterator[str]:
    rows = [table.headings, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.headings))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _drawn(blocks: Sequence[Block]) -> Any:
    """As Rich draws it. No markup: what others wrote is shown as they wrote it."""
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn: list[Any] = []
    for block in blocks:
        if isinstance(block, str):
            drawn.append(Text(block))
            continue
        table = RichTable(box=None, pad_edge=False, header_style="bold")
        for heading in block.headings:
            table.add_column(heading, overflow="fold")
        for row in block.rows:
            table.add_row(*(Text(cell) for cell in row))
        drawn.append(table)
    return Group(*drawn)
