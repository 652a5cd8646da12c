"""Groups: the hosts on which a command of a group may run, as a person says.

A take checks the group at the version at which its host was in it, so an acknowledged change means that nothing begins
on a host that is not in it any more; what runs there stops itself. A group is never deleted, only emptied: its versions
must not begin anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskerman.coordination import layout
from taskerman.coordination.reading import get_each
from taskerman.coordination.verbs import Verbs
from taskerman.errors import Bug
from taskerman.model.command import Group, GroupName
from taskerman.model.ids import NodeId
from taskerman.ports.tree import Create, Op, Set, Tree

__all__ = ["GroupVerbs", "is_out", "read_groups"]


class GroupVerbs(Verbs):
    """Verbs on groups."""

    def set_group(self, name: GroupName, hosts: Sequence[NodeId], why: str) -> Group | None:
        """Say which hosts are in `name`, instead of those that were; the answer is what was said before. Idempotent."""
        path = layout.group(name)
        self._tree.ensure(layout.GROUPS)
        new = self._tree.get(path) is None
        if new:
            self._tree.commit([Create(path, Group(hosts=()).to_json())])
        after = Group(hosts=tuple(sorted(set(hosts))))

        def build() -> tuple[list[Op], Group | None]:
            record = self._tree.get(path)
            if record is None:
                raise Bug(f"{path} vanished.")
            before = layout.decode(Group, record, path)
            return [Set(path, after.to_json(), record.stat.version)], None if new else before

        return self._commit(build, "set group", name, why)


def read_groups(tree: Tree) -> Mapping[GroupName, Group]:
    """Every group that was ever set, by name."""
    listing = tree.children(layout.GROUPS)
    names = listing.names if listing else ()
    records = get_each(tree, [layout.group(name) for name in names])
    return {
        name: layout.decode(Group, record, layout.group(name))
        for name, record in zip(names, records, strict=True)
        if record is not None
    }


def is_out(tree: Tree, name: GroupName, host: NodeId) -> bool:
    """Whether `host` is positively not in the group now: a server that lags behind is asked again.

    Raises `CoordinationUnavailable`: nobody knows.
    """
    path = layout.group(name)
    for again in (True, False):
        record = tree.get(path)
        if record is not None and host in layout.decode(Group, record, path).hosts:
            return False
        if again:
            tree.sync(path)
    return True
