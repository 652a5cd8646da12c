"""The lines of an attempt's log carry their ids, whoever writes them and for whomever they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskerman.runner.log_line import log_line

IDS = {"task": "t-1", "node": "i-1", "attempt": "t-1.i-1.1", "phase": "pre_check"}

CHILD = """
import logging, sys
from taskerman.child.library_log import hear_libraries
from taskerman.runner import Context
context = Context(assignment={"task_id": "t-1"}, attempt_id="t-1.i-1.1", node_id="i-1", cluster="demo:web", nodes=(),
                  cap=1, boot_id="", fence=1, args={}, settings={}, saved={}, on_save=lambda saved: None,
                  log_form=sys.argv[1])
context.phase = "execute_action"
hear_libraries(context)
hear_libraries(context)
context.log("said", nodes=3)
try:
    raise ValueError("no")
except ValueError:
    logging.getLogger("redis").exception("lost %s", "it")
logging.getLogger("redis").debug("noise")
"""


def test_for_a_program_it_is_an_object_with_every_id() -> None:
    line = json.loads(log_line("json", "began", IDS, {"nodes": 3, "why": ValueError("no")}))
    assert line.pop("at").endswith("Z")
    assert line == {"level": "info", "event": "began", **IDS, "nodes": 3, "why": "no"}


def test_a_field_does_not_hide_an_id() -> None:
    line = json.loads(log_line("json", "began", IDS, {"attempt": 2, "event": "x"}))
    assert (line["attempt"], line["attempt_"], line["event_"]) == ("t-1.i-1.1", 2, "x")


def test_for_a_person_it_stays_one_line_whatever_is_in_it() -> None:
    text = log_line("human", "began", IDS, {"why": "two\nlines"}).decode()
    assert text.count("\n") == 1
    assert text[24:] == ' began phase=pre_check attempt=t-1.i-1.1 why="two\\nlines"\n'


@pytest.mark.parametrize("form", ["json", "human"])
def test_what_a_runners_libraries_say_has_the_same_ids_once(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, form],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("t-1.i-1.1" in line and "execute_action" in line for line in lines)
    assert "lost it" in lines[1]
    assert "ValueError('no')" in lines[1]
    if form == "json":
        said = json.loads(lines[1])
        assert (said["level"], said["logger"], said["task"], said["node"]) == ("error", "redis", "t-1", "i-1")
