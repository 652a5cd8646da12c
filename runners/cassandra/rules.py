"""When a node of Cassandra may be touched, and when it is well again: pure functions of a view.

What a careful person would look at, in that order, and no I/O. A "no" that time will mend is a `Wait`; one that
somebody must mend is a `Refuse`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import cast

from runners.cassandra.answers import Row
from runners.cassandra.view import View
from taskerman import Check, Go, Refuse, Skip, Wait

__all__ = ["is_quiet", "is_well", "may_restart", "unavailable"]

_BUSY = (
    "Validation",
    "Anticompaction",
    "Cleanup",
    "Scrub",
    "Upgrade sstables",
    "Relocate",
    "index build",
    "View build",
)
_STATES = {"J": "joins", "L": "leaves", "M": "moves"}
OUT_OF_SERVICE = ("DRAINED", "DRAINING")


def may_restart(
    view: View,
    *,
    at_once: int = 1,
    rack: str = "",
    accept_unavailable: Collection[str] = (),
    min_free_percent: float = 10.0,
    max_hints_bytes: int = 256 * 2**20,
) -> Check:
    """Whether this node may be taken down now. `at_once`: how many the task takes down, this one among them; more than
    one only within `rack`. `accept_unavailable`: keyspaces that may lose their quorum meanwhile."""
    return next(
        _against_restart(view, at_once, rack, accept_unavailable, min_free_percent, max_hints_bytes),
        cast("Check", Go()),
    )


def is_quiet(view: View, *, max_pending: int | None = None) -> Check:
    """Whether every node is up and in its place, nothing streams or validates here, and no more than `max_pending`
    compactions wait: what repair and cleanup need."""
    return next(_unquiet(view, max_pending), cast("Check", Go()))


def is_well(view: View, *, generation: int | None = None) -> Check:
    """Whether this node is well in its own eyes and in those of its peers. `generation`: that of the start before,
    when it was restarted since."""
    return next(_unwell(view, generation), cast("Check", Go()))


def unavailable(view: View, at_once: int, accepted: Collection[str]) -> list[str]:
    """The keyspaces that have no quorum left for some range while this node, and `at_once` - 1 others of its rack, are
    down. When only this node goes, by the number of copies; else by who keeps which range, which must have been
    asked."""
    assert view.row is not None
    lost: list[str] = []
    for name, copies in view.cluster.copies.items():
        if name in accepted or not copies:
            continue
        if at_once > 1:
            ring = view.rings.get(name, ())
            enough = bool(ring) and all(_enough(view, one.endpoints, one.dcs, at_once) for one in ring)
        else:
            wanted = copies.get("*", copies.get(view.row.dc, 0))
            nodes = sum("*" in copies or one.dc == view.row.dc for one in view.rows.values())
            enough = wanted == 0 or min(wanted, nodes) - 1 >= wanted // 2 + 1
        if not enough:
            lost.append(name)
    return lost


# --- the parts -------------------------------------------------------------------------------------------


def _enough(view: View, endpoints: Iterable[str], dcs: Mapping[str, str], at_once: int) -> bool:
    """Whether a range that this node keeps has a quorum left in its data centre, whichever of its rack are down."""
    assert view.row is not None
    here = [name for name in endpoints if dcs[name] == view.row.dc]
    if view.me not in here:
        return True
    # One that is kept by a node which nobody knows counts as if that were in this rack.
    with_me = [name for name in here if (view.others.get(name) or view.row).rack == view.row.rack]
    return len(here) - min(len(with_me), at_once) >= len(here) // 2 + 1


def _against_restart(
    view: View, at_once: int, rack: str, accepted: Collection[str], min_free_percent: float, max_hints_bytes: int
) -> Iterator[Check]:
    row = view.row
    if row is None:
        yield _unknown(view)
        return
    if rack and row.rack != rack:
        yield Skip(f"this node is in rack {row.rack}, and the task is for {rack}")
    if at_once > 1 and not rack:
        yield Refuse(
            f"{at_once} nodes at once are safe only within one rack: name it (`rack`), or set concurrency to 1"
        )
    yield from _cluster(
        view, {name for name, one in view.others.items() if (one.dc, one.rack) == (row.dc, row.rack)}, at_once - 1
    )
    yield from _at_work(view)
    if view.disk.free_percent < min_free_percent:
        yield Refuse(
            f"only {view.disk.free_percent:.1f} % of a data disk is free, and draining writes to it: make room first "
            f"(at least {min_free_percent:g} %)"
        )
    if view.disk.hints_bytes > max_hints_bytes:
        yield Wait(
            f"{view.disk.hints_bytes:,} bytes of hints wait here for nodes that are not in step yet "
            f"(at most {max_hints_bytes:,})",
            of="cluster",
        )
    if lost := unavailable(view, at_once, accepted):
        yield Refuse(
            f"without this node no quorum is left of {_listed(lost)}: give it more replicas, or name it in "
            "accept_unavailable"
        )


def _unquiet(view: View, max_pending: int | None) -> Iterator[Check]:
    if view.row is None:
        yield _unknown(view)
        return
    yield from _cluster(view, set(), 0)
    yield from _at_work(view)
    if view.own is None:
        yield Wait(view.silent)
        return
    if view.own.net.mode != "NORMAL":
        yield Wait(f"this node's server is {view.own.net.mode}, not NORMAL")
    if max_pending is not None and view.own.compactions.pending > max_pending:
        yield Wait(f"{view.own.compactions.pending} compactions wait here (at most {max_pending})")


def _unwell(view: View, generation: int | None) -> Iterator[Check]:
    own, row = view.own, view.row
    if own is None:
        yield Wait(view.silent)
        return
    if own.net.mode != "NORMAL":
        yield Wait(f"the server is {own.net.mode}")
    if generation is not None and own.info.generation <= generation:
        yield Wait("the server still runs as it was started before")
    if not own.info.gossip or not own.info.native or not own.info.joined:
        yield Wait(f"the server is not in service: {_off(view)}")
    if row is None or row.up is not True or row.state != "N":
        yield Wait(f"the server does not see itself up and normal ({_shown(row)})")
    if own.net.streams:
        yield Wait(f"it still streams: {own.net.streams[0]}")
    yield from _schema(view, allowed=_down(view))
    yield from _unseen(view, own.info.generation)


def _cluster(view: View, allowed: Collection[str], at_most: int) -> Iterator[Check]:
    """What is wrong with the cluster. `allowed`: who may be down, `at_most` so many of them."""
    if not all(version.startswith("4.") for version in view.cluster.versions):
        yield Refuse(
            f"Cassandra {', '.join(sorted(view.cluster.versions))} is not known to this runner, which knows 4.x"
        )
    if (counted := Counter(one.dc for one in view.rows.values())) != Counter(view.cluster.nodes):
        yield Wait(f"nodetool's answers differ in which nodes there are: {dict(counted)}, {dict(view.cluster.nodes)}")
    if view.others and not view.peers and not view.silent_peers:
        yield Refuse("no peer is configured who could say how the cluster sees this node: name two or three in peers")
    if len(view.peers) < len(view.silent_peers):
        yield Wait(f"most of the configured peers do not answer: {_first(view.silent_peers.values())}", of="cluster")
    for peer, seen in view.peers.items():
        if set(seen.rows) != set(view.rows):
            yield Wait(f"{peer} sees other nodes than this one does", of="cluster")
        if seen.cluster.copies != view.cluster.copies:
            yield Wait(f"{peer} knows other keyspaces than this one, or other replication", of="cluster")
    for who, rows in (("", view.rows), *((peer, seen.rows) for peer, seen in view.peers.items())):
        for name, one in rows.items():
            if one.state != "N":
                yield Wait(f"{name} {_STATES[one.state]}{f', as {who} sees it' if who else ''}", of="cluster")
    down = _down(view)
    if down and (not at_most or not down <= set(allowed)):
        yield Wait(f"down: {_listed(sorted(down))}", of="cluster")
    if len(down) > at_most:
        yield Wait(
            f"{len(down)} nodes are down, {at_most} may be beside this one: {_listed(sorted(down))}", of="cluster"
        )
    yield from _schema(view, {*down, view.me})  # this one may be down itself: then it is to be started


def _at_work(view: View) -> Iterator[Check]:
    """What this node does that should not be cut short."""
    if view.own is None:
        seen = [peer for peer, one in view.peers.items() if one.rows[view.me].up is not False]
        if seen or not view.peers:
            yield Wait(f"{view.silent}; seen up by {_listed(seen) or 'nobody, because no peer answers'}")
        return  # it serves nobody: a start is what helps
    if view.own.net.mode in OUT_OF_SERVICE:
        return
    if view.own.net.mode != "NORMAL":
        yield Wait(f"this node's server is {view.own.net.mode}")
    if not view.own.info.gossip or not view.own.info.native:
        yield Wait(f"somebody took this node out of service: {_off(view)}; enable it, or restart it by hand")
    if view.own.net.streams:
        yield Wait(f"this node streams: {view.own.net.streams[0]}")
    if busy := [kind for kind in view.own.compactions.active if any(word in kind for word in _BUSY)]:
        yield Wait(f"this node is at work: {busy[0]}")
    if view.own.sessions:
        yield Wait(f"this node takes part in a repair that {view.own.sessions[0]} coordinates")
    if bad := [peer for peer, one in view.peers.items() if one.rows[view.me].up is not True]:
        yield Wait(f"{_listed(bad)} does not see this node up")


def _schema(view: View, allowed: Collection[str]) -> Iterator[Check]:
    """Everybody who was asked sees one version of it. `allowed`: whose is not known, because they are down."""
    seen = [view.cluster.schemas, *(peer.cluster.schemas for peer in view.peers.values())]
    versions = {version for schemas in seen for version in schemas if version != "UNREACHABLE"}
    unreachable = {name for schemas in seen for name in schemas.get("UNREACHABLE", ())} - set(allowed)
    if unreachable:
        yield Wait(f"the schema of {_listed(sorted(unreachable))} is not known", of="cluster")
    if len(versions) != 1:
        yield Wait(f"the nodes have {len(versions)} versions of the schema", of="cluster")


def _unseen(view: View, generation: int) -> Iterator[Check]:
    """Most peers that are configured have heard of this very start, and see the node up, normal and serving."""
    bad: dict[str, str] = dict(view.silent_peers)
    for peer, seen in view.peers.items():
        row = seen.rows.get(view.me)
        status = seen.gossip.get("STATUS_WITH_PORT", seen.gossip.get("STATUS", ""))
        if row is None or row.up is not True or row.state != "N":
            bad[peer] = f"sees it {_shown(row)}"
        elif seen.gossip.get("generation") != str(generation):
            bad[peer] = "has not heard from it since it started"
        elif not status.startswith("NORMAL"):
            bad[peer] = f"knows it as {status or 'nothing'}"
        elif seen.gossip.get("RPC_READY") != "true":
            bad[peer] = "does not know it to serve clients"
    told = {peer: why for peer, why in bad.items() if peer not in view.silent_peers}
    if told:
        yield Wait(f"its peers do not see it well: {'; '.join(f'{peer} {why}' for peer, why in sorted(told.items()))}")
    if view.others and len(view.peers) * 2 <= len(view.silent_peers) + len(view.peers):
        yield Wait(f"too few peers can be asked: {_first(view.silent_peers.values()) or 'none is configured'}")


def _down(view: View) -> set[str]:
    """The other nodes that anybody who was asked does not see up."""
    seen = [view.rows, *(peer.rows for peer in view.peers.values())]
    return {name for rows in seen for name, one in rows.items() if one.up is not True and name != view.me}


def _unknown(view: View) -> Check:
    return Refuse(f"no node of the cluster is called {view.me}: correct `address` of this node (see nodetool status)")


def _off(view: View) -> str:
    assert view.own is not None
    info = view.own.info
    parts = (
        ("gossip is off", info.gossip),
        ("native transport is off", info.native),
        ("it has not joined", info.joined),
    )
    return ", ".join(name for name, on in parts if not on)


def _shown(row: Row | None) -> str:
    return "not at all" if row is None else f"{ {True: 'U', False: 'D', None: '?'}[row.up] }{row.state}"


def _first(words: Iterable[str]) -> str:
    return next(iter(words), "")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
