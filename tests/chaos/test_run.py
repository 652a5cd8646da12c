"""A short run with a fixed seed keeps every promise; one whose agents forget a rule is found out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.services import require

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A run, as typed. What it leaves is in `folder`, and no process of it is left."""
    require("zookeeper")
    argv = [sys.executable, "-m", "tests.chaos", "--folder", str(folder), *words]
    root = Path(__file__).parents[2]
    return subprocess.run(
        argv, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False, capture_output=True, text=True
    )


def test_a_short_run_keeps_every_promise(tmp_path: Path) -> None:
    done = run(tmp_path / "run", "--seed", "3", "--minutes", "0.4", "--every", "1.2", "--clusters", "a=3,b=3")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    figures = json.loads((tmp_path / "run" / "figures.json").read_text())
    assert figures["faults_injected"] >= 10
    assert figures["takes"] >= 10


def test_agents_that_do_not_see_the_slots_of_others_are_found_out(tmp_path: Path) -> None:
    done = run(tmp_path / "run", "--seed", "3", "--minutes", "0.2", "--every", "30", "--clusters", "a=4",
               "--breakage", "cap")  # fmt: skip
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert json.loads((tmp_path / "run" / "figures.json").read_text())["violations"]["1"] > 0
