"""When a server of a Redis Cluster may be taken down, and when it is well again: pure functions of a view.

What a careful person would look at before typing the restart, in that order, and no I/O. A "no" that time will mend is
a `Wait`; one that somebody must mend is a `Refuse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runners.redis.view import Line, Server, View
from taskerman import Check, Go, Refuse, Wait

__all__ = [
    "heir",
    "is_well",
    "may_restart",
    "may_restart_alone",
    "names",
    "no_upheaval",
    "out_of_step",
    "serves",
    "shard",
    "shard_is_ready",
    "unwell",
]


def may_restart(view: View, *, failover: bool, max_lag_bytes: int, others_at_once: int) -> Check:
    """Whether the own server may be taken down now. `failover`: its slots must be with a replica before.

    `others_at_once`: how many other servers may be unwell, because the same task has taken them down.
    """
    if view.own is None:
        return _may_start(view, others_at_once)
    if view.own.loading:
        return Wait("the server is loading its data")
    return (
        no_upheaval(view)
        or _enough_others(view, max_lag_bytes, others_at_once)
        or _majority_without_me(view, failover)
        or shard_is_ready(view, failover=failover, max_lag_bytes=max_lag_bytes)
    )


def may_restart_alone(server: Server, *, failover: bool) -> Check:
    """Whether a server that is in no cluster may be taken down: nobody is there to take over from a master."""
    if server.loading:
        return Wait("the server is loading its data")
    if server.moving_roles:
        return Wait("a failover is under way")
    if not server.replica and failover:
        return Refuse(
            "the server is a master outside a cluster: this action cannot fail it over, so its data would be away "
            "while it restarts. Accept that with failover: false, or fail it over by hand first"
        )
    return Go()


def shard_is_ready(view: View, *, failover: bool, max_lag_bytes: int) -> Check:
    """Whether the servers that hold the same slots can do without the own one. Asked again just before the restart."""
    own = view.own
    if own is None:
        return Go()
    if upheaval := no_upheaval(view):  # in the midst of a failover a master seems to have no replica
        return upheaval
    mine = shard(view)
    if claiming := sorted(_claims(view, mine)):
        return Wait(f"{names(view, claiming)} of the same shard is being restarted")
    ill = {name: why for name, why in unwell(view, max_lag_bytes).items() if name in mine}
    if failover and serves(view):
        if not any(line.master == view.me for line in view.others.values()):
            return Refuse(
                "the server is a master and has no replica: its slots would be away while it restarts. Give it a "
                "replica, or accept that with failover: false"
            )
        if heir(view, max_lag_bytes) is None:
            return _wait_for(view, ill, "to take over") or Wait("no replica is in step to take over")
    return _wait_for(view, ill, "of the same shard") or Go()


def shard(view: View) -> frozenset[str]:
    """The other nodes that hold the slots of the own one."""
    own_line = _own_line(view)
    head = (own_line.master if own_line is not None else None) or view.me
    return frozenset(name for name, line in view.others.items() if head in (name, line.master))


def heir(view: View, max_lag_bytes: int) -> str | None:
    """The replica of the own server that should take over: in step, and the furthest. None when there is none."""
    ill = unwell(view, max_lag_bytes)
    fit = [name for name, line in view.others.items() if line.master == view.me and name not in ill]
    return max(fit, key=lambda name: (view.answers[name].offset, name), default=None)


def unwell(view: View, max_lag_bytes: int) -> dict[str, str]:
    """The other nodes that are not well, each with the first reason. Who cannot be asked is not well."""
    found: dict[str, str] = {}
    for name, line in view.others.items():
        seen = [line, *(server.lines[name] for server in view.answers.values() if name in server.lines)]
        server = view.answers.get(name)
        if server is None:
            found[name] = f"does not answer ({view.silent.get(name, 'was not asked')})"
        elif any(each.failed for each in seen):
            found[name] = "is marked failed by a peer"
        elif sum(each.suspected for each in seen) > 1:
            found[name] = "is suspected to have failed by several peers"
        elif server.loading:
            found[name] = "is loading its data"
        elif why := _out_of_step(server, _offset_of_master(view, server, name), max_lag_bytes):
            found[name] = why
    return found


def out_of_step(view: View, max_lag_bytes: int) -> str:
    """Why the own server does not have what its master has; "" when it has, or is a master."""
    return "" if view.own is None else _out_of_step(view.own, _offset_of_master(view, view.own, view.me), max_lag_bytes)


def is_well(view: View, *, max_lag_bytes: int) -> Check:
    """Whether the own server is well in its own eyes *and* in those of its peers; never `Refuse`: it may become so."""
    own = view.own
    if own is None:
        return Wait("the server does not answer")
    if own.loading:
        return Wait("the server is loading its data")
    if why := _out_of_step(own, _offset_of_master(view, own, view.me), max_lag_bytes):
        return Wait(f"the server {why}")
    if not own.clustered:
        return Go()
    if own.state != "ok":
        return Wait(f"the server sees cluster_state:{own.state}")
    return _peers_agree(view, own)


# --- the parts -------------------------------------------------------------------------------------------


def _may_start(view: View, others_at_once: int) -> Check:
    """The own server is down, or silent. A restart is what helps a dead one; a silent one may be alive."""
    if not view.answers:
        return Refuse(
            "the server does not answer, and none of its peers could be asked whether it may be restarted. Start it "
            "by hand, or name other servers of the cluster in this node's configuration (peers)"
        )
    if not view.me:
        return Refuse(
            "the server does not answer, and its peers do not know it by the address in this node's configuration: "
            "set announced to the one that they use"
        )
    dead = view.own_refuses or any(line is not None and line.failed for line in view.of_me().values())
    if not dead:
        return Wait("the server does not answer here, and its peers do not call it failed")
    others = {name: f"does not answer ({why})" for name, why in view.silent.items()}
    if len(others) > others_at_once:
        return _wait_for(view, others, "", cluster=True) or Go()
    return Go()


def no_upheaval(view: View) -> Check | None:
    """None when the cluster is whole, in everybody's eyes, and its slots and roles stay where they are."""
    everybody = _everybody(view)
    if bad := sorted(name for name, server in everybody.items() if server.state not in ("ok", "loading")):
        return Wait(f"cluster_state is not ok as seen by {names(view, bad)}", of="cluster")
    if any(line.moving for server in everybody.values() for line in server.lines.values()):
        return Wait("slots are being migrated", of="cluster")
    masters: dict[str, set[str | None]] = {}
    for name, server in everybody.items():
        if server.loading:
            continue
        if server.moving_roles:
            return Wait(f"{names(view, [name])} is failing over", of="cluster")
        masters.setdefault(name, set()).add(None if not server.replica else _follows(server, name))
        for line in server.lines.values():
            if not line.failed:
                masters.setdefault(line.id, set()).add(line.master)
    if torn := sorted(name for name, seen in masters.items() if len(seen) > 1):
        return Wait(f"a failover is under way: the servers disagree on the role of {names(view, torn)}", of="cluster")
    return None


def _enough_others(view: View, max_lag_bytes: int, others_at_once: int) -> Check | None:
    ill = unwell(view, max_lag_bytes)
    return None if len(ill) <= others_at_once else _wait_for(view, ill, "", cluster=True)


def _majority_without_me(view: View, failover: bool) -> Check | None:
    """Masters elect; a master that goes down with its role must leave a majority of them."""
    if failover or not serves(view):
        return None
    masters = [name for name, line in view.others.items() if line.slots]
    up = [name for name in masters if name in view.answers and not view.others[name].failed]
    if len(up) < len(masters) and len(up) * 2 <= len(masters) + 1:
        return Wait(f"without this master only {len(up)} of {len(masters) + 1} would be left to elect", of="cluster")
    return None


def _peers_agree(view: View, own: Server) -> Check:
    """Peers have heard of *this* start of the server, and most of those that there are say that all is well."""
    if not view.others:
        return Go()
    bad: dict[str, str] = {}
    for name, server in view.answers.items():
        line = server.lines.get(view.me)
        # A pong that is older than this start says nothing of it. The peer's clock is compared with itself only.
        started_ms = server.clock_ms - own.uptime_s * 1000
        if server.state != "ok":
            bad[name] = f"sees cluster_state:{server.state}"
        elif line is None:
            bad[name] = "does not know it"
        elif line.failed or line.suspected:
            bad[name] = "marks it failed"
        elif not line.connected or line.heard_ms <= started_ms:
            bad[name] = "has not heard from it since it started"
    if view.own is not None and any(_calls_failed(view, name) for name in bad):
        bad = {name: why for name, why in bad.items() if not _calls_failed(view, name)}  # ill themselves: no witnesses
    if bad:
        words = ", ".join(f"{names(view, [name])} {why}" for name, why in sorted(bad.items()))
        return Wait(f"its peers do not see the server well: {words}")
    good = sum(not _calls_failed(view, name) for name in view.answers)
    if good * 2 <= len(view.others):
        return Wait(f"only {good} of {len(view.others)} peers can be asked")
    return Go()


def _calls_failed(view: View, name: str) -> bool:
    """Whether most servers that answer call that one failed."""
    seen = [server.lines[name] for other, server in _everybody(view).items() if other != name and name in server.lines]
    return sum(line.failed for line in seen) * 2 > len(seen)


def _out_of_step(server: Server, master_offset: int | None, max_lag_bytes: int) -> str:
    if not server.replica:
        return ""
    if server.syncing:
        return "is still copying its master's data"
    if not server.linked:
        return "has no link to its master"
    if master_offset is not None and master_offset - server.offset > max_lag_bytes:
        return f"is {master_offset - server.offset} bytes behind its master"
    return ""


def _offset_of_master(view: View, server: Server, name: str) -> int | None:
    master = _follows(server, name)
    found = _everybody(view).get(master) if master else None
    return None if found is None else found.offset


def _follows(server: Server, name: str) -> str | None:
    line = server.lines.get(name)
    return None if line is None else line.master


def _everybody(view: View) -> dict[str, Server]:
    return dict(view.answers) if view.own is None else {**view.answers, view.me: view.own}


def _own_line(view: View) -> Line | None:
    return view.own.lines.get(view.me) if view.own is not None else None


def serves(view: View) -> bool:
    """Whether the own server is a master with slots."""
    line = _own_line(view)
    return line is not None and line.master is None and line.slots > 0


def _claims(view: View, mine: frozenset[str]) -> frozenset[str]:
    """The other servers of the shard that somebody is about to take down, as any server of the shard was told."""
    servers = [server for name, server in _everybody(view).items() if name == view.me or name in mine]
    return frozenset(name for server in servers for name in server.claims) & mine


def _wait_for(view: View, ill: Mapping[str, str], what: str, *, cluster: bool = False) -> Wait | None:
    if not ill:
        return None
    words = ", ".join(f"{names(view, [name])} {why}" for name, why in sorted(ill.items()))
    reason = f"not well {what}: {words}" if what else f"not well: {words}"
    return Wait(reason, of="cluster" if cluster else "node")


def names(view: View, nodes: Iterable[str]) -> str:
    """Nodes as people know them: by address."""

    def shown(name: str) -> str:
        line = view.others.get(name)
        address = line.address if line else view.own.address if view.own and name == view.me else ("", 0)
        return f"{address[0]}:{address[1]}" if address[0] else name

    return ", ".join(shown(name) for name in nodes)
