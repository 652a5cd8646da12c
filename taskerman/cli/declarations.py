"""A schedule's definition out of options, or out of a file that has one. It is judged elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from taskerman.cli.documents import Flags, template
from taskerman.errors import UsageError

__all__ = ["Said", "changed_definition", "definition_in_file", "new_definition"]

_OTHER_WAYS = {"cron": ("every",), "every": ("cron", "timezone"), "command": ("script", "binary")}
"""What says the same thing in another way, and stands no more when the one is named."""


@dataclass(frozen=True, slots=True)
class Said:
    """What was told of a schedule by options; absent is what was not. `command`: a JSON list, as it was typed."""

    cron: str | None = None
    every: str | None = None
    timezone: str | None = None
    jitter: str | None = None
    catch_up: str | None = None
    catch_up_horizon: str | None = None
    overlap: str | None = None
    not_after: str | None = None
    stale_after: str | None = None
    description: str | None = None
    runbook: str | None = None
    notify: tuple[str, ...] | None = None
    enabled: bool | None = None
    command: str | None = None

    def fields(self) -> dict[str, Any]:
        """Of a definition, those that were named. Raises `UsageError` for a command that is no list of words."""
        found = {name: value for name, value in asdict(self).items() if value is not None}
        if self.notify is not None:
            found["notify"] = list(self.notify)
        if self.command is not None:
            found["command"] = _words(self.command)
        return found


def new_definition(name: str, said: Said, flags: Flags, *, by: str) -> dict[str, Any]:
    """One that did not exist. `by`: whose its tasks are by default. Raises `UsageError`."""
    task = {"owner": by.partition("@")[0], **template(_on_the_wall(flags, said.timezone))}
    return {"name": name, **_own(said, flags), "task": task}


def changed_definition(before: Mapping[str, Any], said: Said, flags: Flags) -> dict[str, Any]:
    """`before` with what was named, and nothing else, otherwise. Raises `UsageError` when nothing was named.

    A list that is named stands in the place of the former one; an argument of the action beside the others.
    """
    fields = _own(said, flags)
    named = template(_on_the_wall(flags, said.timezone or before.get("timezone")))
    if not fields and not named:
        raise UsageError(
            "Nothing is said that would change.", next_step="Name it, such as --cron '0 3 * * *', or give --file."
        )
    found = {**before, **fields}
    for name in fields:
        for other in _OTHER_WAYS.get(name, ()):
            if other not in fields:
                found.pop(other, None)
    task = {**before["task"], **named}
    params = {name: dict(group) for name, group in before["task"].get("taskerman_params", {}).items()}
    if "command" in fields and "action" not in named:
        task.pop("action", None)
        params.pop("action_args", None)
    if "action" in named and "command" not in fields:
        for way in ("command", "script", "binary"):
            found.pop(way, None)
    for name, group in named.get("taskerman_params", {}).items():
        params[name] = {**params.get(name, {}), **group}
    if params:
        task["taskerman_params"] = params
    else:
        task.pop("taskerman_params", None)
    return {**found, "task": task}


def definition_in_file(given: Mapping[str, Any], name: str, file: str) -> dict[str, Any]:
    """What the file has, as the schedule `name`. Raises `UsageError` when it is another one's."""
    if given.get("name", name) != name:
        raise UsageError(
            f"{file} has the schedule {given['name']!r:.80}, and not {name}.",
            next_step="Name the same in both, or leave it out of the file.",
        )
    return {**given, "name": name}


def _on_the_wall(flags: Flags, timezone: str | None) -> Flags:
    """Windows are read on the same wall as the schedule's own times."""
    return replace(flags, timezone=timezone if flags.windows else None)


def _own(said: Said, flags: Flags) -> dict[str, Any]:
    """Of the definition itself: beside `every`, which is counted in UTC, a zone is that of the windows alone."""
    fields = said.fields()
    if said.every is not None and flags.windows:
        fields.pop("timezone", None)
    return fields


def _words(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise UsageError(
            f"--command {text[:80]!r} is not a list of words.",
            next_step="""Write it as JSON, without a shell: --command '["df", "-h"]'.""",
        )
    return found
