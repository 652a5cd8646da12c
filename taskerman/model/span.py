"""A span of time as people write it: `90s`, `30m`, `2h`, `1d12h`. One reading, for documents, files and options."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

__all__ = ["Span", "parse_span", "span_text"]

_SPAN = r"(?=[0-9])(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?"


def parse_span(text: str) -> timedelta:
    """What `text` says: more than nothing. Raises `ValueError`; one that is far too long is `timedelta.max`."""
    found = re.fullmatch(_SPAN, text.strip())
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
    if not any((days, hours, minutes, seconds)):
        raise ValueError(f"{text[:40]!r} is not a time span")
    try:
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        return timedelta.max


def span_text(span: timedelta) -> str:
    """The same the other way round, in whole seconds: `1d12h`; `0s` for none."""
    left = int(span.total_seconds())
    said = ""
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        said += f"{count}{letter}" if count else ""
    return said or "0s"


def _read(value: Any) -> Any:
    """Also whole seconds as a number, and `0`: a file says `jitter: 0`."""
    if isinstance(value, bool):
        raise ValueError("it should be a time span: 90s, 30m, 2h or 1d12h")
    if isinstance(value, int) and value >= 0:
        try:
            return timedelta(seconds=value)
        except OverflowError:
            return timedelta.max
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("it should be a time span: 90s, 30m, 2h or 1d12h")
    try:
        return parse_span(value) if value.strip() not in ("0", "0s") else timedelta()
    except ValueError as error:
        raise ValueError(f"{error}: write 90s, 30m, 2h or 1d12h") from None


Span = Annotated[
    timedelta,
    BeforeValidator(_read),
    PlainSerializer(span_text, return_type=str, when_used="json"),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": rf"^(0|{_SPAN})$", "examples": ["10m"]}, {"type": "integer"}]}
    ),
]
"""In a file a text such as `1d12h`, or whole seconds."""
