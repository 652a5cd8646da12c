"""Sending many, where a local cloud cannot show it: batches of which a part is refused, and how letters are bundled."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from taskerman.adapters.aws import Deadline
from taskerman.adapters.sqs_batch import send_each
from taskerman.errors import QueuesUnavailable
from taskerman.ports.queue import Letter


@dataclass
class PartlyRefusing:
    """Takes messages, but a batch without the bodies in `at_first`, and never those in `never`."""

    at_first: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    batches: list[list[str]] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)

    def __call__(self, operation: str, queue: str, *, doing: str, deadline: Deadline, **arguments: Any) -> Any:
        if operation == "send_message":
            return self._take(arguments["MessageBody"])
        entries = arguments["Entries"]
        self.batches.append([entry["MessageBody"] for entry in entries])
        taken = [entry for entry in entries if entry["MessageBody"] not in self.at_first | self.never]
        self.stored += [entry["MessageBody"] for entry in taken]
        return {"Successful": [{"Id": entry["Id"]} for entry in taken], "Failed": [{"Id": "never looked at"}]}

    def _take(self, body: str) -> dict[str, str]:
        if body in self.never:
            raise QueuesUnavailable(f"no {body}")
        self.stored.append(body)
        return {}


def letters(*bodies: str) -> list[Letter]:
    return [Letter("q", body) for body in bodies]


def send(sqs: PartlyRefusing, *bodies: str) -> list[str]:
    """The bodies that were handed back."""
    refused = send_each(letters(*bodies), sqs, threads=4, deadline=Deadline(timedelta(minutes=1)))
    return [letter.body for letter in refused]


def test_what_a_batch_does_not_take_is_sent_by_itself_and_nothing_twice() -> None:
    sqs = PartlyRefusing(at_first=frozenset("bd"))
    assert send(sqs, *"abcde") == []
    assert sorted(sqs.stored) == list("abcde")


def test_what_is_never_taken_is_handed_back_and_nothing_else() -> None:
    sqs = PartlyRefusing(at_first=frozenset("a"), never=frozenset("ce"))
    assert send(sqs, *"abcde") == ["c", "e"]
    assert sorted(sqs.stored) == list("abd")


def test_of_two_equal_letters_each_is_answered_for() -> None:
    assert send(PartlyRefusing(never=frozenset("a")), "a", "b", "a") == ["a", "a"]


def test_a_batch_has_ten_letters_at_most() -> None:
    sqs = PartlyRefusing()
    send(sqs, *(str(n) for n in range(21)), "x")
    assert [len(batch) for batch in sqs.batches] == [10, 10, 2]


def test_a_batch_is_not_larger_than_one_request_may_be_counted_in_bytes() -> None:
    sqs = PartlyRefusing()
    wide = "ü" * 60_000  # 120,000 bytes
    send(sqs, wide, wide, wide, "x")
    assert [len(batch) for batch in sqs.batches] == [2, 2]


def test_after_the_deadline_nothing_is_tried_and_all_is_handed_back() -> None:
    sqs = PartlyRefusing()
    assert list(send_each(letters("a", "b"), sqs, threads=1, deadline=Deadline(timedelta()))) == letters("a", "b")
    assert not sqs.stored


class Slow(PartlyRefusing):
    """Needs longer for all letters together than anybody's patience; each of them is answered in time."""

    clock = 0.0

    def __call__(self, operation: str, queue: str, *, doing: str, deadline: Deadline, **arguments: Any) -> Any:
        Slow.clock += 4.0
        return super().__call__(operation, queue, doing=doing, deadline=deadline, **arguments)


def test_patience_is_for_silence_many_letters_take_the_time_that_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the last nodes of a large plan would never be rung: each try would end with the same first ones."""
    Slow.clock = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: Slow.clock)
    sqs = Slow(never=frozenset({"3"}))
    many = [Letter(f"q{n}", str(n)) for n in range(20)]
    refused = send_each(many, sqs, threads=1, deadline=Deadline(timedelta(seconds=10)))
    assert [letter.body for letter in refused] == ["3"]
    assert len(sqs.stored) == 19


def test_silence_ends_it_for_all_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    Slow.clock = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: Slow.clock)
    sqs = Slow(never=frozenset(str(n) for n in range(3, 20)))
    many = [Letter(f"q{n}", str(n)) for n in range(20)]
    refused = send_each(many, sqs, threads=1, deadline=Deadline(timedelta(seconds=10)))
    assert [letter.body for letter in refused] == [str(n) for n in range(3, 20)]
    assert Slow.clock == 4.0 * 6, "letters were tried after the patience was over"
