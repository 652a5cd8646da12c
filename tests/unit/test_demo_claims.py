"""What the demo claims is measured: the prober's facts decide, and each claim fails when it is not so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from taskerman.demo.claims import NotSo, check_rolling, check_untouched
from taskerman.demo.facts import Facts, Interval, most_at_once

A, B, C = "i-a", "i-b", "i-c"


def up(node: str, at: float) -> dict[str, Any]:
    return {"fact": "up", "node": node, "at": at}


def down(node: str, at: float) -> dict[str, Any]:
    return {"fact": "down", "node": node, "at": at}


def seen(node: str, at: float, pid: int) -> dict[str, Any]:
    return {"fact": "seen", "node": node, "at": at, "pid": pid, "started": at}


def restarted(node: str, begin: float, end: float, pid: int) -> list[dict[str, Any]]:
    return [down(node, begin), seen(node, end, pid), up(node, end)]


def facts(*lines: dict[str, Any]) -> Facts:
    first = [line for node, pid in ((A, 1), (B, 2), (C, 3)) for line in (seen(node, 0, pid), up(node, 0))]
    return Facts((*first, *sorted(lines, key=lambda line: line["at"])))


ROLLED = (*restarted(A, 10, 12, 11), *restarted(B, 11, 13, 12), *restarted(C, 13, 15, 13))


def test_overlaps_are_counted_at_the_worst_moment() -> None:
    assert most_at_once([]) == 0
    assert most_at_once([Interval(0, 9), Interval(1, 3), Interval(2, 4), Interval(5, 6)]) == 3


def test_one_that_ends_as_another_begins_does_not_overlap_it() -> None:
    assert most_at_once([Interval(0, 1), Interval(1, 2)]) == 1


def test_a_rolling_restart_that_was_one_passes() -> None:
    check_rolling(facts(*ROLLED), [A, B, C], 5, 20, 2)


def test_one_more_down_than_allowed_is_not_so() -> None:
    with pytest.raises(NotSo, match="2 of 3 nodes were down at once; 1 were allowed"):
        check_rolling(facts(*ROLLED), [A, B, C], 5, 20, 1)


def test_a_node_that_was_restarted_twice_is_not_so() -> None:
    with pytest.raises(NotSo, match="i-c was restarted 2 times"):
        check_rolling(facts(*ROLLED, *restarted(C, 16, 17, 14)), [A, B, C], 5, 20, 2)


def test_a_node_that_was_not_restarted_is_not_so() -> None:
    with pytest.raises(NotSo, match="i-c was restarted 0 times"):
        check_rolling(facts(*ROLLED[:6]), [A, B, C], 5, 20, 2)


def test_a_prober_that_saw_nothing_down_proves_nothing() -> None:
    with pytest.raises(NotSo, match="never saw i-a down"):
        check_rolling(facts(seen(A, 11, 11)), [A], 5, 20, 2)


def test_a_node_that_did_not_come_back_is_not_so() -> None:
    with pytest.raises(NotSo, match="i-a is still down"):
        check_rolling(facts(down(A, 10), seen(A, 11, 11)), [A], 5, 20, 2)


def test_who_was_left_alone_is_the_same_process_and_never_down() -> None:
    before = {A: (1, 0)}
    check_untouched(facts(), [A], before, 5, 20)
    with pytest.raises(NotSo, match="i-a was restarted"):
        check_untouched(facts(seen(A, 11, 11)), [A], before, 5, 20)
    with pytest.raises(NotSo, match="i-a was down"):
        check_untouched(facts(down(A, 11), up(A, 12)), [A], before, 5, 20)


def test_what_was_before_and_after_does_not_count() -> None:
    found = facts(*restarted(A, 1, 2, 11), *restarted(A, 10, 12, 12), *restarted(A, 30, 31, 13))
    check_rolling(found, [A], 5, 20, 1)
    assert found.down(A, 11, 11.5) == (Interval(11, 11.5),)


def test_probes_are_counted_between_two_moments() -> None:
    counts = [{"fact": "count", "at": at, "probes": at * 100, "longest_gap_s": at / 100} for at in range(1, 9)]
    found = Facts(tuple(counts))
    assert found.probes(3.5, 6.5) == 300
    assert found.longest_gap_s() == 0.08


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "facts"
    assert Facts.read(path).lines == ()
    path.write_text(json.dumps(up(A, 1)) + "\n" + '{"fact": "do')
    assert Facts.read(path).known() == {A}
