"""Finding a runner and checking its arguments: each wrong one is named, and none is ignored."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from taskerman import Check, Go, TaskRunner
from taskerman.errors import ActionArgsInvalid, ActionUnknown
from taskerman.runner import load_runner, validate_args


class Bare(TaskRunner):
    def pre_check(self) -> Check:
        return Go()

    def execute_action(self) -> None:
        return

    def post_check(self) -> Check:
        return Go()


class Depth(BaseModel):
    model_config = ConfigDict(extra="forbid")
    levels: int = 1


class Typed(Bare):
    class Args(BaseModel):
        force: bool = False
        node_speed: float = Field(default=1.0, alias="speed", gt=0)
        depth: Depth = Depth()

    args: Args


class Open(Bare):
    class Args(BaseModel):
        model_config = ConfigDict(extra="allow")


class Required(Bare):
    class Args(BaseModel):
        model_config = ConfigDict(extra="forbid")
        keyspace: str


def test_valid_arguments_become_an_instance() -> None:
    args = validate_args(Typed, {"force": True, "speed": 2, "depth": {"levels": 3}})
    assert isinstance(args, Typed.Args)
    assert (args.force, args.node_speed, args.depth.levels) == (True, 2.0, 3)
    assert validate_args(Bare, {}) is None
    assert isinstance(validate_args(Open, {"anything": 1}), Open.Args)


@pytest.mark.parametrize(
    ("runner", "args", "said"),
    [
        (Typed, {"force": "true"}, "force: it should be a valid boolean"),
        (Typed, {"speed": 0}, "speed: it should be greater than 0"),
        (Typed, {"forse": True}, "forse: unknown argument. Known arguments: force, node_speed, depth"),
        (Typed, {"depth": {"levles": 1}}, "depth.levles: Extra inputs are not permitted"),
        (Bare, {"force": True}, "force: unknown argument; this action takes none. Leave action_args empty."),
        (Required, {}, "keyspace: required, and missing"),
    ],
)
def test_every_wrong_argument_is_named_with_its_reason(runner: Any, args: dict[str, Any], said: str) -> None:
    with pytest.raises(ActionArgsInvalid) as refused:
        validate_args(runner, args)
    assert said in str(refused.value)


def test_an_unknown_argument_is_said_once() -> None:
    with pytest.raises(ActionArgsInvalid) as refused:
        validate_args(Required, {"keyspace": "k", "x": 1})
    assert str(refused.value).count("x:") == 1


@pytest.mark.parametrize("target", ["", "no_colon", "taskerman.runner:Nothing", "taskerman.runner:Go", ":X"])
def test_a_target_that_names_no_runner_is_refused_by_name(target: str) -> None:
    with pytest.raises(ActionUnknown, match=target or "''"):
        load_runner(target)


def test_a_target_names_its_runner() -> None:
    assert load_runner(f"{__name__}:Bare") is Bare
