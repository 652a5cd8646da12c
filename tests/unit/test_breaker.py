"""The breaker promises: failures in a row open it, one probe closes it, and an ordinary success costs nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskerman.model.breaker import ClusterRecord
from taskerman.model.outcome import Outcome
from taskerman.policy.breaker import BreakerLimits, BreakerTurn, after_end, claimed, given_back, reset, turned

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMITS = BreakerLimits()
FAILURES = (Outcome.FAILED, Outcome.UNSAFE, Outcome.LOST)
NEUTRAL = (Outcome.SKIPPED, Outcome.DEFERRED, Outcome.CANCELLED)


def ended(
    record: ClusterRecord,
    outcome: Outcome,
    node: str = "n0",
    *,
    task: str = "t",
    now: datetime = NOW,
    limits: BreakerLimits = LIMITS,
) -> ClusterRecord:
    """The record after an attempt of that node ended so."""
    return after_end(record, attempt=f"{task}.{node}.1", task=task, node=node, outcome=outcome, now=now, limits=limits)


def failing(*nodes: str) -> ClusterRecord:
    """The record after these failed, one after the other."""
    record = ClusterRecord(size=9)
    for node in nodes:
        record = ended(record, Outcome.FAILED, node)
    return record


OPEN = failing("n1", "n2", "n3")


@pytest.mark.parametrize("outcome", FAILURES)
def test_the_third_failure_in_a_row_opens_it_for_the_cool_down(outcome: Outcome) -> None:
    two = failing("n1", "n2")
    assert two.open_until is None
    three = ended(two, outcome, "n3")
    assert three.open_until == NOW + timedelta(minutes=15)
    assert [(failure.node, failure.outcome) for failure in three.recent] == [
        ("n1", Outcome.FAILED),
        ("n2", Outcome.FAILED),
        ("n3", outcome),
    ]


def test_failures_of_several_tasks_are_in_one_row() -> None:
    record = ended(ended(failing("n1"), Outcome.FAILED, "n1", task="u"), Outcome.FAILED, "n1", task="v")
    assert record.open_until is not None


def test_a_node_that_is_tried_again_and_again_is_one_failure() -> None:
    record = failing("n1", "n1", "n1", "n2", "n1")
    assert [failure.node for failure in record.recent] == ["n2", "n1"]
    assert record.open_until is None


def test_a_success_in_between_begins_the_row_anew_and_the_size_is_kept() -> None:
    assert ended(failing("n1", "n2"), Outcome.SUCCEEDED, "n3") == ClusterRecord(size=9)


def test_an_ordinary_success_has_nothing_to_note() -> None:
    record = ClusterRecord(size=9)
    assert ended(record, Outcome.SUCCEEDED) is record


@pytest.mark.parametrize("outcome", NEUTRAL)
@pytest.mark.parametrize("record", [ClusterRecord(), failing("n1", "n2"), OPEN], ids=["well", "failing", "open"])
def test_what_says_nothing_about_the_cluster_changes_nothing(outcome: Outcome, record: ClusterRecord) -> None:
    assert ended(record, outcome) is record


def test_the_probe_that_succeeds_closes_it() -> None:
    assert ended(claimed(OPEN, "t.n0.1"), Outcome.SUCCEEDED) == ClusterRecord(size=9)


@pytest.mark.parametrize("outcome", FAILURES)
def test_the_probe_that_fails_opens_it_again_for_another_cool_down(outcome: Outcome) -> None:
    later = NOW + timedelta(hours=1)
    record = ended(claimed(OPEN, "t.n0.1"), outcome, now=later)
    assert (record.open_until, record.probe) == (later + LIMITS.cool_down, None)
    assert record.recent[-1].node == "n0"


@pytest.mark.parametrize("outcome", NEUTRAL)
def test_the_probe_that_says_nothing_gives_the_place_back(outcome: Outcome) -> None:
    assert ended(claimed(OPEN, "t.n0.1"), outcome) == OPEN


def test_what_began_before_it_opened_does_not_close_it_and_its_failure_starts_the_cool_down_again() -> None:
    probed = claimed(OPEN, "t.n0.1")
    assert ended(OPEN, Outcome.SUCCEEDED, "n9") is OPEN
    assert ended(probed, Outcome.SUCCEEDED, "n9") is probed
    later = NOW + timedelta(minutes=5)
    record = ended(probed, Outcome.FAILED, "n9", now=later)
    assert (record.open_until, record.probe) == (later + LIMITS.cool_down, "t.n0.1")


def test_a_probe_is_claimed_of_an_open_breaker_only_and_given_back_by_itself_only() -> None:
    well = ClusterRecord(size=9)
    assert claimed(well, "t.n0.1") is well
    probed = claimed(OPEN, "t.n0.1")
    assert probed.probe == "t.n0.1"
    assert given_back(probed, "t.n0.2") is probed
    assert given_back(probed, "t.n0.1") == OPEN


def test_a_reset_forgets_all_but_the_size() -> None:
    assert reset(claimed(OPEN, "t.n0.1")) == ClusterRecord(size=9)


def test_without_a_threshold_it_never_opens_and_still_lists_what_failed() -> None:
    off = BreakerLimits(failures=0)
    record = ClusterRecord()
    for node in range(30):
        record = ended(record, Outcome.FAILED, f"n{node}", limits=off)
    assert record.open_until is None
    assert [failure.node for failure in record.recent] == [f"n{node}" for node in range(10, 30)]


steps = st.lists(
    st.tuples(st.sampled_from(["n0", "n1", "n2", "n3"]), st.sampled_from([*FAILURES, *NEUTRAL, Outcome.SUCCEEDED])),
    max_size=30,
)


@given(steps=steps, claim=st.sets(st.integers(0, 29)))
def test_whatever_happens_an_open_one_remembers_why_and_a_closed_one_has_no_probe(
    steps: list[tuple[str, Outcome]], claim: set[int]
) -> None:
    record = ClusterRecord(size=9)
    for index, (node, outcome) in enumerate(steps):
        if index in claim and record.probe is None:
            record = claimed(record, f"t.{node}.1")
        record = ended(record, outcome, node)
        assert record.size == 9
        if record.open_until is None:
            assert record.probe is None
            assert len(record.recent) < LIMITS.failures
        else:
            assert len(record.recent) >= LIMITS.failures


# --- for those who watch ---------------------------------------------------------------------------------


def turn(before: ClusterRecord, after: ClusterRecord) -> BreakerTurn | None:
    return turned("demo:web", before, after)


def test_who_watches_is_told_when_it_opens_and_not_of_each_failure_before_and_after() -> None:
    two = failing("n1", "n2")
    three = ended(two, Outcome.FAILED, "n3")
    assert turn(failing("n1"), two) is None
    assert turn(two, three) == BreakerTurn("demo:web", 3, NOW + LIMITS.cool_down)
    assert turn(three, ended(three, Outcome.FAILED, "n4", now=NOW + timedelta(minutes=1))) is None


def test_who_watches_is_told_that_the_probe_failed_or_closed_it_and_nothing_when_it_said_nothing() -> None:
    probed = claimed(OPEN, "t.n0.1")
    later = NOW + timedelta(hours=1)
    again = turn(probed, ended(probed, Outcome.FAILED, now=later))
    assert again == BreakerTurn("demo:web", len(OPEN.recent) + 1, later + LIMITS.cool_down)
    assert turn(probed, ended(probed, Outcome.SUCCEEDED)) == BreakerTurn("demo:web", len(OPEN.recent), None)
    assert turn(probed, ended(probed, Outcome.DEFERRED)) is None
    assert turn(probed, ended(probed, Outcome.FAILED, "n9", now=later)) is None
