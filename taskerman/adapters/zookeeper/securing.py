"""Giving an installation its rights: who is who is recorded, and every record that is there is given away anew.

What is created later gets its rights from the client that creates it. Nothing is decided here about who may do what.
"""

from __future__ import annotations

from taskerman.adapters.zookeeper.tree import ZookeeperTree
from taskerman.coordination.layout import RIGHTS
from taskerman.errors import UsageError
from taskerman.model.rights import Identities
from taskerman.ports.tree import Committed, Set

__all__ = ["secure"]


def secure(tree: ZookeeperTree, identities: Identities) -> int:
    """Record who is who, and give every record its rights; how many there are. Idempotent, to be repeated.

    What others create meanwhile has the rights that they knew of: they learn these when they connect the next time.
    Raises `UsageError` when this client would lock itself out; `NotPermitted`, `CoordinationUnavailable`.
    """
    if not tree.is_control(identities):
        raise UsageError(
            "These identities would lock out whoever sets them: TASKERMAN_ZOOKEEPER_USER and its password are none of "
            "control's.",
            next_step="`taskerman keys digest` prints what to put into TASKERMAN_ZOOKEEPER_IDENTITIES.",
        )
    tree.use_rights(identities)
    tree.ensure(RIGHTS)
    tree.give_rights("/", identities)
    done = tree.commit([Set(RIGHTS, identities.to_json(), None)])
    assert isinstance(done, Committed)
    return _secure_below(tree, "/", identities) + 1


def _secure_below(tree: ZookeeperTree, path: str, identities: Identities) -> int:
    listing = tree.children(path)
    paths = [f"{path.rstrip('/')}/{name}" for name in (listing.names if listing else ())]
    for one in paths:
        tree.give_rights(one, identities)
    return len(paths) + sum(_secure_below(tree, one, identities) for one in paths)
