"""A program whose output is content counts when it ended well, and never goes on without us."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runners.piped import Failed, Piped
from taskerman import TaskRunner
from taskerman.testing.harness import RunnerHarness


class Nothing(TaskRunner):
    def pre_check(self) -> Any: ...

    def execute_action(self) -> None: ...

    def post_check(self) -> Any: ...


def piped(code: str, harness: RunnerHarness[Any] | None = None, **more: Any) -> Piped:
    made = harness or RunnerHarness(Nothing)
    return Piped(made.runner().ctx, [sys.executable, "-c", code], **more)


def test_all_of_its_output_comes_and_what_it_says_is_in_the_log() -> None:
    harness = RunnerHarness(Nothing)
    code = "import sys; print('on its way', file=sys.stderr); sys.stdout.buffer.write(bytes(range(256)) * 9000)"
    with piped(code, harness) as program:
        assert b"".join(program.chunks()) == bytes(range(256)) * 9000
    assert list(program.said) == ["on its way"]
    assert "on its way" in [line.message for line in harness.logged]


def test_one_that_ends_badly_fails_after_its_last_byte() -> None:
    with piped("import os, sys; os.write(1, b'half'); sys.exit('disk is gone')") as program:
        chunks = program.chunks()
        assert next(chunks) == b"half"
        with pytest.raises(Failed, match="exit 1; disk is gone"):
            next(chunks)


def test_one_that_is_killed_fails() -> None:
    with (
        piped("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") as program,
        pytest.raises(Failed, match="ended by signal 9; it said nothing"),
    ):
        list(program.chunks())


def test_one_that_is_not_there_fails() -> None:
    with (
        pytest.raises(Failed, match="cannot be started: No such file"),
        Piped(RunnerHarness(Nothing).runner().ctx, ["/x"]),
    ):
        pass


def test_whoever_stops_reading_leaves_nothing_that_runs(tmp_path: Path) -> None:
    """Neither the program nor the child that it has: both hold the same pipe, which ends when the last of them has."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = (
        f"import os, subprocess, sys, time; held = open({str(pipe)!r}, 'wb')\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], pass_fds=[held.fileno()])\n"
        "os.write(1, b'both run'); time.sleep(60)\n"
    )
    with ExitStack() as stack:
        with piped(code) as program:
            end = stack.enter_context(pipe.open("rb"))
            assert next(program.chunks()) == b"both run"
        assert end.read() == b"", "and that does not take a minute"


def test_it_gets_what_it_is_given_and_no_identity_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    code = "import os; print(os.environ.get('SECRET'), [name for name in os.environ if name.startswith('AWS_')])"
    with piped(code, env={"SECRET": "word"}) as program:
        assert b"".join(program.chunks()) == b"word []\n"
