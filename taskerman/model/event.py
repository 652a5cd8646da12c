"""What happened, in the past tense: daemons emit events; logs, metrics and history listen.

An event is small and frozen; it carries ids for logs, and listeners that make metrics of it leave them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Event", "Listener"]


@dataclass(frozen=True, slots=True)
class Event:
    """`name`: what happened (`attempt_taken`, `task_planned`). `fields`: ids and values, JSON types only.

    `level`: how a person should take it: `debug`, `info`, `warning` or `error`.
    """

    name: str
    fields: Mapping[str, object] = field(default_factory=dict)
    level: str = "info"


Listener = Callable[[Event], None]
"""Told of every event, on the emitting thread: it must not block and must not raise."""
