"""JSON Schemas of the documents that others read and write, made from the models that judge them."""

from __future__ import annotations

from typing import Any

from taskerman.agent.journal import Journal
from taskerman.model.assignment import Doorbell
from taskerman.model.attempt import Result
from taskerman.model.base import Noun
from taskerman.model.outcome import DeadLetter
from taskerman.model.task import TaskDocument

__all__ = ["schema_of"]

_MODELS: dict[str, type[Noun]] = {
    "task": TaskDocument,
    "doorbell": Doorbell,
    "dead-letter": DeadLetter,
    "journal": Journal,
    "result": Result,
}


def schema_of(document: str) -> dict[str, Any]:
    """The schema of `task`, `doorbell`, `dead-letter`, `journal` or `result`."""
    made: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    made |= _translated(_MODELS[document].model_json_schema())
    return made


def _translated(value: Any) -> Any:
    """Python's end of a text in a pattern is `\\z`, which the regular expressions of JSON Schema do not know."""
    if isinstance(value, dict):
        return {
            key: part.replace(r"\z", "$") if key == "pattern" and isinstance(part, str) else _translated(part)
            for key, part in value.items()
        }
    return [_translated(part) for part in value] if isinstance(value, list) else value
