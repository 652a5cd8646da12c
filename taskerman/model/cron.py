"""A cron expression: five fields, or `@daily` and friends. What it means is cronsim's: see `policy.firing`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, StringConstraints

__all__ = ["NAMED", "CronExpression", "fields_of"]

NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def fields_of(text: str) -> str:
    """The five fields that `text` stands for."""
    return NAMED.get(text.strip().lower(), text.strip())


def _check(text: str) -> str:
    fields = fields_of(text).split()
    if text.strip().startswith("@") and len(fields) != 5:
        raise ValueError(f"{text[:40]!r} is none of {', '.join(NAMED)}")
    if len(fields) != 5:
        raise ValueError(
            f"{text[:40]!r} has {len(fields)} fields, not 5: minute, hour, day of the month, month, day of the week"
        )
    try:
        found = next(CronSim(" ".join(fields), datetime(2026, 1, 1, tzinfo=UTC)), None)
    except (CronSimError, ValueError) as error:
        said = str(error) or "it cannot be read"
        raise ValueError(f"{text[:40]!r} is no cron expression: {said[:1].lower()}{said[1:]}") from None
    if found is None:
        raise ValueError(f"{text[:40]!r} names a day that never comes")
    return text


CronExpression = Annotated[str, StringConstraints(max_length=200), AfterValidator(_check)]
"""One that fires: a day that never comes is refused."""
