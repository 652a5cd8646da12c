"""The text of a document that a firing makes: the same for the same arguments, so that it may be sent twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from taskerman.model.schedule import Firing, Schedule, document_of
from taskerman.model.task import parse_task_document
from taskerman.policy.emission import BodyOf

__all__ = ["writer"]

Sign = Callable[[Mapping[str, Any]], dict[str, Any]]


def writer(sign: Sign | None = None) -> BodyOf:
    """What writes documents; each is judged as a router will judge it. `sign`: adds the scheduler's signature."""

    def write(schedule: Schedule, firing: Firing) -> str:
        document = document_of(schedule, firing)
        body = json.dumps(document if sign is None else sign(document), separators=(",", ":"))
        parse_task_document(body)
        return body

    return write
