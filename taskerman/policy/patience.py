"""Patience: how long a node lets others go first who do not go.

The line is courtesy: a node that hangs with a living session stands in it for ever, and must stop nobody. So whoever
would be admitted but for others ahead of it may try after a while, a while for each of them, if nothing happened in
its scopes meanwhile. What is safe is decided by the taking transaction, as always.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from taskerman.policy.admission import admit, others_ahead
from taskerman.policy.snapshot import Snapshot, Waiting

__all__ = ["A_PLACE", "Still", "be_patient"]

A_PLACE = timedelta(seconds=30)
"""For each that stands ahead."""


@dataclass(frozen=True, slots=True)
class Still:
    """That there was room, and nothing happened, since `since` (monotonic seconds). `over_at`: when it may try."""

    versions: tuple[tuple[str, int, int], ...]
    since: float
    over_at: float


def be_patient(
    still: Still | None,
    snapshot: Snapshot,
    versions: tuple[tuple[str, int, int], ...],
    now: datetime,
    at: float,
    *,
    drains: bool,
    a_place: timedelta,
) -> Still | None:
    """What is to be remembered of this look; None: it is not others that keep it. At `over_at` it may pass them.

    `still`: of the look before. `versions`: (name, version, children's version) of each of its scopes. `at`: monotonic
    seconds. `drains`: one of those ahead rightly waits for its clusters to drain: that one is not passed.
    """
    if drains or isinstance(admit(snapshot, now, courtesy=False), Waiting):
        return None
    since = still.since if still is not None and still.versions == versions else at
    return Still(versions, since, since + others_ahead(snapshot) * a_place.total_seconds())
