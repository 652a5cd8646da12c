"""When a member of an etcd cluster may be burdened or taken down, and when it is well: pure functions of a view.

What a careful person would look at before typing the command, in that order, and no I/O. A "no" that time will mend is
a `Wait`; one that somebody must mend is a `Refuse`.
"""

from __future__ import annotations

import re

from runners.etcd.view import Server, Silent, View
from taskerman import Check, Go, Refuse, Wait

__all__ = ["KNOWN", "heir", "is_well", "known_version", "may_act", "may_restart", "unwell"]

KNOWN = ((3, 4), (3, 6))
"""The first and the last version whose answers this runner knows."""


def may_restart(view: View, lag: int, *, cap: int, outage: bool) -> Check:
    """Whether the own server may be taken down, or started, now. `lag`: entries of the raft log a member may be behind.

    `cap`: nodes of the task at once. `outage`: a cluster that cannot do without this server may be gone for a moment.
    """
    if isinstance(view.own, Silent):
        return _may_start(view, view.own)
    if view.alarms:
        return Refuse(f"{_alarms(view)}: a restart does not help. Free space (defragment), then disarm; then restart")
    answer = may_act(view, lag, cap=cap)
    if not isinstance(answer, Go) or view.own.learner:
        return answer
    size = len(view.voters)
    if size - 1 <= size // 2 and not outage:
        return Refuse(f"a cluster of {size} has no quorum without this server. Accept the outage with outage: true")
    return Go()


def may_act(view: View, lag: int, *, cap: int) -> Check:
    """Whether one member may be burdened: all are well, and nobody joins. Alarms are not looked at."""
    own = view.own
    if isinstance(own, Silent):
        return Refuse(f"the server does not let us ask: {own.why}") if own.forbidden else Wait(_silent(own))
    return known_version(own) or _one_at_a_time(own, cap) or _nobody_joins(view, own) or _all_well(view, lag) or Go()


def is_well(view: View, lag: int) -> Check:
    """Whether the own server is well in its own eyes and in those of its leader; never `Refuse`: it may become so."""
    own = view.own
    if isinstance(own, Silent):
        return Wait(_silent(own))
    ill = unwell(view, lag)
    if view.me in ill:
        return Wait(f"the server {ill[view.me]}")
    leaders = {each.leader for each in view.serving.values()}
    if leaders != {own.leader}:
        return Wait("the members that answer do not agree on who leads")
    if own.leader not in view.serving:
        return Wait("the leader could not be asked about the server")
    return Go()


def heir(view: View, lag: int, began: float | None) -> str | None:
    """To whom the leader hands over: a voter that is well; one that the task has restarted, and the furthest.

    None when there is none.
    """
    ill = unwell(view, lag)
    fit = [name for name in view.voters if name != view.me and name not in ill and name in view.serving]

    def worth(name: str) -> tuple[bool, int, str]:
        server = view.serving[name]
        started = server.metrics.started_at
        return began is not None and started is not None and started > began, server.index, name

    return max(fit, key=worth, default=None)


def unwell(view: View, lag: int) -> dict[str, str]:
    """The members that are not well, the own one too, each with the reason. Who cannot be asked is not well."""
    serving = view.serving
    furthest = max((each.index for each in serving.values()), default=0)
    leaders = {each.leader for each in serving.values()}
    clusters = {each.cluster for each in serving.values()}
    found: dict[str, str] = {}
    for name, answer in {view.me: view.own, **view.others}.items():
        if isinstance(answer, Silent):
            found[name] = _silent(answer).removeprefix("the server ")
        elif len(clusters) > 1:
            found[name] = f"says that it is of the cluster {answer.cluster}, and not all do"
        elif not answer.leader:
            found[name] = "sees no leader"
        elif len(leaders) > 1:
            found[name] = f"follows {view.name(answer.leader)}, and not all do"
        elif not answer.healthy:
            found[name] = f"cannot have a read confirmed ({answer.why})"
        elif furthest - answer.index > lag:
            found[name] = f"is {furthest - answer.index:,} entries behind"
        elif answer.index - answer.applied > lag:
            found[name] = f"has {answer.index - answer.applied:,} entries to apply"
        elif left := [error for error in answer.errors if "NOSPACE" not in error.upper()]:
            found[name] = f"reports {left[0]}"
    return found


def known_version(own: Server) -> Refuse | None:
    """`Refuse` for a version that this runner was not made for."""
    found = re.match(r"(\d+)\.(\d+)\.", own.version)
    if found and KNOWN[0] <= (int(found[1]), int(found[2])) <= KNOWN[1]:
        return None
    first, last = (".".join(map(str, each)) for each in KNOWN)
    return Refuse(f"the server's version is {own.version or 'unknown'}; this runner knows {first} to {last}")


# --- the parts -------------------------------------------------------------------------------------------


def _one_at_a_time(own: Server, cap: int) -> Refuse | None:
    if cap <= 1 or own.learner:
        return None
    return Refuse(
        f"the task takes {cap} nodes at once, and members of a quorum are treated one at a time: set "
        "lease_args.concurrency to 1"
    )


def _nobody_joins(view: View, own: Server) -> Wait | None:
    if not view.members:
        return Wait("the server does not name the members of its cluster")
    joining = [view.name(each.id) for each in view.members.values() if each.learner or not each.name]
    if not joining or own.learner:
        return None
    return Wait(f"{', '.join(joining)} is joining: promote or remove it first", of="cluster")


def _all_well(view: View, lag: int) -> Wait | None:
    ill = {name: why for name, why in unwell(view, lag).items() if name == view.me or name in view.voters}
    if not ill:
        return None
    words = "; ".join(f"{view.name(name)} {why}" for name, why in sorted(ill.items())[:3])
    return Wait(words, of="node" if set(ill) == {view.me} else "cluster")


def _may_start(view: View, own: Silent) -> Check:
    """The own server is down, or silent. To start a dead one takes nothing from anybody."""
    if own.forbidden:
        return Refuse(f"the server does not let us ask: {own.why}. Correct username and password")
    if not own.refused:
        return Wait(f"the server does not answer, and something listens there: {own.why}")
    if not view.members:
        return Refuse(
            "neither the server nor any of the endpoints answers. Look at the network and at endpoint and endpoints in "
            "this node's configuration; start the first member by hand"
        )
    if not view.me:
        return Refuse(
            "nobody listens at this node's endpoint, and the others do not know it by that: set name to the member's "
            "name (--name)"
        )
    if view.elsewhere:
        return Refuse(
            "nobody listens at this node's endpoint, and the server answers where the others find it: correct "
            "endpoint, or this would restart a healthy server"
        )
    return Go()


def _alarms(view: View) -> str:
    return ", ".join(f"the alarm {alarm.kind} of {view.name(alarm.member)}" for alarm in view.alarms)


def _silent(answer: Silent) -> str:
    return f"the server does not answer ({answer.why})"
