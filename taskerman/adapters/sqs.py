"""Queues on Amazon SQS: standard queues, one per node, long polls, and a redrive policy as the net below everything.

This module translates between the port and SQS and decides nothing. What SQS can do and the port does not speak of
(receipt handles, URLs, attributes) ends here. Sending many is in `taskerman.adapters.sqs_batch`.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from taskerman.adapters import sqs_batch
from taskerman.adapters.aws import AWS_ERRORS, PATIENCE, Aws, Deadline, error_code, explain, persist
from taskerman.errors import NotFound, QueuesUnavailable, TaskermanError, UsageError
from taskerman.ports.queue import Delivery, Depth, Letter, check_body

__all__ = ["SqsQueues"]

RETENTION = timedelta(days=14)
DEFAULT_LOAN = timedelta(minutes=15)
MAX_RECEIVES = 1000
LONGEST_NAME = 80
LONGEST_WAIT = timedelta(seconds=20)
LONGEST_LOAN = timedelta(hours=12)
MOST = 10

_ANSWER_TIMEOUT = timedelta(seconds=10)
_THERE_ALREADY = frozenset({"QueueAlreadyExists", "QueueNameExists"})
_NO_LOAN = frozenset({
    "InvalidIdFormat", "InvalidParameterValue", "MessageNotInflight", "NonExistentQueue", "QueueDoesNotExist",
    "ReceiptHandleIsInvalid",
})  # fmt: skip


class SqsQueues:
    """The `Queues` of a running installation. Safe to use from several threads; nothing is asked before it is used.

    Errors are those of the port. Whatever passes by itself within `patience` is not heard of.
    """

    def __init__(
        self,
        aws: Aws,
        *,
        dead_letter: str | None = None,
        max_receives: int = MAX_RECEIVES,
        patience: timedelta = PATIENCE,
        senders: int = 16,
        receivers: int = 10,
    ) -> None:
        """`dead_letter`: full name of the queue that takes what was received `max_receives` times (1 to 1000) and not
        deleted. It is a net for messages that no daemon survives, not the way of ordinary dead letters.

        `patience`: how long a call repeats what AWS refuses for the moment. `senders`: threads of one `send_each`.
        `receivers`: connections kept for long polls; threads beyond it work, and connect anew each time.
        """
        self._aws = aws
        self._dead_letter = dead_letter
        self._max_receives = max_receives
        self._patience = patience
        self._senders = senders
        self._receivers = receivers
        self._lock = threading.Lock()
        self._urls: dict[str, str] = {}

    # --- the port ----------------------------------------------------------------------------------------

    def ensure(self, queue: str, *, tags: Mapping[str, str] | None = None) -> None:
        """See `Queues.ensure`. The dead-letter queue is created first, when it is absent and another is wanted.

        A queue that exists costs one request and no right but `sqs:GetQueueUrl`.
        Raises `UsageError` for a name that SQS does not take.
        """
        _check_name(queue)
        if self.exists(queue):
            return
        attributes = {
            "MessageRetentionPeriod": str(_whole_seconds(RETENTION)),
            "VisibilityTimeout": str(_whole_seconds(DEFAULT_LOAN)),
            "ReceiveMessageWaitTimeSeconds": str(_whole_seconds(LONGEST_WAIT)),
        }
        if self._dead_letter is not None and queue != self._dead_letter:
            self.ensure(self._dead_letter, tags=tags)
            target = self._attributes(self._dead_letter, "QueueArn")["QueueArn"]
            redrive = {"deadLetterTargetArn": target, "maxReceiveCount": self._max_receives}
            attributes["RedrivePolicy"] = json.dumps(redrive)
        try:
            answer = persist(
                lambda: self._client().create_queue(QueueName=queue, Attributes=attributes, tags=dict(tags or {})),
                Deadline(self._patience),
            )
        except AWS_ERRORS as error:
            if error_code(error) in _THERE_ALREADY:  # made by another meanwhile, with attributes of its own
                return
            raise self._explain(error, queue, doing="create") from error
        self._remember(queue, answer["QueueUrl"])

    def exists(self, queue: str) -> bool:
        """See `Queues.exists`. Asks SQS each time. Raises `QueuesUnavailable`, `NotPermitted`."""
        try:
            persist(lambda: self._look_up(queue), Deadline(self._patience))
        except AWS_ERRORS as error:
            explained = self._explain(error, queue, doing="look for")
            if isinstance(explained, NotFound):
                return False
            raise explained from error
        return True

    def send(self, queue: str, body: str) -> None:
        """See `Queues.send`."""
        check_body(body)
        self.request("send_message", queue, doing="send to", MessageBody=body)

    def send_each(self, letters: Sequence[Letter]) -> Sequence[Letter]:
        """See `Queues.send_each`. It gives up about `patience` after SQS's last answer, whatever the number of letters.

        Why letters were refused is logged, one line a kind of error.
        """
        for letter in letters:
            check_body(letter.body)
        return sqs_batch.send_each(letters, self.request, threads=self._senders, deadline=Deadline(self._patience))

    def receive(self, queue: str, *, wait: timedelta, loan: timedelta, most: int = MOST) -> Sequence[Delivery]:
        """See `Queues.receive`. `wait` and `loan` are rounded up to whole seconds."""
        if not timedelta() <= wait <= LONGEST_WAIT or not 1 <= most <= MOST or not timedelta() <= loan <= LONGEST_LOAN:
            raise ValueError(f"receive(wait={wait}, loan={loan}, most={most}) is more than SQS can do")
        give_up = time.monotonic() + wait.total_seconds()
        answer = self.request(
            "receive_message",
            queue,
            doing="receive from",
            deadline=Deadline(wait + self._patience),
            MaxNumberOfMessages=most,
            VisibilityTimeout=_whole_seconds(loan),
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            # A poll that is repeated waits for the rest only.
            WaitTimeSeconds=lambda: max(0, math.ceil(give_up - time.monotonic())),
        )
        return tuple(_delivery(self, queue, message) for message in answer.get("Messages", ()))

    def depth(self, queue: str) -> Depth:
        """See `Queues.depth`."""
        found = self._attributes(
            queue,
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
        return Depth(
            visible=int(found["ApproximateNumberOfMessages"]),
            in_flight=int(found["ApproximateNumberOfMessagesNotVisible"]),
            delayed=int(found["ApproximateNumberOfMessagesDelayed"]),
        )

    def delete(self, queue: str) -> None:
        """See `Queues.delete`. For 60 s afterwards SQS refuses to create a queue of that name."""
        with suppress(NotFound):
            self.request("delete_queue", queue, doing="delete")

    # --- one request -------------------------------------------------------------------------------------

    def request(
        self,
        operation: str,
        queue: str,
        *,
        doing: str,
        deadline: Deadline | None = None,
        tolerated: frozenset[str] = frozenset(),
        **arguments: Any,
    ) -> Any:
        """Ask SQS for `operation` on `queue`, for as long as `deadline` (default: `patience` from now) allows.

        An argument that is a function is called anew for each attempt. None when AWS refuses with a code in
        `tolerated`; else raises the port's errors, which say what we were `doing`.
        """
        deadline = deadline or Deadline(self._patience)
        polls = operation == "receive_message"

        def once() -> Any:
            now = {name: value() if callable(value) else value for name, value in arguments.items()}
            url = self._urls.get(queue) or self._look_up(queue)
            return getattr(self._client(polls=polls), operation)(QueueUrl=url, **now)

        try:
            return persist(once, deadline)
        except AWS_ERRORS as error:
            if error_code(error) in tolerated:
                return None
            raise self._explain(error, queue, doing=doing) from error

    def _explain(self, error: Exception, queue: str, *, doing: str) -> TaskermanError:
        return explain(error, doing=f"{doing} the queue {queue!r}", unavailable=QueuesUnavailable)

    def _client(self, *, polls: bool = False) -> Any:
        if polls:
            return self._aws.client("sqs", read_timeout=LONGEST_WAIT + _ANSWER_TIMEOUT, connections=self._receivers)
        return self._aws.client("sqs", read_timeout=_ANSWER_TIMEOUT, connections=self._senders)

    def _look_up(self, queue: str) -> str:
        # SQS asks not to build URLs from names; one look-up a queue and process is what that costs. A URL is good for
        # as long as its name: a queue that was deleted and created again has the same.
        return self._remember(queue, self._client().get_queue_url(QueueName=queue)["QueueUrl"])

    def _attributes(self, queue: str, *names: str) -> Mapping[str, str]:
        answer = self.request("get_queue_attributes", queue, doing="look at", AttributeNames=list(names))
        found: Mapping[str, str] = answer.get("Attributes", {})
        return found

    def _remember(self, queue: str, url: str) -> str:
        with self._lock:
            self._urls[queue] = url
        return url


@dataclass(frozen=True, slots=True)
class _SqsDelivery:
    queues: SqsQueues
    receipt: str
    queue: str
    body: str
    sent_at: datetime
    receive_count: int

    def ack(self) -> None:
        # A receipt that is not valid any more belongs to a message that is gone, or will be delivered again.
        self.queues.request(
            "delete_message", self.queue, doing="delete a message of", tolerated=_NO_LOAN, ReceiptHandle=self.receipt
        )

    def extend(self, loan: timedelta) -> bool:
        return self._hide(loan, doing="extend a loan of")

    def requeue(self, delay: timedelta = timedelta()) -> None:
        self._hide(delay, doing="give a message back to")

    def _hide(self, loan: timedelta, *, doing: str) -> bool:
        answer = self.queues.request(
            "change_message_visibility",
            self.queue,
            doing=doing,
            tolerated=_NO_LOAN,
            ReceiptHandle=self.receipt,
            VisibilityTimeout=_whole_seconds(loan),
        )
        return answer is not None


def _delivery(queues: SqsQueues, queue: str, message: Mapping[str, Any]) -> Delivery:
    attributes = message["Attributes"]
    return _SqsDelivery(
        queues=queues,
        receipt=message["ReceiptHandle"],
        queue=queue,
        body=message["Body"],
        sent_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receive_count=int(attributes["ApproximateReceiveCount"]),
    )


def _whole_seconds(time_span: timedelta) -> int:
    return math.ceil(time_span.total_seconds())


def _check_name(queue: str) -> None:
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{LONGEST_NAME}}}", queue):
        raise UsageError(
            f"{queue!r} cannot be a queue: SQS takes 1 to {LONGEST_NAME} letters, digits, - and _.",
            next_step="Shorten TASKERMAN_QUEUE_PREFIX to at most 11 characters.",
        )
