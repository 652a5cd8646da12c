"""Windows: the times in which an assignment may *start*. What runs is never cut.

Read as on a wall clock: a window is open whenever the clock on the wall in its time zone shows a time in it. So an hour
that is skipped in spring does not open, and one that is shown twice in autumn opens twice. It says when, and nothing
of what the time is now: that is asked in `policy.windows`.
"""

from __future__ import annotations

import re
from datetime import datetime, time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from taskerman.model.base import Noun, Timestamp

__all__ = ["DAYS", "Blackout", "Day", "WeeklyWindow", "WindowArgs"]

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_ZONE = re.compile(r"UTC|[A-Z][A-Za-z_]*(/[A-Za-z0-9_+-]+){1,2}")
"""An area and a place. Names such as `localtime` or `posixrules` mean another zone on each machine."""

_LAST_YEAR = 9000
"""Beyond it local times cannot be computed any more."""


def _known_zone(name: str) -> str:
    if not _ZONE.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is not a zone such as Europe/Berlin or UTC")
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"{name[:40]!r} is not in the IANA time zone database") from None
    return name


ZoneName = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_zone)]
WallTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\z")]
"""`HH:MM`, on the wall of the window's zone."""
ClosingTime = Annotated[str, StringConstraints(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\z")]
"""The same, and `24:00` for the end of the day."""


class WeeklyWindow(Noun):
    """Open on each of `days` from `opens` until before `closes`.

    Over midnight when `closes` is not after `opens`: it belongs to the day on which it opens.
    """

    days: tuple[Day, ...] = Field(default=DAYS, min_length=1, max_length=7)
    opens: WallTime
    closes: ClosingTime

    @model_validator(mode="after")
    def _has_a_length(self) -> WeeklyWindow:
        if len(set(self.days)) != len(self.days):
            raise ValueError("days names a day twice")
        if self.opens == self.closes:
            raise ValueError(f"opens and closes are both {self.opens}; the whole day is 00:00 to 24:00")
        return self

    @property
    def opening(self) -> time:
        """When it opens."""
        return time.fromisoformat(self.opens)

    @property
    def closing(self) -> time | None:
        """When it closes; None: at the end of the day."""
        return None if self.closes == "24:00" else time.fromisoformat(self.closes)

    @property
    def over_midnight(self) -> bool:
        """Whether it closes on the day after the one on which it opens."""
        return self.closing is not None and self.closing < self.opening


class Blackout(Noun):
    """Shut from `begins` until before `ends`, whatever the windows say. Absolute times, with their zone."""

    begins: Timestamp
    ends: Timestamp
    why: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _has_a_length(self) -> Blackout:
        if self.ends <= self.begins:
            raise ValueError("a blackout ends after it begins")
        if self.ends.year >= _LAST_YEAR:
            raise ValueError(f"a blackout ends before the year {_LAST_YEAR}; to stop everything there are holds")
        return self


class WindowArgs(Noun):
    """When an assignment may start. No window: at any time, outside of the blackouts."""

    timezone: ZoneName = "UTC"
    windows: tuple[WeeklyWindow, ...] = Field(default=(), max_length=50)
    blackouts: tuple[Blackout, ...] = Field(default=(), max_length=100)

    @property
    def always(self) -> bool:
        """Whether it forbids nothing."""
        return not self.windows and not self.blackouts

    @property
    def zone(self) -> ZoneInfo:
        """The zone on whose wall the times are read."""
        return ZoneInfo(self.timezone)

    def blackout_at(self, now: datetime) -> Blackout | None:
        """The blackout in which `now` is, the one that ends last."""
        inside = [blackout for blackout in self.blackouts if blackout.begins <= now < blackout.ends]
        return max(inside, key=lambda blackout: blackout.ends, default=None)
