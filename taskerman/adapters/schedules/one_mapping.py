"""One mapping out of a text, YAML or JSON: a single schedule that a person hands to a verb as a file.

Its YAML is read as that of files of schedules is, so that what was tried by hand can be moved into one.
"""

from __future__ import annotations

from pydantic import JsonValue

from taskerman.adapters.schedules.composing import MappingNode, Plain, Unreadable, Way, compose
from taskerman.errors import DocumentNotJson, SchedulesInvalid
from taskerman.model.base import parse_json_object

__all__ = ["read_mapping"]

_MOST_BYTES = 256 * 1024
"""Four times what a document may have."""


def read_mapping(raw: bytes, place: str) -> dict[str, JsonValue]:
    """The mapping that `raw` holds. `place`: where it is from, for people.

    Raises `SchedulesInvalid`, which says by its lines what is wrong.
    """
    if len(raw) > _MOST_BYTES:
        raise _wrong(f"{place}: it has {len(raw):,} bytes, more than one schedule may have ({_MOST_BYTES:,})")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _wrong(f"{place}:{line}: it is not UTF-8") from None
    if text.lstrip().startswith("{"):
        try:
            return parse_json_object(text)
        except DocumentNotJson:
            pass  # so begins a mapping of YAML too
    faults: list[str] = []

    def fault(way: Way, line: int, reason: str) -> None:
        faults.append(f"{place}:{line}: {'.'.join(str(part) for part in way)}: {reason}".replace(": : ", ": "))

    value: JsonValue = None
    try:
        root = compose(text)
        if not isinstance(root, MappingNode):
            raise Unreadable(1, "it is no mapping: write cron, task and the like, one a line")
        value = Plain(fault).value(root)
    except Unreadable as error:
        faults.append(f"{place}:{error.line}: {error.reason}")
    if faults:
        raise _wrong(*faults)
    assert isinstance(value, dict)
    return value


def _wrong(*faults: str) -> SchedulesInvalid:
    return SchedulesInvalid(faults, next_step="Correct it: one schedule, as YAML or JSON.")
