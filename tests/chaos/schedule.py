"""What will happen in a run, and when: drawn from the seed alone, and written down before it happens.

The same seed, length and means give the same plan; a plan that was written can be read back and edited, to find the
one fault of two hundred that matters. What is planned is what is tried: a fault may find nothing to harm.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.fault import Fault
from tests.chaos.faults import KINDS, from_json, to_json

__all__ = ["ACTS", "Act", "Planned", "draw", "read", "write"]

ACTS: dict[str, float] = {
    "hold-cluster": 3,
    "hold-owner": 2,
    "hold-everything": 1,
    "cancel": 2,
    "resume": 3,
    "redrive": 3,
    "discard": 1,
    "release": 2,
    "declare-off": 1,
    "explain": 1,
}
_QUIET_S = 2.0


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person does. `dice`: decides to whom. `lasts_s`: of a hold."""

    act: str
    dice: int
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Planned:
    """`at_s`: seconds after the start of the run."""

    at_s: float
    what: Fault | Act


def draw(seed: int, length_s: float, *, every_s: float, has_cell: bool, can_reclaim: bool) -> tuple[Planned, ...]:
    """The plan of a run. `every_s`: between two faults, on average; persons act half as often.

    Nothing is planned for the first seconds, in which the first tasks begin.
    """
    dice = random.Random(f"plan {seed}")
    kinds = [
        kind for kind in KINDS.values() if (has_cell or not kind.needs_cell) and (can_reclaim or not kind.needs_reclaim)
    ]
    found: list[Planned] = []
    at = _QUIET_S
    # Each kind once, in some order, before any twice: also a short run shows as many as it has time for.
    fresh = dice.sample(kinds, len(kinds))
    while (at := at + every_s * dice.uniform(0.1, 1.9)) < length_s:
        kind = fresh.pop() if fresh else dice.choices(kinds, [kind.weight for kind in kinds])[0]
        found.append(Planned(round(at, 2), kind.draw(dice)))
    at = _QUIET_S
    while (at := at + 2 * every_s * dice.uniform(0.1, 1.9)) < length_s:
        act = dice.choices([*ACTS], [*ACTS.values()])[0]
        found.append(Planned(round(at, 2), Act(act, dice.randrange(1 << 30), round(dice.uniform(1, 8), 2))))
    return tuple(sorted(found, key=lambda planned: planned.at_s))


def write(path: Path, plan: Sequence[Planned]) -> None:
    """One line of JSON each."""
    lines = []
    for planned in plan:
        what = planned.what
        if isinstance(what, Act):
            known = {"person": what.act, "dice": what.dice, "lasts_s": what.lasts_s}
        else:
            known = {"fault": to_json(what)}
        lines.append(json.dumps({"at_s": planned.at_s, **known}))
    path.write_text("\n".join([*lines, ""]))


def read(path: Path) -> tuple[Planned, ...]:
    """The plan that `write` wrote."""
    found = []
    for line in path.read_text().splitlines():
        known = json.loads(line)
        what = from_json(known["fault"]) if "fault" in known else Act(known["person"], known["dice"], known["lasts_s"])
        found.append(Planned(known["at_s"], what))
    return tuple(found)
