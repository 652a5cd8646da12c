"""What `docs/how-to/write-a-runner.md` tells an author to type works, in the order in which it says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from taskerman.testing.skeleton import write_runner
from tests.unit.test_readme import blocks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "write-a-runner.md"


def test_a_reader_who_follows_the_page_has_two_operations_whose_tests_pass(tmp_path: Path) -> None:
    folder, _ = write_runner("web", tmp_path)
    operation, test = blocks(PAGE, "python")
    (entry,) = blocks(PAGE, "toml")
    (folder / "web_task" / "reload.py").write_text(operation)
    (folder / "tests" / "test_reload.py").write_text(test)
    project = (folder / "pyproject.toml").read_text()
    below = '"web_task.restart" = "web_task.restart:Restart"\n'
    assert below in project
    (folder / "pyproject.toml").write_text(project.replace(below, below + entry))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MYPY_CACHE_DIR": str(tmp_path / "mypy")}
    for words in (["-m", "pytest", "-q", "-p", "no:cacheprovider"], ["-m", "mypy"]):
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "pytest" not in words or "12 passed" in done.stdout
    assert len(test.split("def test_whatever")[1].split("def test_")[0].strip().splitlines()) <= 10
