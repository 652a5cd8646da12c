"""Who may do what to which record, as far as ZooKeeper can tell: one row a kind of path. The page in the docs is this.

To create and to delete are rights on the parent. So a slot, an end or an entry of a line is removed only by its owner
because the protocol says so, not because ZooKeeper forbids the others of its role. What ZooKeeper does enforce: agents
write no holds, no plans and no cluster's order of tasks; and, where nodes have identities of their own, no record of
another node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from taskerman.model.rights import Role

__all__ = ["ROWS", "Grants", "Row", "rights_on"]

ALL = "cdrwa"


@dataclass(frozen=True, slots=True)
class Grants:
    """Letters of ZooKeeper: c create a child, d delete a child, r read, w write, a change rights.

    `agent`: of every agent. `own`: of the agent that creates the record; its node's identity, if nodes have one,
    else the role's. Control may do everything everywhere; readers read.
    """

    agent: str = "r"
    own: str = ""
    janitor: str = "cdrw"

    def of(self, role: Role) -> str:
        """What the role may do."""
        return {Role.CONTROL: ALL, Role.JANITOR: self.janitor, Role.AGENT: self.agent, Role.READER: "r"}[role]


@dataclass(frozen=True, slots=True)
class Row:
    """`path`: with one name for each `*`. `about`: why an agent may do that."""

    path: str
    grants: Grants
    about: str


_N = r"[^/]+"

ROWS: tuple[Row, ...] = (
    Row("/", Grants(janitor="r"), "nothing stands here but what `init` makes"),
    Row("/rights", Grants(janitor="r"), "who is who"),
    Row("/control", Grants(), "the holds: agents check them, and write none"),
    Row("/strangers", Grants(agent="cdrw"), "a node that knows a later state stops everything, and says so"),
    Row("/strangers/*", Grants(own="rw"), "its own report"),
    Row("/clusters/*", Grants(agent="rw"), "a kept slot, a failure, a probe: the end of an attempt writes them"),
    Row("/clusters/*/open", Grants(agent="dr"), "the last end of a task closes it"),
    Row("/scopes", Grants(agent="cr"), "a command may name a scope that nobody declared"),
    Row("/scopes/*", Grants(agent="cdrw"), "slots are taken and freed by the nodes"),
    Row("/scopes/*/*", Grants(own="rw"), "a slot; nobody writes one"),
    Row("/nodes", Grants(agent="cr"), "a node registers itself"),
    Row("/nodes/*", Grants(own="rw"), "its own record"),
    Row("/tasks/*/ctl", Grants(agent="rw"), "an end uses up the failure budget, and may halt the task"),
    Row("/tasks/*/line/*", Grants(agent="cdr"), "nodes join and leave"),
    Row("/tasks/*/line/*/*", Grants(own="rw"), "its own place"),
    Row("/tasks/*/progress", Grants(agent="cdr"), "a node joins, and its end deletes this"),
    Row("/tasks/*/progress/*", Grants(agent="rw"), "made by the agent, or by a person's redrive"),
    Row("/tasks/*/end", Grants(agent="cdr"), "an end is recorded"),
    Row("/tasks/*/end/*", Grants(agent="rw"), "the note that its dead letter was sent"),
    Row("/waits/*", Grants(agent="cdr"), "places in one"),
    Row("/waits/*/*", Grants(own="rw"), "its own place"),
    Row("/commands", Grants(agent="cdr"), "a command's take makes its record"),
    Row("/commands/*", Grants(own="rw"), "its own: how it ended"),
    Row("/commandwaits", Grants(agent="cr"), "the queue of a scope, made by the first that waits"),
    Row("/commandwaits/*", Grants(agent="cdr"), "places in one"),
    Row("/commandwaits/*/*", Grants(own="rw"), "its own place"),
    Row("/brackets", Grants(agent="cr"), "the first attempt that needs a bracket makes its record"),
    Row("/brackets/*", Grants(agent="rw"), "attempts go in, begin it and end it; none is ever deleted"),
    Row("/groups", Grants(), "where commands may run: a person says so"),
    Row("/groups/*", Grants(), "the same"),
    Row("/audit", Grants(agent="r"), "people's verbs write it in their own transaction"),
    Row("/doctor", Grants(agent="cdr"), "where `doctor` tries a write"),
    Row("/doctor/*", Grants(own="rw"), "its own"),
)
"""Every other path: control and janitor do everything, agents and readers read. So are plans, and open tasks."""

_COMPILED: Mapping[str, re.Pattern[str]] = {
    row.path: re.compile(re.escape(row.path).replace(r"\*", _N)) for row in ROWS
}


def rights_on(path: str) -> Grants:
    """Who may do what to the record at `path`; of one that is still to get its number: with any end."""
    whole = f"{path}0" if path != "/" and path.endswith("/") else path
    for row in ROWS:
        if _COMPILED[row.path].fullmatch(whole):
            return row.grants
    return Grants()
