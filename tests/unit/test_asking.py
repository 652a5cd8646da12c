"""`ctx.ask`: an answer that a program reads is whole or none, and does not fill the log."""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest

from taskerman import CommandFailed
from taskerman.runner.context import COMMAND_TAIL_BYTES, Context


def context() -> Context:
    return Context(
        assignment={"task_id": "t-1"},
        attempt_id="t-1.i-1.1",
        node_id="i-1",
        cluster="demo:web",
        nodes=("i-1",),
        cap=1,
        boot_id="b",
        fence=1,
        args={},
        settings={},
        saved={},
        on_save=lambda values: None,
    )


def printing(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_an_answer_that_is_longer_than_a_commands_tail_is_read_whole() -> None:
    lines = COMMAND_TAIL_BYTES // 4
    answer = context().ask(printing(f"[print('line', i) for i in range({lines})]"))
    assert answer.output.splitlines() == [f"line {i}" for i in range(lines)]


def test_a_line_of_an_answer_is_not_cut() -> None:
    assert context().ask(printing("print('x' * 5000)")).output == "x" * 5000 + "\n"


def test_an_answer_is_not_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    context().ask(printing("print('a' + 'nswer')"))
    assert "answer" not in capfd.readouterr().out.replace("'a' + 'nswer'", "")


def test_any_exit_is_an_answer() -> None:
    answer = context().ask(printing("import sys; print('no', file=sys.stderr); sys.exit(3)"))
    assert (answer.exit, answer.output) == (3, "no\n")


def test_more_than_is_read_is_no_answer() -> None:
    with pytest.raises(CommandFailed, match=r"printed 100,001 bytes; at most 1,000"):
        context().ask(printing("print('x' * 100_000)"), most_bytes=1000)


def test_one_that_hangs_or_is_not_there_is_no_answer() -> None:
    with pytest.raises(CommandFailed, match=r"took longer than 0\.2 s"):
        context().ask(printing("import time; time.sleep(60)"), timeout=timedelta(seconds=0.2))
    with pytest.raises(CommandFailed, match="cannot be started"):
        context().ask(["/nonexistent/nodetool"])
