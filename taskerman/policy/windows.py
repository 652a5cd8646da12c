"""Whether a window is open, and when it opens next. Pure: the time is an argument.

Wall-clock reading throughout: an instant is in a window if the wall in the window's zone shows a time in it then. The
next opening is looked for only among instants at which the answer can change: where a window opens on the wall,
where the zone's offset jumps, where a blackout ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

from taskerman.model.ids import NodeId
from taskerman.model.window import DAYS, WeeklyWindow, WindowArgs

__all__ = ["CLOCK_TOLERANCE", "clock_objection", "next_opening", "objection", "open_at"]

CLOCK_TOLERANCE = timedelta(seconds=30)
"""How far a node's clock may be from ZooKeeper's. Beyond it nobody can say whether a window is open there."""

_DAY = timedelta(days=1)
_SEARCHED = 16
"""Days. A weekly window opens within 8, and within 15 when the clock skips it once."""


def open_at(window: WindowArgs, now: datetime) -> bool:
    """Whether an assignment may start at `now` (aware)."""
    return window.blackout_at(now) is None and _on_the_wall(window, now)


def next_opening(window: WindowArgs, now: datetime) -> datetime | None:
    """The first instant from `now` on at which it is open, in UTC; `now` itself if it is. None: never."""
    at = now.astimezone(UTC)
    while True:
        # Each turn leaves at least one blackout behind.
        while (blackout := window.blackout_at(at)) is not None:
            at = blackout.ends
        opening = _next_on_the_wall(window, at)
        if opening is None or window.blackout_at(opening) is None:
            return opening
        at = opening


def objection(window: WindowArgs, now: datetime) -> tuple[str, datetime | None] | None:
    """Why nothing may start at `now`, as one sentence, and when it may; None: it is open."""
    if open_at(window, now):
        return None
    opening = next_opening(window, now)
    blackout = window.blackout_at(now)
    if blackout is None:
        return f"Its window is shut; windows are read in {window.timezone}.", opening
    why = f": {blackout.why.rstrip('.')}" if blackout.why else ""
    return f"A blackout lasts until {blackout.ends:%Y-%m-%dT%H:%M:%SZ}{why}.", opening


def clock_objection(node: NodeId, off: timedelta | None) -> str | None:
    """Why the clock of `node` cannot be trusted with a window. `off`: how far it is ahead of ZooKeeper's, as measured
    when the node joined the line; None: it was not."""
    if off is None or abs(off) <= CLOCK_TOLERANCE:
        return None
    direction = "ahead of" if off > timedelta() else "behind"
    return (
        f"The clock of {node} is {abs(off).total_seconds():.0f} s {direction} ZooKeeper's: it cannot tell whether its "
        "window is open."
    )


def _on_the_wall(window: WindowArgs, now: datetime) -> bool:
    if not window.windows:
        return True
    wall = now.astimezone(window.zone)
    today, shown = wall.weekday(), wall.time()
    return any(_shows(weekly, today, shown) for weekly in window.windows)


def _shows(weekly: WeeklyWindow, today: int, shown: time) -> bool:
    closing = weekly.closing
    on_its_day = DAYS[today] in weekly.days and shown >= weekly.opening
    if not weekly.over_midnight:
        return on_its_day and (closing is None or shown < closing)
    assert closing is not None
    return on_its_day or (DAYS[today - 1] in weekly.days and shown < closing)


def _next_on_the_wall(window: WindowArgs, at: datetime) -> datetime | None:
    """The same without blackouts."""
    if _on_the_wall(window, at):
        return at
    day = at
    for _ in range(_SEARCHED):
        found = [instant for instant in _changes(window, day) if instant > at and _on_the_wall(window, instant)]
        if found:
            return min(found)
        day += _DAY
    return None


def _changes(window: WindowArgs, day: datetime) -> Iterator[datetime]:
    """Every instant of the 24 hours from `day` on at which it may open, and some more around them."""
    zone = window.zone
    today = day.astimezone(zone).date()  # dates are counted on the wall: 24 hours may leave one out
    for date in (today + k * _DAY for k in (-1, 0, 1, 2)):
        for wall in {weekly.opening for weekly in window.windows}:
            for fold in (0, 1):  # a time that is shown twice
                yield datetime.combine(date, wall.replace(fold=fold), zone).astimezone(UTC)
    yield from _jumps(window, day - _DAY, day + 2 * _DAY)


def _jumps(window: WindowArgs, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Where the zone's offset changes: the first instant after each change, to the second."""
    zone = window.zone
    while begin < end:
        # No zone changes twice in a day.
        if begin.astimezone(zone).utcoffset() != (begin + _DAY).astimezone(zone).utcoffset():
            yield _jump(window, begin, begin + _DAY)
        begin += _DAY


def _jump(window: WindowArgs, before: datetime, after: datetime) -> datetime:
    zone, old = window.zone, before.astimezone(window.zone).utcoffset()
    low, high = int(before.timestamp()), int(after.timestamp()) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == old:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)
