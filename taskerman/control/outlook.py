"""What PLAN answers, and how it is found of what is known. Pure; the values' JSON is part of the interface.

What it finds is bounded: a schedule of every second has 600,000 firings a week, and nobody reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice

from taskerman.model.base import Noun, Timestamp
from taskerman.model.ids import NodeId
from taskerman.model.schedule import Schedule
from taskerman.model.schedule_record import Declaration
from taskerman.policy.firing import firings

__all__ = ["Contended", "Expected", "ForeseenFiring", "ForeseenSchedule", "Outlook", "foretell"]

_MOST_ROWS = 1000
_MOST_LOOKED_AT = 20_000
_MOST_NAMED = 20


class ForeseenFiring(Noun):
    """One firing to come. `lasts_s`: how long its task should take, from its plan to its end; None: nobody knows."""

    due: Timestamp
    nominal: Timestamp
    schedule: str
    action: str
    cluster_name: str
    lasts_s: float | None = None


class ForeseenSchedule(Noun):
    """A schedule in that time. `nodes`: on how many it would act now, `first_nodes` the first of them by rank; None:
    not asked, or `fault` says why it is not known."""

    name: str
    place: str
    action: str
    cluster_name: str
    firings: int
    nodes: int | None = None
    first_nodes: tuple[NodeId, ...] = ()
    lasts_s: float | None = None
    fault: str = ""


class Contended(Noun):
    """Two schedules or more want one cluster at once, from `begin` to `until`; the same moment when nobody knows how
    long the earlier one takes."""

    cluster_name: str
    begin: Timestamp
    until: Timestamp
    schedules: tuple[str, ...]


class Outlook(Noun):
    """What is to come later than `begin`, and not later than `until`.

    `firings`: the first of them; `more` follow. `looked_until`: after it nobody looked, because there are too many
    firings before it; else `until`. `history`: why nobody knows how long tasks take; empty when it answered.
    """

    begin: Timestamp
    until: Timestamp
    looked_until: Timestamp
    firings: tuple[ForeseenFiring, ...]
    more: int = 0
    schedules: tuple[ForeseenSchedule, ...] = ()
    contended: tuple[Contended, ...] = ()
    paused: int = 0
    disabled: int = 0
    history: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of one schedule beside its times. `nodes` None: not asked, or not answered, and then `fault` says
    why. `lasts` None: no such task is in the history."""

    nodes: tuple[str, ...] | None = None
    lasts: timedelta | None = None
    fault: str = ""


def foretell(
    declarations: Sequence[Declaration],
    begin: datetime,
    until: datetime,
    expected: Mapping[str, Expected],
    *,
    paused: Collection[str] = (),
    silent: str = "",
) -> Outlook:
    """What fires later than `begin`, and not later than `until`. `expected`: what is known beside, by the names of
    schedules. `silent`: why the history did not say it."""
    left_out = Counter(
        "disabled" if not one.schedule.enabled else "paused"
        for one in declarations
        if not one.schedule.enabled or one.schedule.name in paused
    )
    fires = [one for one in declarations if one.schedule.enabled and one.schedule.name not in paused]
    seen = list(islice(_in_order([one.schedule for one in fires], begin, until, expected), _MOST_LOOKED_AT + 1))
    cut = len(seen) > _MOST_LOOKED_AT
    seen = seen[:_MOST_LOOKED_AT]
    counts = Counter(firing.schedule for firing in seen)
    return Outlook(
        begin=begin,
        until=until,
        looked_until=seen[-1].due if cut else until,
        firings=tuple(seen[:_MOST_ROWS]),
        more=len(seen) - len(seen[:_MOST_ROWS]),
        schedules=tuple(
            _told(one, expected.get(one.schedule.name, Expected()), counts[one.schedule.name])
            for one in sorted(fires, key=lambda one: one.schedule.name)
        ),
        contended=tuple(sorted(_contended(seen), key=lambda place: (place.cluster_name, place.begin))),
        paused=left_out["paused"],
        disabled=left_out["disabled"],
        history=silent,
    )


def _in_order(
    schedules: Sequence[Schedule], begin: datetime, until: datetime, expected: Mapping[str, Expected]
) -> Iterator[ForeseenFiring]:
    def of(schedule: Schedule) -> Iterator[ForeseenFiring]:
        lasts = expected.get(schedule.name, Expected()).lasts
        for firing in firings(schedule, begin, until):
            yield ForeseenFiring(
                due=firing.due,
                nominal=firing.nominal,
                schedule=schedule.name,
                action=_action_of(schedule),
                cluster_name=_cluster_of(schedule),
                lasts_s=None if lasts is None else lasts.total_seconds(),
            )

    return merge(*(of(schedule) for schedule in schedules), key=lambda firing: (firing.due, firing.schedule))


def _told(one: Declaration, expected: Expected, count: int) -> ForeseenSchedule:
    nodes = expected.nodes
    return ForeseenSchedule(
        name=one.schedule.name,
        place=one.place,
        action=_action_of(one.schedule),
        cluster_name=_cluster_of(one.schedule),
        firings=count,
        nodes=None if nodes is None else len(nodes),
        first_nodes=() if nodes is None else nodes[:_MOST_NAMED],
        lasts_s=None if expected.lasts is None else expected.lasts.total_seconds(),
        fault=expected.fault,
    )


def _contended(seen: Sequence[ForeseenFiring]) -> Iterator[Contended]:
    """Where firings of two schedules overlap in one cluster; what follows without a gap is one place.

    `seen` is in order. Of each schedule the latest firing is in the way longest, so it alone is kept.
    """
    busy: dict[str, dict[str, _Span]] = {}
    places: dict[str, tuple[_Span, set[str]]] = {}
    for firing in seen:
        others = busy.setdefault(firing.cluster_name, {})
        mine = _Span(firing.due, firing.due + timedelta(seconds=firing.lasts_s or 0))
        in_way = {name for name, span in others.items() if name != firing.schedule and span.is_on(firing.due)}
        both_until = min(mine.until, max((others[name].until for name in in_way), default=firing.due))
        others[firing.schedule] = mine
        if not in_way:
            continue
        span, names = places.get(firing.cluster_name, (None, set()))
        if span is not None and firing.due > span.until:
            yield _place(firing.cluster_name, span, names)
            span, names = None, set()
        span = _Span(firing.due, both_until) if span is None else _Span(span.begin, max(span.until, both_until))
        places[firing.cluster_name] = span, {*names, *in_way, firing.schedule}
    for cluster, (span, names) in places.items():
        yield _place(cluster, span, names)


@dataclass(frozen=True, slots=True)
class _Span:
    begin: datetime
    until: datetime

    def is_on(self, moment: datetime) -> bool:
        """Whether it lasts then, `moment` not being before it. Its end is not in it, but what lasts no time has one."""
        return moment < self.until or moment == self.begin


def _place(cluster: str, span: _Span, schedules: set[str]) -> Contended:
    return Contended(cluster_name=cluster, begin=span.begin, until=span.until, schedules=tuple(sorted(schedules)))


def _action_of(schedule: Schedule) -> str:
    for name, operation in (("command", "run"), ("script", "script"), ("binary", "binary")):
        if getattr(schedule, name) is not None:
            return f"command_task:{operation}"
    return str(schedule.task.get("action", ""))


def _cluster_of(schedule: Schedule) -> str:
    return str(schedule.task.get("cluster_name", ""))
