"""When a server of a PostgreSQL cluster may be restarted, and when it is well again: pure functions of a view.

What a careful person would look at before typing the restart, in that order, and no I/O. A "no" that time will mend is
a `Wait`; one that somebody must mend is a `Refuse`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from runners.postgres import sync_names
from runners.postgres.config import shown
from runners.postgres.view import Server, View
from taskerman import Check, Go, Refuse, Wait

__all__ = ["KNOWN", "Intent", "heir", "is_well", "may_be_asked", "may_restart", "out_of_step", "unwell"]

KNOWN = range(13, 19)
"""The major versions of which this build knows what their views say."""
_CLOCKS_DIFFER_S = 5.0


@dataclass(frozen=True, slots=True)
class Intent:
    """What the task wants. `others_at_once`: how many others may be down because of it. `others_first`: how many
    replicas it restarts before a primary, and `since_s` how long ago it was accepted (None: nobody knows).
    `starts_as`, `own_timeline`: of a server that is down, by its data folder ("" where that is not known)."""

    max_lag_bytes: int
    others_at_once: int = 0
    others_first: int = 0
    since_s: float | None = None
    allow_primary_downtime: bool = False
    handover: str = "none"
    starts_as: str = ""
    own_timeline: int = 0


def may_be_asked(view: View) -> Check | None:
    """What is wrong with the answers as such: then nothing can be concluded from them."""
    for name, why in sorted(view.denied.items()):
        return Refuse(f"the peer {name} refuses to be asked: {why}")
    for server in view.everybody:
        if server.major not in KNOWN:
            return Refuse(
                f"{shown(server.address)} runs version {server.version}, which this build does not know: it knows "
                f"{KNOWN[0]} to {KNOWN[-1]}. Update Taskerman, or do this by hand"
            )
        if not server.may_look:
            return Refuse(f"{shown(server.address)} hides its statistics from our user: GRANT pg_monitor to it")
    systems = {server.system for server in view.everybody}
    if len(systems) > 1:
        names = ", ".join(f"{shown(server.address)} ({server.system})" for server in view.everybody)
        return Refuse(f"the servers are of different clusters, by their system identifiers: {names}. Correct peers")
    if len(view.primaries) > 1:
        names = ", ".join(f"{shown(each.address)} (timeline {each.timeline})" for each in view.primaries)
        return Refuse(f"there are several primaries: {names}. Fence all but the right one before anything else is done")
    return None


def may_restart(view: View, intent: Intent) -> Check:
    """Whether the own server may be restarted now."""
    if wrong := may_be_asked(view):
        return wrong
    if view.own is None:
        return _may_start(view, intent)
    if view.primary is None:
        return Wait("no server that answers is the primary", of="cluster")
    if view.own.copying:
        return Wait(f"a backup reads from this server: {', '.join(sorted(set(view.own.copying)))}")
    return _may_replica(view, view.own, intent) if view.own.replica else _may_primary(view, view.own, intent)


def unwell(view: View, max_lag_bytes: int) -> dict[str, str]:
    """The *other* servers that are not well, each with the first reason. Who cannot be asked is not well."""
    found = {name: f"does not answer ({why})" for name, why in view.silent.items()}
    primary = view.primary
    for name, server in view.peers.items():
        if why := _out_of_step(view, server, primary, max_lag_bytes):
            found[name] = why
    return found


def heir(view: View, max_lag_bytes: int) -> str | None:
    """The replica that should become the primary after the own server: it receives from it directly, is in step and
    may be told to; of those one that confirms commits first, then the furthest."""
    own = view.own
    if own is None or own.replica:
        return None
    ill = unwell(view, max_lag_bytes)
    counts = sync_names.parse(own.sync_names)
    direct = {each.name for each in own.standbys if each.streaming}
    fit = [
        name
        for name, server in view.peers.items()
        if server.replica
        and name not in ill
        and server.name in direct
        and not server.delay_ms
        and not server.read_only
        and own.received - server.replayed <= max_lag_bytes
    ]
    return max(fit, key=lambda n: (counts.count([view.peers[n].name]) > 0, view.peers[n].replayed, n), default=None)


def is_well(view: View, *, max_lag_bytes: int) -> Check:  # noqa: PLR0911  (a branch for each answer)
    """Whether the own server is well in its own eyes *and* in those of its peers; `Refuse` where waiting cannot
    help."""
    if wrong := may_be_asked(view):
        return wrong
    own, primary = view.own, view.primary
    if own is None:
        return Wait(f"the server does not answer: {view.why}")
    if primary is None:
        return Wait("no server that answers is the primary")
    if own.replica:
        if why := _out_of_step(view, own, primary, max_lag_bytes):
            return Wait(f"the server {why}")
    elif own.read_only:
        return Wait("the server is the primary and takes no writes by default (default_transaction_read_only)")
    if ill := {name: why for name, why in unwell(view, max_lag_bytes).items() if name in view.peers}:
        return Wait(f"its peers are not well with it: {_words(ill)}")
    if len(view.silent) * 2 > len(view.silent) + len(view.peers):
        return Wait(f"too few of its peers can be asked: {_words(dict(view.silent))}")
    return Go()


# --- the parts -------------------------------------------------------------------------------------------


def _may_start(view: View, intent: Intent) -> Check:
    """The own server is down, or silent. Starting helps a dead one; a silent one may be alive."""
    if not view.own_refuses:
        return Wait(f"the server is silent, and may be alive: {view.why}")
    if not view.peers and not view.silent:
        return Go()
    allowed = intent.others_at_once if view.primary else 0  # without a primary in sight, a silent one may be it
    if len(view.silent) > allowed:
        words = _words(dict(view.silent))
        return Wait(f"the server is down, and so are others, or nobody knows: {words}", of="cluster")
    if not intent.starts_as:
        return Refuse(
            "the server is down, and nobody knows whether it would come up as a second primary: start it by hand, or "
            "set data in this node's configuration"
        )
    if intent.starts_as == "primary":
        newest = max(server.timeline for server in view.everybody)
        if view.primary is not None or newest > intent.own_timeline:
            return Refuse(
                "the server is down, and would come up as a primary of an old timeline "
                f"({intent.own_timeline}; the others are on {newest}): make it a replica first (pg_rewind, and "
                "standby.signal in its data folder)"
            )
    return Go()


def _may_replica(view: View, own: Server, intent: Intent) -> Check:
    ill = unwell(view, intent.max_lag_bytes)
    if len(ill) > intent.others_at_once:
        return Wait(f"not well: {_words(ill)}", of="cluster")
    if own.paused:
        return Wait("somebody has paused replay here, and a restart would resume it: pg_wal_replay_resume() when done")
    return _commits_without(view, own, intent) or Go()


def _commits_without(view: View, own: Server, intent: Intent) -> Check | None:
    """Commits must go on while this replica is away, and whoever else of the task may go down beside it."""
    primary = view.primary
    assert primary is not None
    try:
        wanted = sync_names.parse(primary.sync_names)
    except ValueError as error:
        return Refuse(str(error))
    streaming = [each.name for each in primary.standbys if each.streaming]
    before = wanted.count(streaming)
    if wanted.needed == 0 or wanted.count([own.name]) == 0:
        return None
    also = max(0, intent.others_at_once - len(unwell(view, intent.max_lag_bytes)))
    left = before - (1 if own.name in streaming else 0) - also
    if left >= wanted.needed:
        return None
    all_replicas = [server.name for server in view.everybody if server.replica]
    words = (
        f"synchronous_standby_names ({primary.sync_names}) needs {wanted.needed}, and without this replica "
        f"{max(left, 0)} would be left: commits would hang while it restarts"
    )
    if not view.silent and wanted.count(all_replicas) - 1 - intent.others_at_once < wanted.needed:
        return Refuse(f"{words}. Name one replica more than are needed, or restart fewer at once")
    return Wait(words, of="cluster")


def _may_primary(view: View, own: Server, intent: Intent) -> Check:
    replicas = [name for name, server in view.peers.items() if server.replica]
    if intent.handover == "none" or not (replicas or view.silent):
        if not intent.allow_primary_downtime:
            why = "has no replica" if not (replicas or view.silent) else "is the primary, and no handover is configured"
            return Refuse(
                f"the server {why}: writes would fail while it restarts. Set handover in this node's configuration "
                "(built_in, or command with switchover), or accept the downtime with allow_primary_downtime: true"
            )
        return _replicas_first(view, intent) or _all_well(view, intent) or Go()
    if intent.handover == "built_in" and (wrong := _cannot_hand_over(view, own)):
        return wrong
    if waits := _replicas_first(view, intent) or _all_well(view, intent):
        return waits
    if heir(view, intent.max_lag_bytes) is None:
        return Wait("no replica is in step to take over", of="cluster")
    return Go()


def _all_well(view: View, intent: Intent) -> Check | None:
    """Before a primary goes down everybody else is well, whatever the task allows."""
    ill = unwell(view, intent.max_lag_bytes)
    return Wait(f"not well, and this is the primary: {_words(ill)}", of="cluster") if ill else None


def _replicas_first(view: View, intent: Intent) -> Check | None:
    """The primary is last: as many replicas as the task has other nodes were started since it was accepted.

    Counted, not named, because nobody tells a node which server another node of the task has. Ages are compared, each
    by one machine's clock.
    """
    if intent.since_s is None:
        return None
    since = intent.since_s + _CLOCKS_DIFFER_S
    replicas = {name: server for name, server in view.peers.items() if server.replica}
    old = {name for name, server in replicas.items() if server.uptime_s > since}
    need = min(intent.others_first, len(replicas) + len(view.silent))
    if len(replicas) - len(old) >= need:
        return None
    return Wait(
        f"the primary is last: {len(replicas) - len(old)} of {need} replicas were restarted since the task was "
        f"accepted {intent.since_s:.0f} s ago; not yet: {', '.join(sorted(old | set(view.silent)))}"
    )


def _cannot_hand_over(view: View, own: Server) -> Check | None:  # noqa: PLR0911  (a branch for each answer)
    """What the built-in handover needs of the cluster, each with the step that gives it."""
    if own.logical:
        return Refuse(
            f"the primary has logical replication slots, which would stay behind: {', '.join(own.logical)}. Move "
            "their consumers, or let your own switchover do it (handover = command)"
        )
    replicas = {name: server for name, server in view.peers.items() if server.replica}
    known = {server.name for server in replicas.values()}
    strange = sorted({each.name for each in own.standbys if each.streaming} - known)
    if strange and not view.silent:  # else it may be who is silent, which is waited for
        return Refuse(
            f"somebody receives WAL from this server who is not among peers, and may not follow a new primary: "
            f"{', '.join(strange)}. Name all servers in peers, or let your own switchover do it (handover = command)"
        )
    for name, server in [("this server", own), *sorted(replicas.items())]:
        way = server.conninfo
        # The others that it can reach: itself need not be among them.
        if not way.finds_the_primary or len(way.servers) < len(view.peers):
            return Refuse(
                f"{name} would not find a new primary by itself: set its primary_conninfo to all servers of the "
                "cluster (host=a,b,c port=..., target_session_attrs=read-write)"
            )
        if not server.latest_timeline:
            return Refuse(f"{name} would not follow a new timeline: set its recovery_target_timeline to latest")
    for name, server in sorted(replicas.items()):
        if not server.may_promote:
            return Refuse(f"our user may not promote {name}: GRANT EXECUTE ON FUNCTION pg_promote TO it")
        if server.major != own.major:
            return Refuse(f"{name} runs another major version than this server")
        left = [each.name for each in (own, *replicas.values()) if each is not server]
        if not _satisfied(server.sync_names, left):
            return Refuse(
                f"{name} as the primary would wait for replicas that there are not: its synchronous_standby_names is "
                f"{server.sync_names}, and {', '.join(left)} would be left. Correct it there"
            )
        for other in (own, *(each for each in replicas.values() if each is not server)):
            if other.slot and other.slot not in server.slots:
                return Refuse(
                    f"{name} has no replication slot {other.slot}, which {shown(other.address)} asks for: create it "
                    "there (pg_create_physical_replication_slot), so that the new primary keeps WAL for it"
                )
    return None


def _satisfied(names: str, standbys: list[str]) -> bool:
    try:
        return sync_names.parse(names).satisfied_by(standbys)
    except ValueError:
        return False


def out_of_step(view: View, server: Server, max_lag_bytes: int) -> str:
    """Why a server is not a good replica of the primary; "" for one that is, and for a primary."""
    if server.replica and view.primary is None:
        return "has no primary that answers"
    return _out_of_step(view, server, view.primary, max_lag_bytes)


def _out_of_step(view: View, server: Server, primary: Server | None, max_lag_bytes: int) -> str:
    """Why a server is not a good replica; "" for one that is, and for a primary."""
    if not server.replica or primary is None:
        return ""
    if server.receiving != "streaming":
        return f"receives no WAL ({server.receiving or 'no receiver runs'})"
    if not _is_seen(view, server):
        return "is not seen streaming by any server that answers"
    if server.timeline != primary.timeline:
        return f"is on timeline {server.timeline}, the primary on {primary.timeline}"
    if server.paused:
        return "has paused replay"
    behind = primary.received - (server.received if server.delay_ms else server.replayed)
    return f"is {behind:,} bytes behind the primary" if behind > max_lag_bytes else ""


def _is_seen(view: View, server: Server) -> bool:
    """Whether somebody sends it WAL, by its name; where several have one name, all of them must be seen."""
    seen = Counter(each.name for sender in view.everybody for each in sender.standbys if each.streaming)
    named = sum(each.replica and each.name == server.name for each in view.everybody)
    return seen[server.name] >= named


def _words(ill: dict[str, str]) -> str:
    return ", ".join(f"{name} {why}" for name, why in sorted(ill.items()))
