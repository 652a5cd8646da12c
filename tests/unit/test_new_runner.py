"""`taskerman new-runner`: what it writes is a runner whose tests, linter and type checker have nothing to say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from taskerman.cli import invoke
from taskerman.errors import RefusedByState, UsageError
from taskerman.testing.skeleton import write_runner

ROOT = Path(__file__).parents[2]
TOOLS = {
    "its tests": ["-m", "pytest", "-q", "-p", "no:cacheprovider"],
    "ruff": ["-m", "ruff", "check", "--no-cache"],
    "the form": ["-m", "ruff", "format", "--check", "--no-cache"],
    "mypy --strict": ["-m", "mypy", "--strict"],
}


@pytest.mark.parametrize("name", ["a", "abcdefghij_123456789"])
def test_what_it_writes_passes_its_own_tests_and_every_tool_as_it_is(name: str, tmp_path: Path) -> None:
    """Whatever its name is: the shortest, and the longest."""
    folder, _ = write_runner(name, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MYPY_CACHE_DIR": str(tmp_path / "mypy")}
    for what, words in TOOLS.items():
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{what}: {done.stdout}{done.stderr}"
        if what == "its tests":
            assert "8 passed" in done.stdout


def test_it_is_whole_and_named_after_the_runner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["new-runner", "my_store_task", "--into", str(tmp_path)]) == 0
    folder = tmp_path / "taskerman-my-store"
    assert [child.name for child in tmp_path.iterdir()] == [folder.name]
    made = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}
    assert set(made) == {
        *("README.md", "pyproject.toml", "my_store_task/__init__.py", "my_store_task/restart.py"),
        *("my_store_task/py.typed", "tests/test_restart.py", "schedules/my_store.yaml"),
    }
    assert not any("@name@" in text or "@dashed@" in text for text in made.values())
    assert '"my_store_task.restart" = "my_store_task.restart:Restart"' in made["pyproject.toml"]
    assert yaml.safe_load(made["schedules/my_store.yaml"])["schedules"][0]["task"]["action"] == "my_store_task:restart"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder, written = write_runner("web", tmp_path)
    mine = folder / "web_task" / "restart.py"
    mine.write_text("mine")
    with pytest.raises(RefusedByState, match="is there already"):
        write_runner("web_task", tmp_path)
    assert mine.read_text() == "mine"
    assert "web_task/restart.py" in written


@pytest.mark.parametrize(
    "name",
    ["", "Web", "1web", "web-server", "web server", "../web", "web_", "_web", "web__a", "a" * 21, "wéb", "_task"],
)
def test_a_bad_name_is_refused_with_the_rule_and_nothing_is_made(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        write_runner(name, tmp_path)
    assert "Small letters, digits and single _" in refused.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_runner("web", tmp_path)
    assert list(tmp_path.iterdir()) == []
