"""What the supervisors of a store have written down: who went down when, and how many were so at once."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["most_down", "order"]


def order(events: Path) -> list[str]:
    """Who went down, in order."""
    return [node for event, node in _lines(events) if event == "down"]


def most_down(events: Path) -> int:
    """How many were down at once, at most; a start that failed leaves its server down."""
    down: set[str] = set()
    most = 0
    for event, node in _lines(events):
        down = down | {node} if event == "down" else down - {node}
        most = max(most, len(down))
    return most


def _lines(events: Path) -> list[tuple[str, str]]:
    """Since all were up for the first time."""
    found = [json.loads(line) for line in events.read_text().splitlines()]
    return [(each["event"], each["node"]) for each in sorted(found, key=lambda each: each["at"])]
