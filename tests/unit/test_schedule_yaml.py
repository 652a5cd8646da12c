"""YAML is read as JSON reads scalars, and what readers of YAML disagree about is refused, by its line.

Everything is asked of both parsers: which one a machine has must not change what a file says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from taskerman.adapters.schedules import composing
from taskerman.adapters.schedules.composing import MAX_FILE_BYTES, Plain, PythonComposer, Unreadable, compose

Read = Callable[[str], Any]


@pytest.fixture(params=["as installed", "without libyaml"])
def read(request: pytest.FixtureRequest) -> Read:
    """The value of a text, or what is wrong with it as (line, way, reason)."""

    def reading(text: str) -> Any:
        faults: list[tuple[int, str, str]] = []
        composer = PythonComposer if request.param == "without libyaml" else None
        node = compose(text, composer)
        if node is None:
            return None
        value = Plain(lambda way, line, reason: faults.append((line, ".".join(map(str, way)), reason))).value(node)
        return faults or value

    return reading


def test_libyaml_is_what_is_installed_here() -> None:
    """Else the two parameters of this file would be one."""
    assert composing._composer is not PythonComposer


@pytest.mark.parametrize(
    "text",
    ["22:00", "2026-01-31", "2026-01-31T02:00:00Z", "yes", "no", "on", "off", "True", "FALSE", "NULL", "010", "0x1f",
     "0o17", "1_000", "1:30:00", ".5", "+5", "5.", ".inf", ".nan", "1e", "1.2.3"],
)  # fmt: skip
def test_what_json_would_not_read_as_something_else_is_text(read: Read, text: str) -> None:
    assert read(f"a: {text}") == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("false", False), ("null", None), ("~", None), ("", None), ("0", 0), ("-5", -5), ("1.5", 1.5),
     ("1e3", 1000.0), ("-0.25", -0.25), ("'true'", "true"), ('"5"', "5"), ("'~'", "~"), ("''", "")],
)  # fmt: skip
def test_what_json_reads_is_read_so_unless_it_is_quoted(read: Read, text: str, value: object) -> None:
    assert read(f"a: {text}") == {"a": value}
    assert type(read(f"a: {text}")["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: [1\nc: 2", 3, "not YAML"),
        ("a: 1\n b: 2", 2, "not YAML"),
        ("a: 1\nb: *nobody", 2, "undefined alias"),
        ("a: 1\n---\nb: 1", 2, "second document"),
        ("a: 1\nb: \x07", 2, "U+0007"),
        ("a: 1\nb: &x [*x]", 2, "within what it stands for"),
        ("a: 1\nb: " + "[" * 100_000, 2, "nested too deeply"),
        ("a: 1\nb: " + "{a: " * 100_000, 2, "nested too deeply"),
        ("- " * 100_000, 1, "nested too deeply"),
    ],
)
def test_what_is_not_read_at_all_is_told_by_its_line(read: Read, text: str, line: int, says: str) -> None:
    with pytest.raises(Unreadable, match=says.replace("+", r"\+")) as raised:
        read(text)
    assert raised.value.line == line


@pytest.mark.parametrize(
    ("text", "line", "way", "says"),
    [
        ("a:\n  b: 1\n  c: 2\n  b: 3", 4, "a.b", "stands twice; it is in line 2 too"),
        ("a:\n  - b: 1\n    b: 1", 3, "a.0.b", "stands twice"),
        ("a: 1\nb: !!str 5", 2, "b", "tag"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", 2, "b", "tag"),
        ("a: 1\nb: !mine {c: 1}", 2, "b", "tag"),
        ("a: 1\n[b]: 2", 2, "", "a key is a plain text"),
        ("a: &x {b: 1}\nc:\n  <<: *x", 3, "c.<<", "merge keys"),
        ("a: 1\nb: 1e999", 2, "b", "too large"),
        (f"a: 1\nb: {'9' * 5000}", 2, "b", "too long"),
    ],
)
def test_what_readers_disagree_about_is_refused_by_its_line(
    read: Read, text: str, line: int, way: str, says: str
) -> None:
    ((told_line, told_way, reason),) = read(text)
    assert (told_line, told_way) == (line, way)
    assert says in reason


def test_aliases_are_read(read: Read) -> None:
    assert read("a: &x {b: [1]}\nc: *x") == {"a": {"b": [1]}, "c": {"b": [1]}}


@pytest.mark.parametrize("of", ["x", "a long text " * 1000])
def test_aliases_are_not_written_out_without_end(read: Read, of: str) -> None:
    """Neither many values nor few long ones: the laugh has a limit, and it is met before memory is."""
    lines = [f"a0: &a0 ['{of}']"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(Unreadable, match="aliases written out"):
        read("\n".join(lines))


def test_a_long_text_counts_by_its_length(read: Read) -> None:
    many = ", ".join(["*x"] * 10)
    assert len(read(f"a: &x '{'y' * 1_000_000}'\nb: [{many}]")["b"]) == 10
    with pytest.raises(Unreadable, match="aliases written out"):
        read(f"a: &x '{'y' * 2_000_000}'\nb: [{many}]")


def test_the_largest_ordinary_file_is_within_the_limit(read: Read) -> None:
    """What the limit counts is ten times what a file of schedules has a byte."""
    lines = ["a:"] + ["  - {name: some-schedule, description: a text of some length}"] * 5000
    text = "\n".join(lines)
    share = len(text) / MAX_FILE_BYTES
    counted: list[int] = []
    plain = Plain(lambda way, line, reason: None)
    node = compose(text)
    assert node is not None
    before = plain._left
    plain.value(node)
    counted.append(before - plain._left)
    assert counted[0] < before * share
    assert len(read(text)["a"]) == 5000


def test_keys_are_texts_whatever_they_look_like(read: Read) -> None:
    assert read("true: 1\n5: 2\non: 3") == {"true": 1, "5": 2, "on": 3}
    assert json.dumps(read("5: 2")) == '{"5": 2}'
