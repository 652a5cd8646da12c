"""When a schedule fires, and what becomes of firings that were not looked at in time. Pure: the time is an argument.

What an expression means on a wall is cronsim's; which instants those are, where clocks are changed, is said here, in
the way of Debian's cron (cron(8), "Daylight saving time and other time changes"): a job at a fixed time that the clock
skips runs right after the jump, and one whose time comes twice runs at the first of the two; a job with a `*` as its
minute or hour goes by what the wall shows, so it runs in both of the two hours and not at all in one that is skipped.
The set of instants depends on the expression and the zone alone, never on where one begins to look; and each instant
is one firing, also when several times of the expression were moved to it. cronsim is asked about walls without a zone
only: with one it loses what lies between a jump at midnight, or one of half an hour, and the next full hour.
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

__all__ = ["HARDLY_LATE", "Due", "Staleness", "decide", "firings", "next_nominal", "stale_since", "staleness"]

HARDLY_LATE = timedelta(minutes=5)
"""A restart, a failover: a firing is on time with it, whatever `catch_up` says."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_INSTANT = timedelta.resolution
_NEAR = timedelta(days=1)
"""No zone changes its offset twice in it, or by more; tests look at every zone."""
_MOST_COUNTED = 1000
"""More missed firings than this are not counted."""
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
    fields, zone = fields_of(schedule.cron), _zone(schedule.timezone)
    begin = after.astimezone(UTC).replace(microsecond=0)
    minute, hour = fields.split()[:2]
    if minute.startswith("*") or hour.startswith("*"):
        return _next_on_the_wall(fields, begin, zone)
    return _next_fixed(fields, begin, zone)


def firings(schedule: Schedule, after: datetime, until: datetime) -> Iterator[Firing]:
    """Every firing that is due later than `after`, and not later than `until`, in order; enabled or not."""
    nominal = next_nominal(schedule, after - schedule.offset)
    while nominal is not None and nominal + schedule.offset <= until:
        yield schedule.firing(nominal)
        nominal = next_nominal(schedule, nominal)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now. `emit`: oldest first. `missed`: how many are not made up for, 1,000 standing for more;
    the latest of them is `missed_last`. `through`: the nominal time up to which everything is decided then."""

    emit: tuple[Firing, ...]
    missed: int
    missed_last: datetime | None
    through: datetime


def decide(schedule: Schedule, through: datetime, now: datetime) -> Due | None:
    """What has become due after `through` (nominal), as `catch_up` says. None: nothing has.

    Nothing is emitted early. `all` emits a bounded number at once: decide again, from the new `through`. A firing
    whose `not_after` has passed is missed, whatever `catch_up` says. However long nobody looked, it costs a bounded
    number of looks at the expression.
    """
    if not schedule.enabled:
        return None
    latest = now - schedule.offset
    first = next_nominal(schedule, through)
    if first is None or first > latest:
        return None
    worthy_from = _worthy_from(schedule, latest)
    if schedule.catch_up is CatchUp.ALL:
        before = worthy_from - _INSTANT
        emit = tuple(islice(_nominals(schedule, max(through, before), latest), _MOST_AT_ONCE))
        missed, missed_last = _passed_over(schedule, through, before)
    else:
        newest = _last(schedule, first, latest)
        emit = (newest,) if newest >= worthy_from else ()
        missed, missed_last = _passed_over(schedule, through, newest - _INSTANT if emit else newest)
    decided = emit[-1] if emit else missed_last
    assert decided is not None, "the first one is worthy or missed"
    return Due(
        emit=tuple(schedule.firing(nominal) for nominal in emit),
        missed=missed,
        missed_last=missed_last,
        through=decided,
    )


@dataclass(frozen=True, slots=True)
class Staleness:
    """A schedule is stale after `at`, and has been without the success that it should have had since `since`."""

    at: datetime
    since: datetime


def staleness(schedule: Schedule, succeeded: datetime | None, since: datetime) -> Staleness | None:
    """When a schedule becomes stale unless it succeeds; None: never.

    `succeeded`: the nominal time of the newest firing that succeeded. `since`: from when it has been followed, if none
    did. With `stale_after`: so long after that, counted from when it was due; else when the second firing in a row was
    due after it, and has had the time until the third. One that is not enabled is never stale.
    """
    if not schedule.enabled:
        return None
    if schedule.stale_after is not None:
        limit = (since if succeeded is None else succeeded + schedule.offset) + schedule.stale_after
        return Staleness(limit, limit)
    first = next_nominal(schedule, succeeded or since)
    second = None if first is None else next_nominal(schedule, first)
    third = None if second is None else next_nominal(schedule, second)
    if second is None or third is None:
        return None
    return Staleness(third + schedule.offset, second + schedule.offset)


def stale_since(schedule: Schedule, succeeded: datetime | None, since: datetime, now: datetime) -> datetime | None:
    """Since when a schedule has been without the success that it should have had; None: it is not stale."""
    found = staleness(schedule, succeeded, since)
    return found.since if found is not None and now > found.at else None


def _nominals(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    nominal = next_nominal(schedule, after)
    while nominal is not None and nominal <= until:
        yield nominal
        nominal = next_nominal(schedule, nominal)


def _worthy_from(schedule: Schedule, latest: datetime) -> datetime:
    """The earliest nominal time that is still made up for, `latest` being the one that is due this instant."""
    horizon = HARDLY_LATE if schedule.catch_up is CatchUp.NONE else max(schedule.catch_up_horizon, HARDLY_LATE)
    if schedule.not_after is not None:
        horizon = min(horizon, schedule.not_after - _INSTANT)  # passed is passed, to the instant
    return latest - horizon


def _passed_over(schedule: Schedule, after: datetime, until: datetime) -> tuple[int, datetime | None]:
    """How many nominal times are later than `after` and not than `until`, counted up to a bound; the last of them."""
    counted = list(islice(_nominals(schedule, after, until), _MOST_COUNTED))
    if not counted:
        return 0, None
    return len(counted), _last(schedule, counted[-1], until) if len(counted) == _MOST_COUNTED else counted[-1]


def _last(schedule: Schedule, known: datetime, until: datetime) -> datetime:
    """The last nominal time not later than `until`, `known` being one. By halves: a year of seconds is 25 looks."""
    low, high = known, until
    while low < high:
        middle = low + (high - low) / 2
        found = next_nominal(schedule, middle)
        if found is not None and found <= until:
            known = low = found
        elif high - low <= _SECOND:
            found = next_nominal(schedule, low)
            return known if found is None or found > until else found
        else:
            high = middle
    return known


def _next_fixed(fields: str, after: datetime, zone: ZoneInfo) -> datetime | None:
    """Of a minute and an hour without a star: each time on the wall is one instant, and they keep their order."""
    for wall in CronSim(fields, _wall(after, zone)):
        instant = _instant(wall, zone)
        if _wall(instant, zone) != wall:  # skipped: right after the jump
            change = _change(zone, instant - _NEAR, instant)
            assert change is not None, "a wall skips nothing without a change"
            instant = change
        if instant > after:
            return instant
    return None


def _next_on_the_wall(fields: str, after: datetime, zone: ZoneInfo) -> datetime | None:
    """Of a minute or an hour with a star: whenever the wall shows it."""
    offset = _offset(after, zone)
    change = _change(zone, after, after + _NEAR)
    if change is not None:
        wall = next(CronSim(fields, _wall(after, zone)), None)
        if wall is not None and (wall - offset).replace(tzinfo=UTC) < change:
            return (wall - offset).replace(tzinfo=UTC)
        after, offset = change - _SECOND, _offset(change, zone)
    begin = after.replace(tzinfo=None) + offset
    for wall in CronSim(fields, begin):
        if wall - begin < _NEAR:  # also when the wall shows it for the second time
            return (wall - offset).replace(tzinfo=UTC)
        instant = _instant(wall, zone)
        if _wall(instant, zone) == wall:
            return instant
    return None


def _change(zone: ZoneInfo, begin: datetime, end: datetime) -> datetime | None:
    """When the zone's offset changes, later than `begin` and not later than `end`. They are near one another."""
    offset = _offset(begin, zone)
    if _offset(end, zone) == offset:
        return None
    while end - begin > _SECOND:
        middle = begin + (end - begin) // _SECOND // 2 * _SECOND
        if _offset(middle, zone) == offset:
            begin = middle
        else:
            end = middle
    return end


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    found = instant.astimezone(zone).utcoffset()
    assert found is not None
    return found


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    """What a clock on the wall shows then, which says nothing of its zone."""
    return instant.astimezone(zone).replace(tzinfo=None)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the wall shows it first; of what it never shows, a time after the jump."""
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
