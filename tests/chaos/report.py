"""What a run amounts to, in figures: one table for the eye, the same as JSON for whoever compares runs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.history import History, Violation
from tests.chaos.judge import takes
from tests.chaos.witness import read_lines

__all__ = ["figures", "show"]

PROMISES = {
    1: "never more nodes at once than allowed",
    2: "exactly one outcome each, or a reason that needs a person",
    3: "nothing taken after a stop, nothing done twice",
    4: "every dead letter arrives",
    0: "no accident",
}


def figures(folder: Path, history: History, violations: tuple[Violation, ...], **known: Any) -> dict[str, Any]:
    """Everything that is counted."""
    events = read_lines(folder / "events.jsonl")
    faults = Counter(line["kind"] for line in events if line["what"] == "fault" and line["hit"])
    outcomes: Counter[str] = Counter()
    for change in history.ledger:
        for step in change.steps:
            if step.do == "create" and step.path.startswith("/tasks/") and "/end/" in step.path:
                outcomes[json.loads(step.data)["outcome"]] += 1
    return {
        **known,
        "faults": dict(sorted(faults.items())),
        "faults_injected": sum(faults.values()),
        "verbs_typed": sum(line["what"] == "typed" for line in events),
        "stops_acknowledged": len(history.stops),
        "tasks": len(history.orders),
        "documents_to_refuse": len(history.garbage),
        "takes": takes(history),
        "actions": sum(line["what"] == "begin" for line in history.lines),
        "outcomes": dict(sorted(outcomes.items())),
        "dead_letters_arrived": len(history.letters),
        "transactions": len(history.ledger),
        "violations": {str(promise): sum(v.promise == promise for v in violations) for promise in PROMISES},
    }


def show(found: dict[str, Any], violations: tuple[Violation, ...]) -> str:
    """For the eye."""
    lines = []
    for name, value in found.items():
        if name == "violations":
            continue
        shown = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else value
        lines.append(f"  {name.replace('_', ' '):<22} {shown}")
    for promise, text in PROMISES.items():
        broken = [violation for violation in violations if violation.promise == promise]
        lines.append(f"  {text:<62} {'KEPT' if not broken else f'BROKEN {len(broken)} times'}")
        lines += [f"    - {violation.text}" for violation in broken[:10]]
    return "\n".join(lines)
