"""Files of schedules for tests, as short as they can be."""

from __future__ import annotations

from taskerman.ports.schedules import ScheduleSource

__all__ = ["names", "one"]


def one(name: str, every: str = "5m") -> str:
    """A file with one schedule."""
    task = '{action: "a:b", cluster_name: "a:b", owner: o}'
    return f"schedules:\n  - name: {name}\n    every: {every}\n    task: {task}\n"


def names(source: ScheduleSource) -> list[str]:
    """What is declared there, in the order of the answer."""
    return [declaration.schedule.name for declaration in source.read()]
