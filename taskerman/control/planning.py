"""PLAN: what will fire, on which nodes, for how long, and where two schedules want one cluster at once. Only looks.

It says what is to be expected, not what is promised: discovery is asked as it is now, and a task is expected to take as
long as such tasks took. What cannot be asked (a source of discovery, the history) is said, and the rest is answered.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

from taskerman.control.desk import Desk
from taskerman.control.naming import check_cluster
from taskerman.control.outlook import Expected, Outlook, foretell
from taskerman.errors import (
    DiscoveryFailed,
    DocumentError,
    NotFound,
    NotPermitted,
    ScheduleUnknown,
    TransientError,
    UsageError,
)
from taskerman.model.cluster import Node
from taskerman.model.ids import ID, ClusterName
from taskerman.model.outcome import Outcome
from taskerman.model.schedule import template_of
from taskerman.model.schedule_record import Declaration
from taskerman.model.span import parse_span
from taskerman.model.task import TaskDocument, TaskState
from taskerman.policy.routing import choose
from taskerman.ports.history import HistoryReader, TaskQuery

__all__ = ["check_wanted", "foresee", "time_to_come", "wanted"]

_LONGEST = timedelta(days=366)
_OF_SO_MANY = 20
_GOOD = {Outcome.SUCCEEDED, Outcome.SKIPPED}


def time_to_come(begin: str, until: str, now: datetime) -> tuple[datetime, datetime]:
    """What `--from` and `--until` say: `now`, a span (after now; after the beginning), a day or a time (UTC unless it
    says otherwise). Raises `UsageError`, also for an end that is not later, or more than 366 days later."""
    first = now if begin.strip() == "now" else _moment(begin, now)
    last = _moment(until, first)
    if not first < last <= first + _LONGEST:
        raise UsageError(
            f"From {first:%Y-%m-%dT%H:%MZ} until {last:%Y-%m-%dT%H:%MZ} is not 1s to {_LONGEST.days}d.",
            next_step="Give --until a later time, or a span such as 7d.",
        )
    return first, last


def check_wanted(schedule: str | None, cluster: str | None) -> None:
    """What was given can be such names. Raises `UsageError`."""
    if cluster is not None:
        check_cluster(cluster)
    if schedule is not None and not re.fullmatch(ID, schedule):
        raise UsageError(
            f"{schedule[:40]!r} cannot be the name of a schedule.",
            next_step="`taskerman plan` names those that fire.",
        )


def wanted(
    declarations: Sequence[Declaration], schedule: str | None = None, cluster: ClusterName | None = None
) -> Sequence[Declaration]:
    """Those of that name and on that cluster, of all when None. Raises `ScheduleUnknown`."""
    if schedule is not None and all(one.schedule.name != schedule for one in declarations):
        raise ScheduleUnknown(
            f"No schedule {schedule[:40]!r} is declared there.", next_step="`taskerman plan` names those that fire."
        )
    return tuple(
        one
        for one in declarations
        if schedule in (None, one.schedule.name) and cluster in (None, one.schedule.task.get("cluster_name"))
    )


def foresee(
    desk: Desk,
    history: HistoryReader,
    declarations: Sequence[Declaration],
    begin: datetime,
    until: datetime,
    *,
    paused: Collection[str] = (),
    offline: bool = False,
) -> Outlook:
    """What `declarations` will fire later than `begin`, and not later than `until`. `offline`: discovery is not asked.

    A source that fails is asked once for each cluster; a history that fails, or has nothing, is no error. Windows and
    holds are not looked at: it is when tasks are made, not when their nodes may start.
    """
    fires = [one.schedule for one in declarations if one.schedule.enabled and one.schedule.name not in paused]
    asked: dict[tuple[str, str], Sequence[Node] | str] = {}
    lasted: dict[tuple[str, str], timedelta | None] = {}
    silent = ""
    expected = {}
    for schedule in fires:
        try:
            document = template_of(schedule)
        except DocumentError as error:
            expected[schedule.name] = Expected(fault=error.what)
            continue
        kind = document.action, document.cluster_name
        if kind not in lasted and not silent:
            try:
                lasted[kind] = _typical(history, *kind)
            except (TransientError, NotFound, NotPermitted) as error:
                silent = error.what
        nodes, fault = (None, "") if offline else _nodes(desk, document, asked)
        expected[schedule.name] = Expected(nodes, lasted.get(kind), fault)
    return foretell(declarations, begin, until, expected, paused=paused, silent=silent)


def _moment(text: str, after: datetime) -> datetime:
    try:
        return after + parse_span(text)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text.strip())
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text[:40]!r} is not a time.", next_step="Write 2h, 7d, 2026-01-31 or 2026-01-31T12:00Z."
        ) from None


def _typical(history: HistoryReader, action: str, cluster: ClusterName) -> timedelta | None:
    """The median of the latest that went well: from planned to ended."""
    found = history.ended_tasks(TaskQuery(action=action, cluster=cluster, most=5 * _OF_SO_MANY))
    good = [task for task in found if task.state is TaskState.OPEN and task.counts and set(task.counts) <= _GOOD]
    took = [(task.ended_at - task.planned_at).total_seconds() for task in good[:_OF_SO_MANY]]
    return timedelta(seconds=round(max(0.0, median(took)))) if took else None


def _nodes(
    desk: Desk, document: TaskDocument, asked: dict[tuple[str, str], Sequence[Node] | str]
) -> tuple[tuple[str, ...] | None, str]:
    """On which nodes a task of it would act now, by rank; or why nobody can say."""
    source, cluster = document.discovery, document.cluster_name
    if not document.nodes and (source, cluster) not in asked:
        discovery = desk.discoveries.get(source)
        try:
            asked[source, cluster] = (
                f"Discovery {source!r} is not known here." if discovery is None else discovery.nodes(cluster)
            )
        except (DiscoveryFailed, NotPermitted) as error:
            asked[source, cluster] = error.what
    found = () if document.nodes else asked[source, cluster]
    if isinstance(found, str):
        return None, found
    try:
        return tuple(node.id for node in choose(document, found, registered=document.nodes)), ""
    except DocumentError as error:
        return (), error.what
