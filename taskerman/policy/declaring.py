"""A declaration that is no file of many: one definition, given as options, as a file of its own, or kept in a database.

It is judged as those in files are: by the strict model, and by the document that it makes. Whether its action is
installed is asked elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue, ValidationError

from taskerman.errors import DocumentError, DocumentNotJson, SchedulesInvalid
from taskerman.model.base import parse_json_object
from taskerman.model.schedule import Schedule, template_of

__all__ = ["definition_of", "schedule_of"]

_NAME = "letters, digits, _ and -, at most 40, a letter or a digit first"
_PLAINLY = {
    "Value error, ": "",
    "Input should be": "it should be",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid dictionary": "a mapping",
    "an object": "a mapping",
    "a valid array": "a list",
    "a valid tuple": "a list",
    "Tuple should": "it should",
    "List should": "it should",
    "String should": "it should",
    " after validation": "",
}


def definition_of(schedule: Schedule) -> dict[str, JsonValue]:
    """As it would be declared: what is the default anyway is not said. Equal schedules have equal definitions."""
    found: dict[str, JsonValue] = schedule.model_dump(mode="json", exclude_defaults=True)
    return found


def schedule_of(definition: Mapping[str, Any] | str, place: str) -> Schedule:
    """The schedule that `definition` is: a mapping of JSON's values, or one written as JSON.

    Raises `SchedulesInvalid`, each fault with `place` before it and the field that it is in.
    """
    try:
        given = parse_json_object(definition) if isinstance(definition, str) else definition
        schedule = Schedule.model_validate_json(json.dumps(given))
        template_of(schedule)
    except ValidationError as error:
        lines = (_line(problem) for problem in error.errors(include_url=False, include_context=False))
        faults = tuple(dict.fromkeys(f"{place}: {line}" for line in lines))
    except DocumentNotJson as error:
        faults = (f"{place}: {_bare(error)}",)
    except DocumentError as error:
        faults = (f"{place}: task: {_bare(error)}",)
    else:
        return schedule
    raise SchedulesInvalid(faults, next_step="Correct it: `taskerman schedules add --help` names every field.")


def _line(problem: Any) -> str:
    """`field: reason`."""
    kind, way = problem["type"], [str(part) for part in problem["loc"]]
    said = str(problem["msg"])
    for theirs, ours in _PLAINLY.items():
        said = said.replace(theirs, ours)
    if kind == "extra_forbidden":
        said = "unknown field"
    elif kind == "missing":
        said = "required, and missing"
    elif kind == "string_pattern_mismatch" and way == ["name"]:
        said = f"{problem['input']!r:.80} is not a name: {_NAME}"
    return ": ".join([".".join(way), said]) if way else said


def _bare(error: DocumentError) -> str:
    return error.what.removeprefix("The document cannot be accepted: ").rstrip(".")
