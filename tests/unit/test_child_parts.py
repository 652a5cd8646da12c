"""The parts of the child that need no process: how an action counts, what is kept of its output, how files appear."""

from __future__ import annotations

import json
import os
import select
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from taskerman.agent.attempt_files import read_result, read_saved, result_path
from taskerman.agent.child_talk import (
    Abort,
    Checked,
    Died,
    Ended,
    Errored,
    ExecuteAction,
    Exit,
    Failed,
    PreCheck,
    Ready,
    Recover,
    RecoveredAs,
    Report,
    TimedOut,
    command_to_json,
    report_from_json,
)
from taskerman.agent.machine import boot_id, boottime, process_start
from taskerman.child.action import ABORTED, TOO_LONG, Action
from taskerman.child.durable import remove_durably, write_durably
from taskerman.child.kin import Process, descendants, kill_until_none
from taskerman.child.limits import kind_of
from taskerman.child.outbox import Outbox
from taskerman.child.output import Output
from taskerman.model.attempt import Result
from taskerman.runner import Go, Recovered

ATTEMPT = "t.n.1"


def result_of(action: Action) -> Result:
    result = action.result(ATTEMPT, saved={}, ended="2026-01-31T12:00:01Z", max_rss_bytes=1, limits=[], tail="")
    return Result.model_validate_json(json.dumps(result))


@pytest.mark.parametrize(
    ("met", "kind"),
    [
        ("memory limit 96 MB (the kernel killed 1 of its processes)", "memory"),
        ("the machine's memory limit (the kernel killed 1 of its processes)", "memory"),
        ("process limit 24 (3 more were refused)", "processes"),
        ("CPU limit 10 % (held back for 3 s)", "cpu"),
        ("output limit 16,777,216 bytes (1 more were not kept)", "output"),
        ("a limit of tomorrow's build", ""),
    ],
)
def test_each_limit_in_words_is_of_a_kind_that_can_be_counted(met: str, kind: str) -> None:
    assert kind_of(met) == kind


# --- the action ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stopped", "how", "status", "error"),
    [
        ("", "ok", "ok", ""),
        ("", "error", "error", "why"),
        (TOO_LONG, "interrupted", "timeout", f"{TOO_LONG}; why"),
        (ABORTED, "interrupted", "killed", "aborted; why"),
        ("", "interrupted", "killed", "interrupted by a SIGTERM"),
        (TOO_LONG, "ok", "ok", ""),
    ],
)
def test_how_an_action_ended_is_one_of_four_words_and_the_error_says_the_rest(
    stopped: str, how: str, status: str, error: str
) -> None:
    action = Action("2026-01-31T12:00:00Z", 10, 20)
    action.stopped = stopped
    action.ended(how, "" if how == "ok" else "why")
    result = result_of(action)
    assert result.status == status
    assert error in result.error


def test_a_killed_action_says_why_it_had_been_asked_to_stop() -> None:
    action = Action("2026-01-31T12:00:00Z", 10, 20)
    action.stopped = TOO_LONG
    action.killed("it did not end", -9)
    assert (result_of(action).status, result_of(action).exit) == ("killed", -9)
    assert result_of(action).error == f"{TOO_LONG}; it did not end"


def test_the_next_deadline_is_the_soft_one_until_the_action_was_asked_to_stop() -> None:
    action = Action("", 10, 20)
    assert action.next_at == 10
    action.stopped = ABORTED
    assert action.next_at == 20
    assert Action("", 30, 20).next_at == 20


# --- what is said ----------------------------------------------------------------------------------------


def test_commands_are_the_lines_of_the_wire() -> None:
    second = timedelta(seconds=1)
    assert command_to_json(PreCheck(second)) == {"do": "pre_check", "timeout_s": 1.0}
    assert command_to_json(Recover(second)) == {"do": "recover", "timeout_s": 1.0}
    assert command_to_json(Abort()) == {"do": "abort"}
    assert command_to_json(Exit()) == {"do": "exit"}
    go = command_to_json(ExecuteAction(second, 12.5))
    assert go == {"do": "execute_action", "soft_s": 1.0, "deadline_boottime": 12.5}


def test_reports_are_read_as_they_are_written() -> None:
    action = Action("2026-01-31T12:00:00Z", 1, 2)
    action.ended("ok", "")
    result = result_of(action)
    lines: dict[Report, dict[str, Any]] = {
        Ready(): {"report": "ready"},
        Failed("args", "x"): {"report": "failed", "phase": "args", "error": "x"},
        Checked("pre_check", Go()): {"report": "check", "phase": "pre_check", "check": {"kind": "go"}},
        Errored("recover", "x"): {"report": "error", "phase": "recover", "error": "x"},
        TimedOut("post_check"): {"report": "timeout", "phase": "post_check"},
        Died("post_check", "exit 3"): {"report": "died", "phase": "post_check", "how": "exit 3"},
        RecoveredAs(Recovered.NOT_DONE): {"report": "recovered", "answer": "not_done"},
    }
    for report, line in lines.items():
        assert report_from_json(line) == report
    assert report_from_json({"report": "result", "result": result.model_dump()}) == Ended(result)
    with pytest.raises(ValueError, match="no report"):
        report_from_json({"report": "surprise"})


# --- output ----------------------------------------------------------------------------------------------


def test_the_log_is_bounded_over_all_children_of_an_attempt_and_the_keepers_lines_still_fit(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    for _ in range(3):
        output = Output(str(log), 100_000, 1000, ATTEMPT)
        for _ in range(40):
            os.write(output.write_end, b"y" * 4999 + b"\n")
            output.pump()
        output.note("that was it")
        output.finish()
        os.close(output.read_end)
        os.close(output.write_end)
    assert log.stat().st_size < 101_000
    lines = log.read_text().splitlines()
    assert sum("that was it" in line for line in lines) == 3
    assert "bytes of output were not kept" in lines[-1]


def test_an_endless_writer_does_not_hold_the_reader(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "log"), 1000, 100, ATTEMPT)
    os.set_blocking(output.write_end, False)
    while select.select([], [output.write_end], [], 0)[1]:
        os.write(output.write_end, b"z" * 4096)
    output.pump()
    os.write(output.write_end, b"the end\n")
    output.pump()
    assert output.tail().endswith("the end")
    os.close(output.read_end)
    os.close(output.write_end)


def test_a_full_disk_does_not_stop_the_reading() -> None:
    output = Output("/dev/full", 1000, 100, ATTEMPT)
    os.write(output.write_end, b"still here\n")
    output.pump()
    output.finish()
    assert "still here" in output.tail()
    os.close(output.read_end)
    os.close(output.write_end)


def test_reports_that_nobody_reads_wait_and_keep_their_order() -> None:
    reader, writer = os.pipe()
    outbox = Outbox(writer)
    sent = b"".join(b"%07d\n" % number for number in range(20_000))
    for line in sent.splitlines(keepends=True):
        outbox.put(line)
    assert outbox.waiting
    received = b""
    while len(received) < len(sent):
        received += os.read(reader, 65536)
        outbox.send()
    assert received == sent
    os.close(reader)
    outbox.put(b"nobody is there\n")
    assert not outbox.waiting
    outbox.flush()
    os.close(writer)


# --- files -----------------------------------------------------------------------------------------------


def test_a_durable_file_is_replaced_whole_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_durably(str(path), b"one")
    write_durably(str(path), b"two" * 100_000)
    assert path.read_bytes() == b"two" * 100_000
    assert os.listdir(tmp_path) == ["result.json"]
    remove_durably(str(path))
    remove_durably(str(path))
    assert os.listdir(tmp_path) == []


def test_a_result_is_read_only_when_it_is_one_of_this_attempt(tmp_path: Path) -> None:
    assert read_result(tmp_path, ATTEMPT) is None
    action = Action("2026-01-31T12:00:00Z", 1, 2)
    action.ended("ok", "")
    result_path(tmp_path).write_text(result_of(action).model_dump_json())
    assert read_result(tmp_path, ATTEMPT) == result_of(action)
    assert read_result(tmp_path, "t.n.2") is None
    result_path(tmp_path).write_text('{"v": 1')
    assert read_result(tmp_path, ATTEMPT) is None


def test_saved_values_that_are_not_there_or_torn_are_none(tmp_path: Path) -> None:
    assert read_saved(tmp_path) == {}
    (tmp_path / "saved.json").write_text('{"a": ')
    assert read_saved(tmp_path) == {}


# --- processes -------------------------------------------------------------------------------------------


def test_descendants_are_children_and_theirs_but_nobody_elses() -> None:
    table = {
        pid: Process(pid, "S", parent, 1, 0) for pid, parent in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 4)]
    }
    assert {process.pid for process in descendants(2, table)} == {3, 4, 7}


def test_a_zombie_is_a_reason_to_look_once_more() -> None:
    looks = [[Process(-1, "Z", 1, 1, 0)], []]
    seen: list[int] = []

    def find() -> list[Process]:
        seen.append(len(seen))
        return looks[min(len(seen) - 1, 1)]

    assert kill_until_none(find)
    assert len(seen) == 2


def test_the_machine_says_which_boot_this_is_and_when_a_process_began() -> None:
    assert len(boot_id()) == 36
    assert boottime() > 0
    mine = process_start(os.getpid())
    assert mine is not None
    assert mine / os.sysconf("SC_CLK_TCK") <= boottime()
    assert process_start(2**22 + 1) is None
    with pytest.raises(OSError, match="no_such"):
        boot_id("/no_such")
