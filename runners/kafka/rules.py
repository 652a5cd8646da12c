"""When a broker or controller of Kafka may be touched, and when it is well again: pure functions of a view.

What a careful person would look at, in that order, and no I/O. A "no" that time will mend is a `Wait`; one that
somebody must mend is a `Refuse`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import cast

from runners.kafka.answers import Partition, Quorum
from runners.kafka.view import View
from taskerman import Check, Go, Refuse, Wait

__all__ = ["is_well", "may_elect", "may_restart", "unbalanced"]

MAX_FETCH_MS = 10_000
"""A voter that has not fetched for so long is not counted: the default after which it seeks another leader is 2 s."""


def may_restart(
    view: View, *, at_once: int = 1, accept_unavailable: Collection[str] = (), max_lag: int = 1000
) -> Check:
    """Whether this node may be taken down now. `accept_unavailable`: topics that may be without enough replicas
    meanwhile. `max_lag`: how many records a controller may be behind and count as in step."""
    return next(_against_restart(view, at_once, accept_unavailable, max_lag), cast("Check", Go()))


def is_well(view: View, *, max_lag: int = 1000) -> Check:
    """Whether this node is well as the others see it: registered, in step with every partition, and as a voter."""
    return next(_unwell(view, max_lag), cast("Check", Go()))


def may_elect(view: View) -> Check:
    """Whether leaders may be moved: every broker is there, every replica in step, nothing moves."""
    return next(_cluster(view, spare_me=False), cast("Check", Go()))


def unbalanced(view: View) -> list[Partition]:
    """The partitions that this node should lead, and does not."""
    return [one for one in view.partitions if one.replicas[0] == view.me and one.leader != view.me]


# --- the parts -------------------------------------------------------------------------------------------


def _against_restart(view: View, at_once: int, accepted: Collection[str], max_lag: int) -> Iterator[Check]:
    if at_once > 1:
        yield Refuse("brokers are restarted one at a time, because each leaves replicas behind: set concurrency to 1")
    yield from _misconfigured(view)
    down = view.role != "controller" and view.me not in view.brokers
    yield from _cluster(view, spare_me=down)
    if down:
        return  # it serves nobody: a start is what helps
    if alone := [one for one in view.mine if one.topic not in accepted and len(one.isr - {view.me}) < one.min_isr]:
        yield Refuse(
            f"without this broker too few replicas are left of {_listed(alone)} (min.insync.replicas, or a single "
            "replica): give the topic more replicas, or name it in accept_unavailable"
        )
    if view.quorum is not None and view.me in view.quorum.voters:
        left = _in_step(view.quorum, max_lag) - {view.me}
        majority = len(view.quorum.voters) // 2 + 1
        if len(view.quorum.voters) - 1 < majority:
            yield Refuse(
                f"of {len(view.quorum.voters)} controllers none may be missing: restart it by hand, or have three"
            )
        if len(left) < majority:
            yield Wait(
                f"without this controller only {len(left)} of {len(view.quorum.voters)} would be in step to elect",
                of="cluster",
            )


def _misconfigured(view: View) -> Iterator[Check]:
    own = view.brokers.get(view.me)
    if own is not None and view.role == "controller":
        yield Refuse(f"node {view.me} is a broker, and role says controller: correct role or node_id of this node")
    if own is not None and own.address in view.asked:
        yield Refuse("bootstrap names this broker itself, which is no witness of its own: name others")
    if view.quorum is not None:
        votes = view.me in view.quorum.voters
        if votes != (view.role != "broker"):
            yield Refuse(
                f"node {view.me} {'votes' if votes else 'does not vote'} among the controllers, and role says "
                f"{view.role}: correct role or node_id of this node"
            )
    elif view.role != "broker":
        yield Refuse(f"in ZooKeeper mode there is no {view.role}: correct role or zookeeper of this node")
    known = set(view.brokers) | {node for one in view.partitions for node in one.replicas}
    if view.role != "controller" and view.me not in known:
        yield Refuse(f"nobody knows a broker {view.me}: correct node_id of this node")


def _cluster(view: View, *, spare_me: bool) -> Iterator[Check]:
    """What is wrong with the cluster. `spare_me`: this broker is down itself, and what it lacks is why it is
    started."""
    me = {view.me} if spare_me else set()
    for one in view.brokers.values():
        if one.trouble or one.fenced:
            yield Wait(
                f"broker {one.id} {'is fenced' if one.fenced else f'does not answer: {one.trouble}'}", of="cluster"
            )
    kept = {node for one in view.partitions for node in one.replicas}
    if gone := sorted(kept - set(view.brokers) - me):
        yield Wait(f"not registered: broker {_listed(gone)}", of="cluster")
    if view.quorum is not None and view.quorum.leader not in view.quorum.voters:
        yield Wait("the controllers have no leader", of="cluster")
    if view.quorum is None and view.controller not in view.brokers:
        yield Wait(f"broker {view.controller} is the controller, and is not registered", of="cluster")
    if orphans := [one for one in view.partitions if one.leader is None and not _only(one, me)]:
        yield Wait(f"without a leader: {_listed(orphans)}", of="cluster")
    if view.moving:
        yield Wait(f"partitions are being reassigned: {_listed(view.moving)}", of="cluster")
    if short := [one for one in view.partitions if len(one.isr) < one.min_isr and one.behind - me]:
        yield Wait(f"fewer replicas in step than a write needs: {_listed(short)}", of="cluster")
    if behind := [one for one in view.partitions if one.behind - me]:
        yield Wait(f"{len(behind)} partitions are under-replicated: {_listed(behind)}", of="cluster")


def _unwell(view: View, max_lag: int) -> Iterator[Check]:
    if view.role != "controller":
        own = view.brokers.get(view.me)
        if own is None:
            yield Wait("the broker is not registered yet")
        elif own.fenced or own.trouble:
            yield Wait("the broker is still fenced" if own.fenced else f"the broker does not answer: {own.trouble}")
        if behind := [one for one in view.mine if view.me in one.behind]:
            yield Wait(f"it is not in step yet with {len(behind)} of {len(view.mine)} partitions: {_listed(behind)}")
    if view.quorum is not None and view.me in view.quorum.voters and view.me not in _in_step(view.quorum, max_lag):
        yield Wait("it is not in step yet as a controller")
    if view.quorum is not None and view.role != "broker" and view.me not in view.quorum.voters:
        yield Wait("it does not vote among the controllers")
    if orphans := [one for one in view.partitions if one.leader is None]:
        yield Wait(f"without a leader: {_listed(orphans)}")
    if behind := [one for one in view.partitions if one.behind]:
        yield Wait(f"{len(behind)} partitions are under-replicated: {_listed(behind)}")


def _in_step(quorum: Quorum, max_lag: int) -> frozenset[int]:
    return frozenset(
        node
        for node, (records, fetched_ms) in quorum.lag.items()
        if records <= max_lag and fetched_ms is not None and fetched_ms <= MAX_FETCH_MS
    )


def _only(one: Partition, nodes: Collection[int]) -> bool:
    """Whether nobody but `nodes` keeps it."""
    return set(one.replicas) <= set(nodes)


def _listed(names: Iterable[object]) -> str:
    words = [str(name) for name in names]
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
