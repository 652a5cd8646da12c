"""How groups of hosts are shown."""

from __future__ import annotations

from collections.abc import Sequence

from taskerman.cli.printing import Block, Table
from taskerman.control.grouping import GroupSet, GroupStatus

__all__ = ["group_set", "groups"]


def groups(values: Sequence[GroupStatus]) -> list[Block]:
    """Each group and its hosts."""
    if not values:
        return ["No group is set."]
    return [Table(("GROUP", "HOSTS"), tuple((one.name, " ".join(one.hosts) or "(nobody)") for one in values))]


def group_set(value: GroupSet) -> list[Block]:
    """What is so now."""
    blocks: list[Block] = [f"{value.name} is {', '.join(value.hosts) or 'nobody'}."]
    if value.gone:
        blocks.append(f"What runs of it on {', '.join(value.gone)} is stopped.")
    return blocks
