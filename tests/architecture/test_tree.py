"""The tree is the diagram: what a newcomer may rely on in every module.

Who may import whom is not said here but in pyproject.toml, and `lint-imports` holds it.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for package in ("taskerman", "runners") for path in (ROOT / package).rglob("*.py"))
SAY_NOTHING = {"common", "helper", "helpers", "item", "items", "job", "jobs", "manager", "misc", "run", "util", "utils"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_a_tree_to_look_at() -> None:
    """A moved folder must not make the promises below empty."""
    assert len(MODULES) > 20


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_opens_with_why_it_exists(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, f"{name_of(path)}: begin it with a docstring: why it exists, what it refuses to do"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_name_says_what_is_inside(path: Path) -> None:
    """A place for everything without a place grows for ever, so none of its usual names is used."""
    words = {word for part in path.relative_to(ROOT).with_suffix("").parts for word in part.split("_")}
    assert not words & SAY_NOTHING, f"{name_of(path)}: name it after its one reason to change"
