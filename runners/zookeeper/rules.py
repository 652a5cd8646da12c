"""When a member of a ZooKeeper ensemble may be taken down, and when it is well again: pure functions of a view.

What a careful person would look at before typing the restart, in that order, and no I/O. Only voters count for the
quorum. A "no" that time will mend is a `Wait`; one that somebody must mend is a `Refuse`.
"""

from __future__ import annotations

from dataclasses import dataclass

from runners.zookeeper.view import Answer, Idle, Member, Silent, View, epoch_of
from taskerman import Check, Go, Refuse, Wait

__all__ = ["KNOWN", "Bounds", "is_well", "leads", "may_restart", "unwell"]

KNOWN = ((3, 6), (3, 9))
"""The first and the last version whose answers this runner knows."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What counts as in step. `lag`: transactions behind the leader. `outstanding`: requests that wait in a server."""

    lag: int
    outstanding: int


def may_restart(view: View, bounds: Bounds, *, cap: int, outage: bool, stuck: bool) -> Check:
    """Whether the own server may be taken down, or started, now.

    `cap`: nodes of the task at once. `outage`: an ensemble that cannot do without this server may be gone for a moment.
    `stuck`: a server that runs and serves nobody may be restarted.
    """
    own = view.own
    if isinstance(own, Silent):
        return _may_start(view, own)
    if isinstance(own, Idle):
        return _may_shake(view, own, stuck)
    return (
        _cut_off(own)
        or _unknown_version(own)
        or _alone(own, outage)
        or _quorum_without(view, own, cap, outage)
        or _all_well(view, bounds)
        or _wait_if(_ill(own, view.leaders[0] if view.leaders else None, bounds))
        or Go()
    )


def is_well(view: View, bounds: Bounds) -> Check:
    """Whether the own server is well in its own eyes and in its leader's; never `Refuse`: it may become so."""
    own = view.own
    if not isinstance(own, Member):
        return Wait(f"the server does not serve: {own.why}")
    if own.mode == "standalone":
        return Wait("the server serves alone, outside of its ensemble") if view.others else Go()
    if len(view.leaders) != 1:
        return Wait(_no_leader(view))
    leader = view.leaders[0]
    return _wait_if(_ill(own, leader, bounds)) or _followed(view, own, leader) or Go()


def leads(view: View) -> bool:
    """Whether the own server is the leader."""
    return isinstance(view.own, Member) and view.own.mode == "leader"


def unwell(view: View, bounds: Bounds) -> dict[str, str]:
    """The other members that are not well, each with the reason. Who cannot be asked is not well."""
    leader = view.leaders[0] if len(view.leaders) == 1 else None
    found = {}
    for name, answer in view.others.items():
        if why := _ill(answer, leader, bounds):
            found[name] = why
    return found


# --- the parts -------------------------------------------------------------------------------------------


def _cut_off(own: Member) -> Wait | None:
    return Wait("the server is cut off from the ensemble and serves reads only") if own.mode == "read-only" else None


def _alone(own: Member, outage: bool) -> Check | None:
    """A server without an ensemble."""
    if own.mode != "standalone":
        return None
    if outage:
        return Go()
    return Refuse(
        "the server is in no ensemble: nobody serves while it restarts. Accept that with outage: true; when it should "
        "be in one, look at its configuration"
    )


def _may_start(view: View, own: Silent) -> Check:
    """The own server is down, or silent. To start a dead one takes nothing from anybody."""
    heard = [name for name, answer in view.others.items() if not isinstance(answer, Silent)]
    if view.others and not heard:
        return Refuse(
            "neither the server nor any other member answers. Look at the network and at host, port and peers in this "
            "node's configuration; start the first member by hand"
        )
    if not view.others:
        return Refuse("the server does not answer, and no other member is known. Name them in peers")
    if not own.refused:
        return Wait(f"the server does not answer, and something listens there: {own.why}")
    leader = view.leaders[0] if len(view.leaders) == 1 else None
    complete = leader is not None and leader.synced is not None and leader.synced >= leader.voters - 1
    if leader is not None and complete and sum(each.votes for each in view.serving.values()) < leader.voters:
        return Refuse(
            "nobody listens where this node's configuration says, and the leader has all its followers: correct host "
            "and port, or this would restart a healthy server"
        )
    return Go()


def _may_shake(view: View, own: Idle, stuck: bool) -> Check:
    """The own server runs and serves nobody: it may be about to join."""
    if not stuck:
        return Wait(f"{own.why}; if it stays so, restart it with stuck: true")
    return Go() if len(view.leaders) == 1 else Wait(_no_leader(view), of="cluster")


def _quorum_without(view: View, own: Member, cap: int, outage: bool) -> Check | None:
    """Whether all voters are known, and enough are left without this one."""
    if len(view.voters) != 1:
        said = ", ".join(str(each) for each in sorted(view.voters)) or "nobody says it"
        return Wait(f"the members do not agree on how many voters there are ({said})", of="cluster")
    (size,) = view.voters
    known = 1 + len(view.others)
    if known < size:
        return Refuse(f"the ensemble has {size} voters, and {known} members are known here: name all others in peers")
    if own.votes and cap > 1:
        return Refuse(
            f"the task takes {cap} nodes at once, and members of a quorum are restarted one at a time: set "
            "lease_args.concurrency to 1"
        )
    if own.votes and size - 1 <= size // 2 and not outage:
        return Refuse(f"an ensemble of {size} has no quorum without this server. Accept the outage with outage: true")
    return None


def _all_well(view: View, bounds: Bounds) -> Check | None:
    if len(view.leaders) != 1:
        return Wait(_no_leader(view), of="cluster")
    leader, own = view.leaders[0], view.own
    ill = unwell(view, bounds)
    voting = sum(each.votes for each in view.serving.values()) + (isinstance(own, Member) and own.votes)
    if voting < leader.voters or any(name in ill for name, each in view.serving.items() if each.votes):
        shown = "; ".join(f"{name} {why}" for name, why in sorted(ill.items())[:3])
        return Wait(shown or f"{voting} of {leader.voters} voters serve", of="cluster")
    if leader.synced is None or leader.synced < leader.voters - 1:
        return Wait(f"the leader counts {leader.synced} of {leader.voters - 1} followers as in step", of="cluster")
    return None


def _followed(view: View, own: Member, leader: Member) -> Check | None:
    """Whether the leader has as many followers in step as say that they follow it."""
    followers = sum(each.mode == "follower" for each in (own, *view.serving.values()))
    if leader.synced is None or leader.synced < followers:
        return Wait(f"the leader counts {leader.synced} followers as in step, of {followers} that serve")
    if own.mode == "leader" and leader.synced < own.voters // 2:
        return Wait("the server leads without a majority in step")
    return None


def _wait_if(why: str) -> Wait | None:
    return Wait(f"the server {why}") if why else None


def _ill(answer: Answer, leader: Member | None, bounds: Bounds) -> str:
    """Why it is not well, as the end of a sentence that begins with its name; "" when it is."""
    if not isinstance(answer, Member):
        return f"does not answer ({answer.why})" if isinstance(answer, Silent) else "runs and does not serve"
    apart = _apart(answer, leader) if leader is not None else 0
    reasons = {
        f"is {answer.mode}": answer.mode not in ("leader", "follower", "observer"),
        f"is not yet in step ({answer.peer_state})": bool(answer.peer_state) and not _broadcasts(answer),
        f"has {answer.outstanding} requests waiting": answer.outstanding > bounds.outstanding,
        f"is in epoch {epoch_of(answer.zxid)}, and its leader is not": apart is None,
        f"is {apart or 0:,} transactions behind the leader": (apart or 0) > bounds.lag,
        f"is {-(apart or 0):,} transactions before the leader: is it of this ensemble?": -(apart or 0) > bounds.lag,
    }
    return next((why for why, true in reasons.items() if true), "")


def _broadcasts(member: Member) -> bool:
    """Discovery and synchronization are over."""
    return member.peer_state.endswith("broadcast")


def _apart(member: Member, leader: Member) -> int | None:
    """Transactions that it is behind; None for another epoch, unless nothing was done yet in the leader's."""
    if epoch_of(member.zxid) == epoch_of(leader.zxid):
        return leader.zxid - member.zxid
    nothing_yet = leader.zxid & 0xFFFFFFFF == 0 and member.zxid < leader.zxid
    return 0 if nothing_yet else None


def _no_leader(view: View) -> str:
    return "no member leads" if not view.leaders else f"{len(view.leaders)} members say that they lead"


def _unknown_version(own: Member) -> Refuse | None:
    if KNOWN[0] <= own.version[:2] <= KNOWN[1]:
        return None
    shown = ".".join(map(str, own.version)) if any(own.version) else "unknown"
    first, last = (".".join(map(str, each)) for each in KNOWN)
    return Refuse(f"the server's version is {shown}; this runner knows {first} to {last}")
