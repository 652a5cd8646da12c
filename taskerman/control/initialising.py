"""INIT: making what every installation has, and letting nodes go on in another one when a person says so."""

from __future__ import annotations

from taskerman.control.desk import Desk
from taskerman.control.values import Initialised
from taskerman.coordination.belonging import strangers

__all__ = ["initialise"]


def initialise(
    desk: Desk, why: str = "a new installation", *, accept: bool = False, of: str | None = None
) -> Initialised:
    """Make the installation's records and queues where they are absent. Idempotent.

    A new installation begins with a hold on everything, so that nothing runs before a person has looked. `accept`:
    let the nodes of another installation go on in this one, after ZooKeeper was emptied or restored; `of`: which one,
    when no node has reported it. Raises `RefusedByState` when there is nothing to accept.
    """
    moves = desk.founding_moves()
    control = moves.install(why)
    accepted: tuple[str, ...] = ()
    if accept:
        control, accepted = moves.accept_installation(why, of)
    secured = desk.secure() if desk.secure is not None else None
    queues = (desk.names.dead_letter, desk.names.tasks)
    for queue in queues:
        desk.queues.ensure(queue, tags={"taskerman:prefix": desk.names.prefix})
    return Initialised(
        installation=control.installation,
        holds=control.holds,
        queues=queues,
        accepted=accepted,
        strangers=tuple(strangers(desk.opened())),
        secured=secured,
    )
