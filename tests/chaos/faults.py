"""Every kind of fault there is, by name, and how one is written into a plan and read again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tests.chaos.fault import Fault
from tests.chaos.node_faults import (
    ActionKilled,
    AgentFrozen,
    AgentKilled,
    AgentRestarted,
    ClockJumped,
    DiskFull,
    InstanceTerminated,
    NodeCut,
    NodeKilled,
)
from tests.chaos.part_faults import (
    DaemonFrozen,
    DaemonKilled,
    LoansEnded,
    MemberCut,
    MemberFrozen,
    MemberKilled,
    QueuesHarmed,
    QuorumLost,
)

__all__ = ["KINDS", "from_json", "to_json"]

KINDS: dict[str, type[Fault]] = {
    kind.__name__: kind
    for kind in (
        AgentKilled,
        AgentRestarted,
        AgentFrozen,
        ActionKilled,
        NodeKilled,
        NodeCut,
        DaemonKilled,
        DaemonFrozen,
        MemberKilled,
        MemberCut,
        MemberFrozen,
        QuorumLost,
        QueuesHarmed,
        LoansEnded,
        ClockJumped,
        DiskFull,
        InstanceTerminated,
    )
}


def to_json(fault: Fault) -> dict[str, Any]:
    """For the plan."""
    return {"kind": type(fault).__name__, **asdict(fault)}


def from_json(found: dict[str, Any]) -> Fault:
    """From the plan."""
    known = dict(found)
    return KINDS[known.pop("kind")](**known)
