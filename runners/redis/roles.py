"""What a server's role has to do with an action: who hands over, who makes a shard's backup, and what that is called.

Pure functions of a view, beside those in rules.py, which say when a cluster can do without a server.
"""

from __future__ import annotations

import hashlib

from runners.redis import rules
from runners.redis.view import View
from taskerman import Check, Go, Refuse, Skip, Wait

__all__ = ["handed_over", "may_back_up", "may_hand_over", "shard_name"]

_LONGEST_NAME = 60


def may_hand_over(view: View, *, max_lag_bytes: int, others_at_once: int) -> Check:
    """Whether the own server, if it is a master with slots, may give them to a replica now."""
    own = view.own
    if own is None:
        return Wait("the server does not answer: what becomes of its slots is the cluster's affair now")
    if own.loading:
        return Wait("the server is loading its data")
    if own.replica:
        return Skip("the server is a replica: it has nothing to hand over")
    if not own.clustered:
        return Refuse("the server is a master outside a cluster, which this action cannot fail over. Do it by hand")
    if not rules.serves(view):
        return Skip("the server is a master without slots: it has nothing to hand over")
    return rules.may_restart(view, failover=True, max_lag_bytes=max_lag_bytes, others_at_once=others_at_once)


def handed_over(view: View, heir: str, epoch: int) -> bool | None:
    """Whether the own server has given its slots away: by its own role, or else by a claim of `heir` that is newer than
    `epoch`; None: nobody can say."""
    if view.own is not None and view.me in view.own.lines:
        return view.own.lines[view.me].master is not None
    lines = [server.lines[heir] for server in view.answers.values() if heir in server.lines]
    return any(line.master is None and line.slots > 0 and line.epoch > epoch for line in lines) or None


def may_back_up(view: View, *, max_lag_bytes: int, from_master: bool) -> Check:
    """Whether the own server should write a snapshot now: a replica by preference, and nobody in an upheaval."""
    own = view.own
    if own is None:
        return Wait("the server does not answer")
    if own.loading:
        return Wait("the server is loading its data")
    if own.replica and (why := rules.out_of_step(view, max_lag_bytes)):
        return Wait(f"the server {why}")
    upheaval = rules.no_upheaval(view) if own.clustered else None
    return upheaval or _leave_it(view, max_lag_bytes, from_master) or Go()


def shard_name(view: View) -> str:
    """What the own server's data is called: by the slots of its shard, whoever serves them; `all` outside a cluster."""
    own = view.own
    if own is None or not own.clustered:
        return "all"
    head = own.lines[view.me].master or view.me
    ranges = own.lines[head].ranges if head in own.lines else ""
    if len(ranges) > _LONGEST_NAME:
        return f"slots-{hashlib.sha256(ranges.encode()).hexdigest()[:16]}"
    return f"slots-{ranges.replace(',', '_')}"


def _leave_it(view: View, max_lag_bytes: int, from_master: bool) -> Check | None:
    """`Skip` where another server makes the backup of the same data, or there is none."""
    own = view.own
    if own is None or own.replica:
        return None
    if own.clustered and not rules.serves(view):
        return Skip("the server is a master without slots: it has no data")
    if from_master:
        return None
    if not own.clustered:
        spared = own.replicas_online > 0
        return Skip("the server is a master with a replica online, which makes the backup") if spared else None
    better = rules.heir(view, max_lag_bytes)
    return Skip(f"the server is a master, and its replica {rules.names(view, [better])} backs up") if better else None
