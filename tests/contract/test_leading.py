"""Who leads, in memory and on a real ZooKeeper: one at a time, and the next one when it is gone."""

from __future__ import annotations

from datetime import UTC, datetime

from taskerman.coordination import layout
from taskerman.coordination.leading import Leadership
from taskerman.errors import CoordinationUnavailable
from taskerman.testing.tree import LostAnswer
from tests.contract.test_coordination import EVERY_LOSS
from tests.support.tree_ground import Ground, ground
from tests.support.waiting import until

__all__ = ["ground"]

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_one_leads_and_the_others_stand_by_until_it_resigns(ground: Ground) -> None:
    first, second = Leadership(ground.open(), "janitor", "one"), Leadership(ground.open(), "janitor", "two")
    led = first.seek(NOW)
    assert led is not None
    assert second.seek(NOW) is None
    again = first.seek(NOW)
    assert again is not None
    assert again.term == led.term
    first.resign()
    first.resign()
    assert second.seek(NOW) is not None
    assert first.seek(NOW) is None


def test_another_role_has_another_leader(ground: Ground) -> None:
    first, second = Leadership(ground.open(), "janitor", "one"), Leadership(ground.open(), "scheduler", "two")
    assert first.seek(NOW) is not None
    assert second.seek(NOW) is not None


def test_a_leader_learns_the_time_of_the_tree(ground: Ground) -> None:
    led = Leadership(ground.open(), "janitor", "one").seek(NOW)
    assert led is not None
    assert abs((datetime.now(UTC) - led.tree_time).total_seconds()) < 30


def test_who_lost_its_session_leads_no_more_and_begins_a_new_term_when_it_leads_again(ground: Ground) -> None:
    tree, other = ground.open(), ground.open()
    first, second = Leadership(tree, "janitor", "one"), Leadership(other, "janitor", "two")
    led = first.seek(NOW)
    assert led is not None
    ground.expire(tree)
    until(lambda: second.seek(NOW) is not None, "the second leads")
    assert first.seek(NOW) is None
    second.resign()
    again = first.seek(NOW)
    assert again is not None
    assert again.term > led.term


def test_who_is_cut_off_does_not_lead(ground: Ground) -> None:
    tree = ground.open()
    first = Leadership(tree, "janitor", "one")
    assert first.seek(NOW) is not None
    ground.cut(tree)
    try:
        led = first.seek(NOW)
    except CoordinationUnavailable:
        led = None
    assert led is None
    ground.heal(tree)
    assert first.seek(NOW) is not None


@EVERY_LOSS
def test_a_candidacy_without_an_answer_ends_in_one_leader(ground: Ground, became: LostAnswer) -> None:
    tree, other = ground.open(), ground.open()
    tree.ensure(layout.LEADERS)
    first, second = Leadership(tree, "janitor", "one"), Leadership(other, "janitor", "two")
    ground.lose_answer(tree, became)
    try:
        led = first.seek(NOW)
    except CoordinationUnavailable:
        led = None
    if became is LostAnswer.LATE:
        ground.deliver_late(tree)
    ground.heal(tree)
    led = led or first.seek(NOW)
    assert led is not None
    assert second.seek(NOW) is None
