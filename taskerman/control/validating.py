"""VALIDATE: declared schedules are judged as everybody will judge them who has to do with them, before they are merged.

The files judge themselves: fields, times, names, the document of each. Here is what stands outside of them: whether an
action is installed and takes these arguments, whether a source of discovery is known, whether a window ever opens for
a firing; and, where one may look, whether the cluster has nodes and the named scope a capacity. A fault is told, not
raised, so that one look finds them all; what cannot be looked at is raised, because it is no fault of the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from taskerman.control.desk import Desk
from taskerman.errors import ActionArgsInvalid, ActionUnknown, DocumentError
from taskerman.model.base import Noun
from taskerman.model.ids import ScopeName
from taskerman.model.schedule import Schedule
from taskerman.model.task import TaskDocument
from taskerman.policy.firing import firings
from taskerman.policy.routing import deadline
from taskerman.policy.windows import next_opening
from taskerman.ports.schedules import Judge, ScheduleFiles

__all__ = ["Validated", "validate"]

_LOOKED_AHEAD = 20
"""Firings: of which one at least must find a window open."""
_NO_FURTHER = timedelta(days=366 * 3)

Way = tuple[str | int, ...]


class Validated(Noun):
    """What is declared in a place. `schedules`: how many are good. `faults`: what is wrong, a line each, by file, line
    and field."""

    place: str
    files: int
    schedules: int
    faults: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return 2 if self.faults else 0


def validate(desk: Desk, files: ScheduleFiles, *, online: bool = False, unchecked: bool = False) -> Validated:
    """Judge everything that is declared in `files`. Changes nothing.

    `online`: also ask discovery for each cluster, and ZooKeeper for each named scope. `unchecked`: an action or a
    discovery that is not installed here is taken to be one.
    Raises `TransientError` and `NotPermitted` for what cannot be looked at; online also what the desk raises.
    """
    looked = files.look(_judge(desk, online=online, unchecked=unchecked))
    return Validated(place=files.place, files=looked.files, schedules=len(looked.declarations), faults=looked.faults)


def _judge(desk: Desk, *, online: bool, unchecked: bool) -> Judge:
    sizes: dict[tuple[str, str], int] = {}

    def judge(schedule: Schedule, document: TaskDocument) -> Iterator[tuple[Way, str]]:
        yield from _action(desk, schedule, document, unchecked=unchecked)
        if document.discovery not in desk.discoveries:
            if not unchecked:
                known = ", ".join(sorted(desk.discoveries))
                yield ("task", "discovery"), f"{document.discovery!r} is not known here; known: {known}; or --unchecked"
        elif online and not document.nodes:
            key = (document.discovery, document.cluster_name)
            if key not in sizes:
                sizes[key] = len(desk.discoveries[document.discovery].nodes(document.cluster_name))
            if sizes[key] == 0:
                yield ("task", "cluster_name"), f"{document.cluster_name} has no running node"
        if _never_starts(schedule, document, desk.now()):
            yield (
                ("task", "taskerman_params", "window_args"),
                "no window opens between a firing and its not_after, so that every task would be refused",
            )
        if online:
            yield from _scope(desk, document)

    return judge


def _action(desk: Desk, schedule: Schedule, document: TaskDocument, *, unchecked: bool) -> Iterator[tuple[Way, str]]:
    own = next((name for name in ("command", "script", "binary") if getattr(schedule, name) is not None), None)
    try:
        desk.catalog.check_args(document.action, document.taskerman_params.action_args)
    except ActionUnknown as error:
        if not unchecked:
            where: Way = ("task", "action") if own is None else (own,)
            yield where, f"{error} If the nodes have it and this machine has not: --unchecked"
    except ActionArgsInvalid as error:
        yield ("task", "taskerman_params", "action_args") if own is None else (own,), error.what.rstrip(".")


def _scope(desk: Desk, document: TaskDocument) -> Iterator[tuple[Way, str]]:
    try:
        if _own_scope(desk, document) is None:
            desk.router_moves().check_scope(document)
    except DocumentError as error:
        yield ("task", "taskerman_params", "lease_args", "scope"), error.what.rstrip(".")


def _own_scope(desk: Desk, document: TaskDocument) -> ScopeName | None:
    """What a router declares by itself. Of an action that is not installed nobody knows, and that is told elsewhere."""
    try:
        return desk.catalog.traits(document.action).own_scope(document)
    except ActionUnknown:
        return None


def _never_starts(schedule: Schedule, document: TaskDocument, now: datetime) -> bool:
    """Whether none of the next firings finds a window open in time. Blackouts pass, and are left out of it."""
    weekly = document.taskerman_params.window_args.model_copy(update={"blackouts": ()})
    if weekly.always:
        return False
    coming = list(islice(firings(schedule, now, now + _NO_FURTHER), _LOOKED_AHEAD))
    for firing in coming:
        until = deadline(document.model_copy(update={"not_after": None}), firing.due)
        if schedule.not_after is not None:
            until = firing.due + schedule.not_after
        opens = next_opening(weekly, firing.due)
        if opens is not None and opens < until:
            return False
    return bool(coming)
