"""What is wrong with a field of a schedule, in words for whoever writes files; the library's own are for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["plainly", "reason_of"]

_PATTERNS = {
    "name": "a name: letters, digits, _ and -, at most 40, a letter or a digit first",
    "url": "the address of an object: s3://bucket/key",
    "sha256": "64 hexadecimal digits in small letters",
}

_WORDS = {
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid dictionary": "a mapping",
    "an object": "a mapping",
    "a valid array": "a list",
    "a valid integer": "a whole number",
}


def reason_of(problem: ErrorDetails) -> str:
    """One sentence without its end."""
    kind, way = problem["type"], problem["loc"]
    if kind == "extra_forbidden":
        return "unknown field"
    if kind == "missing":
        return "required, and missing"
    if kind == "string_pattern_mismatch" and way and way[-1] in _PATTERNS:
        return f"{problem['input']!r:.80} is not {_PATTERNS[str(way[-1])]}"
    said = problem["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    said = plainly(said)
    return said[:1].lower() + said[1:] if said.startswith(("String ", "List ", "Tuple ")) else said


def plainly(reason: str) -> str:
    """The same without the library's names for kinds of values."""
    for theirs, ours in _WORDS.items():
        reason = reason.replace(theirs, ours)
    return reason
