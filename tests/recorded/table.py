"""A table of states and decisions: what a test asks a runner, and what a page shows, from the same lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from taskerman import Check, Go, Refuse, Skip, Wait

__all__ = ["Line", "markdown"]

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Line(Generic[W]):
    """One state. `operation`, `phase`: who is asked. `state`: in words. `arrange`: makes it so of a cluster that is
    well. `decision`: what a careful operator would say; `because`: a part of the reason. `args`, `cap`: of the task."""

    operation: str
    state: str
    arrange: Callable[[W], object]
    decision: type[Check]
    because: str = ""
    phase: str = "pre_check"
    args: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    cap: int = 1

    @property
    def name(self) -> str:
        """For a test's name."""
        return f"{self.operation} {self.phase}: {self.state}"


def markdown(lines: Sequence[Line[Any]], decide: Callable[[Line[Any]], Check]) -> str:
    """The table, by operation and phase, with the reasons that are really given."""
    parts: list[str] = []
    sections = list(dict.fromkeys((line.operation, line.phase) for line in lines))
    for operation, phase in sections:
        parts += [f"\n## `{operation}`, {phase}\n", "| state | decision | reason given |", "|---|---|---|"]
        for line in lines:
            if (line.operation, line.phase) == (operation, phase):
                answer = decide(line)
                parts.append(f"| {line.state} | {_shown(answer)} | {_cell(getattr(answer, 'reason', ''))} |")
    return "\n".join(parts) + "\n"


def _shown(answer: Check) -> str:
    match answer:
        case Wait(of="cluster"):
            return "Wait, the whole task"
        case Go() | Wait() | Refuse() | Skip():
            return type(answer).__name__


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;").replace("[", "\\[")
