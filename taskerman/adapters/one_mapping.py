"""One mapping out of a text, YAML or JSON: what a person hands to a verb as a file.

Readers of YAML disagree about `22:00`, `no` and `010`, so scalars are read as JSON reads them, and everything else is
text. Refused are keys that stand twice, tags, anchors and aliases: of none of them a single definition has a need.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from pydantic import JsonValue
from yaml.constructor import ConstructorError
from yaml.error import MarkedYAMLError, YAMLError

from taskerman.errors import DocumentNotJson, SchedulesInvalid
from taskerman.model.base import parse_json_object

__all__ = ["read_mapping"]

_MOST_BYTES = 256 * 1024
"""Four times what a document may have."""


class _Careful(yaml.SafeLoader):
    """Reads texts, numbers, true, false, null, lists and mappings with texts as keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  the library's own way to say it

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Of the library, once for each value."""
        parser: Any = self  # whose methods the library's stubs do not all know
        event = parser.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ConstructorError(None, None, "anchors and aliases are not read here", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise ConstructorError(None, None, f"the tag {event.tag} is not read here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Of the library, once for each mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise ConstructorError(None, None, "a key is a text", key.start_mark)
            if key.value in seen:
                raise ConstructorError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_NUMBER = r"-?(?:0|[1-9][0-9]*)"
for _kind, _pattern, _first in (
    ("null", r"(?:~|null|)\Z", ["~", "n", ""]),
    ("bool", r"(?:true|false)\Z", ["t", "f"]),
    ("int", rf"{_NUMBER}\Z", list("-0123456789")),
    ("float", rf"{_NUMBER}(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z", list("-0123456789")),
):
    _Careful.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(_pattern), _first)


def read_mapping(raw: bytes, place: str) -> dict[str, JsonValue]:
    """The mapping that `raw` holds. `place`: where it is from, for people.

    Raises `SchedulesInvalid`, which says in which line it stops being one.
    """
    if len(raw) > _MOST_BYTES:
        raise _fault(place, f"it has {len(raw):,} bytes, more than one schedule may have ({_MOST_BYTES:,})")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _fault(f"{place}:{line}", "it is not UTF-8") from None
    if text.lstrip().startswith("{"):
        try:
            return parse_json_object(text)
        except DocumentNotJson:
            pass  # so begins a mapping of YAML too
    try:
        found = yaml.load(text, _Careful)  # noqa: S506  a safe one, which reads less
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise _fault(f"{place}:{line}", f"it is not read: {error.problem or error.context}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0]
        raise _fault(place, f"it is not read: {said}") from None
    if not isinstance(found, dict):
        raise _fault(place, "it is no mapping: write name, cron, task and the like, one a line")
    return found


def _fault(place: str, reason: str) -> SchedulesInvalid:
    return SchedulesInvalid((f"{place}: {reason}",), next_step="Correct it: one schedule, as YAML or JSON.")
