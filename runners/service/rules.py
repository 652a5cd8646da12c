"""When a service may be taken down, and when it is well again: pure functions of a view.

What a careful person would look at before typing the restart. A "no" that time will mend is a `Wait`; one that
somebody must mend is a `Refuse`.
"""

from __future__ import annotations

from runners.service.view import View
from taskerman import Check, Go, Refuse, Wait

__all__ = ["is_well", "may_act", "may_reload", "survived"]


def may_reload(view: View) -> Check:
    """Whether there is a process to reload: a reload cures nothing, and of an ill one nobody could tell what it did."""
    if view.start is None:
        return Refuse("the service does not run, so there is nothing to reload: restart it instead")
    return Wait(f"the service is not well before its reload: {view.ill}") if view.ill else Go()


def may_act(view: View, *, at_once: int, at_least: int | None, nodes: int, without_peers: bool) -> Check:
    """Whether the others can do without the service of this node now.

    `at_once`: on how many nodes the task acts at once, this one among them; `nodes`: for how many it was planned.
    """
    if not view.peers and nodes > 1 and not without_peers:
        return Refuse(
            f"the task is for {nodes} nodes, and this node's configuration names no peers: nobody could see whether "
            "the others are well. Name them under peers, or say without_peers = true"
        )
    if not view.peers and without_peers:
        return Go()
    if at_least is not None and at_least > len(view.peers):
        return Refuse(f"at_least is {at_least}, and this node's configuration names {len(view.peers)} peers")
    return _others_can_do_without_me(view, at_once=at_once, at_least=at_least)


def _others_can_do_without_me(view: View, *, at_once: int, at_least: int | None) -> Check:
    """Whether enough peers are well, counting on nobody of whom nothing is known.

    With `at_least`, everybody else whom the task may act on at once is taken for going down in this very moment: they
    ask at the same time as we do, and see us up.
    """
    well = sum(not why for why in view.peers.values())
    said = ", ".join(view.unwell[:5]) or "none of them is known to be unwell"
    if view.unseen:
        said += f"; {view.unseen} nodes of the task are not among this node's peers"
    if at_least is not None:
        left = well - (at_once - 1)
        if left < at_least:
            return Wait(
                f"{well} peers are well, and {at_least} must be when {at_once - 1} others of the task go down with "
                f"this one: {said}",
                of="cluster",
            )
        return Go()
    unwell = len(view.unwell) + view.unseen
    if unwell > at_once - 1:
        return Wait(f"{unwell} peers are not well, and the task itself explains {at_once - 1}: {said}", of="cluster")
    return Go()


def is_well(view: View, *, unwell_may_be: int, well_must_be: int | None) -> Check:
    """Whether this node's place may be given to the next one: it serves, and its peers are well and see it.

    `unwell_may_be`: of the peers; `well_must_be`: so many of them, in place of that.
    """
    if view.start is None:
        return Wait("the service does not run")
    if view.ill:
        return Wait(f"the service is not well: {view.ill}")
    if view.doubts:
        said = "; ".join(f"{name}: {why}" for name, why in view.doubts.items())
        return Wait(f"its peers do not see this node well: {said}")
    unwell, well = view.unwell, len(view.peers) - len(view.unwell)
    if well_must_be is not None and well < well_must_be:
        return Wait(f"{well} peers are well, and {well_must_be} must be: {', '.join(unwell[:5])}", of="cluster")
    if well_must_be is None and len(unwell) > unwell_may_be:
        return Wait(f"{len(unwell)} peers are not well: {', '.join(unwell[:5])}", of="cluster")
    return Go()


def survived(before: str | None, now: str | None) -> Check:
    """Whether the process that was reloaded is still the one that runs."""
    if before is not None and now == before:
        return Go()
    if now is None:
        return Refuse("the service does not run any more since it was reloaded")
    return Refuse("another process runs since the service was reloaded: it did not survive that")
