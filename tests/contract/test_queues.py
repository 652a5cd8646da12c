"""What every `Queues` promises, asked of the one in memory and of SQS alike.

Where SQS leaves something open (order, how exact a count is, what an old receipt can still do) nothing is asked here.
Loans are whole seconds, because SQS's are; nothing waits longer than a loan of one or two.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from taskerman.adapters.aws import Aws
from taskerman.adapters.clock import SystemClock
from taskerman.adapters.sqs import SqsQueues
from taskerman.errors import Bug, NotFound
from taskerman.ports.queue import Delivery, Letter, Queues
from taskerman.testing.queue_faults import FaultyQueues
from taskerman.testing.queues import MemoryQueues
from tests.support.aws import unique

NOW = timedelta()
SECOND = timedelta(seconds=1)
LOAN = timedelta(seconds=30)
WAIT = timedelta(seconds=10)
PATIENT = timedelta(seconds=20)

MakeQueues = Callable[..., Queues]


@pytest.fixture(params=["memory", "faultless wrapper", pytest.param("sqs", marks=pytest.mark.real)])
def make(request: pytest.FixtureRequest) -> MakeQueues:
    """Makes the kind under test, with the constructor's arguments that both have."""

    def build(**arguments: object) -> Queues:
        if request.param == "sqs":
            aws: Aws = request.getfixturevalue("aws")
            return SqsQueues(aws, **arguments)  # type: ignore[arg-type]
        queues = MemoryQueues(SystemClock(), **arguments)  # type: ignore[arg-type]
        return queues if request.param == "memory" else FaultyQueues(queues)

    return build


@pytest.fixture
def queues(make: MakeQueues) -> Queues:
    return make()


@pytest.fixture
def queue(queues: Queues) -> Iterator[str]:
    name = unique("contract")
    queues.ensure(name)
    yield name
    queues.delete(name)


def one(queues: Queues, queue: str, *, loan: timedelta = LOAN, wait: timedelta = WAIT) -> Delivery:
    """The next delivery; it must come within `wait`."""
    (delivery,) = queues.receive(queue, wait=wait, loan=loan, most=1)
    return delivery


def none_left(queues: Queues, queue: str) -> bool:
    return not queues.receive(queue, wait=NOW, loan=LOAN)


# --- queues ----------------------------------------------------------------------------------------------


def test_a_queue_is_there_once_it_was_ensured_and_gone_once_it_was_deleted(queues: Queues) -> None:
    name = unique("contract")
    assert not queues.exists(name)
    queues.ensure(name, tags={"owner": "gsi"})
    assert queues.exists(name)
    queues.delete(name)
    assert not queues.exists(name)


def test_ensuring_again_keeps_what_is_in_the_queue(queues: Queues, queue: str) -> None:
    queues.send(queue, "kept")
    queues.ensure(queue, tags={"other": "tags"})
    assert one(queues, queue).body == "kept"


def test_deleting_a_queue_that_is_not_there_is_harmless(queues: Queues) -> None:
    queues.delete(unique("contract"))


def test_a_missing_queue_is_not_found_by_name(queues: Queues) -> None:
    name = unique("contract")
    for use in (
        lambda: queues.send(name, "x"),
        lambda: queues.receive(name, wait=NOW, loan=LOAN),
        lambda: queues.depth(name),
    ):
        with pytest.raises(NotFound, match=name):
            use()


def test_a_queue_deleted_behind_our_back_is_not_found_either(make: MakeQueues, queues: Queues, queue: str) -> None:
    queues.send(queue, "whoever remembers where a queue was must notice that it is gone")
    queues.delete(queue)
    with pytest.raises(NotFound, match=queue):
        queues.send(queue, "x")
    assert not queues.exists(queue)


# --- messages --------------------------------------------------------------------------------------------


def test_a_body_arrives_as_it_was_sent(queues: Queues, queue: str) -> None:
    body = '{"why": "Ünïcödé, \\"quotes\\", <tags> & ampersands", "tail": "one\\ntwo\\t"}\n'
    queues.send(queue, body)
    delivery = one(queues, queue)
    assert delivery.body == body
    assert delivery.queue == queue


def test_a_body_of_the_largest_document_arrives_whole(queues: Queues, queue: str) -> None:
    body = "x" * 64 * 1024
    queues.send(queue, body)
    assert one(queues, queue).body == body


@pytest.mark.parametrize("body", ["", "x" * 262_145, "bell \a", "last \uffff", "half \ud800"])
def test_what_can_never_be_a_message_is_a_bug_and_not_an_outage(queues: Queues, queue: str, body: str) -> None:
    with pytest.raises(Bug, match="message cannot have"):
        queues.send(queue, body)
    with pytest.raises(Bug, match="message cannot have"):
        queues.send_each([Letter(queue, "good"), Letter(queue, body)])
    assert none_left(queues, queue)


def test_an_empty_queue_answers_with_nothing_at_once_when_nobody_waits(queues: Queues, queue: str) -> None:
    assert queues.receive(queue, wait=NOW, loan=LOAN) == ()


def test_an_empty_queue_answers_with_nothing_when_the_wait_is_over(queues: Queues, queue: str) -> None:
    began = time.monotonic()
    assert queues.receive(queue, wait=SECOND, loan=LOAN) == ()
    assert time.monotonic() - began >= 0.9, "a wait that does not wait makes a busy loop of every daemon"


def test_a_message_wakes_the_one_who_waits_for_it(queues: Queues, queue: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(one, queues, queue, wait=PATIENT)
        queues.send(queue, "wake up")
        assert waiting.result().body == "wake up"
        assert time.monotonic() - began < PATIENT.total_seconds()


def test_a_receipt_takes_no_more_than_it_was_asked_for(queues: Queues, queue: str) -> None:
    queues.send_each([Letter(queue, str(n)) for n in range(5)])
    assert 1 <= len(queues.receive(queue, wait=WAIT, loan=LOAN, most=2)) <= 2


@pytest.mark.parametrize(("wait", "loan", "most"), [(21, 1, 1), (1, 43201, 1), (1, 1, 11), (1, 1, 0), (-1, 1, 1)])
def test_what_no_queue_can_do_is_a_mistake_of_the_caller(
    queues: Queues, queue: str, wait: int, loan: int, most: int
) -> None:
    with pytest.raises(ValueError, match="more than SQS can do"):
        queues.receive(queue, wait=timedelta(seconds=wait), loan=timedelta(seconds=loan), most=most)


def test_the_time_of_sending_is_the_same_on_every_delivery(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    first = one(queues, queue)
    first.requeue()
    second = one(queues, queue)
    assert first.sent_at == second.sent_at
    assert first.sent_at.tzinfo is not None
    assert abs(datetime.now(UTC) - first.sent_at) < timedelta(minutes=1)


def test_the_receive_count_rises_with_every_receipt(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    counts = []
    for _ in range(3):
        delivery = one(queues, queue)
        counts.append(delivery.receive_count)
        delivery.requeue()
    assert counts == [1, 2, 3]


# --- loans -----------------------------------------------------------------------------------------------


def test_a_lent_message_is_hidden_from_others(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    one(queues, queue)
    assert queues.receive(queue, wait=2 * SECOND, loan=LOAN) == ()


def test_a_message_that_nobody_settles_comes_back_when_its_loan_is_over(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    one(queues, queue, loan=SECOND)
    assert one(queues, queue, wait=PATIENT).receive_count == 2


def test_an_acknowledged_message_is_gone_for_good(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    one(queues, queue, loan=SECOND).ack()
    assert queues.receive(queue, wait=2 * SECOND, loan=LOAN) == ()


def test_acknowledging_twice_is_harmless(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    delivery = one(queues, queue)
    delivery.ack()
    delivery.ack()


def test_an_extended_loan_outlasts_the_first_one(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    assert one(queues, queue, loan=SECOND).extend(LOAN)
    assert queues.receive(queue, wait=2 * SECOND, loan=LOAN) == ()


def test_a_message_that_is_gone_cannot_be_extended(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    delivery = one(queues, queue)
    delivery.ack()
    assert not delivery.extend(LOAN)


def test_no_loan_is_longer_than_twelve_hours(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    assert not one(queues, queue).extend(timedelta(hours=13))


def test_a_delivery_of_a_queue_that_is_gone_is_over_and_no_error(queues: Queues) -> None:
    name = unique("contract")
    queues.ensure(name)
    queues.send(name, "x")
    delivery = one(queues, name)
    queues.delete(name)
    assert not delivery.extend(LOAN)
    delivery.requeue()
    delivery.ack()


def test_a_message_given_back_comes_at_once(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    one(queues, queue, loan=timedelta(minutes=10)).requeue()
    assert one(queues, queue).body == "x"


def test_a_message_given_back_with_a_delay_comes_after_it(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    delivery = one(queues, queue)
    began = time.monotonic()
    delivery.requeue(2 * SECOND)
    assert none_left(queues, queue)
    assert one(queues, queue, wait=PATIENT).body == "x"
    assert time.monotonic() - began >= 1.9


def test_giving_back_what_is_gone_is_harmless(queues: Queues, queue: str) -> None:
    queues.send(queue, "x")
    delivery = one(queues, queue)
    delivery.ack()
    delivery.requeue()
    assert none_left(queues, queue)


# --- many ------------------------------------------------------------------------------------------------


def test_letters_to_many_queues_all_arrive(queues: Queues) -> None:
    names = [unique(f"contract-{n}") for n in range(7)]
    for name in names:
        queues.ensure(name)
    letters = [Letter(name, f"for {name}") for name in names]
    assert queues.send_each(letters) == ()
    for name in names:
        assert one(queues, name).body == f"for {name}"
        queues.delete(name)


def test_letters_to_one_queue_all_arrive_also_when_they_are_many_or_large(queues: Queues, queue: str) -> None:
    wanted = [f"{n}:" + "x" * 60_000 for n in range(6)] + [str(n) for n in range(23)]
    assert queues.send_each([Letter(queue, body) for body in wanted]) == ()
    got: list[str] = []
    while len(got) < len(wanted):
        received = queues.receive(queue, wait=WAIT, loan=timedelta(minutes=5))
        assert received, f"{len(wanted) - len(got)} letters are missing"
        got += [delivery.body for delivery in received]
    assert sorted(got) == sorted(wanted)


def test_a_letter_that_cannot_go_is_handed_back_and_stops_no_other(queues: Queues, queue: str) -> None:
    nowhere = [Letter(unique("contract-none"), "a"), Letter(unique("contract-none"), "b")]
    letters = [nowhere[0], Letter(queue, "c"), nowhere[1]]
    assert list(queues.send_each(letters)) == nowhere
    assert one(queues, queue).body == "c"


def test_no_letters_are_no_work(queues: Queues) -> None:
    assert queues.send_each([]) == ()


def test_threads_share_the_queues_and_each_message_comes_to_one_of_them(queues: Queues, queue: str) -> None:
    """To one only, as far as the transport can: SQS delivers at least once, and its local stand-in, asked by several
    at once, hands a message to two now and then."""
    wanted = {str(n) for n in range(20)}
    got: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        while received := queues.receive(queue, wait=NOW, loan=timedelta(minutes=5), most=2):
            with lock:
                got.extend(delivery.body for delivery in received)
            for delivery in received:
                delivery.ack()

    queues.send_each([Letter(queue, body) for body in wanted])
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    assert set(got) == wanted
    assert len(got) == len(wanted) or not isinstance(queues, MemoryQueues)
    assert none_left(queues, queue)


# --- depth and the net -----------------------------------------------------------------------------------


def test_depth_tells_what_lies_there_and_what_is_lent(queues: Queues, queue: str) -> None:
    queues.send_each([Letter(queue, str(n)) for n in range(3)])
    one(queues, queue)
    depth = queues.depth(queue)
    assert (depth.visible, depth.in_flight, depth.delayed) == (2, 1, 0)


def test_what_is_received_too_often_goes_to_the_dead_letter_queue(make: MakeQueues) -> None:
    dead, name = unique("contract-dead"), unique("contract")
    queues = make(dead_letter=dead, max_receives=2)
    queues.ensure(name)
    queues.send(name, "poison")
    for _ in range(2):
        delivery = one(queues, name)
        sent_at = delivery.sent_at
        delivery.requeue()
    assert none_left(queues, name)
    buried = one(queues, dead)
    assert (buried.body, buried.sent_at) == ("poison", sent_at)
    queues.delete(name)
    queues.delete(dead)


def test_the_dead_letter_queue_itself_has_no_net(make: MakeQueues) -> None:
    dead = unique("contract-dead")
    queues = make(dead_letter=dead, max_receives=1)
    queues.ensure(dead)
    queues.send(dead, "x")
    for _ in range(3):
        one(queues, dead).requeue()
    queues.delete(dead)
