"""GROUPS: the hosts on which a command of a group may run; and what may be asked of a command under a slot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from taskerman.control.desk import Desk, check_why
from taskerman.control.naming import check_group, check_node, check_scope_name
from taskerman.coordination.groups import read_groups
from taskerman.errors import UsageError
from taskerman.model.base import Noun
from taskerman.model.command import MOST_HOSTS, GroupName
from taskerman.model.ids import NodeId
from taskerman.model.span import parse_span

__all__ = ["GroupSet", "GroupStatus", "OrderGiven", "check_order", "list_groups", "set_group"]

_MOST = 10_000
_LONGEST = timedelta(days=31)


class GroupStatus(Noun):
    """A group and its hosts. None of them: its commands run nowhere."""

    name: GroupName
    hosts: tuple[NodeId, ...]


class GroupSet(Noun):
    """What a group is now. `before`: what it was; None: there was none. `gone`: hosts whose commands stop now."""

    name: GroupName
    hosts: tuple[NodeId, ...]
    before: tuple[NodeId, ...] | None
    gone: tuple[NodeId, ...]


class OrderGiven(Noun):
    """What a person asked of a command under a slot, checked."""

    scope: str
    promise: int
    group: GroupName | None
    wait: timedelta | None
    grace: timedelta


def list_groups(desk: Desk) -> Sequence[GroupStatus]:
    """Every group that was ever set, by name."""
    return tuple(GroupStatus(name=name, hosts=group.hosts) for name, group in read_groups(desk.opened()).items())


def set_group(desk: Desk, name: GroupName, hosts: Sequence[NodeId], why: str, *, nobody: bool = False) -> GroupSet:
    """Say which hosts are in `name`, instead of those that were. `nobody`: none, on purpose. Idempotent.

    Nothing of the group begins on other hosts after this answer; what runs there is stopped within seconds. Raises
    `UsageError`.
    """
    check_why(why)
    check_group(name)
    for host in hosts:
        check_node(host)
    if bool(hosts) is nobody:
        raise UsageError(
            "A group has hosts, or --nobody.", next_step="Name them: `taskerman groups set NAME HOST HOST ...`."
        )
    if len(hosts) > MOST_HOSTS:
        raise UsageError(f"{len(hosts)} hosts are too many.", next_step=f"At most {MOST_HOSTS:,} are in a group.")
    before = desk.moves().set_group(name, hosts, why)
    after = tuple(sorted(set(hosts)))
    gone = tuple(host for host in (before.hosts if before else ()) if host not in after)
    return GroupSet(name=name, hosts=after, before=before.hosts if before else None, gone=gone)


def check_order(scope: str, concurrency: int, group: str | None, wait: str | None, grace: str) -> OrderGiven:
    """What was typed, if it can be meant. Raises `UsageError`."""
    if not 1 <= concurrency <= _MOST:
        raise UsageError(f"{concurrency} is not a concurrency.", next_step=f"Give a count, 1 to {_MOST:,}.")
    return OrderGiven(
        scope=check_scope_name(scope),
        promise=concurrency,
        group=None if group is None else check_group(group),
        wait=None if wait is None else _span("--wait", wait),
        grace=_span("--grace", grace),
    )


def _span(option: str, text: str) -> timedelta:
    try:
        span = parse_span(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}.", next_step="Write 90s, 30m, 2h or 1d12h.") from None
    if span > _LONGEST:
        raise UsageError(f"{option} {text} is longer than {_LONGEST.days} days.", next_step="Write a shorter one.")
    return span
