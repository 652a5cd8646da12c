"""Dead letters promise everything that a person needs, in a message that a queue takes, made anew whenever wanted."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from taskerman.model.outcome import DeadLetter, DeadLetterState, End, Outcome
from taskerman.model.plan import Plan, Refusal
from taskerman.policy.letters import MOST_BYTES, announcement, dead_letter, dead_letter_of_document
from taskerman.ports.queue import check_body
from tests.support.fleet import Fleet

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def plan() -> Plan:
    fleet = Fleet()
    fleet.install()
    return fleet.send(limit=1)


def ended(outcome: Outcome, *, kept: tuple[str, ...] = (), reason: str = "so it was", tail: str = "") -> End:
    return End(
        outcome=outcome,
        attempt="t-1.i-1.3",
        attempts=3,
        reason=reason,
        kept=kept,
        tail=tail,
        at=NOW,
        dead_letter=DeadLetterState.OWED,
    )


def test_the_letter_of_an_assignment_is_made_of_its_record_and_its_plan(plan: Plan) -> None:
    letter = dead_letter(plan, "i-1", ended(Outcome.UNSAFE, kept=("demo:web",)))
    assert (letter.key, letter.kind, letter.task_id, letter.destnode) == ("t-1.i-1.3", "assignment", "t-1", "i-1")
    assert (letter.cluster_name, letter.owner, letter.action) == ("demo:web", "gsi", "demo_task:restart")
    assert letter.task == {**plan.doc, "destnode": "i-1"}
    assert dead_letter(plan, "i-1", ended(Outcome.UNSAFE, kept=("demo:web",))) == letter


@pytest.mark.parametrize(
    ("outcome", "kept", "verbs"),
    [
        (Outcome.UNSAFE, ("demo:web",), ["explain", "dlq redrive", "resume", "slots release", "dlq discard"]),
        (Outcome.FAILED, (), ["explain", "dlq redrive", "resume", "dlq discard"]),
        (Outcome.EXPIRED, (), ["explain", "dlq redrive", "dlq discard"]),
        (Outcome.GONE, (), ["explain", "dlq discard"]),
        (Outcome.SUCCEEDED, (), []),
    ],
)
def test_the_commands_fit_the_outcome(plan: Plan, outcome: Outcome, kept: tuple[str, ...], verbs: list[str]) -> None:
    commands = dead_letter(plan, "i-1", ended(outcome, kept=kept)).next
    assert [command.removeprefix("taskerman ").split(" t-1")[0].split(" i-1")[0] for command in commands] == verbs


def refusal(body: str, code: str = "E-DOC-FIELD") -> Refusal:
    return Refusal(
        sha256=hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest(),
        code=code,
        reason="no",
        at=NOW,
        queue="taskerman-tasks",
        body=body,
        body_bytes=len(body),
        body_truncated=False,
    )


def test_the_letter_of_a_document_has_its_body_and_names_how_to_correct_it() -> None:
    letter = dead_letter_of_document(refusal("{"))
    assert (letter.kind, letter.outcome, letter.body, letter.key) == ("document", "rejected", "{", letter.body_sha256)
    assert any("submit --file" in command for command in letter.next)


def test_a_document_that_came_after_its_time_expired() -> None:
    assert dead_letter_of_document(refusal("{}", code="E-TASK-ENDED")).outcome is Outcome.EXPIRED


NASTY = ["\x01" * 16_000, "\uffff" * 16_000, '"' * 16_000, "\ud800", "é" * 16_000, "\U0001f600" * 16_000]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_an_announcement_is_a_message_whatever_was_in_the_body(text: str) -> None:
    said = announcement(dead_letter_of_document(refusal(text.encode("utf-8", "replace").decode())))
    check_body(said)
    assert DeadLetter.model_validate_json(said).kind == "document"


@pytest.mark.parametrize("size", [1_000, 200_000, 2_000_000])
def test_what_would_be_too_long_is_cut_and_the_reason_stays(plan: Plan, size: int) -> None:
    said = announcement(dead_letter(plan, "i-1", ended(Outcome.FAILED, reason="exit 1", tail="x" * size)))
    assert len(said) <= MOST_BYTES
    check_body(said)
    letter = DeadLetter.model_validate_json(said)
    assert letter.reason == "exit 1"
    assert letter.tail.endswith("x" * min(size, 8_000))
    assert letter.task is not None


def test_a_body_that_is_cut_says_so() -> None:
    said = json.loads(announcement(dead_letter_of_document(refusal("\x01" * 60_000))))
    assert said["body_truncated"]
    assert len(said["body"]) < 60_000
