"""How actions are shown, on a terminal and on the pages of the runners: the same words, with and without Markdown."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import JsonValue

from taskerman.bootstrap import schedule_text
from taskerman.cli.printing import Block, Table
from taskerman.model.action import ActionField, ActionShown, ConfigChecked, ListedAction
from taskerman.model.span import span_text
from taskerman.model.task import ActionTraits, TimeoutArgs

__all__ = ["behaviour", "checked", "default_of", "listed", "schedule_of", "shown", "submit_line", "type_of"]

_WHEN_LOST = {
    "verify": "asks the node whether it happened, and whether it is well",
    "retry": "acts again: it may be repeated",
    "never": "asks nobody, and leaves it to a person",
}


def listed(found: Sequence[ListedAction]) -> list[Block]:
    """One line each; a problem in the place of the description."""
    if not found:
        return ["No action is installed here."]
    rows = tuple((one.action, f"CANNOT BE USED: {one.problem}" if one.problem else one.description) for one in found)
    return [Table(("ACTION", "WHAT IT DOES"), tuple((name, " ".join(text.split())) for name, text in rows))]


def checked(value: ConfigChecked, file: str) -> list[Block]:
    """What was found good, and how much that says."""
    runner = value.action.partition(":")[0]
    if not value.checked:
        return [f"The runner of {value.action} does not say what a node must be configured with: nothing was judged."]
    if not value.keys:
        return [f"{file} says nothing of runners.{runner}; every key has its default, and that is good."]
    return [f"[runners.{runner}] of {file} is good: {', '.join(value.keys)}."]


def shown(value: ActionShown) -> list[Block]:
    """Everything of one action."""
    action = value.action
    blocks: list[Block] = [f"{action.action}: {action.description}", ""]
    blocks += [*action.introduction.splitlines(), ""] if action.introduction else []
    if action.about:
        blocks += [f"{action.action.partition(':')[2]}:", *action.about.splitlines(), ""]
    blocks += [f"{name}: {text}" for name, text in behaviour(value)]
    blocks += ["", "Arguments (action_args):", *_fields(action.args, "It takes none.")]
    blocks += ["", f"The node's configuration ([runners.{action.action.partition(':')[0]}]):"]
    blocks += _fields(action.config, "The runner does not say what it must be; see the text above.")
    if value.schedule is None:
        return [*blocks, "", "No example can be made up; its arguments are described above."]
    where = f" ({value.place})" if value.place else ""
    blocks += ["", f"An example{where}:", "", *schedule_of(value).splitlines(), "", submit_line(value.task)]
    return blocks


def behaviour(value: ActionShown) -> list[tuple[str, str]]:
    """How the engine treats it: a name, and what is so."""
    action, traits = value.action, value.action.traits
    said = [("when lost", f"{traits.when_lost}: {_WHEN_LOST[traits.when_lost]}")]
    said += [("reboots", "yes: it ends with the machine in another boot")] if traits.reboots else []
    said += [("times", _times(traits))]
    said += [("scope", f"{traits.scope}: each attempt takes a place in it where the task names none")] * bool(
        traits.scope
    )
    said += [("bracketed", "yes: something is made true before the first node, and undone after the last")] * (
        action.bracketed
    )
    return said


def schedule_of(value: ActionShown) -> str:
    """The example as a file of schedules has it."""
    assert value.schedule is not None
    return schedule_text(value.schedule).rstrip()


def submit_line(task: Mapping[str, JsonValue]) -> str:
    """The same task once, now, typed. What options cannot say (time limits, windows) is left out."""
    params: Any = task.get("taskerman_params", {})
    lease = params.get("lease_args", {})
    words = ["taskerman", "submit"]
    for option, value in (
        ("--action", task["action"]),
        ("--cluster", task["cluster_name"]),
        ("--owner", task["owner"]),
        ("--limit", task.get("limit")),
        ("--concurrency", lease.get("concurrency")),
        ("--scope", lease.get("scope")),
        ("--priority", lease.get("priority")),
        ("--retries", params.get("workqueue_args", {}).get("retry_count")),
        ("--max-failures", params.get("failure_args", {}).get("max_failures")),
    ):
        words += [] if value is None else [option, str(value)]
    words += ["--exclusive"] if lease.get("exclusive") else []
    for name, value in params.get("action_args", {}).items():
        words += ["--arg", f"{name}={_typed(value)}"]
    return shlex.join(words)


def type_of(field: ActionField) -> str:
    """Kind, unit and bounds in a few words."""
    return ", ".join(filter(None, (field.kind, field.unit, field.bounds)))


def default_of(field: ActionField) -> str:
    """As JSON; empty for nothing."""
    if field.required:
        return "required"
    return "" if field.default is None else json.dumps(field.default, ensure_ascii=False)


def _typed(value: JsonValue) -> str:
    """As `--arg` reads it: a text that looks like JSON is quoted, any other one is itself."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)


def _times(traits: ActionTraits) -> str:
    always = TimeoutArgs()
    soft = always.soft_s if traits.soft_s is None else traits.soft_s
    settle = always.settle_s if traits.settle_s is None else traits.settle_s
    return f"asked to stop after {_span(soft)} (soft_s), well within {_span(settle)} after it (settle_s)"


def _span(seconds: int) -> str:
    return span_text(timedelta(seconds=seconds))


def _fields(fields: Sequence[ActionField] | None, none: str) -> list[Block]:
    if not fields:
        return [none if fields is None else "Nothing."]
    rows = tuple((field.name, type_of(field), default_of(field), field.about) for field in fields)
    return [Table(("NAME", "TYPE", "DEFAULT", "WHAT IT IS"), rows)]
