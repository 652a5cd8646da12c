"""The guard on discovery promises: a cluster that jumped is looked at by a person, and a normal evening is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskerman.policy.guards import SizeGuard, suspicion

GUARD = SizeGuard()


@pytest.mark.parametrize(
    ("known", "discovered", "suspicious"),
    [
        (100, 50, False),
        (100, 49, True),
        (100, 200, False),
        (100, 201, True),
        (5, 2, False),  # three nodes of five: an evening
        (7, 3, True),
        (8, 3, True),
        (2, 5, False),
        (2, 6, True),
        (1, 4, False),
        (12, 12, False),
        (4, 1, False),
        (None, 1, False),
        (None, 10_000, False),
    ],
)
def test_a_jump_is_below_half_or_above_double_and_by_more_than_three_nodes(
    known: int | None, discovered: int, suspicious: bool
) -> None:
    assert (suspicion(known, discovered, GUARD) is not None) == suspicious


def test_the_reason_names_both_sizes_and_the_threshold() -> None:
    assert suspicion(300, 12, GUARD) == "discovery found 12 nodes where 300 were known, fewer than 50%"
    assert suspicion(12, 300, GUARD) == "discovery found 300 nodes where 12 were known, more than 200%"


def test_thresholds_are_settings() -> None:
    assert suspicion(100, 89, SizeGuard(below_percent=90, nodes=0)) is not None
    assert suspicion(100, 10, SizeGuard(below_percent=0)) is None
    assert suspicion(3, 5, SizeGuard(above_percent=150, nodes=1)) is not None


@given(known=st.integers(1, 10_000), discovered=st.integers(1, 10_000), more=st.integers(0, 100))
def test_who_is_nearer_to_the_known_size_is_never_more_suspicious(known: int, discovered: int, more: int) -> None:
    further = discovered - more if discovered < known else discovered + more
    if suspicion(known, discovered, GUARD) is not None and further >= 0:
        assert suspicion(known, further, GUARD) is not None
