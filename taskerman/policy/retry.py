"""When to try again: minutes, through the line; never the seconds at the edge, which are the adapters'."""

from __future__ import annotations

from datetime import timedelta

__all__ = ["BACKOFF", "DEFERRAL", "backoff", "deferral"]

BACKOFF = timedelta(seconds=30)
BACKOFF_MOST = timedelta(minutes=15)
DEFERRAL = timedelta(seconds=30)


def backoff(attempts: int, dice: float, *, base: timedelta = BACKOFF, most: timedelta = BACKOFF_MOST) -> timedelta:
    """How long to wait after the `attempts`-th failed attempt (from 1): full jitter over base x 2^(attempts-1).

    `dice` is uniform in [0, 1). Full jitter spreads a crowd best: Brooker, "Exponential Backoff And Jitter", 2015.
    """
    if attempts < 1:
        raise ValueError(f"attempts is counted from 1, not {attempts}")
    doublings: int = 2 ** min(attempts - 1, 30)
    ceiling = min(most, base * doublings)
    return ceiling * dice


def deferral(dice: float, *, base: timedelta = DEFERRAL) -> timedelta:
    """How long a deferred assignment waits when its check did not say until when: between half and all of `base`."""
    return base * (0.5 + dice / 2)
