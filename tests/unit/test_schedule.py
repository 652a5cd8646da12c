"""What a schedule is: the ids and documents of its firings, and what it refuses to say."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from taskerman.errors import DocumentError
from taskerman.model.cron import NAMED, CronExpression, fields_of
from taskerman.model.ids import TaskId
from taskerman.model.schedule import Schedule, ScheduleName, document_of, firing_of, task_id_of, template_of
from taskerman.model.span import Span, parse_span, span_text
from taskerman.model.task import parse_task_document
from tests.support.walls import utc

TASK = {"action": "redis_task:restart", "cluster_name": "redis:sessions", "owner": "storage"}
WHAT = {"cluster_name": "redis:sessions", "owner": "storage"}
NIGHT = utc(2026, 1, 31, 2)

names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,39}\Z")
moments = (
    st.datetimes(timezones=st.just(UTC))
    .map(lambda found: found.replace(microsecond=0))
    .filter(lambda found: found.year >= 1970)
)


def said(**given: Any) -> Schedule:
    """As a file says it."""
    whole = {"name": "nightly", "cron": "0 2 * * *", "task": TASK, **given}
    return Schedule.model_validate_json(json.dumps({name: value for name, value in whole.items() if value is not ...}))


def refused(**given: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        said(**given)
    return str(caught.value)


# --- ids ----------------------------------------------------------------------------------------------------


@given(name=names, nominal=moments)
def test_the_id_of_a_task_says_of_which_firing_it_is(name: str, nominal: datetime) -> None:
    """Both ways; also of what was redriven of it, thousands of times."""
    task = task_id_of(name, nominal)
    for redriven in ("", "-r2", "-r9999"):
        assert TypeAdapter(TaskId).validate_python(task + redriven)
        assert firing_of(task + redriven) == (name, nominal)


@given(one=st.tuples(names, moments), other=st.tuples(names, moments))
def test_two_firings_never_share_an_id(one: tuple[str, datetime], other: tuple[str, datetime]) -> None:
    assert (task_id_of(*one) == task_id_of(*other)) == (one == other)


def test_an_id_is_of_the_instant_and_not_of_its_zone() -> None:
    assert task_id_of("nightly", NIGHT) == "nightly-20260131T020000Z"
    assert task_id_of("nightly", NIGHT.astimezone(timezone(timedelta(hours=5, minutes=30)))) == task_id_of(
        "nightly", NIGHT
    )


@pytest.mark.parametrize(
    "task", ["t-23456789abcdefghjkmn", "nightly", "nightly-20260131", "nightly-20261331T020000Z", "-20260131T020000Z"]
)
def test_another_task_is_of_no_firing(task: str) -> None:
    assert firing_of(task) is None


def test_a_name_may_have_forty_characters() -> None:
    """With the time and `-r` and four digits it is 63, which is what an id may have."""
    longest = "x" * 40
    assert len(task_id_of(longest, NIGHT) + "-r9999") == 63
    assert TypeAdapter(ScheduleName).validate_python(longest) == longest
    for name in ("x" * 41, "", "-x", "_x", "a b", "a/b", "a.b", "ä", "a\n"):
        assert "name" in refused(name=name)


# --- documents ----------------------------------------------------------------------------------------------


def test_a_document_is_the_template_with_the_times_of_its_firing() -> None:
    one = said(jitter="1h", not_after="90m", task={**TASK, "limit": 2})
    due = NIGHT + one.offset
    assert one.offset == timedelta(seconds=1437)
    assert document_of(one, one.firing(NIGHT)) == {
        **TASK,
        "version": 1.2,
        "limit": 2,
        "task_id": "nightly-20260131T020000Z",
        "scheduled_for": f"{due:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{due + timedelta(minutes=90):%Y-%m-%dT%H:%M:%SZ}",
    }


def test_a_document_without_not_after_leaves_it_to_acceptance_and_a_version_may_be_given() -> None:
    document = document_of(said(task={**TASK, "version": 1.0}), said().firing(NIGHT))
    assert "not_after" not in document
    assert document["version"] == 1.0


@pytest.mark.parametrize(
    ("ways", "action", "args"),
    [
        ({"command": ["df", "-h"]}, "command_task:run", {"argv": ["df", "-h"]}),
        ({"script": "set -e\ndf -h\n"}, "command_task:script", {"script": "set -e\ndf -h\n"}),
        (
            {"binary": {"url": "s3://bin/fsck", "sha256": "ab" * 32, "args": ["-n"]}},
            "command_task:binary",
            {"url": "s3://bin/fsck", "sha256": "ab" * 32, "args": ["-n"]},
        ),
    ],
)
def test_a_command_a_script_and_a_binary_stand_for_an_action_with_these_arguments(
    ways: dict[str, Any], action: str, args: dict[str, Any]
) -> None:
    groups = {"lease_args": {"concurrency": 2}}
    one = said(task={**WHAT, "taskerman_params": groups}, **ways)
    document = document_of(one, one.firing(NIGHT))
    assert (document["action"], document["taskerman_params"]) == (action, {**groups, "action_args": args})


@given(nominal=moments.filter(lambda found: found.year < 9000), seconds=st.integers(0, 86_400))
def test_a_document_is_a_function_of_its_arguments_and_changes_none_of_them(nominal: datetime, seconds: int) -> None:
    """The same bytes, however often and by whomever it is made: one content for one id."""
    params = {"lease_args": {"concurrency": 2}}
    one = said(jitter=seconds, command=["true"], task={**WHAT, "taskerman_params": params})
    again = Schedule.model_validate_json(one.model_dump_json())
    before = one.model_dump_json()
    first = json.dumps(document_of(one, one.firing(nominal)))
    assert json.dumps(document_of(again, again.firing(nominal.astimezone(timezone(timedelta(hours=2)))))) == first
    assert one.model_dump_json() == before
    document, _ = parse_task_document(first)
    assert document.task_id == task_id_of("nightly", nominal)
    assert document.scheduled_for == nominal + one.offset


def test_another_id_may_be_given() -> None:
    assert document_of(said(), said().firing(NIGHT), "nightly-by-hand")["task_id"] == "nightly-by-hand"


def test_a_template_is_judged_as_a_router_judges_it() -> None:
    assert template_of(said()).cluster_name == "redis:sessions"
    for task in ({"action": "x:y"}, {**TASK, "limit": 0}, {**TASK, "cluster_name": "web"}, {**TASK, "bogus": 1}):
        with pytest.raises(DocumentError):
            template_of(said(task=task))
    with pytest.raises(DocumentError):
        template_of(said(task={**WHAT, "taskerman_params": "all"}, command=["true"]))


# --- what it refuses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"cron": ...}, "when by one of cron and every"),
        ({"every": "1h"}, "when by one of cron and every"),
        ({"cron": ..., "every": "0"}, "every is 1s to 366d"),
        ({"cron": ..., "every": "367d"}, "every is 1s to 366d"),
        ({"jitter": "86401s"}, "jitter is at most 1d"),
        ({"jitter": -1}, "time span"),
        ({"jitter": True}, "time span"),
        ({"catch_up_horizon": "0"}, "catch_up_horizon is 1s to 31d"),
        ({"catch_up_horizon": "32d"}, "catch_up_horizon is 1s to 31d"),
        ({"not_after": "0"}, "not_after is 1s to 366d"),
        ({"stale_after": "9999999999d"}, "stale_after is 1s to 366d"),
        ({"task": {**TASK, "task_id": "t-1"}}, "task.task_id is filled in by each firing"),
        ({"task": {**TASK, "not_after": "2026-01-31T00:00:00Z"}}, "task.not_after is filled in by each firing"),
        ({"task": {**TASK, "scheduled_for": None}}, "task.scheduled_for is filled in"),
        ({"task": {**TASK, "signature": "x"}}, "task.signature is filled in"),
        ({"task": {**TASK, "destnode": ""}}, "task.destnode is filled in"),
        ({"task": WHAT}, "what by one of task.action, command, script and binary"),
        ({"command": ["true"]}, "what by one of task.action, command, script and binary"),
        ({"task": WHAT, "command": ["true"], "script": "true"}, "what by one of"),
        (
            {"task": {**WHAT, "taskerman_params": {"action_args": {}}}, "command": ["true"]},
            "command is all the arguments",
        ),
        ({"task": WHAT, "command": []}, "at least 1 item"),
        ({"task": WHAT, "script": "x" * (32 * 1024 + 1)}, "at most 32768"),
        ({"task": WHAT, "binary": {"url": "https://x/y", "sha256": "ab" * 32}}, "url"),
        ({"task": WHAT, "binary": {"url": "s3://x/y", "sha256": "AB" * 32}}, "sha256"),
        ({"timezone": "Berlin"}, "'Berlin' is not a zone such as Europe/Berlin"),
        ({"timezone": "Europe/Atlantis"}, "'Europe/Atlantis' is not in the IANA time zone database"),
        ({"cron": ..., "every": "1h", "timezone": "Europe/Berlin"}, "every is counted in UTC"),
        ({"catch_up": "all"}, "it wants overlap: queue"),
        ({"catch_up": "some"}, "'none', 'latest' or 'all'"),
        ({"overlap": "wait"}, "'skip', 'queue' or 'cancel_previous'"),
        ({"notify": [""]}, "notify"),
        ({"crno": "0 2 * * *"}, "crno"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(given: dict[str, Any], says: str) -> None:
    assert says in refused(**given)


@pytest.mark.parametrize(
    ("field", "value", "anew"),
    [
        ("cron", "0 3 * * *", True),
        ("timezone", "Europe/Berlin", True),
        ("jitter", "5m", True),
        ("enabled", False, True),
        ("catch_up", "none", False),
        ("description", "why", False),
        ("task", {**TASK, "limit": 1}, False),
    ],
)
def test_what_says_when_is_its_timing(field: str, value: Any, anew: bool) -> None:
    assert (said(**{field: value}).timing != said().timing) is anew


# --- expressions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [*NAMED, "@DAILY", " 0  2 * * *\t", "*/5 0-4,22 L * MON-FRI", "0 0 29 2 *", "5/20 * * * *"]
)
def test_an_expression_is_kept_as_it_was_written(text: str) -> None:
    assert said(cron=text).cron == text
    assert len(fields_of(text).split()) == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has 0 fields, not 5: minute, hour, day of the month, month, day of the week"),
        ("0 2 * *", "has 4 fields, not 5"),
        ("0 0 2 * * *", "has 6 fields, not 5"),
        ("@fortnightly", "is none of @yearly"),
        ("@reboot", "is none of @yearly"),
        ("60 * * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 0 0 * *", "bad day-of-month"),
        ("0 0 1 13 *", "bad month"),
        ("0 0 * * 8", "bad day-of-week"),
        ("0 0 30 2 *", "'0 0 30 2 *'"),
        ("0 0 31 4,6 *", "'0 0 31 4,6 *'"),
        ("* * */20 * 1L", "names a day that never comes"),
        ("5-1 * * * *", "bad minute"),
        ("*/0 * * * *", "bad minute"),
        ("a b c d e", "bad minute"),
        ("\u0661 * * * *", "bad minute"),
    ],
)
def test_what_is_no_expression_is_refused_in_words(text: str, says: str) -> None:
    assert says in refused(cron=text)


@given(st.text(alphabet="0123456789*/,-#LW@ SUNMOJA²\n", max_size=30))
def test_any_text_is_an_expression_that_fires_or_is_refused(text: str) -> None:
    """Nothing else comes of it."""
    try:
        TypeAdapter(CronExpression).validate_python(text)
    except ValidationError:
        return
    assert said(cron=text).cron == text


# --- spans --------------------------------------------------------------------------------------------------


@given(st.integers(1, 10**9))
def test_a_span_is_read_as_it_is_written(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    assert parse_span(span_text(span)) == span
    assert re.fullmatch(r"([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?", span_text(span))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d12h", 129_600), (" 1h ", 3600), ("1d1h1m1s", 90_061), ("007s", 7)],
)
def test_a_span_as_people_write_it(text: str, seconds: int) -> None:
    assert parse_span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0s", "0", "0d0h", "5", "-5m", "1.5h", "5 m", "5m 3s", "3s5m", "h", "\u0661s"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time span"):
        parse_span(text)


def test_a_span_that_is_far_too_long_is_the_longest() -> None:
    assert parse_span("9" * 12 + "d") == parse_span("9" * 30 + "d") == timedelta.max


@pytest.mark.parametrize(("value", "seconds"), [("10m", 600), (600, 600), (0, 0), ("0", 0), ("0s", 0), (" 0 ", 0)])
def test_in_a_file_a_span_may_be_whole_seconds_and_nothing(value: object, seconds: int) -> None:
    adapter = TypeAdapter(Span)
    assert adapter.validate_json(json.dumps(value)) == timedelta(seconds=seconds)
    assert adapter.validate_json(adapter.dump_json(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [True, -1, 1.5, None, [], "soon", "0m0"])
def test_in_a_file_what_is_no_span_is_refused_with_how_to_write_it(value: object) -> None:
    with pytest.raises(ValidationError, match="90s, 30m, 2h or 1d12h"):
        TypeAdapter(Span).validate_json(json.dumps(value))
