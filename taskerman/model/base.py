"""The base of all nouns, and reading and writing them as JSON."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer

from taskerman.errors import DocumentNotJson

__all__ = ["Noun", "Timestamp", "canonical_json", "content_hash", "parse_json_object"]


class Noun(BaseModel):
    """A frozen value: strict types, unknown fields refused, no runtime state."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def to_json(self) -> bytes:
        """As compact JSON, for a znode, a queue or a file."""
        return self.model_dump_json().encode()


def _aware_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs a zone: write 2026-01-31T12:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time outside of the years 1 to 9999") from None


Timestamp = Annotated[
    datetime,
    AfterValidator(_aware_utc),
    PlainSerializer(lambda t: t.astimezone(UTC).isoformat().replace("+00:00", "Z"), return_type=str, when_used="json"),
]
"""An aware time, kept in UTC; RFC 3339 with a zone on the wire."""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise DocumentNotJson(
                f"The key {key!r} stands twice in one object.",
                next_step="Keep one of them: readers of JSON disagree about which one counts.",
            )
        seen[key] = value
    return seen


def _no_constant(name: str) -> Any:
    raise DocumentNotJson(f"{name} is not JSON.", next_step="Write a number, a string or null.")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise DocumentNotJson(f"The number {digits[:20]} is too large.", next_step="Write it as a string.")
    return value


def parse_json_object(text: str) -> dict[str, Any]:
    """The one JSON object in `text`, or `DocumentNotJson` saying where it stops being one.

    Stricter than `json.loads`: duplicate keys, NaN and Infinity are refused, because readers disagree about them, and
    numbers that would become Infinity, because they cannot be written again.
    """
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise DocumentNotJson(
            f"The document is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            next_step="Check it with `python -m json.tool`.",
        ) from None
    except ValueError:  # of `int`, which refuses thousands of digits
        raise DocumentNotJson("The document has an integer of thousands of digits.", next_step="Shorten it.") from None
    except RecursionError:
        raise DocumentNotJson("The document is nested too deeply.", next_step="Flatten it.") from None
    if not isinstance(value, dict):
        raise DocumentNotJson(
            f"The document is a JSON {type(value).__name__}, not an object.", next_step="Wrap it in { }."
        )
    return value


def canonical_json(value: Any) -> bytes:
    """Sorted keys, no spaces, UTF-8: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def content_hash(value: Any) -> str:
    """`sha256:` and the hex digest of the canonical JSON of `value`, as received and before any default."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()
