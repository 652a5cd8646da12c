"""The values that runners answer with, and the text that people are shown."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import taskerman
from taskerman.runner import Check, CommandResult, Go, Refuse, Skip, Wait, check_from_json, check_to_json
from taskerman.runner.context import text_tail

TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
CHECKS = st.one_of(
    st.just(Go()),
    st.builds(Wait, st.text(), st.none() | TIMES, st.sampled_from(["node", "cluster"])),
    st.builds(Refuse, st.text()),
    st.builds(Skip, st.text()),
)


@given(CHECKS)
def test_a_check_comes_back_from_json_as_it_was(check: Check) -> None:
    assert check_from_json(check_to_json(check)) == check


def test_a_wait_is_written_with_its_time_in_utc() -> None:
    until = datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1)))
    said = {"kind": "wait", "reason": "repair", "until": "2026-01-31T12:00:00Z", "of": "cluster"}
    assert check_to_json(Wait("repair", until, of="cluster")) == said


def test_a_time_without_a_zone_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        Wait("later", until=datetime(2026, 1, 31))  # noqa: DTZ001


def test_a_wait_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="'rack'"):
        Wait("later", of="rack")  # type: ignore[arg-type]


@pytest.mark.parametrize("nonsense", [{}, {"kind": "maybe"}, {"kind": None}])
def test_what_is_no_check_is_refused_by_name(nonsense: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no kind of check"):
        check_from_json(nonsense)


@pytest.mark.parametrize("nonsense", [None, True, "go", Go])
def test_what_a_runner_must_not_answer_is_not_written(nonsense: object) -> None:
    with pytest.raises(TypeError, match="is not Go, Wait, Refuse or Skip"):
        check_to_json(nonsense)  # type: ignore[arg-type]


def test_checks_are_values() -> None:
    assert Refuse("x") == Refuse("x")
    assert Refuse("x") != Skip("x")
    assert len({Wait("x"), Wait("x"), Wait("y"), Go(), Go()}) == 3
    assert repr(Wait("x")) == "Wait(reason='x', until=None, of='node')"
    assert pickle.loads(pickle.dumps(Wait("x", of="cluster"))) == Wait("x", of="cluster")
    with pytest.raises(AttributeError, match="is a value"):
        Wait("x").reason = "y"
    match CommandResult(["ls"], 0, "a"):
        case CommandResult(argv, exit, output):
            assert (argv, exit, output) == (("ls",), 0, "a")


def test_every_public_name_is_there_and_importing_the_package_costs_nothing() -> None:
    for name in taskerman.__all__:
        assert getattr(taskerman, name).__module__.startswith("taskerman.runner") or name == "Check"
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        taskerman.Nonsense  # type: ignore[attr-defined]  # noqa: B018
    look = "import sys; before = set(sys.modules); import taskerman; print(sorted(set(sys.modules) - before))"
    seen = subprocess.run([sys.executable, "-c", look], capture_output=True, check=True, text=True).stdout
    assert seen == "['__future__', 'taskerman']\n"


def test_a_child_imports_nothing_expensive() -> None:
    """Every attempt pays for these again, so a new one in this list must be worth it."""
    look = "import sys, taskerman.child.keeper; print(*sys.modules)"
    seen = subprocess.run([sys.executable, "-c", look], capture_output=True, check=True, text=True).stdout.split()
    assert not {"pydantic", "dataclasses", "typing", "datetime", "inspect", "subprocess", "boto3", "kazoo"} & set(seen)


@given(st.binary(max_size=3000), st.integers(64, 1000), st.integers(10, 200), st.booleans())
@example(b"\x00" * 10 + b"\x0b ", 64, 10, False)
def test_a_tail_fits_is_safe_to_print_and_ends_as_the_output_did(
    raw: bytes, most: int, longest: int, cut: bool
) -> None:
    tail = text_tail(raw, most, longest_line=longest, cut=cut)
    lines = tail.split("\n")
    assert len(tail.encode()) <= max(most, 3 * (longest + 2))
    assert all(len(line) <= longest + 1 for line in lines)
    assert not any(ord(character) < 32 and character not in "\t\n" for character in tail)
    # Only newlines: a vertical tab ends a line for `splitlines`, and is a control character to replace for the tail.
    whole = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode(errors="replace").removesuffix("\n").split("\n")
    if whole[-1].isascii() and whole[-1].isprintable() and 0 < len(whole[-1]) < min(longest, most // 2):
        assert lines[-1].endswith(whole[-1])


def test_a_tail_has_whole_lines_and_says_where_one_was_cut() -> None:
    assert text_tail(b"one\ntwo\nthree\n", 10) == "three"
    assert text_tail(b"x" * 50, 20, longest_line=10) == "…" + "x" * 10
    assert text_tail(b"a\xffb\x1b[2J\r\nnext", 100) == "a�b�[2J\nnext"
