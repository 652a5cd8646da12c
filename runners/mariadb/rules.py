"""When a member of a Galera cluster may be taken down or burdened, and when it is well again: pure functions of views.

What a careful person would look at before typing the restart, in that order, and no I/O. A "no" that time will mend is
a `Wait`; one that somebody must mend is a `Refuse`.

On votes: Galera's documentation, "Weighted Quorum" and "Quorum Components". A member that leaves in order is no loss to
the vote; one that is killed in mid-leave is, so the rules count with the worse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runners.mariadb.view import Server, View
from taskerman import Check, Go, Refuse, Wait

__all__ = ["Limits", "bootstraps", "is_well", "may_back_up", "may_restart", "may_start", "paused", "unwell"]

SYNCED = "Synced"


@dataclass(frozen=True, slots=True)
class Limits:
    """`expected`: members when all are there. `others_at_once`: how many others the same task may have taken down.

    `majority`: the others must be a majority also when this one leaves in disorder. `max_queue`: write-sets that a
    member may have waiting. `max_paused`: the share of time in which writes are held up. `outage_s`: how long this
    member may be away; None: whether it can catch up afterwards is not asked.
    """

    expected: int
    others_at_once: int = 0
    majority: bool = True
    max_queue: int = 100
    max_paused: float = 0.1
    outage_s: float | None = 300.0


def may_restart(before: View, view: View, limits: Limits) -> Check:
    """Whether the own server may be taken down now. `before`: the same look, a moment earlier."""
    own = view.own
    if own is None:
        return may_start(view, limits)
    return (
        _fit(own)
        or _one_cluster(view)
        or _enough_others(before, view, limits)
        or _majority_without_me(view, own, limits)
        or _no_schema_change(view)
        or _catches_up(before, view, own, limits)
        or Go()
    )


def may_start(view: View, limits: Limits) -> Check:
    """Whether a server that is down may be started: to join the others, never to begin a cluster."""
    if not view.own_refuses:
        return Wait(f"the server does not answer, and something listens there: {view.own_why}")
    sizes = [server.size for server in view.answers.values() if server.primary]
    if not sizes:
        who = "no other member is in a Primary component" if view.answers else "no other member can be asked"
        return Refuse(
            f"the server is down, and {who}, so starting it might begin a second cluster. Find out which member "
            "has the newest data, and begin the cluster there by hand (galera_new_cluster)"
        )
    if torn := _one_cluster(view):
        return torn
    if busy := {name: f"is {server.state}" for name, server in view.answers.items() if server.state != SYNCED}:
        return Wait(f"a member is sending or receiving data, maybe this one: {_words(busy)}", of="cluster")
    away = limits.expected - 1 - max(sizes)
    if away > limits.others_at_once:
        return Wait(f"besides this server {away} of {limits.expected} members are away", of="cluster")
    return Go()


def may_back_up(before: View, view: View, limits: Limits) -> Check:
    """Whether the own server may be taken out of step for as long as its files are read."""
    own = view.own
    if own is None:
        return Wait(f"the server does not answer: {view.own_why}")
    return _fit(own) or _one_cluster(view) or _enough_others(before, view, limits) or _no_schema_change(view) or Go()


def is_well(view: View, limits: Limits) -> Check:
    """Whether the own server is in step, in its own eyes *and* in those of the others."""
    own = view.own
    if own is None:
        return Wait(f"the server does not answer: {view.own_why}")
    if own.primary and any(server.cluster != own.cluster for server in view.answers.values() if server.primary):
        return Refuse(
            f"the server is in another cluster than its peers ({own.cluster}): stop it, and let it join them anew"
        )
    if why := _out_of_step(own, limits):
        return Wait(why)
    return _counted_in(view, own) or Go()


def unwell(before: View, view: View, limits: Limits) -> dict[str, str]:
    """The other members that are not well, each with the first reason. Who cannot be asked is not well."""
    ill = {name: f"does not answer ({why})" for name, why in view.silent.items()}
    for name, server in view.answers.items():
        if not server.galera:
            ill[name] = "does not replicate (wsrep_on is OFF)"
        elif not server.primary:
            ill[name] = "is in no Primary component"
        elif server.state != SYNCED or not server.ready:
            ill[name] = f"is {server.state}"
        elif server.desynced:
            ill[name] = "has wsrep_desync ON"
        elif server.queue > limits.max_queue:
            ill[name] = f"has {server.queue} write-sets to apply"
    return ill


def paused(before: Server, now: Server) -> float:
    """In which share of the time between both looks writes were held up."""
    passed = now.at - before.at
    if passed <= 0 or before.id != now.id:
        return 0.0
    return max(0, now.paused_ns - before.paused_ns) / 1e9 / passed


def bootstraps(options: str) -> str:
    """Why a server that is started with these options (as `mariadbd --print-defaults` says them) would begin a cluster
    of its own; "" when it would join others."""
    words = re.split(r"\s+(?=--)", options.strip())
    pairs = [word.removeprefix("--").partition("=") for word in words if word.startswith("--")]
    said = {name.strip().replace("_", "-").lower(): value.strip() for name, _, value in pairs}
    if "wsrep-new-cluster" in said and said["wsrep-new-cluster"].lower() not in ("0", "off", "false"):
        return "wsrep_new_cluster is set"
    address = said.get("wsrep-cluster-address", "")
    scheme, _, group = address.partition("://")
    if scheme != "gcomm" or not group.partition("?")[0].strip("/ "):
        return f"wsrep_cluster_address is {address!r} and names no other member"
    return ""


# --- the parts -------------------------------------------------------------------------------------------


def _fit(own: Server) -> Check | None:
    if not own.galera:
        return Refuse("the server is no member of a Galera cluster: wsrep_on is OFF")
    if not own.primary:
        return Refuse(
            "the server is in no Primary component: a restart does not help, and whether this part of the cluster goes "
            "on is a person's decision. Find out why the members do not see each other; only when the others are lost "
            "for good, SET GLOBAL wsrep_provider_options='pc.bootstrap=YES' at the member with the newest data"
        )
    if own.desynced:
        return Wait(
            "wsrep_desync is ON at the server: a backup runs, or somebody left it (SET GLOBAL wsrep_desync = OFF)"
        )
    if own.state != SYNCED:
        return Wait(f"the server is {own.state}: it is sending or receiving data")
    if not own.sees_all:
        return Refuse("the user in defaults_file does not see what others run: GRANT PROCESS ON *.* TO it")
    return None if own.ready else Wait("the server does not say that it is ready (wsrep_ready)")


def _out_of_step(own: Server, limits: Limits) -> str:
    if not own.primary:
        return "the server is in no Primary component"
    if not own.ready or own.state != SYNCED:
        return f"the server is {own.state}, not {SYNCED}" if own.state != SYNCED else "the server is not ready"
    if own.desynced:
        return "wsrep_desync is ON at the server: when no backup runs, SET GLOBAL wsrep_desync = OFF"
    return f"the server has {own.queue} write-sets to apply" if own.queue > limits.max_queue else ""


def _counted_in(view: View, own: Server) -> Check | None:
    """The others are in the same component, and enough of them can be asked."""
    primary = {name: server for name, server in view.answers.items() if server.primary}
    if apart := sorted(name for name, server in primary.items() if server.component != own.component):
        return Wait(f"the server and {', '.join(apart)} do not see the same members")
    count = len(view.answers) + len(view.silent)
    if (len(primary) + 1) * 2 <= count + 1:
        return Wait(f"only {len(primary)} of {count} peers are seen in its component")
    return None


def _one_cluster(view: View) -> Check | None:
    """All that call themselves Primary are in one component."""
    everybody = _everybody(view)
    primary = {name: server for name, server in everybody.items() if server.galera and server.primary}
    if len({server.cluster for server in primary.values()}) > 1:
        return Refuse(
            "the members are of different clusters: "
            + _words({name: server.cluster for name, server in primary.items()})
            + ". A person has to decide which of them is the true one"
        )
    if len({server.component for server in primary.values()}) > 1:
        return Wait("the members do not agree on who is a member now", of="cluster")
    return None


def _enough_others(before: View, view: View, limits: Limits) -> Check | None:
    own = view.own
    assert own is not None
    ill = unwell(before, view, limits)
    gone = [name for name in ill if name in view.silent or not view.answers[name].primary]
    away = max(len(gone), limits.expected - own.size)
    slow = len(ill) - len(gone)
    if away + slow > limits.others_at_once:
        missing = f"{limits.expected - own.size} of {limits.expected} members are not in the component"
        reasons = ([missing] if own.size < limits.expected else []) + ([_words(ill)] if ill else [])
        return Wait(f"not well: {'; '.join(reasons)}", of="cluster")
    was = _everybody(before)
    held = {name: paused(was[name], server) for name, server in _everybody(view).items() if name in was}
    if held and max(held.values()) > limits.max_paused:
        return Wait(f"flow control holds up the cluster's writes {max(held.values()):.0%} of the time", of="cluster")
    return None


def _majority_without_me(view: View, own: Server, limits: Limits) -> Check | None:
    """The others go on, whoever of this task is away at the same moment, and however this one leaves."""
    if not limits.majority:
        return None
    missing = max(0, limits.expected - own.size)
    total = (own.all_weight or own.size) + missing
    others = sorted((server.weight for server in view.answers.values()), reverse=True)
    others += [1] * (limits.expected - 1 - len(others))
    left = total - own.weight - sum(others[: limits.others_at_once])
    if left * 2 > total:
        return None
    count = limits.others_at_once + 1
    many = f"when {count} members are away at once" if count > 1 else "without this one"
    return Refuse(
        f"{many}, {left} of {total} votes are left, which is no majority: if it left in disorder, the others would "
        "stop. "
        + ("Let fewer act at once" if count > 1 else "Add an arbitrator (garbd), or accept that with majority: false")
    )


def _no_schema_change(view: View) -> Check | None:
    running = {name: server.schema_changes[0] for name, server in _everybody(view).items() if server.schema_changes}
    return Wait(f"the schema is being changed: {_words(running)}", of="cluster") if running else None


def _catches_up(before: View, view: View, own: Server, limits: Limits) -> Check | None:
    """Some other member can hand on all that this one will have missed; else it would copy everything."""
    if limits.outage_s is None:
        return None
    short: dict[str, str] = {}
    for name, donor in view.answers.items():
        if not donor.primary or donor.state != SYNCED:
            continue
        first = donor.committed + 1 if donor.cached_from is None else donor.cached_from
        if first > own.committed + 1:
            short[name] = f"has nothing before {first}"
            continue
        history = _history_s(before.answers.get(name), donor)
        if history is None or history >= limits.outage_s:
            return None
        short[name] = f"keeps {history:.0f} s of writes"
    return Wait(
        f"no other member could hand on what is written while the server is away, so it would copy all data: "
        f"{_words(short) or 'none is in step'}. Enlarge gcache.size, or accept that with full_copy: true"
    )


def _history_s(before: Server | None, donor: Server) -> float | None:
    """For how long a donor keeps a write, at the present pace; None when it has never dropped one, or nothing says."""
    if donor.cached_from is None or not donor.cache_bytes or donor.passed_bytes < donor.cache_bytes:
        return None
    if before is None or before.id != donor.id or donor.at <= before.at:
        return None
    pace = (donor.committed - before.committed) / (donor.at - before.at)
    return None if pace <= 0 else (donor.committed - donor.cached_from + 1) / pace


def _everybody(view: View) -> dict[str, Server]:
    return dict(view.answers) if view.own is None else {**view.answers, "this server": view.own}


def _words(reasons: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {why}" for name, why in sorted(dict(reasons).items()))
