"""ACTIONS: which there are, what each takes, how it is used, and whether a node is configured for one.

It asks the installed runners and the shipped schedules, and neither ZooKeeper nor a queue: an author has none of them,
and neither has a node before its agent is started.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import JsonValue, ValidationError

from taskerman.errors import TaskermanError, UsageError
from taskerman.model.action import ActionDescription, ActionShown, ConfigChecked, ListedAction
from taskerman.model.schedule import COMPUTED, Schedule, document_of, template_of
from taskerman.ports.catalog import Guide
from taskerman.ports.schedules import ScheduleFiles

__all__ = ["check_config", "list_actions", "show_action"]


def list_actions(guide: Guide) -> tuple[ListedAction, ...]:
    """Every installed action, sorted. One whose runner cannot be used is named with the reason, and hides no other."""
    return tuple(_listed(guide, name) for name in guide.names())


def show_action(guide: Guide, action: str, shipped: ScheduleFiles | None) -> ActionShown:
    """All that can be told of one. `shipped`: where its example is looked for. Raises `ActionUnknown`."""
    described = guide.describe(action)
    for place, schedule in _declared(shipped):
        if schedule.action == action:
            return _shown(described, schedule, place)
    made_up = _made_up(guide, described)
    return ActionShown(action=described, schedule=None) if made_up is None else _shown(described, made_up, "")


def check_config(guide: Guide, action: str, settings: Mapping[str, JsonValue], file: str) -> ConfigChecked:
    """Judge the part of a node's `settings` that is for the runner of `action`. `file`: where they are from.

    Raises `ActionUnknown`, `RunnerMisconfigured`, `UsageError` for what is no table.
    """
    runner = action.partition(":")[0]
    runners = settings.get("runners", {})
    mine = runners.get(runner, {}) if isinstance(runners, dict) else None
    if not isinstance(mine, dict):
        raise UsageError(
            f"{file}: runners.{runner} is not a table.", next_step=f"Write [runners.{runner}] and its keys below it."
        )
    return ConfigChecked(action=action, keys=tuple(sorted(mine)), checked=guide.check_config(action, mine))


def _shown(described: ActionDescription, schedule: Schedule, place: str) -> ActionShown:
    document = document_of(schedule, schedule.firing(datetime(2026, 1, 1, tzinfo=UTC)))
    task = {name: value for name, value in document.items() if name not in (*COMPUTED, "version")}
    definition = schedule.model_dump(mode="json", exclude_defaults=True)
    return ActionShown(action=described, schedule=definition, task=task, place=place)


def _listed(guide: Guide, name: str) -> ListedAction:
    try:
        return ListedAction(action=name, description=guide.describe(name).description)
    except TaskermanError as error:
        return ListedAction(action=name, problem=error.what)


def _declared(shipped: ScheduleFiles | None) -> list[tuple[str, Schedule]]:
    """By file and line. Examples that cannot be read are none."""
    if shipped is None:
        return []
    try:
        found = [(each.place, each.schedule) for each in shipped.look().declarations]
    except TaskermanError:
        return []
    return sorted(found, key=lambda each: (each[0].partition(":")[0], int(each[0].rpartition(":")[2] or 0)))


def _made_up(guide: Guide, described: ActionDescription) -> Schedule | None:
    """The least that is a schedule of it, judged as one. None: its own rules take no arguments that were made up."""
    runner, _, operation = described.action.partition(":")
    kind = runner.removesuffix("_task")
    args = {field.name: field.example for field in described.args or () if field.required and "." not in field.name}
    task: dict[str, JsonValue] = {"action": described.action, "cluster_name": f"{kind}:main", "owner": "storage"}
    if args:
        task["taskerman_params"] = {"action_args": args}
    definition: dict[str, JsonValue] = {
        "name": f"main-{kind}-{operation}".replace("_", "-")[:40].rstrip("-"),
        "cron": "0 3 * * tue",
        "timezone": "Europe/Berlin",
        "not_after": "6h",
        "task": task,
    }
    try:
        schedule = Schedule.model_validate_json(json.dumps(definition))
        template_of(schedule)
        guide.check_args(described.action, args)
    except (ValidationError, TaskermanError):
        return None
    return schedule
