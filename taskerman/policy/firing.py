"""When a schedule fires, and what becomes of firings that were not looked at in time. Pure: the time is an argument.

Cron expressions are read by cronsim, in the way of Debian's cron (cron(8), "Daylight saving time and other time
changes"): a job at a fixed time that the clock skips runs right after the jump, and one whose time comes twice runs at
the first of the two; a job with a `*` as its minute or hour goes by what the wall shows, so it runs in both of the two
hours and not at all in one that is skipped. What is added here: the set of instants depends on the expression and the
zone alone, never on where one begins to look; and each instant is one firing, also when several times of the
expression were moved to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

from taskerman.model.cron import fields_of
from taskerman.model.schedule import CatchUp, Firing, Schedule

__all__ = ["HARDLY_LATE", "Due", "decide", "firings", "next_nominal", "stale_since"]

HARDLY_LATE = timedelta(minutes=5)
"""A restart, a failover: a firing is on time with it, whatever `catch_up` says."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NEAR = timedelta(hours=3)
_MOST_COUNTED = 1000
"""More missed firings than this are not counted one by one."""
_MOST_AT_ONCE = 25
"""Of one schedule in one decision; the next decision goes on."""


def next_nominal(schedule: Schedule, after: datetime) -> datetime | None:
    """The first nominal time later than `after` (aware), in UTC. None: never again. Jitter is not in it."""
    if schedule.every is not None:
        count = (after - _EPOCH) // schedule.every + 1
        try:
            return _EPOCH + count * schedule.every
        except OverflowError:
            return None
    assert schedule.cron is not None
    zone = _zone(schedule.timezone)
    begin = _calm(after.astimezone(UTC).replace(microsecond=0), zone)
    for found in CronSim(fields_of(schedule.cron), begin.astimezone(zone)):
        nominal = found.astimezone(UTC)
        if nominal > after:
            return nominal
    return None


def firings(schedule: Schedule, after: datetime, until: datetime) -> Iterator[Firing]:
    """Every firing that is due later than `after`, and not later than `until`, in order; enabled or not."""
    nominal = next_nominal(schedule, after - schedule.offset)
    while nominal is not None and nominal + schedule.offset <= until:
        yield schedule.firing(nominal)
        nominal = next_nominal(schedule, nominal)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now. `emit`: oldest first. `missed`: how many are not made up for, at least; the latest of
    them is `missed_last`. `through`: the nominal time up to which everything is decided then."""

    emit: tuple[Firing, ...]
    missed: int
    missed_last: datetime | None
    through: datetime


def decide(schedule: Schedule, through: datetime, now: datetime) -> Due | None:
    """What has become due after `through` (nominal), as `catch_up` says. None: nothing has.

    Nothing is emitted early. `all` emits a bounded number at once: decide again, from the new `through`. A firing
    whose `not_after` has passed is missed, whatever `catch_up` says.
    """
    if not schedule.enabled:
        return None
    latest_nominal = now - schedule.offset
    first = next_nominal(schedule, through)
    if first is None or first > latest_nominal:
        return None
    horizon = HARDLY_LATE if schedule.catch_up is CatchUp.NONE else max(schedule.catch_up_horizon, HARDLY_LATE)
    if schedule.not_after is not None:
        horizon = min(horizon, schedule.not_after - _SECOND)
    worthy_from = latest_nominal - horizon
    missed: list[datetime] = []
    if first < worthy_from:
        missed = list(islice(_nominals(schedule, through, worthy_from - timedelta(microseconds=1)), _MOST_COUNTED))
        missed.append(_last_before(schedule, missed[-1], worthy_from))
    worthy = _nominals(schedule, max(through, worthy_from - timedelta(microseconds=1)), latest_nominal)
    if schedule.catch_up is CatchUp.ALL:
        found = list(islice(worthy, _MOST_AT_ONCE))
    else:
        found = list(worthy)
        missed += found[:-1]
        found = found[-1:]
    decided = found[-1] if found else missed[-1]
    return Due(
        emit=tuple(schedule.firing(nominal) for nominal in found),
        missed=len(set(missed)),
        missed_last=max(missed, default=None),
        through=decided,
    )


def stale_since(schedule: Schedule, succeeded: datetime | None, since: datetime, now: datetime) -> datetime | None:
    """Since when a schedule has been without the success that it should have had; None: it is not stale.

    `succeeded`: the nominal time of the newest firing that succeeded. `since`: from when it has been followed, if none
    did. With `stale_after`: so long after that; else when the second firing in a row should have fired after it.
    """
    reference = succeeded or since
    if schedule.stale_after is not None:
        limit = reference + schedule.stale_after
        return limit if now > limit else None
    first = next_nominal(schedule, reference)
    second = None if first is None else next_nominal(schedule, first)
    third = None if second is None else next_nominal(schedule, second)
    # The second one has had the time until the third to succeed.
    if second is None or third is None or now <= third + schedule.offset:
        return None
    return second + schedule.offset


def _nominals(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    nominal = next_nominal(schedule, after)
    while nominal is not None and nominal <= until:
        yield nominal
        nominal = next_nominal(schedule, nominal)


def _last_before(schedule: Schedule, known: datetime, limit: datetime) -> datetime:
    """The last nominal time before `limit`, `known` being one of them. Steps back in growing strides to look from."""
    stride = timedelta(minutes=1)
    while limit - stride > known:
        last = None
        for nominal in _nominals(schedule, limit - stride, limit - timedelta(microseconds=1)):
            last = nominal
        if last is not None:
            return last
        stride *= 8
    last = known
    for nominal in _nominals(schedule, known, limit - timedelta(microseconds=1)):
        last = nominal
    return last


def _calm(begin: datetime, zone: ZoneInfo) -> datetime:
    """Where to begin to look so that the answer does not depend on it: `begin`, unless the zone's offset changes near
    it, when a wall clock does not say which of two hours is meant; then somewhat before that."""
    before, after = begin - _NEAR, begin + _NEAR
    if zone.utcoffset(before.astimezone(zone)) == zone.utcoffset(after.astimezone(zone)):
        return begin
    return before - _NEAR


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
