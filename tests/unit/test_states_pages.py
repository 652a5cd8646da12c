"""The pages that say what is decided in which state are what the runners really answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recorded.pages import PAGES

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_states_is_current(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name](), "make it anew: make docs"


def test_each_page_of_states_has_a_table() -> None:
    assert {page.name for page in REFERENCE.glob("states-*.md")} == set(PAGES)
