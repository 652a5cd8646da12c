"""The witness counts right: what its verdicts are made of, without a cluster."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from tests.support import witness

HOUR = 3600.0


def line(node: str, event: str, at: float) -> dict[str, object]:
    return {"node": node, "event": event, "pid": 1, "at": at}


def test_it_imports_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(witness.__file__).read_text(encoding="utf-8"))
    plain = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    named = {n.module or "." for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in plain | named} <= sys.stdlib_module_names


def test_outages_that_overlap_for_a_moment_count_together() -> None:
    spans = {"a": [(1.0, 2.0), (5.0, 6.0)], "b": [(1.9, 3.0)], "c": [(2.5, 4.0)]}
    assert witness.most_at_once(spans) == (2, ["a", "b"])


def test_outages_one_after_another_do_not_count_together() -> None:
    assert witness.most_at_once({"a": [(1.0, 2.0)], "b": [(2.1, 3.0)]})[0] == 1
    assert witness.most_at_once({})[0] == 0


def test_an_outage_that_ends_as_another_begins_overlaps() -> None:
    """In doubt the witness accuses."""
    assert witness.most_at_once({"a": [(1.0, 2.0)], "b": [(2.0, 3.0)]})[0] == 2


def test_lines_become_outages_and_an_open_one_lasts_until_now() -> None:
    lines = [line("a", "up", 1), line("a", "down", 5), line("a", "up", 6), line("b", "up", 1), line("b", "down", 7)]
    assert witness.outages_by_lines(lines, since=0, until=9) == {"a": [(5, 6)], "b": [(7, 9)]}


def test_what_was_down_before_the_watch_counts_from_its_beginning() -> None:
    lines = [line("a", "up", 1), line("a", "down", 2), line("b", "down", 1), line("b", "up", 3)]
    assert witness.outages_by_lines(lines, since=5, until=9) == {"a": [(5, 9)], "b": []}


def test_a_restart_is_counted_and_a_first_start_is_not() -> None:
    lines = [line("a", "up", 1), line("a", "down", 2), line("a", "up", 3), line("a", "down", 4), line("a", "up", 5)]
    assert witness.starts_by_lines([*lines, line("b", "up", 6)], since=0) == {"a": 2, "b": 0}
    assert witness.starts_by_lines(lines, since=4)["a"] == 1


def test_slots_are_those_of_redis() -> None:
    """CRC16's published check value, and the examples of the cluster specification."""
    assert witness.slot_of("123456789") == 0x31C3
    assert witness.slot_of("foo") == 12182


def test_the_whole_key_space_is_watched() -> None:
    slots = sorted(witness.watched_keys())
    part = witness.SLOTS // witness.WATCHED_SLOTS
    assert [slot // part for slot in slots] == list(range(witness.WATCHED_SLOTS))
