"""One identity a role, for tests, and an installation whose records have their rights."""

from __future__ import annotations

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.adapters.zookeeper.identity import Credential
from taskerman.adapters.zookeeper.securing import secure as secure_tree
from taskerman.model.rights import Identities, Role
from tests.support.zookeeper import SESSION

__all__ = ["CREDENTIALS", "IDENTITIES", "secure"]

CREDENTIALS = {role: Credential(role.value, f"secret of {role.value}") for role in Role}
IDENTITIES = Identities(
    control=(CREDENTIALS[Role.CONTROL].digest,),
    janitor=(CREDENTIALS[Role.JANITOR].digest,),
    agent=(CREDENTIALS[Role.AGENT].digest,),
    reader=(CREDENTIALS[Role.READER].digest,),
)


def secure(hosts: str, root: str) -> None:
    """As `taskerman init` with identities does."""
    tree = ZookeeperTree(hosts, root=root, session_timeout=SESSION, credential=CREDENTIALS[Role.CONTROL])
    try:
        tree.open()
        secure_tree(tree, IDENTITIES)
    finally:
        tree.close()
