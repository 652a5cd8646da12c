"""What holds for every runner that is installed here, whoever wrote it: a new one is judged by it the day it comes."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from taskerman import Refuse, TaskRunner, bootstrap
from taskerman.adapters.runners import InstalledRunners
from taskerman.control import show_action
from taskerman.model.action import ActionShown
from taskerman.model.task import TimeoutArgs
from taskerman.runner import load_runner
from taskerman.testing import RunnerHarness

ROOT = Path(__file__).parents[2]
ACTIONS = InstalledRunners().names()

NOT_SCHEDULED = {
    "fault_task:add_latency": "`packet_loss` is the example of harm to the network",
    "fault_task:kill_process": "`pause_process` is the example of harm to a process",
}
"""Actions that nobody would do again and again, or that differ from another one by a word; and why."""

LEAST_CONFIGURED: dict[str, dict[str, Any]] = {
    "cassandra_task": {"address": "10.0.0.7"},
    "kafka_task": {"node_id": 1, "bootstrap": ["10.0.0.8:9092", "10.0.0.9:9092"]},
}
"""Of runners whose page shows no configuration, the least that one needs."""


@cache
def shown(action: str) -> ActionShown:
    return show_action(bootstrap.guide(), action, bootstrap.shipped_schedules())


@cache
def runner_of(action: str) -> type[TaskRunner]:
    return load_runner(InstalledRunners().target(action))


def args_of(action: str) -> dict[str, Any]:
    """Those of its example: they are accepted, and none that is required is missing."""
    params: Any = shown(action).task.get("taskerman_params", {})
    found: dict[str, Any] = params.get("action_args", {})
    return found


def settings_of(action: str) -> dict[str, Any]:
    """As the introduction writes them, else the least."""
    runner = action.partition(":")[0]
    for text in re.findall(r"```toml\n(.*?)```", shown(action).action.introduction, re.DOTALL):
        found = tomllib.loads(text).get("runners", {})
        if runner in found:
            return dict(found[runner])
    return LEAST_CONFIGURED.get(runner, {})


def test_there_are_runners() -> None:
    assert len(ACTIONS) >= 5


@pytest.mark.parametrize("action", ACTIONS)
def test_it_says_what_it_does_in_a_few_words(action: str) -> None:
    """As a line of a list: no sentence, and it fits."""
    said = shown(action).action.description
    assert re.fullmatch(r"[a-z][^\n]{9,119}", said), said
    assert not said.endswith(".")
    assert shown(action).action.about, "the class's docstring: what is special about it"
    assert len(shown(action).action.introduction) > 200, "the docstring of its package, or module, is its page"


@pytest.mark.parametrize("action", ACTIONS)
def test_every_argument_and_every_key_is_described(action: str) -> None:
    described = shown(action).action
    assert described.config is not None, "declare Config, also an empty one: else a misspelt key is not noticed"
    silent = [field.name for field in (*(described.args or ()), *described.config) if len(field.about) < 4]
    assert not silent, f"give them Field(description=...): {silent}"


@pytest.mark.parametrize("action", ACTIONS)
def test_its_times_are_such_as_a_person_would_set(action: str) -> None:
    """Long enough to be believed, and not so long that nobody notices."""
    traits, always = shown(action).action.traits, TimeoutArgs()
    soft_s = always.soft_s if traits.soft_s is None else traits.soft_s
    settle_s = always.settle_s if traits.settle_s is None else traits.settle_s
    assert 30 <= soft_s <= 2 * 86400
    assert 10 <= settle_s <= 6 * 3600


@pytest.mark.parametrize("action", ACTIONS)
def test_it_can_tell_after_a_crash_or_says_that_it_need_not(action: str) -> None:
    """A runner that leaves `recover` as it is answers *unknown* to every crash."""
    runner = runner_of(action)
    assert runner.recover is not TaskRunner.recover or runner.when_lost != "verify" or runner.reboots


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_begun_around_a_task_is_ended(action: str) -> None:
    runner = runner_of(action)
    begins, ends = (getattr(runner, hook, None) is not getattr(TaskRunner, hook, None) for hook in
                    ("cluster_begin", "cluster_end"))  # fmt: skip
    assert begins is ends


@pytest.mark.parametrize("action", ACTIONS)
def test_somebody_schedules_it_or_it_is_said_why_nobody_does(action: str) -> None:
    assert bool(shown(action).place) is not bool(NOT_SCHEDULED.get(action)), "configs/tasks, or NOT_SCHEDULED"


@pytest.mark.parametrize("action", ACTIONS)
def test_it_has_a_section_on_its_page(action: str) -> None:
    page = ROOT / "docs" / "runners" / f"{action.partition(':')[0].removesuffix('_task')}.md"
    assert f"\n## `{action}`\n" in page.read_text(encoding="utf-8"), "make docs"


@pytest.mark.parametrize("action", ACTIONS)
def test_the_configuration_that_its_page_shows_is_accepted_and_it_comes_to_life(action: str) -> None:
    bootstrap.guide().check_config(action, settings_of(action))
    made = RunnerHarness(runner_of(action), args=args_of(action), settings=settings_of(action)).runner("pre_check")
    assert made.misconfigured == ""


@pytest.mark.parametrize("action", ACTIONS)
def test_a_misspelt_key_of_its_configuration_is_refused_before_anything_is_looked_at(action: str) -> None:
    harness = RunnerHarness(runner_of(action), args=args_of(action), settings={"no_such_key": 1})
    answer = harness.pre_check()
    assert isinstance(answer, Refuse)
    assert "no_such_key: unknown key" in answer.reason
    assert (harness.commands, harness.saved) == ([], {})


@pytest.mark.parametrize("action", ACTIONS)
def test_all_operations_of_a_runner_share_one_configuration(action: str) -> None:
    runner = action.partition(":")[0]
    same = [other for other in ACTIONS if other.partition(":")[0] == runner]
    assert {runner_of(other).Config for other in same} == {runner_of(action).Config}
