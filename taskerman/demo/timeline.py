"""The drawn timeline: for each node one line of characters, all on one axis. Pure; colours are the screen's business.

A character stands for the middle of its piece of time, so a line shows what was so at that moment, and the last line
counts what stands above it. What is shorter than a character may fall between two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskerman.demo.facts import Interval

__all__ = ["DOWN", "DOWN_UNASKED", "IDLE", "MAINTENANCE", "Drawing", "draw"]

IDLE = "·"
MAINTENANCE = "─"
DOWN = "█"
DOWN_UNASKED = "!"


@dataclass(frozen=True, slots=True)
class Drawing:
    """`lines`: by node. `at_once`: how many are down. `axis`: seconds since its beginning. All of one width."""

    lines: Mapping[str, str]
    at_once: str
    axis: str


def draw(
    maintenance: Mapping[str, Sequence[Interval]],
    down: Mapping[str, Sequence[Interval]],
    span: Interval,
    width: int,
) -> Drawing:
    """Draw `span` into `width` characters: by node, when it held its slot, and when it was down."""
    step = (span.end - span.begin) / width
    moments = [span.begin + (column + 0.5) * step for column in range(width)]
    lines = {
        node: "".join(_cell(_in(intervals, at), _in(down.get(node, ()), at)) for at in moments)
        for node, intervals in maintenance.items()
    }
    counts = [sum(_in(intervals, at) for intervals in down.values()) for at in moments]
    at_once = "".join(f"{min(count, 9)}" if count else IDLE for count in counts)
    return Drawing(lines, at_once, _axis(span.end - span.begin, width))


def _in(intervals: Sequence[Interval], at: float) -> bool:
    return any(interval.has(at) for interval in intervals)


def _cell(maintained: bool, is_down: bool) -> str:
    if is_down:
        return DOWN if maintained else DOWN_UNASKED
    return MAINTENANCE if maintained else IDLE


def _axis(seconds: float, width: int) -> str:
    every = next((step for step in (1, 2, 5, 10, 20, 50, 100) if seconds / step <= width / 7), 200)
    axis = [" "] * width
    for mark in range(0, int(seconds) + 1, every):
        column = int(mark / seconds * width)
        text = f"{mark} s" if mark else "0"
        if column + len(text) <= width:
            axis[column : column + len(text)] = text
    return "".join(axis)
