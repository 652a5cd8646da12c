"""`taskerman actions`: what a runner declares is what people read, whoever wrote it; a broken one hides no other."""

from __future__ import annotations

import importlib
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from taskerman import bootstrap
from taskerman.adapters.runners import InstalledRunners
from taskerman.adapters.schedules import DeclaredFiles, Folder
from taskerman.cli import invoke
from taskerman.cli.action_views import default_of, submit_line, type_of
from taskerman.control import list_actions, show_action
from taskerman.errors import ActionUnknown, RunnerMisconfigured, UsageError
from taskerman.model.schedule import Schedule, template_of
from taskerman.runner.describing import fields_of
from tests.support.command_line import CommandLine
from tests.support.fleet import Fleet

Install = Callable[..., InstalledRunners]

PLAIN = '''
"""What this module says."""
from taskerman import Go, TaskRunner


class Act(TaskRunner):
    """In the class's own words."""

    description = "acts"

    def pre_check(self): return Go()
    def execute_action(self): pass
    def post_check(self): return Go()


class Silent(Act):
    pass
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of these entry points and files, as pip would; the catalog that finds them."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(entries: dict[str, str], files: dict[str, str]) -> InstalledRunners:
        folder = tmp_path / "t_pack-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: t-pack\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[test.shown]", *lines]))
        for name, source in files.items():
            file = tmp_path / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(source)
            monkeypatch.delitem(sys.modules, name.removesuffix(".py").replace("/", "."), raising=False)
        importlib.invalidate_caches()
        return InstalledRunners(group="test.shown")

    return install


# --- fields ------------------------------------------------------------------------------------------------


class Place(BaseModel):
    """Where something is."""

    url: str = Field(description="where it answers")
    within_ms: int = Field(default=100, ge=1, lt=60_000)


class Everything(BaseModel):
    force: bool = Field(default=False, description="a  text\n over lines")
    soft_s: float = Field(default=1.5, gt=0, le=600)
    size_bytes: int | None = Field(default=None, ge=0)
    mode: Literal["fast", "slow"] = "fast"
    words: tuple[str, ...] = Field(min_length=1)
    name: Annotated[str, Field(min_length=2, max_length=8, pattern="^[a-z]+$")] = "ab"
    hosts: tuple[tuple[str, ...], ...] = ()
    peers: dict[str, str] = Field(default_factory=dict)
    place: Place | None = None
    places: tuple[Place, ...] = ()
    home: Place = Field(default=Place(url="x"), description="Where something is.")
    by_name: dict[str, Place] = Field(default_factory=dict)


def test_every_field_is_said_with_its_kind_unit_bounds_and_default() -> None:
    said = {field.name: (type_of(field), default_of(field)) for field in fields_of(Everything)}
    assert said == {
        "force": ("true or false", "false"),
        "soft_s": ("number, seconds, > 0, ≤ 600", "1.5"),
        "size_bytes": ("whole number, bytes, ≥ 0", ""),
        "mode": ("one of `fast`, `slow`", '"fast"'),
        "words": ("list of texts, not empty", "required"),
        "name": ("text, at least 2 characters, at most 8 characters, matches `^[a-z]+$`", '"ab"'),
        "hosts": ("list of lists of texts", "[]"),
        "peers": ("object of texts by name", ""),
        "place": ("object", ""),
        "place.url": ("text", "required"),
        "place.within_ms": ("whole number, milliseconds, ≥ 1, < 60000", "100"),
        "places": ("list of objects", "[]"),
        "places[].url": ("text", "required"),
        "places[].within_ms": ("whole number, milliseconds, ≥ 1, < 60000", "100"),
        "home": ("object", '{"url": "x", "within_ms": 100}'),
        "home.url": ("text", "required"),
        "home.within_ms": ("whole number, milliseconds, ≥ 1, < 60000", "100"),
        "by_name": ("object of objects by name", ""),
        "by_name.*.url": ("text", "required"),
        "by_name.*.within_ms": ("whole number, milliseconds, ≥ 1, < 60000", "100"),
    }
    about = {field.name: field.about for field in fields_of(Everything)}
    assert about["force"] == "a text over lines"
    assert about["home"] == "Where something is.", "also in the very words of its model, which the schema says once"


# --- runners -----------------------------------------------------------------------------------------------


def test_a_runner_that_cannot_be_imported_is_named_with_its_reason_and_hides_no_other(install: Install) -> None:
    guide = install(
        {"b_task.act": "t_bomb:Act", "p_task.act": "t_plain:Act"}, {"t_bomb.py": "1 / 0", "t_plain.py": PLAIN}
    )
    broken, good = list_actions(guide)
    assert (broken.action, broken.description) == ("b_task:act", "")
    assert "ZeroDivisionError" in broken.problem
    assert (good.action, good.description, good.problem) == ("p_task:act", "acts", "")


def test_what_introduces_a_runner_is_its_package_where_nothing_else_is_in_it(install: Install) -> None:
    guide = install(
        {"p_task.act": "t_own.acting:Act", "q_task.act": "t_two.acting:Act", "r_task.act": "t_two.other:Silent"},
        {
            "t_own/__init__.py": '"""The whole runner."""',
            "t_own/acting.py": PLAIN,
            "t_two/__init__.py": '"""Of two runners."""',
            "t_two/acting.py": PLAIN,
            "t_two/other.py": PLAIN,
        },
    )
    assert guide.describe("p_task:act").introduction == "The whole runner."
    assert guide.describe("q_task:act").introduction == "What this module says."
    assert guide.describe("p_task:act").about == "In the class's own words."
    assert guide.describe("r_task:act").about == "", "what it inherits is not about it"


def test_a_runner_with_something_around_a_whole_task_is_bracketed(install: Install) -> None:
    more = "\n\nclass Around(Act):\n    def cluster_begin(self): pass\n"
    guide = install({"p_task.act": "t_plain:Act", "p_task.around": "t_plain:Around"}, {"t_plain.py": PLAIN + more})
    assert guide.describe("p_task:around").bracketed
    assert not guide.describe("p_task:act").bracketed


REQUIRES = """
from pydantic import BaseModel, Field, field_validator
class Args(BaseModel):
    argv: tuple[str, ...] = Field(min_length=1)
    seconds: int = Field(ge=5, le=9)
    mode: str = Field(examples=["fast"])
    @field_validator("mode")
    @classmethod
    def known(cls, value):
        if value not in ("fast", "slow"): raise ValueError("fast or slow")
        return value
Act.Args = Args
"""


def test_an_example_that_is_made_up_is_one_that_would_be_accepted(install: Install) -> None:
    guide = install({"p_task.act": "t_plain:Act"}, {"t_plain.py": PLAIN + REQUIRES})
    shown = show_action(guide, "p_task:act", None)
    assert shown.place == ""
    args = template_of(Schedule.model_validate_json(json.dumps(shown.schedule))).taskerman_params.action_args
    assert args == {"argv": ["..."], "seconds": 5, "mode": "fast"}
    guide.check_args("p_task:act", args)


def test_where_no_example_can_be_made_up_there_is_none_and_the_rest_is_shown(install: Install) -> None:
    guide = install({"p_task.act": "t_plain:Act"}, {"t_plain.py": PLAIN + REQUIRES.replace('examples=["fast"]', "")})
    assert show_action(guide, "p_task:act", None).schedule is None


@pytest.mark.parametrize("action", InstalledRunners().names())
def test_the_line_of_an_example_types_the_same_task(
    action: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for what options cannot say."""
    shown = show_action(bootstrap.guide(), action, bootstrap.shipped_schedules())
    typed: list[dict[str, Any]] = []

    def prepare(text: str) -> None:
        typed.append(json.loads(text))
        raise UsageError("enough", next_step="")

    taskerman = CommandLine(Fleet(), monkeypatch, capsys)
    monkeypatch.setattr("taskerman.control.prepare", prepare)
    taskerman(*shlex.split(submit_line(shown.task))[1:])
    (sent,) = typed
    wanted = json.loads(json.dumps(shown.task))
    for name in ("timeout_args", "window_args"):
        wanted.get("taskerman_params", {}).pop(name, None)
    wanted.get("taskerman_params", {}).get("failure_args", {}).pop("when_lost", None)
    sent.pop("version")
    assert sent == wanted


def test_the_example_is_the_first_that_is_shipped() -> None:
    shown = show_action(bootstrap.guide(), "redis_task:restart", bootstrap.shipped_schedules())
    assert shown.place.startswith("restarts.yaml:")
    assert shown.schedule is not None
    assert shown.schedule["name"] == "sessions-restart"


def test_examples_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("schedules: 3")
    assert show_action(bootstrap.guide(), "redis_task:restart", DeclaredFiles(Folder(tmp_path))).place == ""
    assert show_action(bootstrap.guide(), "redis_task:restart", DeclaredFiles(Folder(tmp_path / "no"))).place == ""


# --- a node's configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "code", "says"),
    [
        ("", 0, "says nothing of runners.redis_task; every key has its default, and that is good"),
        ("[runners.redis_task]\nport = 7000\nhost = 'db'\n", 0, "is good: host, port."),
        ("[runners.redis_task]\nport = '7000'\n", 2, "port: it should be a valid integer"),
        ("[runners.redis_task]\nprt = 7000\n", 2, "prt: unknown key"),
        ("runners = 3\n", 2, "runners.redis_task is not a table"),
        ("[runners]\nredis_task = 3\n", 2, "Write [runners.redis_task]"),
    ],
)
def test_a_node_s_settings_are_judged_before_an_agent_is_started(
    toml: str, code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "taskerman.toml"
    file.write_text(toml)
    assert invoke(["actions", "show", "redis_task:restart", "--config", str(file)]) == code
    out, err = capsys.readouterr()
    assert says in (err if code else out)
    assert ("error E-RUNNER-CONFIG: redis_task:restart: " in err) is ("port = '" in toml or "prt" in toml)


def test_a_required_key_that_is_missing_is_named(install: Install) -> None:
    with pytest.raises(RunnerMisconfigured, match="restart: required, and missing"):
        bootstrap.guide().check_config("demo_task:restart", {})
    guide = install({"p_task.act": "t_plain:Act"}, {"t_plain.py": PLAIN})
    assert not guide.check_config("p_task:act", {"anything": 1}), "nobody can say"


def test_a_runner_that_cannot_be_described_is_named(install: Install) -> None:
    odd = "\n\nfrom pydantic import BaseModel\nfrom collections.abc import Callable\n" + (
        "class Args(BaseModel):\n    f: Callable[[], int]\nAct.Args = Args\n"
    )
    with pytest.raises(ActionUnknown, match="cannot be described"):
        install({"p_task.act": "t_plain:Act"}, {"t_plain.py": PLAIN + odd}).describe("p_task:act")


# --- as it is printed --------------------------------------------------------------------------------------


def test_list_is_a_line_an_action_and_an_array_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["actions"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ACTION", "WHAT", "IT", "DOES"]
    assert any(line.startswith("redis_task:restart ") and "Redis" in line for line in lines)
    assert invoke(["actions", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["action"] for one in found] == list(InstalledRunners().names())


def test_show_has_everything_that_is_declared(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["actions", "show", "instance_task:reboot"]) == 0
    out = capsys.readouterr().out
    for said in ("only_if_required", "required_file", "reboots: yes", "when lost: verify", "taskerman submit --action"):
        assert said in out
    assert invoke(["actions", "show", "instance_task:reboot", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["action"]["traits"]["reboots"] is True
    assert found["task"]["action"] == "instance_task:reboot"
