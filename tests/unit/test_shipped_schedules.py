"""The files in `configs/tasks/` are good, and what the page about files shows is so."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from taskerman.adapters.runners import InstalledRunners
from taskerman.adapters.schedules import DeclaredFiles, Folder
from taskerman.adapters.schedules.composing import Plain, compose
from taskerman.adapters.schedules.one_file import NOT_DEFAULTS, read_file
from taskerman.adapters.schedules.scripts import read_script
from taskerman.cli.schemas import schema_of
from taskerman.control import validate
from taskerman.model.schedule import COMPUTED, Schedule
from taskerman.model.task import TaskDocument
from taskerman.policy.firing import next_nominal
from tests.support.fleet import Fleet
from tests.unit.test_readme import blocks

ROOT = Path(__file__).parents[2]
TASKS = ROOT / "configs" / "tasks"
PAGE = ROOT / "docs" / "reference" / "schedule-files.md"


def test_every_file_that_is_shipped_is_good() -> None:
    """Every action is installed here and takes its arguments; what stands for commands, scripts and binaries, too."""
    desk = replace(Fleet().desk, catalog=InstalledRunners())
    looked = validate(desk, DeclaredFiles(Folder(TASKS)))
    assert looked.faults == ()
    assert looked.schedules >= 9
    actions = {declaration.schedule.task.get("action") for declaration in DeclaredFiles(Folder(TASKS)).read()}
    assert {"redis_task:restart", "instance_task:reboot", "demo_task:restart"} <= actions
    stood_for = {declaration.schedule.action for declaration in DeclaredFiles(Folder(TASKS)).read()}
    assert {"command_task:run", "command_task:script", "command_task:binary"} <= stood_for
    assert actions - {None} <= set(InstalledRunners().names()), "an action that nobody has"


@pytest.mark.parametrize("file", sorted(TASKS.glob("*.yaml")), ids=lambda file: file.name)
def test_a_file_that_is_shipped_names_its_schema_for_editors(file: Path) -> None:
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", file.read_text(encoding="utf-8"))
    assert found is not None
    assert (file.parent / found[1]).resolve() == ROOT / "configs" / "schedule.schema.json"


# --- the schema --------------------------------------------------------------------------------------------


def test_the_schema_of_schedules_is_current() -> None:
    kept = (ROOT / "configs" / "schedule.schema.json").read_text(encoding="utf-8")
    assert kept == json.dumps(schema_of("schedule"), indent=2) + "\n", "make it anew: make docs"


def test_the_schema_knows_every_field_and_no_other() -> None:
    defs = schema_of("schedule")["$defs"]
    assert set(defs["Schedule"]["properties"]) == set(Schedule.model_fields)
    assert set(defs["Defaults"]["properties"]) == set(Schedule.model_fields) - set(NOT_DEFAULTS)
    assert set(defs["TaskTemplate"]["properties"]) == set(TaskDocument.model_fields) - set(COMPUTED)


def test_every_reference_in_the_schema_leads_somewhere() -> None:
    schema = schema_of("schedule")
    assert set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema))) == set(schema["$defs"])


# --- the page ----------------------------------------------------------------------------------------------


def test_the_file_on_the_page_is_good() -> None:
    (text,) = blocks(PAGE, "yaml")
    found = read_file(text.encode())
    assert found.faults == ()
    assert [entry.schedule.name for entry in found.entries] == ["sessions-restart", "sessions-report"]
    assert all(entry.schedule.task["owner"] == "storage" for entry in found.entries)


def test_the_script_on_the_page_carries_a_schedule() -> None:
    (text,) = blocks(PAGE, "sh")
    found = read_script(text.encode(), "/opt/trim-logs.sh")
    assert found.faults == ()
    assert [entry.schedule.command for entry in found.entries] == [("/opt/trim-logs.sh",)]


def test_the_page_has_every_field_with_its_default() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ?`?([^|`]*?)`? ?\|", page, re.MULTILINE))
    assert set(rows) == set(Schedule.model_fields)
    defaults = Schedule.model_validate_json('{"name": "x", "every": "5m", "task": {"action": "a:b"}}')
    shown = {name: value for name, value in json.loads(defaults.model_dump_json()).items() if value is not None}
    for name in ("timezone", "catch_up", "catch_up_horizon", "overlap"):
        assert rows[name] == shown[name]
    assert (rows["enabled"], rows["jitter"], rows["notify"]) == ("true", "0", "[]")


def test_the_firings_on_the_page_are_those_that_come() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\{(?:cron|every)[^`]*)` \| (\S+Z) \|", page, re.MULTILINE)
    assert len(rows) >= 7
    for declared, shown in rows:
        node = compose(declared)
        assert node is not None
        value = Plain(lambda way, line, reason: None).value(node)
        assert isinstance(value, dict)
        text = json.dumps({"name": "x", "task": {"action": "a:b"}, **value})
        found = next_nominal(Schedule.model_validate_json(text), datetime(2026, 3, 28, 12, tzinfo=UTC))
        assert f"{found:%Y-%m-%dT%H:%M:%SZ}" == shown, declared
