"""JSON Schemas of the documents that others read and write, made from the models that judge them.

That of a file of schedules is put together here: its defaults are a schedule of which nothing is required, and a
schedule's `task` is a task document without what a firing fills in.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from taskerman.agent.journal import Journal
from taskerman.model.assignment import Doorbell
from taskerman.model.attempt import Result
from taskerman.model.base import Noun
from taskerman.model.outcome import DeadLetter
from taskerman.model.schedule import COMPUTED, Schedule
from taskerman.model.task import TaskDocument

__all__ = ["schema_of"]

_MODELS: dict[str, type[Noun]] = {
    "task": TaskDocument,
    "doorbell": Doorbell,
    "dead-letter": DeadLetter,
    "journal": Journal,
    "result": Result,
}

_NOT_DEFAULTS = ("name", "cron", "every", "command", "script", "binary")


def schema_of(document: str) -> dict[str, Any]:
    """The schema of `task`, `doorbell`, `dead-letter`, `journal` or `result`; of `schedule`: that of a whole file."""
    made: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    made |= _translated(_schedule_file() if document == "schedule" else _MODELS[document].model_json_schema())
    return made


def _schedule_file() -> dict[str, Any]:
    """Of a file in `configs/tasks/`, for editors. What depends on several fields is judged by `taskerman validate`."""
    defs: dict[str, Any] = models_json_schema([(Schedule, "validation"), (TaskDocument, "validation")])[1]["$defs"]
    schedule, task = defs["Schedule"], defs.pop("TaskDocument")
    for name in COMPUTED:
        del task["properties"][name]
    defs.pop("Signature")
    del task["required"]
    defs["TaskTemplate"] = task | {
        "title": "TaskTemplate",
        "description": "A task document without what each firing fills in: its id, its times, its signature.",
    }
    schedule["properties"]["task"] = {"$ref": "#/$defs/TaskTemplate"}
    schedule["required"] = ["name"]  # `task` may be all defaults
    schedule["oneOf"] = [{"required": ["cron"]}, {"required": ["every"]}]
    defs["Defaults"] = {
        "title": "Defaults",
        "description": "What each schedule of this file has where it says nothing itself; `task` key by key.",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: field for name, field in schedule["properties"].items() if name not in _NOT_DEFAULTS},
    }
    return {
        "title": "ScheduleFile",
        "description": "A file of schedules: what happens again and again, and when.",
        "type": "object",
        "additionalProperties": False,
        "required": ["schedules"],
        "properties": {
            "defaults": {"$ref": "#/$defs/Defaults"},
            "schedules": {"type": "array", "title": "Schedules", "items": {"$ref": "#/$defs/Schedule"}},
        },
        "$defs": dict(sorted(defs.items())),
    }


def _translated(value: Any) -> Any:
    """Python's end of a text in a pattern is `\\z`, which the regular expressions of JSON Schema do not know."""
    if isinstance(value, dict):
        return {
            key: part.replace(r"\z", "$") if key == "pattern" and isinstance(part, str) else _translated(part)
            for key, part in value.items()
        }
    return [_translated(part) for part in value] if isinstance(value, list) else value
