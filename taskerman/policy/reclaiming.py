"""When a machine counts as terminated for good: by proof, never by silence.

Its source says so of that very id; or it was absent twice, some time apart, from answers that did name a node known
to run, and was never seen in between. What nobody can say proves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from taskerman.model.cluster import Fate
from taskerman.model.ids import NodeId

__all__ = ["Proof", "allowance", "prove"]


@dataclass(frozen=True, slots=True)
class Proof:
    """That `node` is terminated. `why`: for people, and for the record."""

    node: NodeId
    why: str


def prove(
    absences: Mapping[NodeId, float],
    suspects: Collection[NodeId],
    fates: Mapping[NodeId, Fate],
    now: float,
    *,
    apart_s: float,
) -> tuple[list[Proof], dict[NodeId, float]]:
    """Who of `suspects` is proved terminated, and since when the others are absent (monotonic seconds).

    `fates`: what the source said of them just now; of whom it could say nothing is left out there. Who is no suspect
    any more (it runs, or nothing of it is wanted) is forgotten, and would begin anew. Who is proved absent stays so.
    """
    proofs: list[Proof] = []
    after: dict[NodeId, float] = {}
    for node in sorted(suspects):
        match fates.get(node):
            case Fate.TERMINATED:
                proofs.append(Proof(node, "its source says that it is terminated"))
            case Fate.ABSENT:
                after[node] = since = absences.get(node, now)
                if node in absences and now - since >= apart_s:
                    apart = round(now - since)
                    proofs.append(Proof(node, f"absent twice, {apart} s apart, from answers that name nodes that run"))
            case Fate.THERE:
                pass
            case None:
                if node in absences:
                    after[node] = absences[node]
    return proofs, after


def allowance(declared_at: Collection[datetime], now: datetime, an_hour: int) -> int:
    """How many more nodes may be declared gone now. `declared_at`: when others were, by the same clock as `now`.

    A source of truth that errs about one node errs about many: then a person must look.
    """
    return max(0, an_hour - sum(now - timedelta(hours=1) < at for at in declared_at))
