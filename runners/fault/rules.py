"""Whether a fault is allowed here, and small enough: pure functions of the configuration and of what is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from runners.fault.config import FaultConfig, Network
from taskerman import Check, Go, Refuse

__all__ = ["allowed", "duration_fits", "latency_fits", "loss_fits", "named"]


def allowed(config: FaultConfig, *, cluster: str, names: Iterable[str]) -> Check:
    """Whether any fault may be done in `cluster`, on the host that is called `names`. Denied unless it is said."""
    if cluster not in config.clusters:
        known = ", ".join(config.clusters) or "none"
        return Refuse(f"faults are not allowed in the cluster {cluster}: `clusters` of fault_task names {known}")
    own = sorted(set(filter(None, names)))
    if not any(fnmatchcase(name, pattern) for name in own for pattern in config.hosts):
        known = ", ".join(config.hosts) or "none"
        return Refuse(f"faults are not allowed on this host ({', '.join(own)}): `hosts` of fault_task names {known}")
    return Go()


def duration_fits(config: FaultConfig, duration_s: float, soft_s: object, *, slack_s: float = 30.0) -> Check:
    """Whether it is short enough for this node, and for the task itself: one that is cut short has not been done.

    `soft_s`: the task's own limit, when it says one.
    """
    if duration_s > config.max_duration_s:
        return Refuse(f"duration_s is {duration_s:g}, and this node allows {config.max_duration_s:g} (max_duration_s)")
    if isinstance(soft_s, int) and duration_s + slack_s > soft_s:
        return Refuse(
            f"the task's soft_s is {soft_s}, and the fault is to last {duration_s:g} s: give it {slack_s:g} s more"
        )
    return Go()


def named(what: str, name: str, known: Mapping[str, Any]) -> Check:
    """Whether the node's configuration names it."""
    if name in known:
        return Go()
    return Refuse(
        f"this node names no {name!r} under `{what}` of fault_task; it has: {', '.join(sorted(known)) or 'none'}"
    )


def loss_fits(network: Network, *, interface: str, ports: Iterable[int], percent: float) -> Check:
    """Whether so many packets of these ports may be lost on that interface."""
    if not isinstance(answer := _interface(network, interface), Go):
        return answer
    if strange := sorted(set(ports) - set(network.ports)):
        return Refuse(f"the packets of ports {strange} may not be lost: `network.ports` has {sorted(network.ports)}")
    if percent > network.max_loss_percent:
        return Refuse(f"percent is {percent:g}, and this node allows {network.max_loss_percent:g} (max_loss_percent)")
    return Go()


def latency_fits(network: Network, *, interface: str, latency_ms: int, jitter_ms: int) -> Check:
    """Whether so much delay is allowed on that interface."""
    if not isinstance(answer := _interface(network, interface), Go):
        return answer
    if jitter_ms > latency_ms:
        return Refuse(f"jitter_ms ({jitter_ms}) is more than latency_ms ({latency_ms})")
    if latency_ms + jitter_ms > network.max_latency_ms:
        most = network.max_latency_ms
        return Refuse(f"the delay is up to {latency_ms + jitter_ms} ms, and this node allows {most} (max_latency_ms)")
    return Go()


def _interface(network: Network, interface: str) -> Check:
    if interface in network.interfaces:
        return Go()
    known = ", ".join(network.interfaces) or "none"
    return Refuse(f"the interface {interface!r} may not be disturbed: `network.interfaces` names {known}")
