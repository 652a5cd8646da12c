"""VALIDATE: declared schedules are judged before they are merged, and every fault is a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskerman.errors import DiscoveryFailed
from taskerman.settings import Settings
from tests.support.command_line import Answer, CommandLine
from tests.support.fleet import Fleet
from tests.support.schedules import one


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.install()
    return fleet


@pytest.fixture
def taskerman(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(fleet, monkeypatch, capsys)


def declared(folder: Path, more: str = "", *, action: str = "action: demo_task:restart", name: str = "a") -> str:
    """A file with one schedule on the cluster that is there; the path to type. `more`: lines of its task."""
    file = folder / f"{name}.yaml"
    lines = [f"  - name: {name}", '    cron: "0 3 * * *"', "    not_after: 6h", "    task:", f"      {action}"]
    lines += ["      cluster_name: demo:web", "      owner: dba", *(f"      {line}" for line in more.splitlines())]
    file.write_text("\n".join(["schedules:", *lines, ""]))
    return str(file)


def told(said: Answer) -> list[str]:
    assert said.err == ""
    assert said.code == 2
    return said.out.splitlines()


def test_what_is_good_is_counted(taskerman: CommandLine, tmp_path: Path) -> None:
    declared(tmp_path)
    declared(tmp_path, name="b")
    said = taskerman("validate", str(tmp_path))
    assert (said.code, said.out) == (0, "2 schedules in 2 files: good.\n")
    assert taskerman("validate", declared(tmp_path)).out == "1 schedule in 1 file: good.\n"


def test_every_fault_is_a_line_and_the_rest_is_counted(taskerman: CommandLine, tmp_path: Path) -> None:
    """Those of the files themselves, and those of what stands outside of them, in one go."""
    declared(tmp_path)
    declared(tmp_path, name="b", action="action: nosuch:x")
    declared(tmp_path, name="c", more="taskerman_params: {action_args: {forse: 1}}\ndiscovery: nobodys")
    (tmp_path / "d.yaml").write_text(one("d", every="never"))
    lines = told(taskerman("validate", str(tmp_path)))
    assert [line.partition(": ")[0] for line in lines[:-1]] == ["b.yaml:6", "c.yaml:9", "c.yaml:10", "d.yaml:3"]
    assert "schedules[0] (b) task.action: " in lines[0]
    assert "not installed" in lines[0]
    assert "(c) task.taskerman_params.action_args: demo_task:restart: " in lines[1]
    assert "(c) task.discovery: 'nobodys' is not known here" in lines[2]
    assert lines[-1] == "1 schedule in 4 files: 4 faults."


def test_as_json_it_is_the_same(taskerman: CommandLine, tmp_path: Path) -> None:
    path = declared(tmp_path, action="action: nosuch:x")
    said = taskerman("validate", path, "--json")
    assert said.code == 2
    assert (said.json["place"], said.json["files"], said.json["schedules"]) == (path, 1, 0)
    assert said.json["faults"] == told(taskerman("validate", path))[:-1]


def test_what_is_not_installed_here_is_taken_unchecked(taskerman: CommandLine, tmp_path: Path) -> None:
    """What is installed is checked all the same."""
    path = declared(tmp_path, action="action: nosuch:x", more="discovery: nobodys")
    assert taskerman("validate", path, "--unchecked").code == 0
    path = declared(tmp_path, more="taskerman_params: {action_args: {forse: 1}}")
    assert "forse" in told(taskerman("validate", path, "--unchecked"))[0]


@pytest.mark.parametrize("way", ["command: [ls]", "script: ls"])
def test_a_command_is_an_action_that_may_not_be_installed(taskerman: CommandLine, tmp_path: Path, way: str) -> None:
    (tmp_path / "a.yaml").write_text(
        f"schedules:\n  - name: a\n    every: 5m\n    {way}\n    task: {{cluster_name: 'demo:web', owner: dba}}\n"
    )
    kind = way.partition(":")[0]
    (line, _) = told(taskerman("validate", str(tmp_path)))
    assert line.startswith(f"a.yaml:4: schedules[0] (a) {kind}: The action 'command_task:")
    assert taskerman("validate", str(tmp_path), "--unchecked").code == 0


@pytest.mark.parametrize(
    ("windows", "well"),
    [
        ("[{opens: '08:00', closes: '10:00'}]", True),
        ("[{opens: '10:00', closes: '12:00'}]", False),
        ("[{days: [sat], opens: '02:00', closes: '04:00'}]", True),
    ],
)
def test_a_window_that_no_firing_reaches_is_a_fault(
    taskerman: CommandLine, tmp_path: Path, windows: str, well: bool
) -> None:
    """It fires at 03:00 each day, and is over at 09:00."""
    path = declared(tmp_path, more=f"taskerman_params:\n  window_args:\n    windows: {windows}")
    said = taskerman("validate", path)
    if well:
        assert said.code == 0
    else:
        assert told(said)[0].startswith(
            "a.yaml:10: schedules[0] (a) task.taskerman_params.window_args: no window opens"
        )


def test_a_blackout_passes_and_is_no_fault(taskerman: CommandLine, tmp_path: Path) -> None:
    path = declared(
        tmp_path,
        more="taskerman_params:\n  window_args:\n    windows: [{opens: '02:00', closes: '04:00'}]\n"
        "    blackouts: [{begins: '2020-01-01T00:00:00Z', ends: '2100-01-01T00:00:00Z'}]",
    )
    assert taskerman("validate", path).code == 0


# --- online ------------------------------------------------------------------------------------------------

SCOPED = "taskerman_params: {lease_args: {scope: wire}}"


def test_nothing_is_asked_of_the_installation_unless_it_is_said(
    taskerman: CommandLine, fleet: Fleet, tmp_path: Path
) -> None:
    fleet.server.cut(fleet.tree)
    path = declared(tmp_path, more=SCOPED)
    Path(path).write_text(Path(path).read_text().replace("demo:web", "demo:none"))
    assert taskerman("validate", path).code == 0


def test_online_a_cluster_has_nodes_and_a_scope_has_a_capacity(taskerman: CommandLine, tmp_path: Path) -> None:
    path = declared(tmp_path, more=SCOPED)
    assert (
        "a.yaml:9: schedules[0] (a) task.taskerman_params.lease_args.scope: Nobody declared"
        in (told(taskerman("validate", path, "--online"))[0])
    )
    assert taskerman("scopes", "set", "wire", "1", "--why", "a thin wire").code == 0
    assert taskerman("validate", path, "--online").code == 0
    Path(path).write_text(Path(path).read_text().replace("demo:web", "demo:none"))
    assert told(taskerman("validate", path, "--online"))[0] == (
        "a.yaml:7: schedules[0] (a) task.cluster_name: demo:none has no running node"
    )


def test_online_each_cluster_is_asked_for_once(
    taskerman: CommandLine, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    nodes = fleet.discovery.nodes

    def counting(cluster: str) -> object:
        asked.append(cluster)
        return nodes(cluster)

    monkeypatch.setattr(fleet.discovery, "nodes", counting)
    for name in "abc":
        declared(tmp_path, name=name)
    assert taskerman("validate", str(tmp_path), "--online").code == 0
    assert asked == ["demo:web"]


def test_what_cannot_be_asked_is_no_fault_of_the_files(
    taskerman: CommandLine, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = declared(tmp_path, more=SCOPED)
    fleet.server.cut(fleet.tree)
    said = taskerman("validate", path, "--online")
    assert (said.code, said.out) == (5, "")
    assert "E-ZK" in said.err

    def away(cluster: str) -> object:
        raise DiscoveryFailed("EC2 does not answer.", next_step="It may work later.")

    monkeypatch.setattr(fleet.discovery, "nodes", away)
    assert "E-DISCOVERY" in taskerman("validate", path, "--online").err


# --- where -------------------------------------------------------------------------------------------------


def test_without_a_path_it_is_the_setting_else_the_folder_of_this_repository(
    taskerman: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskerman import bootstrap  # noqa: PLC0415
    from taskerman.settings import Loaded  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    assert "configs/tasks" in taskerman("validate").err
    (tmp_path / "configs" / "tasks").mkdir(parents=True)
    declared(tmp_path / "configs" / "tasks")
    assert taskerman("validate").out == "1 schedule in 1 file: good.\n"
    (tmp_path / "set").mkdir()
    monkeypatch.setattr(bootstrap, "read_settings", lambda: Loaded(Settings(schedules=str(tmp_path / "set")), {}))
    assert taskerman("validate").out == "0 schedules in 0 files: good.\n"
    assert taskerman("validate", "configs/tasks").out == "1 schedule in 1 file: good.\n"
