"""What the newcomer sees: live while it happens on a terminal, plain lines everywhere else, and then the report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import wrap

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from taskerman.demo.facts import Interval
from taskerman.demo.timeline import DOWN, DOWN_UNASKED, IDLE, MAINTENANCE, draw

__all__ = ["NodeLine", "Screen"]

_STYLES = {
    "waiting": "dim",
    "pre_check": "yellow",
    "acting": "bold red",
    "settling": "magenta",
    "succeeded": "green",
    "unsafe": "bold red",
}
_MARKS = {"succeeded": "done", "unsafe": "UNSAFE"}
_CELLS = {IDLE: "dim", MAINTENANCE: "yellow", DOWN: "red", DOWN_UNASKED: "bold white on red"}
_WIDEST = 100
_MARGIN = 2


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node now. `phase`: waiting, pre_check, acting, settling, or its outcome. `down`: as the prober sees it."""

    node: str
    az: str
    phase: str
    down: bool


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        terminal = Console()
        width = min(terminal.width, _WIDEST) if terminal.is_terminal else _WIDEST
        self._console = Console(highlight=False, width=width)
        self._live: Live | None = None
        self._shown: dict[str, tuple[str, bool]] = {}
        self._began = time.monotonic()

    # --- words -------------------------------------------------------------------------------------------

    def title(self, text: str) -> None:
        """The beginning of a part."""
        self._console.print()
        self._console.rule(Text(text, style="bold"), align="left", style="dim")

    def say(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """A sentence or two."""
        self._print(Text(text, style=style), _MARGIN + indent)

    def document(self, document: Mapping[str, object]) -> None:
        """A document as JSON, broken between its words only."""
        for line in wrap(
            json.dumps(document),
            self._console.width - 2 * _MARGIN,
            subsequent_indent=" ",
            break_long_words=False,
            break_on_hyphens=False,
        ):
            self._print(Text(line, style="dim"))

    def fact(self, name: str, text: str) -> None:
        """One thing that is there now."""
        table = Table.grid(padding=(0, 2))
        table.add_column(width=12, style="bold")
        table.add_column()
        table.add_row(name, Text(text))
        self._print(table)

    def command(self, text: str) -> None:
        """What a person types, unbroken, so that it can be copied."""
        self._console.print(Text(f"{' ' * _MARGIN}$ {text}", style="cyan"), soft_wrap=True)

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """While it lasts, a terminal shows that something goes on."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(Text(text, style="dim"), spinner="line"):
            yield

    def gap(self) -> None:
        """An empty line."""
        self._console.print()

    def _print(self, what: Text | Table, margin: int = _MARGIN) -> None:
        if isinstance(what, Table):
            self._console.print(Padding(what, (0, 0, 0, margin), expand=False))
            return
        for line in what.wrap(self._console, self._console.width - margin - _MARGIN):
            line.rstrip()
            self._console.print(Text(" " * margin).append_text(line), soft_wrap=True)

    # --- live --------------------------------------------------------------------------------------------

    @contextmanager
    def following(self) -> Iterator[None]:
        """While it lasts, `show` keeps one table up to date, or prints what changed."""
        self._shown = {}
        self.start_clock()
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def start_clock(self) -> None:
        """Count the seconds from now on."""
        self._began = time.monotonic()

    def show(self, lines: Sequence[NodeLine]) -> None:
        """The nodes as they are now."""
        seconds = time.monotonic() - self._began
        if self._live is not None:
            self._live.update(Padding(_table_of(lines, seconds), (1, _MARGIN)), refresh=True)
            return
        for line in lines:
            now = (line.phase, line.down)
            if self._shown.get(line.node) != now:
                self._shown[line.node] = now
                down = "  (down)" if line.down else ""
                phase = _MARKS.get(line.phase, line.phase)
                self._console.print(f"  {seconds:5.1f} s  {line.node}  {line.az}  {phase}{down}")

    # --- the report --------------------------------------------------------------------------------------

    def outcomes(self, rows: Sequence[tuple[str, str, str, str, str, str]]) -> None:
        """(node, zone, start, end, measured down time, outcome) of each node."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for heading, right in (("node", 0), ("zone", 0), ("start", 1), ("end", 1), ("down", 1), ("outcome", 0)):
            table.add_column(heading, justify="right" if right else "left")
        for *cells, outcome in rows:
            table.add_row(*cells, Text(outcome, style=_STYLES.get(outcome, "")))
        self.gap()
        self._print(table)
        self.gap()

    def timeline(
        self, maintenance: Mapping[str, Sequence[Interval]], down: Mapping[str, Sequence[Interval]], span: Interval
    ) -> None:
        """Everything on one axis."""
        label = max(map(len, maintenance))
        drawing = draw(maintenance, down, span, self._console.width - label - 2 - 2 * _MARGIN)
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        for node, line in drawing.lines.items():
            text = Text()
            for cell in line:
                text.append(cell, style=_CELLS[cell])
            table.add_row(node, text)
        table.add_row(Text("down at once", style="bold"), Text(drawing.at_once, style="bold"))
        table.add_row("", Text(drawing.axis, style="dim"))
        self._print(table)
        self.say(f"{MAINTENANCE} holds a slot   {DOWN} holds a slot and is down (measured)   {IDLE} left alone", "dim")


def _table_of(lines: Sequence[NodeLine], seconds: float) -> Table:
    done = sum(line.phase in _MARKS for line in lines)
    down = sum(line.down for line in lines)
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        header_style="bold",
        caption=f"{seconds:4.1f} s   {done} of {len(lines)} ended   {down} down now",
        caption_justify="left",
    )
    for heading, width in (("node", 19), ("zone", 10), ("phase", 10), ("prober", 6)):
        table.add_column(heading, min_width=width)
    for line in lines:
        table.add_row(
            line.node,
            line.az,
            Text(_MARKS.get(line.phase, line.phase), style=_STYLES.get(line.phase, "")),
            Text("down", style="bold red") if line.down else Text("up", style="green"),
        )
    return table
