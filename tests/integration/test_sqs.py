"""What only the SQS adapter has: attributes and tags, retrying, AWS's errors in our words, and few requests."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from taskerman.adapters import sqs
from taskerman.adapters.aws import Aws
from taskerman.adapters.sqs import SqsQueues
from taskerman.errors import NotFound, NotPermitted, QueuesUnavailable, UsageError
from taskerman.ports.queue import Letter
from tests.support.aws import LocalCloud, unique
from tests.support.sqs_proxy import Harm, SqsProxy, running_proxy

NOW = timedelta()
LOAN = timedelta(seconds=30)
SOON = timedelta(seconds=0.3)


@pytest.fixture
def proxy(local_cloud: LocalCloud, aws: Aws) -> Iterator[SqsProxy]:
    with running_proxy(local_cloud.url) as proxy:
        yield proxy


@pytest.fixture
def requests() -> Counter[str]:
    """What the adapter says that it asked."""
    return Counter()


@pytest.fixture
def door(proxy: SqsProxy, requests: Counter[str]) -> Iterator[Aws]:
    def count(operation: str) -> None:
        requests[operation] += 1

    door = Aws(endpoint_url=proxy.url, on_request=count)
    yield door
    door.close()


@pytest.fixture
def queues(door: Aws) -> SqsQueues:
    return SqsQueues(door)


@pytest.fixture
def queue(queues: SqsQueues, requests: Counter[str]) -> str:
    name = unique("sqs")
    queues.ensure(name)
    requests.clear()
    return name


# --- creation --------------------------------------------------------------------------------------------


def test_a_queue_is_created_with_a_long_memory_a_net_and_tags(
    local_cloud: LocalCloud, door: Aws, queues: SqsQueues
) -> None:
    dead, name = unique("sqs-dead"), unique("sqs")
    SqsQueues(door, dead_letter=dead).ensure(name, tags={"taskerman:queue": "node"})
    with local_cloud.client("sqs") as client:
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
        attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert attributes["MessageRetentionPeriod"] == str(14 * 24 * 3600)
        assert attributes["VisibilityTimeout"] == str(15 * 60)
        redrive = json.loads(attributes["RedrivePolicy"])
        assert redrive["deadLetterTargetArn"].endswith(f":{dead}")
        assert redrive["maxReceiveCount"] == 1000
        assert client.list_queue_tags(QueueUrl=url)["Tags"] == {"taskerman:queue": "node"}
    assert queues.exists(dead)


def test_a_queue_with_other_attributes_is_there_and_keeps_them(
    local_cloud: LocalCloud, queues: SqsQueues, requests: Counter[str]
) -> None:
    name = unique("sqs")
    with local_cloud.client("sqs") as client:
        url = client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "77"})["QueueUrl"]
        queues.ensure(name)
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert found["VisibilityTimeout"] == "77"
    assert requests == {"GetQueueUrl": 1}, "a queue that exists costs one question"


def test_a_queue_that_another_creates_at_the_same_moment_is_there(
    local_cloud: LocalCloud, proxy: SqsProxy, queues: SqsQueues, requests: Counter[str]
) -> None:
    name = unique("sqs")
    with local_cloud.client("sqs") as client:
        client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "77"})
    proxy.harm = Harm(
        refuse_next=1, refuse_with=(400, "QueueDoesNotExist"), only=frozenset({"GetQueueUrl"})
    )  # it was not there when we looked
    queues.ensure(name)
    assert requests["CreateQueue"] == 1


def test_a_name_that_was_deleted_a_moment_ago_is_for_later(proxy: SqsProxy, queues: SqsQueues) -> None:
    proxy.harm = Harm(refuse=1, refuse_with=(400, "QueueDeletedRecently"), only=frozenset({"CreateQueue"}))
    with pytest.raises(QueuesUnavailable, match="within 60 s"):
        queues.ensure(unique("sqs"))
    assert proxy.seen["CreateQueue"] == 1, "a minute is not for the edge to wait"


@pytest.mark.parametrize("name", ["x" * 81, "", "with space", "taskerman/node", "ünïcode"])
def test_a_name_that_sqs_does_not_take_is_refused_before_it_is_asked(
    queues: SqsQueues, requests: Counter[str], name: str
) -> None:
    with pytest.raises(UsageError, match="80"):
        queues.ensure(name)
    assert not requests


# --- what passes by itself -------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [(403, "RequestThrottled"), (400, "ThrottlingException"), (503, "X"), (500, "Y")])
def test_what_passes_within_seconds_is_not_heard_of(
    proxy: SqsProxy, queues: SqsQueues, queue: str, requests: Counter[str], code: tuple[int, str]
) -> None:
    proxy.harm = Harm(refuse_next=3, refuse_with=code, only=frozenset({"SendMessage"}))
    queues.send(queue, "x")
    assert requests["SendMessage"] == 4, "each repeat is counted"
    assert queues.depth(queue).visible == 1


def test_what_does_not_pass_is_told_with_the_queue_and_the_reason(proxy: SqsProxy, door: Aws, queue: str) -> None:
    proxy.harm = Harm(refuse=1, refuse_with=(403, "RequestThrottled"))
    with pytest.raises(QueuesUnavailable, match=rf"send to the queue '{queue}'.*RequestThrottled"):
        SqsQueues(door, patience=SOON).send(queue, "x")
    assert proxy.seen["SendMessage"] + proxy.seen["GetQueueUrl"] > 1


def test_nothing_beneath_repeats_so_that_patience_is_what_it_says(
    proxy: SqsProxy, door: Aws, queues: SqsQueues, queue: str
) -> None:
    impatient = SqsQueues(door, patience=NOW)
    impatient.send(queue, "the queue is known now")
    proxy.seen.clear()
    proxy.harm = Harm(refuse=1)
    with pytest.raises(QueuesUnavailable):
        impatient.send(queue, "x")
    assert proxy.seen == {"SendMessage": 1}


def test_a_send_without_an_answer_is_repeated_and_may_be_stored_twice(
    proxy: SqsProxy, queues: SqsQueues, queue: str
) -> None:
    proxy.harm = Harm(swallow_next=1, only=frozenset({"SendMessage"}))
    queues.send(queue, "x")
    assert queues.depth(queue).visible == 2


def test_a_cloud_that_cannot_be_reached_is_told_with_its_address(aws: Aws) -> None:
    nowhere = Aws(endpoint_url="http://127.0.0.1:9")
    queues = SqsQueues(nowhere, patience=SOON)
    for use in (
        lambda: queues.ensure("x"),
        lambda: queues.exists("x"),
        lambda: queues.send("x", "y"),
        lambda: queues.receive("x", wait=NOW, loan=LOAN),
        lambda: queues.depth("x"),
        lambda: queues.delete("x"),
    ):
        with pytest.raises(QueuesUnavailable, match=r"127\.0\.0\.1:9"):
            use()
    nowhere.close()


def test_a_poll_that_is_cut_waits_for_the_rest_and_then_answers(
    proxy: SqsProxy, queues: SqsQueues, queue: str, requests: Counter[str]
) -> None:
    proxy.harm = Harm(swallow_next=1, only=frozenset({"ReceiveMessage"}))
    began = time.monotonic()
    assert queues.receive(queue, wait=timedelta(seconds=2), loan=LOAN) == ()
    assert time.monotonic() - began >= 1.9
    assert requests["ReceiveMessage"] == 2


def test_a_long_poll_is_not_cut_by_the_time_that_an_answer_may_take(
    monkeypatch: pytest.MonkeyPatch, queues: SqsQueues, queue: str, requests: Counter[str]
) -> None:
    queues.exists(queue)
    monkeypatch.setattr(sqs, "_ANSWER_TIMEOUT", timedelta(seconds=1))
    assert queues.receive(queue, wait=timedelta(seconds=3), loan=LOAN) == ()
    assert requests["ReceiveMessage"] == 1


# --- what does not pass ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", [(403, "AccessDenied"), (403, "403"), (400, "AccessDeniedException"), (403, "ExpiredToken")]
)
def test_a_missing_right_is_told_at_once_and_never_repeated(
    proxy: SqsProxy, queues: SqsQueues, queue: str, answer: tuple[int, str]
) -> None:
    uses: tuple[tuple[str, Callable[[], object]], ...] = (
        ("SendMessage", lambda: queues.send(queue, "x")),
        ("ReceiveMessage", lambda: queues.receive(queue, wait=NOW, loan=LOAN)),
        ("GetQueueAttributes", lambda: queues.depth(queue)),
        ("GetQueueUrl", lambda: queues.exists(queue)),
        ("CreateQueue", lambda: queues.ensure(unique("sqs"))),
        ("DeleteQueue", lambda: queues.delete(queue)),
    )
    for operation, use in uses:
        proxy.seen.clear()
        proxy.harm = Harm(refuse=1, refuse_with=answer, only=frozenset({operation}))
        with pytest.raises(NotPermitted, match="Not permitted to"):
            use()
        assert proxy.seen[operation] == 1


def test_an_answer_that_nobody_foresaw_is_not_now_and_names_the_code(
    proxy: SqsProxy, queues: SqsQueues, queue: str
) -> None:
    proxy.harm = Harm(refuse=1, refuse_with=(400, "SomethingNew"))
    with pytest.raises(QueuesUnavailable, match="SomethingNew"):
        queues.send(queue, "x")
    assert proxy.seen["SendMessage"] == 1


@pytest.mark.parametrize("code", ["MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue"])
def test_a_delivery_that_sqs_does_not_know_any_more_is_over_and_no_error(
    proxy: SqsProxy, queues: SqsQueues, queue: str, code: str
) -> None:
    queues.send(queue, "x")
    (delivery,) = queues.receive(queue, wait=LOAN / 6, loan=LOAN)
    proxy.harm = Harm(refuse=1, refuse_with=(400, code))
    assert not delivery.extend(LOAN)
    delivery.requeue()
    delivery.ack()


def test_a_delivery_that_cannot_be_settled_for_now_says_so(proxy: SqsProxy, door: Aws, queue: str) -> None:
    impatient = SqsQueues(door, patience=NOW)
    impatient.send(queue, "x")
    (delivery,) = impatient.receive(queue, wait=LOAN / 6, loan=LOAN)
    proxy.harm = Harm(refuse=1)
    for settle in (delivery.ack, delivery.requeue, lambda: delivery.extend(LOAN)):
        with pytest.raises(QueuesUnavailable, match=queue):
            settle()


def test_a_queue_that_was_deleted_and_created_again_elsewhere_is_served(
    local_cloud: LocalCloud, queues: SqsQueues, queue: str
) -> None:
    with local_cloud.client("sqs") as client:
        client.delete_queue(QueueUrl=client.get_queue_url(QueueName=queue)["QueueUrl"])
        with pytest.raises(NotFound, match=queue):
            queues.send(queue, "x")
        client.create_queue(QueueName=queue)
    queues.send(queue, "y")


# --- how many requests -----------------------------------------------------------------------------------


def test_a_queue_is_looked_up_once(queues: SqsQueues, requests: Counter[str], queue: str) -> None:
    for _ in range(3):
        queues.send(queue, "x")
    assert requests == {"SendMessage": 3}


def test_many_doorbells_cost_a_request_each_once_the_queues_are_known(
    queues: SqsQueues, requests: Counter[str]
) -> None:
    names = [unique(f"sqs-{n}") for n in range(40)]
    for name in names:
        queues.ensure(name)
    requests.clear()
    assert queues.send_each([Letter(name, "ring") for name in names]) == ()
    assert requests == {"SendMessage": 40}


def test_letters_to_one_queue_share_requests(queues: SqsQueues, requests: Counter[str], queue: str) -> None:
    assert queues.send_each([Letter(queue, str(n)) for n in range(25)]) == ()
    assert requests == {"SendMessageBatch": 3}


def test_letters_that_meet_throttling_are_repeated_each_by_itself(proxy: SqsProxy, queues: SqsQueues) -> None:
    names = [unique(f"sqs-{n}") for n in range(12)]
    for name in names:
        queues.ensure(name)
    proxy.harm = Harm(refuse=0.3, only=frozenset({"SendMessage"}))
    assert queues.send_each([Letter(name, "ring") for name in names]) == ()
    proxy.harm = Harm()
    assert [queues.depth(name).visible for name in names] == [1] * len(names)


def test_refused_letters_come_back_in_their_order_and_each_kind_of_reason_is_said_once(
    proxy: SqsProxy, queues: SqsQueues, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.harm = Harm(refuse=1, refuse_with=(403, "AccessDenied"))
    letters = [Letter("gone", str(n)) for n in range(12)] + [Letter("elsewhere", "x"), Letter("gone", "0")]
    with caplog.at_level(logging.WARNING, logger="taskerman"):
        assert list(queues.send_each(letters)) == letters
    said = sorted(record.getMessage() for record in caplog.records)
    assert len(said) == 1
    assert said[0].startswith("14 of 14 letters, to 2 queues, were not sent: Not permitted to send to the queue '")


def test_one_outage_costs_one_patience_however_many_letters(door: Aws, proxy: SqsProxy) -> None:
    proxy.harm = Harm(refuse=1)
    letters = [Letter(f"gone-{n}", "x") for n in range(60)]
    assert len(SqsQueues(door, patience=SOON, senders=2).send_each(letters)) == 60
    assert 0 < proxy.seen.total() < 60, "letters were tried after the patience was over"


# --- the session -----------------------------------------------------------------------------------------


def test_nothing_is_built_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boto3.Session", lambda: pytest.fail("a session was made"))
    SqsQueues(Aws())


def test_closing_is_repeatable_and_what_is_wanted_later_works(aws: Aws) -> None:
    queues = SqsQueues(aws)
    assert not queues.exists(unique("sqs"))
    client = aws.client("sqs", read_timeout=timedelta(seconds=10))
    closed: list[str] = []
    client.close, really = lambda: closed.append("sqs"), client.close
    aws.close()
    aws.close()
    really()
    assert closed == ["sqs"], "a connection is left open"
    assert not queues.exists(unique("sqs"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_PROFILE", "no-such-profile", "no-such-profile"),
        ("AWS_ENDPOINT_URL", "not a url", "not a url"),
        ("AWS_DEFAULT_REGION", "", "region"),
    ],
)
def test_wrong_settings_of_boto3_are_told_as_such(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(UsageError, match=said):
        SqsQueues(aws).exists("x")


def test_missing_credentials_are_told_as_such(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(NotPermitted, match="credentials"):
        SqsQueues(aws).exists("x")
