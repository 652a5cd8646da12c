"""The catalog of installed runners: listed without being imported, and honest about what is missing or broken."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from taskerman.adapters.runners import InstalledRunners
from taskerman.errors import ActionArgsInvalid, ActionUnknown
from taskerman.model.task import ActionTraits

RUNNER = """
from pydantic import BaseModel
from taskerman.runner.base import TaskRunner
from taskerman.runner.checks import Go


class Plain(TaskRunner):
    def pre_check(self): return Go()
    def execute_action(self): pass
    def post_check(self): return Go()


class Typed(Plain):
    when_lost = "retry"
    reboots = True

    class Args(BaseModel):
        force: bool = False
        hosts: tuple[str, ...] = ()
        port: int


class Contradicting(Plain):
    when_lost = "perhaps"


class Silent(Plain):
    def cluster_end(self): pass


class Named(Silent):
    bracket = "silence"


class Misnamed(Silent):
    bracket = "a/b"
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of the given entry points and modules, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(package: str, entries: dict[str, str], **modules: str) -> None:
        folder = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[test.runners]", *lines]))
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()  # folders are compared by the second

    return install


@pytest.fixture
def catalog() -> InstalledRunners:
    return InstalledRunners(group="test.runners")


@pytest.fixture
def runner(install: Install) -> None:
    names = ("Plain", "Typed", "Contradicting", "Silent", "Named", "Misnamed")
    entries = {f"t_task.{name.lower()}": f"t_runner:{name}" for name in names}
    install("t-pack", entries, t_runner=RUNNER)


def test_what_this_project_ships_is_installed() -> None:
    assert {"demo_task:restart", "redis_task:restart"} <= set(InstalledRunners().names())


@pytest.mark.usefixtures("runner")
def test_actions_are_listed_sorted_by_their_names_in_documents(catalog: InstalledRunners) -> None:
    names = ("contradicting", "misnamed", "named", "plain", "silent", "typed")
    assert catalog.names() == tuple(f"t_task:{name}" for name in names)


def test_listing_and_finding_import_nothing(install: Install, catalog: InstalledRunners) -> None:
    install("t-bomb", {"t_task.bomb": "t_bomb:Bomb"}, t_bomb="raise SystemExit('imported')")
    assert catalog.names() == ("t_task:bomb",)
    assert catalog.target("t_task:bomb") == "t_bomb:Bomb"
    assert "t_bomb" not in sys.modules


@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize("action", ["t_task:restart", "t_task.plain", "", "other:plain"])
def test_an_action_that_is_not_installed_is_unknown_and_the_installed_are_named(
    catalog: InstalledRunners, action: str
) -> None:
    for ask in (catalog.target, catalog.traits, lambda name: catalog.check_args(name, {})):
        with pytest.raises(ActionUnknown, match="t_task:plain"):
            ask(action)


@pytest.mark.usefixtures("runner")
def test_traits_are_what_the_runner_declares_or_the_defaults(catalog: InstalledRunners) -> None:
    assert catalog.traits("t_task:plain") == ActionTraits(when_lost="verify", reboots=False)
    assert catalog.traits("t_task:typed") == ActionTraits(when_lost="retry", reboots=True)


@pytest.mark.usefixtures("runner")
def test_a_runner_with_a_hook_for_the_cluster_has_a_bracket_of_its_own_name_or_the_runner_s(
    catalog: InstalledRunners,
) -> None:
    assert catalog.traits("t_task:plain").bracket is None
    assert catalog.traits("t_task:silent").bracket == "t_task"
    assert catalog.traits("t_task:named").bracket == "silence"
    with pytest.raises(ActionUnknown, match="bracket"):
        catalog.traits("t_task:misnamed")


@pytest.mark.usefixtures("runner")
def test_a_runner_that_declares_nonsense_is_unusable_and_says_where(catalog: InstalledRunners) -> None:
    with pytest.raises(ActionUnknown, match="when_lost"):
        catalog.traits("t_task:contradicting")


@pytest.mark.usefixtures("runner")
def test_arguments_that_fit_pass_as_json_has_them(catalog: InstalledRunners) -> None:
    catalog.check_args("t_task:typed", {"port": 6379, "hosts": ["a", "b"], "force": True})
    catalog.check_args("t_task:plain", {})


@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({}, "port"),
        ({"port": "6379"}, "port"),
        ({"port": True}, "port"),
        ({"port": 1, "hosts": ["a", 2]}, r"hosts\.1"),
        ({"port": 1, "force": "yes"}, "force"),
        ({"port": 1, "forse": True}, "forse"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_naming_action_and_field(
    catalog: InstalledRunners, args: dict[str, object], field: str
) -> None:
    with pytest.raises(ActionArgsInvalid, match=rf"t_task:typed.*{field}: "):
        catalog.check_args("t_task:typed", args)  # type: ignore[arg-type]


@pytest.mark.usefixtures("runner")
def test_a_runner_without_arguments_takes_none(catalog: InstalledRunners) -> None:
    with pytest.raises(ActionArgsInvalid, match="force"):
        catalog.check_args("t_task:plain", {"force": True})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module_anywhere", "no_such_module_anywhere"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit('imported')", "SystemExit: imported"),
        ("Broken = 3", "not a TaskRunner"),
        ("", "not there"),
    ],
)
def test_a_broken_runner_says_what_is_wrong_with_it_and_breaks_no_other(
    install: Install, catalog: InstalledRunners, runner: None, source: str, said: str
) -> None:
    install("t-broken", {"t_task.broken": "t_broken:Broken"}, t_broken=source)
    with pytest.raises(ActionUnknown, match=said):
        catalog.check_args("t_task:broken", {})
    catalog.check_args("t_task:plain", {})


def test_an_action_that_two_packages_offer_is_nobodys(
    install: Install, catalog: InstalledRunners, runner: None
) -> None:
    install("t-rival", {"t_task.plain": "t_rival:Other"})
    assert "t_task:plain" in catalog.names()
    with pytest.raises(ActionUnknown, match="t-pack, t-rival"):
        catalog.target("t_task:plain")
