"""The proxy that makes SQS's bad days does what it says, and nothing when it is told nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from taskerman.adapters.aws import Aws
from taskerman.adapters.sqs import SqsQueues
from taskerman.errors import QueuesUnavailable
from taskerman.ports.queue import Letter
from tests.support.aws import LocalCloud, unique
from tests.support.sqs_proxy import Harm, SqsProxy, running_proxy

LOAN = timedelta(seconds=30)
WAIT = timedelta(seconds=5)


@pytest.fixture
def proxy(local_cloud: LocalCloud, aws: Aws) -> Iterator[SqsProxy]:
    with running_proxy(local_cloud.url) as proxy:
        yield proxy


@pytest.fixture
def queues(proxy: SqsProxy) -> Iterator[SqsQueues]:
    through = Aws(endpoint_url=proxy.url)
    yield SqsQueues(through, patience=timedelta(seconds=5))
    through.close()


@pytest.fixture
def queue(queues: SqsQueues) -> str:
    name = unique("proxied")
    queues.ensure(name)
    return name


def bodies(queues: SqsQueues, queue: str) -> list[str]:
    found: list[str] = []
    while received := queues.receive(queue, wait=timedelta(), loan=LOAN):
        found += [delivery.body for delivery in received]
    return sorted(found)


def test_a_proxy_that_means_no_harm_changes_nothing(proxy: SqsProxy, queues: SqsQueues, queue: str) -> None:
    queues.send(queue, "x")
    (delivery,) = queues.receive(queue, wait=WAIT, loan=LOAN)
    assert delivery.body == "x"
    delivery.ack()
    assert bodies(queues, queue) == []
    assert proxy.seen["SendMessage"] == proxy.seen["DeleteMessage"] == 1
    assert not +proxy.harmed


def test_other_services_pass(proxy: SqsProxy, local_cloud: LocalCloud) -> None:
    proxy.harm = Harm(copies=2, refuse=1.0)
    with LocalCloud(proxy.url).client("ec2") as ec2:
        assert "Reservations" in ec2.describe_instances(MaxResults=5)


def test_every_message_is_there_twice(proxy: SqsProxy, queues: SqsQueues, queue: str) -> None:
    proxy.harm.copies = 2
    queues.send(queue, "one")
    assert queues.send_each([Letter(queue, "two"), Letter(queue, "three")]) == ()
    assert bodies(queues, queue) == ["one", "one", "three", "three", "two", "two"]
    assert proxy.harmed["copied"] == 2, "one request of a message, and one of two"


def test_a_share_of_the_requests_is_refused_and_not_forwarded(proxy: SqsProxy, queues: SqsQueues, queue: str) -> None:
    proxy.harm = Harm(refuse=0.4, only=frozenset({"SendMessage"}))
    for n in range(10):
        queues.send(queue, str(n))
    assert proxy.harmed["refused"] > 0
    assert bodies(queues, queue) == sorted(str(n) for n in range(10)), "a refused send was forwarded"


def test_an_answer_that_is_swallowed_was_given(proxy: SqsProxy, queues: SqsQueues, queue: str) -> None:
    impatient = SqsQueues(queues._aws, patience=timedelta())
    proxy.harm = Harm(swallow_next=1, only=frozenset({"SendMessage"}))
    with pytest.raises(QueuesUnavailable):
        impatient.send(queue, "x")
    assert proxy.harmed["swallowed"] == 1
    assert bodies(queues, queue) == ["x"]


def test_messages_that_are_late_overtake_each_other(proxy: SqsProxy, queues: SqsQueues, queue: str) -> None:
    proxy.harm = Harm(delay_most_s=900)
    queues.send(queue, "late")
    proxy.harm = Harm()
    queues.send(queue, "early")
    assert bodies(queues, queue) == ["early"]
    assert proxy.harmed["delayed"] == 1


def test_a_delete_that_is_forgotten_is_answered_well_and_not_done(
    proxy: SqsProxy, queues: SqsQueues, queue: str
) -> None:
    proxy.harm = Harm(forget=1.0)
    queues.send(queue, "x")
    (delivery,) = queues.receive(queue, wait=WAIT, loan=timedelta(seconds=1))
    delivery.ack()
    (again,) = queues.receive(queue, wait=WAIT, loan=LOAN)
    assert again.body == "x"
    assert proxy.harmed["forgotten"] == 1


def test_a_message_is_lent_to_two(proxy: SqsProxy, queues: SqsQueues, queue: str) -> None:
    proxy.harm = Harm(again=1.0)
    queues.send(queue, "x")
    first = queues.receive(queue, wait=WAIT, loan=LOAN)
    second = queues.receive(queue, wait=WAIT, loan=LOAN)
    assert [delivery.body for delivery in (*first, *second)] == ["x", "x"]
    assert proxy.harmed["lent again"] == 2


def test_other_services_are_throttled_when_told(proxy: SqsProxy, queues: SqsQueues, queue: str) -> None:
    proxy.harm = Harm(refuse_others=1.0)
    with LocalCloud(proxy.url).client("ec2") as ec2, pytest.raises(Exception, match="RequestLimitExceeded"):
        ec2.describe_instances()
    queues.send(queue, "x")
    assert bodies(queues, queue) == ["x"]
