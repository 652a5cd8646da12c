"""The page about rights is the table in the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskerman.coordination.rights import ROWS, Grants, Row, rights_on
from taskerman.model.rights import Role

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "rights.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_the_page_has_every_row_with_its_rights(row: Row) -> None:
    own = f"; its own: `{row.grants.own}`" if row.grants.own else ""
    agent = f"`{row.grants.agent}`{own}"
    assert f"| `{row.path}` | `cdrwa` | `{row.grants.janitor}` | {agent} | `r` | {row.about} |" in PAGE


def test_the_page_has_no_row_too_many() -> None:
    assert PAGE.count("\n| `/") == len(ROWS)
    default = Grants()
    assert f"| everything else | `cdrwa` | `{default.janitor}` | `{default.agent}` | `r` |" in PAGE


def test_no_agent_writes_holds_plans_or_who_is_who() -> None:
    """Nor another cluster's order of tasks, nor the audit."""
    for path in (
        "/control",
        "/rights",
        "/tasks",
        "/tasks/t",
        "/audit",
        "/clusters",
        "/groups",
        "/groups/g",
        "/clusters/c/open/5.0",
    ):
        grants = rights_on(path)
        assert set(grants.of(Role.AGENT)) | set(grants.own) <= {"r"}, path
    assert rights_on("/scopes").of(Role.AGENT) == "cr", "one that nobody declared is made; none is ever deleted"


def test_what_is_still_to_get_its_number_has_the_rights_of_its_kind() -> None:
    assert rights_on("/doctor/") == rights_on("/doctor/0000000001")
