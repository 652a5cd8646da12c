"""Logs promise one line an event, in a form that a person or a program can read, and never to stop a daemon."""

from __future__ import annotations

import io
import json
import logging

import pytest

from taskerman.model.event import Event
from taskerman.telemetry.logging import log_libraries, log_listener


def test_json_is_one_object_a_line_with_the_ids_as_fields() -> None:
    out = io.StringIO()
    listen = log_listener("json", stream=out)
    listen(Event("attempt_taken", {"task": "t-1", "node": "i-1", "fence": 7}))
    listen(Event("attempt_ended", {"why": "exit 1\nbad"}, "warning"))
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first.pop("at").endswith("Z")
    assert first == {"level": "info", "event": "attempt_taken", "task": "t-1", "node": "i-1", "fence": 7}
    assert second["level"] == "warning"


def test_for_a_person_an_event_stays_on_its_line_whatever_is_in_it() -> None:
    out = io.StringIO()
    log_listener("human", stream=out)(Event("attempt_ended", {"task": "t-1", "why": "two\nlines"}, "warning"))
    (line,) = out.getvalue().splitlines()
    assert line[13:] == "warning attempt_ended  task=t-1 why=two\\nlines"


def test_below_the_level_nothing_is_written() -> None:
    out = io.StringIO()
    listen = log_listener("human", "warning", stream=out)
    listen(Event("poll", {}, "debug"))
    listen(Event("poll", {}))
    assert out.getvalue() == ""


def test_a_field_with_the_name_of_one_of_ours_keeps_its_value() -> None:
    out = io.StringIO()
    log_listener("json", stream=out)(Event("ended", {"at": "09:00", "event": "x", "level": 3}))
    line = json.loads(out.getvalue())
    assert (line["event"], line["at_"], line["event_"], line["level_"]) == ("ended", "09:00", "x", 3)


def test_what_cannot_be_json_is_shown_as_text() -> None:
    out = io.StringIO()
    log_listener("json", stream=out)(Event("ended", {"error": ValueError("no")}))
    assert json.loads(out.getvalue())["error"] == "no"


def test_an_output_that_is_closed_stops_nobody() -> None:
    out = io.StringIO()
    listen = log_listener("json", stream=out)
    out.close()
    listen(Event("still_here", {}))


@pytest.mark.parametrize("name", ["taskerman.adapters.sqs", "kazoo.client"])
def test_what_the_libraries_say_comes_out_in_the_same_form(name: str) -> None:
    out = io.StringIO()
    root = logging.getLogger()
    level = root.level
    handler = log_libraries(log_listener("json", stream=out))
    try:
        logging.getLogger(name).warning("lost %s", "it")
        logging.getLogger(name).debug("noise")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    line = json.loads(out.getvalue())
    assert (line["event"], line["logger"], line["text"], line["level"]) == ("library_said", name, "lost it", "warning")
