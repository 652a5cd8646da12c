"""The drawn timeline: one axis, one character a piece of time, and nothing that was down goes undrawn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskerman.demo.facts import Interval
from taskerman.demo.timeline import DOWN, DOWN_UNASKED, IDLE, MAINTENANCE, draw

SPAN = Interval(100, 110)


def test_maintenance_and_down_time_stand_on_one_axis() -> None:
    drawing = draw({"a": [Interval(101, 105)], "b": []}, {"a": [Interval(102, 104)]}, SPAN, 10)
    assert drawing.lines == {"a": "·─██─·····", "b": "··········"}
    assert drawing.at_once == "··11······"


def test_down_without_a_slot_is_drawn_as_what_it_is() -> None:
    drawing = draw({"a": []}, {"a": [Interval(102, 104)]}, SPAN, 10)
    assert drawing.lines["a"] == "··!!······"


def test_the_axis_tells_the_seconds() -> None:
    assert draw({"a": []}, {}, SPAN, 50).axis.split() == ["0", "2", "s", "4", "s", "6", "s", "8", "s"]


intervals = st.lists(
    st.tuples(st.floats(90, 120), st.floats(0, 10)).map(lambda pair: Interval(pair[0], pair[0] + pair[1])), max_size=4
)


@given(maintenance=intervals, down=intervals, width=st.integers(8, 200))
def test_every_line_is_as_wide_as_asked_and_the_count_is_of_what_stands_above(
    maintenance: list[Interval], down: list[Interval], width: int
) -> None:
    drawing = draw({"a": maintenance, "b": maintenance}, {"a": down}, SPAN, width)
    for line in (*drawing.lines.values(), drawing.at_once, drawing.axis):
        assert len(line) == width
    assert set(drawing.lines["b"]) <= {IDLE, MAINTENANCE}
    for cell, count in zip(drawing.lines["a"], drawing.at_once, strict=True):
        assert (cell in (DOWN, DOWN_UNASKED)) == (count != IDLE)
