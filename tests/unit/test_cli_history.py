"""`taskerman history` shows the past, finds what fits, and says plainly what is not in it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskerman.control import point_in_time
from taskerman.errors import UsageError
from tests.support.command_line import CommandLine
from tests.support.fleet import Fleet
from tests.support.history import record_a_week


@pytest.fixture
def taskerman(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    line = CommandLine(Fleet(), monkeypatch, capsys)
    record_a_week(line.history)
    return line


def table(said: str) -> list[list[str]]:
    """The rows of a table, in words."""
    return [line.split() for line in said.splitlines()]


def test_the_newest_task_comes_first_with_its_nodes_counted_once(taskerman: CommandLine) -> None:
    said = taskerman("history")
    assert said.code == 0
    heading, first, second = said.out.splitlines()
    assert heading.split() == ["ENDED", "TASK", "CLUSTER", "ACTION", "OWNER", "NODES"]
    assert first.split()[:3] == ["2026-02-02", "12:10:00Z", "restart-2"]
    assert second.endswith("gsi    1 cancelled, 1 succeeded")


def test_one_task_is_shown_whole_with_the_end_that_was_redriven(taskerman: CommandLine) -> None:
    said = taskerman("history", "--task", "restart-1").out
    assert "cancelled (cancelled by ada@laptop: wrong week): 1 cancelled, 1 succeeded" in said
    rows = [(row[3], row[5], " ".join(row[7:])) for row in table(said)[4:]]
    assert rows == [
        ("i-1", "unsafe", "port 8080 does not answer; slot kept"),
        ("i-1", "succeeded", ""),
        ("i-2", "cancelled", "a person"),
    ]


def test_what_happened_on_a_node_is_one_line_an_end(taskerman: CommandLine) -> None:
    said = taskerman("history", "--node", "i-1")
    assert [row[2] for row in table(said.out)[1:]] == ["restart-2", "restart-1", "restart-1"]
    said = taskerman("history", "--outcome", "unsafe")
    assert [row[2:4] for row in table(said.out)[1:]] == [["restart-1", "i-1"]]


@pytest.mark.parametrize(
    ("words", "tasks"),
    [
        (["--cluster", "demo:web"], ["restart-2", "restart-1"]),
        (["--owner", "dba"], ["restart-2"]),
        (["--action", "demo_task:restart", "--limit", "1"], ["restart-2"]),
        (["--since", "2026-02-01"], ["restart-2"]),
        (["--since", "2026-02-01T00:00+02:00"], ["restart-2"]),
        (["--since", "1m"], []),
        (["--owner", "nobody"], []),
        (["--node", "i-2"], ["restart-1"]),
    ],
    ids=" ".join,
)
def test_filters_are_all_of_them_true(taskerman: CommandLine, words: list[str], tasks: list[str]) -> None:
    said = taskerman("history", *words, "--json")
    assert (said.code, [one["task_id"] for one in said.json]) == (0, tasks)


def test_letters_are_of_nodes_and_of_documents(taskerman: CommandLine) -> None:
    said = taskerman("history", "letters")
    assert [row[2] for row in table(said.out)[1:]] == ["abababababab", "restart-1"]
    assert [one["kind"] for one in taskerman("history", "letters", "--task", "restart-1", "--json").json] == [
        "assignment"
    ]


def test_the_audit_says_who_did_what_and_why(taskerman: CommandLine) -> None:
    said = taskerman("history", "audit", "--target", "restart-1")
    (row,) = said.out.splitlines()[1:]
    assert row.endswith("ada@laptop  redrive  restart-1/i-1  disk replaced")
    assert "bob@desk" in taskerman("history", "audit").out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--task", "t-404"], 3, "taskerman status t-404"),
        (["--outcome", "bad"], 2, "succeeded, skipped, failed"),
        (["--since", "yesterday"], 2, "2026-01-31"),
        (["--limit", "0"], 2, "--limit"),
        (["audit", "--since", "soon"], 2, "2026-01-31"),
        (["letters", "--limit", "many"], 2, "--limit"),
        (["bogus"], 2, "bogus"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_with_its_exit_code(
    taskerman: CommandLine, words: list[str], code: int, says: str
) -> None:
    said = taskerman("history", *words)
    assert (said.code, said.out) == (code, "")
    (line,) = said.err.splitlines()
    assert says in line


def test_nothing_that_fits_is_said_in_words_and_is_no_error(taskerman: CommandLine) -> None:
    assert taskerman("history", "--cluster", "demo:none").out == "Nothing in the history is like that.\n"
    assert taskerman("history", "audit", "--by", "eve").out == "Nothing in the audit is like that.\n"


def test_a_history_that_does_not_answer_cannot_be_reached(taskerman: CommandLine) -> None:
    taskerman.history.fail("connection refused")
    said = taskerman("history", "--json")
    assert (said.code, said.json["error"]["code"]) == (5, "E-HISTORY")


NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("90m", "2026-01-31T10:30:00+00:00"),
        ("1d12h", "2026-01-30T00:00:00+00:00"),
        ("2026-01-02", "2026-01-02T00:00:00+00:00"),
        ("2026-01-02 03:04", "2026-01-02T03:04:00+00:00"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02T03:04+02:00", "2026-01-02T01:04:00+00:00"),
        ("999999d", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_a_point_in_time_is_a_span_before_now_or_a_date(text: str, when: str) -> None:
    assert point_in_time(text, NOW).isoformat() == when


@pytest.mark.parametrize("text", ["", "0s", "-2h", "2", "2w", "2026-02-30", "0001-01-01T00:00+14:00", "9" * 30 + "d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        point_in_time(text, NOW)
