"""The guard on discovery: is the cluster still about as large as it was when we last believed its size?

A tag that was lost, an account that sees half of its instances, a template that tags the neighbours too: discovery
then answers, and is wrong. A plan made of such an answer restarts the wrong nodes, or takes its percentage of the
wrong number. So a plan whose cluster jumped is made *parked*: it stands, and nothing of it starts before a person has
looked. Nothing here refuses or corrects an answer; it only says whether a person must look.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SizeGuard", "suspicion"]


@dataclass(frozen=True, slots=True)
class SizeGuard:
    """How far a cluster may move from its last known size before a person must look.

    Suspicious is a size below `below_percent` or above `above_percent` of the last known one that also differs from
    it by more than `nodes`: three nodes of five are a normal evening, three hundred of five hundred are not.
    """

    below_percent: int = 50
    above_percent: int = 200
    nodes: int = 3


def suspicion(known: int | None, discovered: int, guard: SizeGuard) -> str | None:
    """Why a plan on `discovered` nodes must be looked at, as one sentence for a person; None: it need not.

    `known`: the last size that was believed; None when there is none, and then there is nothing to compare with.
    """
    if known is None or abs(discovered - known) <= guard.nodes:
        return None
    if discovered * 100 < known * guard.below_percent:
        return f"discovery found {discovered} nodes where {known} were known, fewer than {guard.below_percent}%"
    if discovered * 100 > known * guard.above_percent:
        return f"discovery found {discovered} nodes where {known} were known, more than {guard.above_percent}%"
    return None
