"""Sending many letters at once: 200 doorbells to 200 queues in one go, and as few requests as SQS allows.

Letters to one queue share a request, queues go in parallel on a bounded number of threads, and everybody shares one
deadline that each answer of SQS renews: an outage costs the caller the patience of one call and not of two hundred,
and ten thousand letters take the time that they take.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from taskerman.adapters.aws import Deadline
from taskerman.errors import QueuesUnavailable, TaskermanError
from taskerman.ports.queue import Letter

__all__ = ["Request", "send_each"]

MOST_ENTRIES = 10
MOST_BYTES = 256 * 1024

log = logging.getLogger(__name__)


class Request(Protocol):
    """`SqsQueues.request`: one operation on one queue, repeated until the deadline; raises the port's errors."""

    def __call__(self, operation: str, queue: str, *, doing: str, deadline: Deadline, **arguments: Any) -> Any: ...


class _Numbered(NamedTuple):
    """A letter and its place in the caller's sequence: two letters may be equal and fare differently."""

    place: int
    letter: Letter


class _Refused(NamedTuple):
    """A letter that was not accepted, and why."""

    numbered: _Numbered
    why: TaskermanError


_NO_TIME = QueuesUnavailable("There was no time left to try.")


def send_each(letters: Sequence[Letter], request: Request, *, threads: int, deadline: Deadline) -> Sequence[Letter]:
    """Send all of `letters`; those that were not accepted, in their order. Never raises for AWS's reasons.

    `deadline`: of the patience after the last answer. Why they were refused is logged, one line a kind of error: the
    caller repeats them whatever it was.
    """
    bundles = tuple(_bundles(letters))
    if not bundles:
        return ()

    def deliver(bundle: Sequence[_Numbered]) -> Sequence[_Refused]:
        return _deliver(bundle, request, deadline)

    refused: list[_Refused] = []
    if len(bundles) == 1:
        refused.extend(deliver(bundles[0]))
    else:
        with ThreadPoolExecutor(min(threads, len(bundles)), thread_name_prefix="sqs-send") as pool:
            for some in pool.map(deliver, bundles):
                refused.extend(some)
    for code, count in Counter(one.why.code for one in refused).most_common():
        first = next(one for one in refused if one.why.code == code)
        queues = len({one.numbered.letter.queue for one in refused if one.why.code == code})
        log.warning("%d of %d letters, to %d queues, were not sent: %s", count, len(letters), queues, first.why)
    return tuple(one.numbered.letter for one in sorted(refused, key=lambda one: one.numbered.place))


def _bundles(letters: Sequence[Letter]) -> Iterator[Sequence[_Numbered]]:
    """Letters that can share a request: of one queue, at most ten, at most 256 KiB together."""
    by_queue: dict[str, list[_Numbered]] = defaultdict(list)
    for place, letter in enumerate(letters):
        by_queue[letter.queue].append(_Numbered(place, letter))
    for same_queue in by_queue.values():
        bundle: list[_Numbered] = []
        size = 0
        for numbered in same_queue:
            more = len(numbered.letter.body.encode())
            if bundle and (len(bundle) == MOST_ENTRIES or size + more > MOST_BYTES):
                yield bundle
                bundle, size = [], 0
            bundle.append(numbered)
            size += more
        yield bundle


def _deliver(bundle: Sequence[_Numbered], request: Request, deadline: Deadline) -> Sequence[_Refused]:
    if deadline.passed:
        return [_Refused(numbered, _NO_TIME) for numbered in bundle]
    if len(bundle) == 1:
        return _deliver_alone(bundle[0], request, deadline)
    entries = [{"Id": str(at), "MessageBody": numbered.letter.body} for at, numbered in enumerate(bundle)]
    queue = bundle[0].letter.queue
    answer = _tried(
        lambda: request("send_message_batch", queue, doing="send to", deadline=deadline, Entries=entries), deadline
    )
    if isinstance(answer, TaskermanError):
        return [_Refused(numbered, answer) for numbered in bundle]
    # What the answer does not name as accepted is tried by itself, with the retrying of a single message.
    accepted = {int(entry["Id"]) for entry in answer.get("Successful", ())}
    again = [numbered for at, numbered in enumerate(bundle) if at not in accepted]
    return [refused for numbered in again for refused in _deliver_alone(numbered, request, deadline)]


def _deliver_alone(numbered: _Numbered, request: Request, deadline: Deadline) -> Sequence[_Refused]:
    queue, body = numbered.letter.queue, numbered.letter.body
    answer = _tried(
        lambda: request("send_message", queue, doing="send to", deadline=deadline, MessageBody=body), deadline
    )
    return [_Refused(numbered, answer)] if isinstance(answer, TaskermanError) else []


def _tried(call: Callable[[], Any], deadline: Deadline) -> Any:
    """The answer, or why there is none. A no is an answer too: only silence uses the patience up."""
    try:
        answer = call()
    except QueuesUnavailable as error:
        return error
    except TaskermanError as error:
        answer = error
    deadline.renew()
    return answer
