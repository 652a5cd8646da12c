"""Sources of discovery are plugged in by entry point: the how-to's own example works, and a broken one hurts nobody."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from taskerman import control
from taskerman.adapters.aws import Aws
from taskerman.adapters.discoveries import GROUP, InstalledDiscoveries
from taskerman.adapters.ec2 import Ec2Discovery
from taskerman.errors import DiscoveryFailed, DocumentFieldInvalid, UsageError
from taskerman.router import Router, RouterLimits
from tests.support.fleet import Fleet, document

HOW_TO = (Path(__file__).parents[2] / "docs" / "how-to" / "add-a-discovery.md").read_text(encoding="utf-8")
SOURCE, SUITE = re.findall(r"```python\n(.*?)```", HOW_TO, re.DOTALL)
ENTRY, TABLE = re.findall(r"```toml\n(.*?)```", HOW_TO, re.DOTALL)

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of the given entry points and modules, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(package: str, entries: dict[str, str], group: str = GROUP, **modules: str) -> None:
        folder = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()

    return install


def how_to(install: Install, tmp_path: Path) -> Path:
    """The example as the page says; returns the inventory, which the settings name."""
    assert f'"{GROUP}"' in ENTRY
    name, target = re.findall(r"(\w+) = \"(.*)\"", ENTRY)[0]
    install("inventory-discovery", {name: target}, inventory_discovery=SOURCE)
    path = tmp_path / "inventory.json"
    nodes = [{"id": f"i-{n}", "az": "a", "address": "", "clusters": ["demo:web"], "running": True} for n in (1, 2, 3)]
    path.write_text(json.dumps(nodes))
    return path


# --- the how-to --------------------------------------------------------------------------------------------


def test_the_example_routes_a_task_that_names_it(install: Install, tmp_path: Path) -> None:
    path = how_to(install, tmp_path)
    assert "[discoveries.inventory]\npath = " in TABLE
    fleet = Fleet()
    fleet.install()
    fleet.router = router(fleet, InstalledDiscoveries({"inventory": {"path": str(path)}}))
    plan = fleet.send(discovery="inventory")
    assert [node.id for node in plan.nodes] == ["i-1", "i-2", "i-3"]
    assert fleet.discovery.questions == 0


@pytest.mark.real
def test_the_example_passes_the_contract_that_the_page_shows(install: Install, tmp_path: Path) -> None:
    how_to(install, tmp_path)
    (tmp_path / "test_inventory.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_inventory.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "12 passed" in done.stdout


# --- what is installed -------------------------------------------------------------------------------------


def test_what_comes_with_us_is_a_source_like_every_other_and_knows_its_settings() -> None:
    with_us = InstalledDiscoveries({"aws_tags": {"cluster_tag": "team"}}, aws=Aws())
    assert "aws_tags" in with_us
    found = with_us["aws_tags"]
    assert isinstance(found, Ec2Discovery)
    assert found is with_us["aws_tags"]
    with pytest.raises(UsageError, match="tagg"):
        InstalledDiscoveries({"aws_tags": {"tagg": "team"}})["aws_tags"]


def test_a_source_is_built_once_and_only_when_it_is_named_and_closed_at_the_end(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    source = """
print("imported")
class Source:
    def close(self): print("closed")
def build(setup):
    print("built with", dict(setup.settings))
    return Source()
"""
    install("mine", {"mine": "mine_discovery:build"}, mine_discovery=source)
    found = InstalledDiscoveries({"mine": {"a": 1}})
    assert sorted(found) == ["aws_tags", "mine"]
    assert capsys.readouterr().out == ""
    assert found["mine"] is found["mine"]
    found.close()
    found.close()
    assert capsys.readouterr().out.splitlines() == ["imported", "built with {'a': 1}", "closed"]


@pytest.mark.parametrize(
    ("source", "why"),
    [("raise RuntimeError('no')", "RuntimeError: no"), ("", "no attribute"), ("def build(): pass", "TypeError")],
)
def test_a_broken_source_is_a_discovery_that_fails_and_the_others_work(install: Install, source: str, why: str) -> None:
    install("broken", {"broken": "broken_discovery:build"}, broken_discovery=source)
    found = InstalledDiscoveries({})
    with pytest.raises(DiscoveryFailed, match=why) as failed:
        found["broken"]
    assert "broken_discovery:build" in str(failed.value)
    assert found["aws_tags"] is not None


def test_two_packages_with_one_name_are_refused_naming_both(install: Install) -> None:
    install("one", {"mine": "one_discovery:build"}, one_discovery="build = dict")
    install("two", {"mine": "two_discovery:build"}, two_discovery="build = dict")
    with pytest.raises(DiscoveryFailed, match="one, two"):
        InstalledDiscoveries({})["mine"]


def test_nobody_takes_the_place_of_what_comes_with_us(install: Install) -> None:
    install("thief", {"aws_tags": "thief_discovery:build"}, thief_discovery="build = dict")
    with pytest.raises(DiscoveryFailed, match="more than one package"):
        InstalledDiscoveries({})["aws_tags"]


# --- documents ---------------------------------------------------------------------------------------------


def test_an_unknown_source_is_refused_by_the_router_naming_those_it_has() -> None:
    fleet = Fleet()
    fleet.install()
    fleet.queues.send(fleet.names.tasks, document(discovery="consul"))
    fleet.route()
    (refused,) = control.list_letters(fleet.desk)
    assert "consul" in refused.reason
    assert "Known: aws_tags." in refused.reason


def test_an_unknown_source_is_refused_where_it_is_typed_unless_only_routers_have_it() -> None:
    fleet = Fleet()
    fleet.install()
    prepared = control.prepare(document(discovery="consul"))
    with pytest.raises(DocumentFieldInvalid, match=r"consul.*Known: aws_tags.*--unchecked"):
        control.submit(fleet.desk, prepared)
    assert control.submit(fleet.desk, prepared, unchecked=True).nodes is None


def test_doctor_says_of_each_source_whether_it_can_be_used(install: Install) -> None:
    broken = "raise RuntimeError('no')"
    install("broken", {"broken": "broken_discovery:build"}, "test.discoveries", broken_discovery=broken)
    fleet = Fleet()
    fleet.install()
    desk = replace(fleet.desk, discoveries=InstalledDiscoveries({}, group="test.discoveries"))
    findings = {each.what: each.level for each in control.examine(desk, control.Subject()).findings}
    assert findings["discovery broken"] == "fail"


def router(fleet: Fleet, discoveries: InstalledDiscoveries) -> Router:
    return Router(
        fleet.desk.router_moves(),
        queues=fleet.queues,
        names=fleet.names,
        discoveries=discoveries,
        catalog=fleet.desk.catalog,
        clock=fleet.clock,
        emit=lambda event: None,
        limits=RouterLimits(poll=timedelta()),
    )
