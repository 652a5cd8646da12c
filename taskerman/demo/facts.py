"""What the prober wrote down, and what follows from it. Pure but for reading its file; it knows nothing of tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Facts", "Interval", "most_at_once"]


@dataclass(frozen=True, slots=True)
class Interval:
    """From `begin` to `end`, seconds of CLOCK_MONOTONIC; `end` is not in it."""

    begin: float
    end: float

    def has(self, at: float) -> bool:
        """Whether `at` lies in it."""
        return self.begin <= at < self.end


def most_at_once(intervals: Iterable[Interval]) -> int:
    """How many of them overlap at the worst moment. One that ends as another begins does not overlap it."""
    steps = sorted(step for one in intervals for step in ((one.begin, 1), (one.end, -1)))
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


@dataclass(frozen=True, slots=True)
class Facts:
    """The prober's lines, in the order in which it wrote them."""

    lines: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, path: Path) -> Facts:
        """What is in the file now; a last line that is still being written is left out."""
        if not path.exists():
            return cls(())
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        return cls(tuple(json.loads(line) for line in whole.splitlines()))

    def known(self) -> frozenset[str]:
        """The nodes that were seen well at least once."""
        return frozenset(line["node"] for line in self.lines if line["fact"] == "up")

    def is_down(self, node: str, at: float) -> bool:
        """Whether `node` was down at that moment."""
        return bool(self.down(node, at, at + 1e-6))

    def down(self, node: str, begin: float, end: float) -> Sequence[Interval]:
        """When `node` was down between `begin` and `end`, cut to these."""
        found: list[Interval] = []
        since: float | None = None
        for line in self.lines:
            if line.get("node") != node or line["fact"] not in ("up", "down"):
                continue
            if line["fact"] == "down":
                since = line["at"]
            elif since is not None:
                found.append(Interval(since, line["at"]))
                since = None
        if since is not None:
            found.append(Interval(since, float("inf")))
        cut = (Interval(max(one.begin, begin), min(one.end, end)) for one in found)
        return tuple(one for one in cut if one.begin < one.end)

    def most_down(self, nodes: Iterable[str], begin: float, end: float) -> int:
        """How many of `nodes` were down at the worst moment between `begin` and `end`."""
        return most_at_once(interval for node in nodes for interval in self.down(node, begin, end))

    def process(self, node: str) -> tuple[int, float] | None:
        """Who answers for `node`: (pid, start time) of the process that was seen last."""
        seen = [line for line in self.lines if line["fact"] == "seen" and line["node"] == node]
        return (seen[-1]["pid"], seen[-1]["started"]) if seen else None

    def processes_started(self, node: str, begin: float, end: float) -> Sequence[tuple[int, float]]:
        """The processes of `node` that were first seen between `begin` and `end`."""
        seen = (line for line in self.lines if line["fact"] == "seen" and line["node"] == node)
        return tuple((line["pid"], line["started"]) for line in seen if begin <= line["at"] < end)

    def probes(self, begin: float, end: float) -> int:
        """How many questions were asked between `begin` and `end`, to a fifth of a second."""
        counts = [line["probes"] for line in self.lines if line["fact"] == "count" and line["at"] < end]
        before = [line["probes"] for line in self.lines if line["fact"] == "count" and line["at"] < begin]
        return (counts[-1] if counts else 0) - (before[-1] if before else 0)

    def longest_gap_s(self) -> float:
        """The longest time, so far, that any node was not asked."""
        gaps = [line["longest_gap_s"] for line in self.lines if line["fact"] == "count"]
        return gaps[-1] if gaps else 0.0
