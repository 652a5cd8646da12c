"""The table of events is the truth about the log: what the code emits is declared, and what is declared is emitted.

Whoever adds an event adds a line to `taskerman/telemetry/events.py`, and makes the reference anew: `make docs`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from taskerman.telemetry.events import EVENTS

ROOT = Path(__file__).parents[2]
DECLARED = {event.name: event for event in EVENTS}
LEVELS = {"debug", "info", "warning", "error"}


@dataclass
class Emitted:
    """One place that emits. `levels`, `fields`: those that can be read off it."""

    where: str
    name: str
    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


def sources() -> Iterator[Path]:
    """All but the table itself, and what has events of another kind: of the tree in memory, and of threads."""
    for path in sorted((ROOT / "taskerman").rglob("*.py")):
        inside = path.relative_to(ROOT / "taskerman")
        if inside.parts[0] not in ("testing", "demo") and inside != Path("telemetry", "events.py"):
            yield path


def emitted() -> Iterator[Emitted]:
    for path in sources():
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
                name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
                if name in ("Event", "say", "_say") and isinstance(call.args[0].value, str):
                    yield read(f"{path.relative_to(ROOT)}:{call.lineno}", name, call)


def read(where: str, called: str, call: ast.Call) -> Emitted:
    found = Emitted(where, call.args[0].value)  # type: ignore[attr-defined]
    rest = call.args[1:]
    if called == "Event":
        if rest and isinstance(rest[0], ast.Dict):
            found.fields = {key.value for key in rest[0].keys if isinstance(key, ast.Constant)}  # type: ignore[misc]
        rest = rest[1:]
    else:
        found.fields = {keyword.arg for keyword in call.keywords if keyword.arg}
    level = rest[0] if rest else ast.Constant("info")
    found.levels = {str(node.value) for node in ast.walk(level) if isinstance(node, ast.Constant)} & LEVELS
    return found


def test_there_are_events_to_look_at() -> None:
    assert len(list(emitted())) > 30


def test_what_is_emitted_is_declared_with_its_level_and_its_fields() -> None:
    wrong = []
    for event in emitted():
        declared = DECLARED.get(event.name)
        if declared is None:
            wrong.append(f"{event.where}: {event.name} is not declared")
        elif not event.levels <= set(declared.levels) or not event.fields <= set(declared.fields):
            wrong.append(f"{event.where}: {event.name} is declared with other fields or levels: {event}")
    assert not wrong, f"declare them in taskerman/telemetry/events.py: {wrong}"


def test_what_is_declared_is_emitted_somewhere() -> None:
    """By its name at least: a level or a name may be chosen a line above."""
    said = {
        node.value
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not set(DECLARED) - said, "nobody emits these: take them out of taskerman/telemetry/events.py"


def test_an_event_is_declared_once() -> None:
    assert len(DECLARED) == len(EVENTS)
