"""Patience: it grows with how many are ahead, and starts anew whenever something happens."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from taskerman.policy.patience import A_PLACE, Still, be_patient
from tests.unit.test_admission import FREE, NOW, clusters, hold, slot

SAME = (("demo:web", 3, 7),)


def look(
    still: Still | None, at: float, *, place: int = 1, versions: tuple[tuple[str, int, int], ...] = SAME
) -> Still | None:
    """One look of a node behind others."""
    return be_patient(still, replace(FREE, place=place), versions, NOW, at, drains=False, a_place=A_PLACE)


@given(place=st.integers(1, 50), start=st.floats(0, 1e6), looks=st.lists(st.floats(0, 1e4), max_size=5))
def test_it_waits_thirty_seconds_for_each_ahead_since_the_first_look(
    place: int, start: float, looks: list[float]
) -> None:
    still = look(None, start, place=place)
    for after in sorted(looks):
        still = look(still, start + after, place=place)
    assert still is not None
    assert (still.since, still.over_at) == (start, start + 30 * place)


def test_whatever_is_taken_or_freed_starts_it_anew() -> None:
    first = look(None, 0.0)
    for changed in ((("demo:web", 4, 7),), (("demo:web", 3, 8),)):
        again = look(first, 20.0, versions=changed)
        assert again is not None
        assert again.since == 20.0


def test_it_is_not_patience_that_opens_gates_or_makes_room() -> None:
    for other in (
        replace(FREE, place=1, holds=(hold("*"),)),
        replace(FREE, place=1, clusters=clusters(slot("n1", 1))),
    ):
        assert be_patient(None, other, SAME, NOW, 0.0, drains=False, a_place=A_PLACE) is None
    assert be_patient(None, replace(FREE, place=1), SAME, NOW, 0.0, drains=True, a_place=A_PLACE) is None


def test_its_length_is_a_setting() -> None:
    still = be_patient(None, replace(FREE, place=2), SAME, NOW, 5.0, drains=False, a_place=timedelta(seconds=1))
    assert still is not None
    assert still.over_at == 7.0
