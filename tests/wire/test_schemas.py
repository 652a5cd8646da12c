"""The schemas that others validate with, and documents that show they say what the models do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from taskerman import cli
from tests.wire.golden import check_golden

DOCUMENTS = ("task", "doorbell", "dead-letter", "journal", "result", "schedule")


def schema(document: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert cli.invoke(["schema", document]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_schema_changes_only_in_sight_of_a_review(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_golden(f"schemas/{document}", schema(document, capsys))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_schema_has_a_title_and_says_what_the_document_is(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = schema(document, capsys)
    assert found["title"]
    assert found["description"]
    assert found["additionalProperties"] is False


@pytest.mark.parametrize("document", DOCUMENTS)
def test_patterns_are_of_the_kind_that_json_schema_knows(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    r"""No `\z` and no `\A`: other languages read them as letters."""
    found = list(patterns(schema(document, capsys)))
    assert all(re.search(r"\\[zAZ]", pattern) is None for pattern in found)
    assert found or document in ("result",)


def patterns(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            if key == "pattern" and isinstance(part, str):
                yield part
            else:
                yield from patterns(part)
    elif isinstance(value, list):
        for part in value:
            yield from patterns(part)
