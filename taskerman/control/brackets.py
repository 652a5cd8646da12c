"""BRACKETS: what is so in whole clusters while nodes act, and closing one that was undone by hand."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.control.desk import Desk, check_why
from taskerman.control.naming import check_bracket, check_cluster
from taskerman.control.values import BracketShown
from taskerman.coordination import brackets as reading
from taskerman.coordination.brackets import BracketAt
from taskerman.model.bracket import BracketState
from taskerman.model.ids import ClusterName, TaskId

__all__ = ["close_bracket", "left_over", "list_brackets", "open_brackets"]


def list_brackets(desk: Desk, cluster: ClusterName | None = None) -> Sequence[BracketShown]:
    """Every bracket that was ever begun, or those of `cluster`. Raises `UsageError` for what is no cluster's name."""
    if cluster is not None:
        check_cluster(cluster)
    found = reading.read_brackets(desk.opened())
    return [_shown(desk, at) for at in found if cluster in (None, at.bracket.cluster)]


def open_brackets(desk: Desk, task: TaskId | None = None) -> tuple[BracketShown, ...]:
    """Those that are not closed, or of them those in which `task` stands."""
    found = (at for at in reading.read_brackets(desk.opened()) if at.bracket.state is not BracketState.CLOSED)
    return tuple(_shown(desk, at) for at in found if task is None or task in at.bracket.tasks)


def close_bracket(desk: Desk, cluster: ClusterName, name: str, why: str) -> BracketShown:
    """A person's word that it was undone by hand: no node is asked to any more. The bracket as it was.

    Raises `NotFound`, `RefusedByState` (closed; somebody acts in it; a node is ending it), `UsageError` (no reason).
    """
    check_why(why)
    check_cluster(cluster)
    check_bracket(name)
    return _shown(desk, BracketAt(desk.moves().close_bracket(cluster, name, why), None))


def left_over(one: BracketShown) -> bool:
    """Whether a person may want to look: ending it has failed, or it is to be ended and no node is at it."""
    return one.state is BracketState.CLOSING and (one.tries > 0 or one.closer is None)


def _shown(desk: Desk, at: BracketAt) -> BracketShown:
    seen = reading.see(desk.opened(), at, desk.now())
    bracket, claim = at.bracket, seen.claim()
    return BracketShown(
        cluster_name=bracket.cluster,
        name=bracket.name,
        state=bracket.state,
        since=bracket.since,
        tasks=bracket.tasks,
        inside=tuple(sorted(seen.inside())),
        closer=claim.node if claim is not None and bracket.state is BracketState.CLOSING else None,
        tries=bracket.tries,
        why=bracket.why,
    )
