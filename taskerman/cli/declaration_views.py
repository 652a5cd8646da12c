"""How answers look to people that declare schedules. Pure: values in, lines out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from pydantic import JsonValue

from taskerman.cli.printing import Block
from taskerman.control.schedule_values import ScheduleAdded, ScheduleEdited, ScheduleRemoved

__all__ = ["added", "edited", "removed"]


def added(value: ScheduleAdded) -> list[Block]:
    """When it fires, once it is in force."""
    return [f"{value.name} is declared in {value.place}.", _fires(value.next), _follow(value.name)]


def edited(value: ScheduleEdited) -> list[Block]:
    """What is otherwise now, field by field."""
    if not value.changed:
        return [f"{value.name} is declared just so already; nothing was changed."]
    lines = [f"{value.name} is declared otherwise."]
    if value.before is None:
        lines.append("What it was cannot be read here.")
    else:
        lines += [f"  {one.field}: {_said(one.was)} -> {_said(one.now)}" for one in value.changed]
    return [*lines, _fires(value.next), _follow(value.name)]


def removed(value: ScheduleRemoved) -> list[Block]:
    """That nothing more comes of it, and how it would be added again."""
    lines: list[Block] = [
        f"{value.name} is declared no more. It stops when a scheduler has read that; what it started goes on."
    ]
    if value.definition is not None:
        lines += ["It was:", json.dumps(value.definition)]
    return lines


def _fires(times: Sequence[datetime]) -> str:
    if not times:
        return "As it is declared it does not fire."
    return f"It fires at {', '.join(f'{at:%Y-%m-%dT%H:%M:%SZ}' for at in times)}."


def _follow(name: str) -> str:
    return f"It is in force when a scheduler has read it, within seconds. Look: taskerman schedules show {name}"


def _said(value: JsonValue) -> str:
    return "not said" if value is None else json.dumps(value, ensure_ascii=False)
