"""The faults of queues that tests ask for happen, once each, and are the ones that were asked for."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from taskerman.adapters.clock import SystemClock
from taskerman.errors import QueuesUnavailable
from taskerman.ports.queue import Delivery, Letter
from taskerman.testing.clock import ManualClock
from taskerman.testing.queue_faults import FaultyQueues, QueueFaults
from taskerman.testing.queues import MemoryQueues

NOW = timedelta()
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def inner(clock: ManualClock) -> MemoryQueues:
    queues = MemoryQueues(clock)
    queues.ensure("q")
    return queues


@pytest.fixture
def queues(inner: MemoryQueues) -> FaultyQueues:
    return FaultyQueues(inner)


def receive(queues: FaultyQueues | MemoryQueues, most: int = 10) -> list[Delivery]:
    return list(queues.receive("q", wait=NOW, loan=MINUTE, most=most))


def bodies(deliveries: list[Delivery]) -> list[str]:
    return [delivery.body for delivery in deliveries]


def test_every_message_is_there_as_often_as_was_asked(queues: FaultyQueues, inner: MemoryQueues) -> None:
    queues.faults.copies = 2
    queues.send("q", "a")
    assert queues.send_each([Letter("q", "b")]) == ()
    assert inner.bodies("q") == ("a", "a", "b", "b")


def test_a_failed_send_stores_nothing_and_the_next_one_does(queues: FaultyQueues, inner: MemoryQueues) -> None:
    queues.faults.fail_sends = 1
    with pytest.raises(QueuesUnavailable):
        queues.send("q", "a")
    queues.send("q", "b")
    assert inner.bodies("q") == ("b",)


def test_a_send_whose_answer_is_lost_is_stored(queues: FaultyQueues, inner: MemoryQueues) -> None:
    queues.faults.lose_answers = 1
    with pytest.raises(QueuesUnavailable, match="answer was lost"):
        queues.send("q", "a")
    queues.send("q", "b")
    assert inner.bodies("q") == ("a", "b")


def test_letters_meet_the_faults_one_by_one(queues: FaultyQueues, inner: MemoryQueues) -> None:
    queues.faults = QueueFaults(fail_sends=1, lose_answers=1)
    letters = [Letter("q", "a"), Letter("q", "b"), Letter("q", "c"), Letter("none", "d")]
    assert [letter.body for letter in queues.send_each(letters)] == ["a", "b", "d"]
    assert inner.bodies("q") == ("b", "c")


def test_a_failed_receipt_lends_nothing(queues: FaultyQueues) -> None:
    queues.send("q", "a")
    queues.faults.fail_receives = 1
    with pytest.raises(QueuesUnavailable):
        receive(queues)
    (delivery,) = receive(queues)
    assert delivery.receive_count == 1


def test_a_lost_ack_looks_done_and_the_message_comes_back(queues: FaultyQueues, clock: ManualClock) -> None:
    queues.send("q", "a")
    queues.faults.lose_acks = 1
    receive(queues)[0].ack()
    clock.advance(MINUTE)
    (again,) = receive(queues)
    again.ack()
    clock.advance(MINUTE)
    assert receive(queues) == []


@pytest.mark.parametrize("fault", ["fail_acks", "fail_extends"])
def test_a_failed_settlement_says_so_and_does_nothing(queues: FaultyQueues, clock: ManualClock, fault: str) -> None:
    queues.send("q", "a")
    (delivery,) = receive(queues)
    setattr(queues.faults, fault, 1)
    settle: Callable[[], object] = delivery.ack if fault == "fail_acks" else lambda: delivery.extend(2 * MINUTE)
    with pytest.raises(QueuesUnavailable):
        settle()
    clock.advance(MINUTE)
    assert bodies(receive(queues)) == ["a"]


def test_a_refused_extension_is_an_answer_and_the_message_comes_back(queues: FaultyQueues, clock: ManualClock) -> None:
    queues.send("q", "a")
    (delivery,) = receive(queues)
    queues.faults.refuse_extends = 1
    assert not delivery.extend(2 * MINUTE)
    clock.advance(MINUTE)
    assert bodies(receive(queues)) == ["a"]


def test_a_late_message_comes_after_its_delay_and_only_then(queues: FaultyQueues, clock: ManualClock) -> None:
    queues.faults.late = timedelta(seconds=30)
    queues.send("q", "a")
    assert receive(queues) == []
    clock.advance(29)
    assert receive(queues) == []
    clock.advance(1)
    assert bodies(receive(queues)) == ["a"]


def test_shuffled_messages_all_come_in_an_order_that_the_dice_repeat(clock: ManualClock) -> None:
    def order(seed: int) -> list[str]:
        queues = FaultyQueues(MemoryQueues(clock), QueueFaults(shuffle=random.Random(seed)))
        queues.ensure("q")
        queues.send_each([Letter("q", str(n)) for n in range(8)])
        return [receive(queues, most=1)[0].body for _ in range(8)]

    sent = [str(n) for n in range(8)]
    assert sorted(order(1)) == sent
    assert order(1) == order(1)
    assert order(1) != sent


def test_what_no_fault_names_passes_through(queues: FaultyQueues, inner: MemoryQueues) -> None:
    queues.ensure("other", tags={"a": "b"})
    assert inner.tags("other") == {"a": "b"}
    assert queues.exists("other")
    queues.delete("other")
    assert inner.names() == ("q",)
    queues.send("q", "a")
    (delivery,) = receive(queues)
    assert (delivery.queue, delivery.body, delivery.receive_count) == ("q", "a", 1)
    assert delivery.extend(2 * MINUTE)
    delivery.requeue()
    assert queues.depth("q").visible == 1


# --- what the queues in memory do by themselves ----------------------------------------------------------


def test_a_stale_ack_may_be_made_to_do_nothing(clock: ManualClock) -> None:
    queues = MemoryQueues(clock, stale_acks_delete=False)
    queues.ensure("q")
    queues.send("q", "a")
    (first,) = receive(queues)
    clock.advance(MINUTE)
    (second,) = receive(queues)
    first.ack()
    assert queues.bodies("q") == ("a",)
    second.ack()
    assert queues.bodies("q") == ()


def test_an_expired_loan_cannot_be_extended_although_nobody_took_the_message(
    clock: ManualClock, inner: MemoryQueues
) -> None:
    inner.send("q", "a")
    (delivery,) = receive(inner)
    clock.advance(MINUTE)
    assert not delivery.extend(MINUTE)


def test_a_delivery_that_has_a_successor_cannot_be_extended(clock: ManualClock, inner: MemoryQueues) -> None:
    inner.send("q", "a")
    (first,) = receive(inner)
    clock.advance(MINUTE)
    (second,) = receive(inner)
    assert not first.extend(MINUTE)
    first.requeue()
    assert receive(inner) == [], "an old delivery gave back what another holds"
    assert second.extend(MINUTE)


def test_a_loan_ends_twelve_hours_after_the_receipt_however_often_it_is_extended(
    clock: ManualClock, inner: MemoryQueues
) -> None:
    inner.send("q", "a")
    (delivery,) = inner.receive("q", wait=NOW, loan=timedelta(hours=8))
    clock.advance(timedelta(hours=7))
    assert delivery.extend(timedelta(hours=5))
    assert not delivery.extend(timedelta(hours=5, seconds=1))


def test_under_a_manual_clock_an_empty_queue_answers_at_once(inner: MemoryQueues) -> None:
    assert inner.receive("q", wait=timedelta(seconds=20), loan=MINUTE) == ()


def test_under_a_real_clock_a_message_that_is_given_back_wakes_the_waiting() -> None:
    queues = MemoryQueues(SystemClock())
    queues.ensure("q")
    queues.send("q", "a")
    (delivery,) = receive(queues)
    got: list[Delivery] = []
    waiting = threading.Thread(
        target=lambda: got.extend(queues.receive("q", wait=timedelta(seconds=20), loan=MINUTE)), daemon=True
    )
    waiting.start()
    delivery.requeue()
    waiting.join(timeout=15)
    assert bodies(got) == ["a"]
