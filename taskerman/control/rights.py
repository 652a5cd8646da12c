"""What this identity may do in ZooKeeper, found out by asking ZooKeeper: no list is believed.

Every question is a commit that cannot happen: it rests on a version that no record reaches. Who may do it is told that
the version is wrong; who may not is told that. Nothing is changed either way.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.control.desk import Desk
from taskerman.control.subject import Subject
from taskerman.control.values import Finding
from taskerman.coordination import layout
from taskerman.errors import NotPermitted
from taskerman.model.rights import Role
from taskerman.ports.tree import Check, Create, Op, Set, Tree

__all__ = ["rights_here", "role_here"]

_NEVER = 2**31 - 1
_PROBE = "rights-are-asked"

_MAY = {
    Role.CONTROL: "hold, plan, decide and change rights",
    Role.JANITOR: "lift holds, end tasks and put them away",
    Role.AGENT: "act: take slots and record ends; it may write no hold and no plan",
    Role.READER: "look at everything, and change nothing",
}


def role_here(tree: Tree) -> Role | None:
    """The role that this identity has. None: whoever reaches this ZooKeeper may do everything.

    Raises `NotPermitted` when it has none, `CoordinationUnavailable`.
    """
    record = tree.get(layout.RIGHTS)
    if record is None or not record.data:
        return None
    if _may(tree, Set(layout.RIGHTS, b"", _NEVER)):
        return Role.CONTROL
    if _may(tree, Set(layout.CONTROL, b"", _NEVER)):
        return Role.JANITOR
    if _may(tree, Create(layout.node(_PROBE)), Check("/", _NEVER)):
        return Role.AGENT
    return Role.READER


def rights_here(desk: Desk, subject: Subject) -> Sequence[Finding]:
    """What `doctor` says about it."""
    role = role_here(desk.reached())
    if role is None:
        text = "There are no identities: whoever reaches this ZooKeeper may do everything."
        step = "docs/how-to/set-rights.md says how to give each role its own."
        return [Finding(what="rights", level="ok", text=text, next_step=step)]
    text = f"This identity is {role.value}'s. It may {_MAY[role]}."
    if subject.node is not None and role in (Role.CONTROL, Role.JANITOR):
        step = "An agent needs no more than the agent's identity: TASKERMAN_ZOOKEEPER_USER."
        return [Finding(what="rights", level="warn", text=text, next_step=step)]
    if subject.node is not None and role is Role.READER:
        step = "The agent of this node could not take a slot. Set TASKERMAN_ZOOKEEPER_USER."
        return [Finding(what="rights", level="fail", text=text, next_step=step, exit_code=6)]
    return [Finding(what="rights", level="ok", text=text)]


def _may(tree: Tree, *ops: Op) -> bool:
    try:
        tree.commit(ops)
    except NotPermitted:
        return False
    return True
