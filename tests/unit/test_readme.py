"""What the README shows is so: its runner works, its document is accepted, its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskerman import Go, Wait
from taskerman.model.task import parse_task_document
from taskerman.testing.harness import RunnerHarness

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_readme_s_runner_is_a_runner() -> None:
    """In twenty lines: it waits while others are down, acts, and is well when the store answers."""
    (source,) = blocks(ROOT / "README.md", "python")
    assert len(source.splitlines()) <= 20
    names: dict[str, object] = {}
    exec(compile(source, "README.md", "exec"), names)
    runner: RunnerHarness = RunnerHarness(names["Restart"])  # type: ignore[arg-type]
    runner.answer("cluster-status", output="1\n")
    assert isinstance(runner.pre_check(), Wait)
    runner.answer("cluster-status", output="0\n")
    assert isinstance(runner.pre_check(), Go)
    runner.answer("systemctl")
    runner.execute_action()
    runner.answer("my-store", exit=1)
    assert isinstance(runner.post_check(), Wait)
    runner.answer("my-store")
    assert isinstance(runner.post_check(), Go)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_document_shown_is_accepted(page: Path) -> None:
    """A person may paste it."""
    for text in blocks(page, "json"):
        document, _ = parse_task_document(text)
        assert document.task_id


def test_every_verb_shown_exists() -> None:
    """`taskerman VERB` in any page is a verb of the command line."""
    name = "[a-z][a-z-]*"
    shown = {
        verb
        for page in PAGES
        for verb in re.findall(rf"`taskerman ({name})|^ *\$ (?:.* )?taskerman ({name})", page.read_text("utf-8"), re.M)
        for verb in verb
        if verb
    }
    helped = subprocess.run(
        [sys.executable, "-c", "from taskerman.cli import main; main()", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    there = set(re.findall(r"^  ([a-z-]+)  ", helped, re.M))
    assert {"submit", "explain", "dlq"} <= shown
    assert shown <= there
