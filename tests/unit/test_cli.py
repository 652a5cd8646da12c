"""The command line promises one line an error, with its next step; exit codes by who must act; plain text in pipes."""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskerman import cli, control
from taskerman.cli.app import VERBS
from taskerman.model.outcome import Outcome
from tests.support.command_line import CommandLine
from tests.support.fleet import Fleet, document


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.install()
    return made


@pytest.fixture
def taskerman(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(fleet, monkeypatch, capsys)


def ill(fleet: Fleet) -> None:
    fleet.send()
    fleet.do("t-1", "i-1", Outcome.UNSAFE, "port closed")


# --- submit ----------------------------------------------------------------------------------------------


def test_a_document_from_a_file_is_sent_and_its_id_comes_first(taskerman: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    file.write_text(document(limit=2))
    said = taskerman("submit", "--file", str(file))
    assert said.code == 0
    assert said.out.splitlines()[0] == "t-1"
    assert "2 nodes, 1 at a time" in said.out
    assert len(taskerman.fleet.queues.bodies("taskerman-tasks")) == 1


def test_a_document_from_standard_input_is_sent(taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(document().encode())))
    assert taskerman("submit", "-f", "-").code == 0


def test_flags_make_the_same_document(taskerman: CommandLine) -> None:
    said = taskerman(
        *("submit", "--action", "demo_task:restart", "--cluster", "demo:web", "--limit", "4", "--concurrency", "50%"),
        *("--arg", "force=true", "--retries", "1", "--max-failures", "2", "--task-id", "t-9"),
    )
    assert said.code == 0
    (body,) = taskerman.fleet.queues.bodies("taskerman-tasks")
    assert json.loads(body) == {
        "action": "demo_task:restart",
        "version": 1.2,
        "cluster_name": "demo:web",
        "owner": "ada",
        "task_id": "t-9",
        "limit": 4,
        "taskerman_params": {
            "action_args": {"force": True},
            "workqueue_args": {"retry_count": 1},
            "lease_args": {"concurrency": "50%"},
            "failure_args": {"max_failures": 2},
        },
    }


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["submit"], 2, "--action"),
        (["submit", "--file", "x.json", "--limit", "2"], 2, "whole document"),
        (["submit", "--file", "/nonexistent"], 2, "cannot be read"),
        (["submit", "--action", "demo_task:restart"], 2, "--cluster"),
        (["submit", "--action", "nosuch_task:x", "--cluster", "demo:web"], 2, "E-ACTION-UNKNOWN"),
        (["submit", "--action", "demo_task:restart", "--cluster", "demo:none"], 2, "E-CLUSTER-EMPTY"),
        (["submit", "--action", "demo_task:restart", "--cluster", "demo:web", "--arg", "force"], 2, "name=value"),
        (["submit", "--action", "demo_task:restart", "--cluster", "demo:web", "--concurrency", "lots"], 2, "10%"),
        (["submit", "--bogus"], 2, "E-USAGE"),
        (["bogus"], 2, "E-USAGE"),
        (["status", "t-404"], 3, "E-TASK-UNKNOWN"),
        (["status", "--watch"], 2, "--watch"),
        (["status", "--watch", "t-404"], 3, "E-TASK-UNKNOWN"),
        (["explain", "t-404"], 3, "E-TASK-UNKNOWN"),
        (["explain", "t-1", "i-99"], 3, "i-99"),
        (["hold", "--why", "x"], 2, "'ON'"),
        (["hold", "everything"], 2, "--why"),
        (["hold", "web", "--why", "x"], 2, "cluster:<kind>:<name>"),
        (["unhold", "h000000"], 3, "E-NOT-FOUND"),
        (["cancel", "t-1"], 2, "--why"),
        (["cancel", "t-404", "--why", "x"], 3, "E-TASK-UNKNOWN"),
        (["resume", "t-404"], 3, "E-TASK-UNKNOWN"),
        (["approve", "t-1"], 2, "--why"),
        (["breaker", "show", "demo:nobody"], 3, "demo:nobody"),
        (["breaker", "reset", "demo:nobody", "--why", "x"], 3, "demo:nobody"),
        (["breaker", "reset", "demo:web"], 2, "--why"),
        (["breaker", "reset", "demo:web", "--why", "..."], 2, "reason"),
        (["approve", "t-404", "--why", "x"], 3, "E-TASK-UNKNOWN"),
        (["approve", "t-1", "--why", "x"], 4, "taskerman resume t-1"),
        (["slots", "release", "i-2", "--why", "x"], 3, "i-2"),
        (["slots", "release", "i-1"], 2, "--why"),
        (["slots", "release", "i-1", "--why", "..."], 2, "reason"),
        (["dlq"], 2, "E-USAGE"),
        (["dlq", "show", "t-404"], 3, "E-TASK-UNKNOWN"),
        (["dlq", "redrive", "t-1", "i-2"], 3, "i-2"),
        (["dlq", "discard", "t-1", "i-1"], 2, "--why"),
        (["schema", "bogus"], 2, "dead-letter"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_mistake_is_one_line_with_its_exit_code(
    taskerman: CommandLine, words: list[str], code: int, says: str
) -> None:
    ill(taskerman.fleet)
    said = taskerman(*words)
    assert (said.code, said.out) == (code, "")
    (line,) = said.err.splitlines()
    assert line.startswith("error E-")
    assert says in line


def test_errors_are_json_too_when_json_is_wanted(taskerman: CommandLine) -> None:
    said = taskerman("status", "t-404", "--json")
    assert said.code == 3
    assert said.json["error"]["code"] == "E-TASK-UNKNOWN"
    assert set(said.json["error"]) == {"code", "what", "next_step", "exit_code"}


def test_flags_say_who_goes_first_beside_whom_and_when(taskerman: CommandLine, fleet: Fleet) -> None:
    assert taskerman("scopes", "set", "backup", "2", "--why", "shared").code == 0
    said = taskerman(
        *("submit", "--action", "demo_task:restart", "--cluster", "demo:web", "--task-id", "t-9", "--scope", "backup"),
        *("--priority", "8", "--exclusive", "--window", "22:00-04:00", "--window", "Sat,sun@01:00-24:00"),
        *("--timezone", "Europe/Berlin"),
    )
    assert (said.code, said.err) == (0, "")
    (body,) = fleet.queues.bodies(fleet.names.tasks)
    assert json.loads(body)["taskerman_params"] == {
        "lease_args": {"scope": "backup", "priority": 8, "exclusive": True},
        "window_args": {
            "windows": [
                {"opens": "22:00", "closes": "04:00"},
                {"days": ["sat", "sun"], "opens": "01:00", "closes": "24:00"},
            ],
            "timezone": "Europe/Berlin",
        },
    }


def test_dry_run_shows_order_and_holders_and_sends_nothing(taskerman: CommandLine) -> None:
    ill(taskerman.fleet)
    said = taskerman("submit", "--dry-run", "--action", "demo_task:restart", "--cluster", "demo:web", "--limit", "2")
    assert said.code == 0
    assert "Nothing was sent" in said.out
    first, second = said.out.splitlines()[-2:]
    assert first.split()[:3] == ["0", "i-1", "a"]
    assert "i-1 ended unsafe and keeps its slot" in second
    assert taskerman.fleet.queues.bodies("taskerman-tasks") == ()


WAIT = (
    "submit",
    "--action",
    "demo_task:restart",
    "--cluster",
    "demo:web",
    "--limit",
    "1",
    "--task-id",
    "t-5",
    "--wait",
)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome.SUCCEEDED, 0), (Outcome.SKIPPED, 0), (Outcome.FAILED, 10), (Outcome.UNSAFE, 10)],
)
def test_waiting_ends_with_the_code_of_the_outcome(
    taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, code: int
) -> None:
    fleet = taskerman.fleet

    def work(seconds: float) -> None:
        fleet.route()
        fleet.do("t-5", "i-1", outcome, "so it was", retry=False)

    monkeypatch.setattr("time.sleep", work)
    said = taskerman(*WAIT)
    assert said.code == code
    assert "t-5 waits for a router" in said.out
    assert outcome.value in said.out


def test_waiting_that_runs_out_is_13_and_a_halt_is_11(taskerman: CommandLine, tmp_path: Path) -> None:
    assert taskerman(*WAIT, "--timeout", "5").code == 13
    ill(taskerman.fleet)
    file = tmp_path / "task.json"
    file.write_text(document("t-1"))
    assert taskerman("submit", "--file", str(file), "--wait").code == 11


def test_waiting_hears_of_the_routers_refusal_with_its_code(
    taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: taskerman.fleet.route())
    said = taskerman("submit", "--unchecked", "--action", "demo_task:restart", "--cluster", "demo:none", "--wait")
    assert said.code == 2
    assert "E-CLUSTER-EMPTY" in said.err


def test_waiting_as_json_is_one_line_a_change(taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = taskerman.fleet

    def work(seconds: float) -> None:
        fleet.route()
        fleet.do("t-5", "i-1", Outcome.SUCCEEDED)

    monkeypatch.setattr("time.sleep", work)
    lines = [json.loads(line) for line in taskerman(*WAIT, "--json").out.splitlines()]
    assert lines[0]["task_id"] == "t-5"
    assert lines[-1]["verdict"] == "done"


# --- the oncall's evening --------------------------------------------------------------------------------


def test_what_explain_prints_can_be_typed_as_it_stands(taskerman: CommandLine) -> None:
    """Every command that it names is understood; those that want a reason say so."""
    ill(taskerman.fleet)
    commands = taskerman("explain", "t-1", "--json").json["next"]
    assert len(commands) == 5
    for command in commands:
        words = command.replace('"', "").split()[1:]
        answer = taskerman(*words)
        wants_reason = "--why" in words
        assert answer.code == (2 if wants_reason else answer.code)
        assert answer.code in (0, 2, 4)
        assert "No such" not in answer.err


def test_the_story_of_a_halt(taskerman: CommandLine) -> None:
    ill(taskerman.fleet)
    assert "halted" in taskerman("status").out
    told = taskerman("explain", "t-1").out
    assert "port closed" in told
    assert "taskerman dlq redrive t-1 i-1" in told
    assert "i-1" in taskerman("dlq", "list").out
    assert taskerman("dlq", "show", "t-1").json["outcome"] == "unsafe"
    assert taskerman("slots").out.splitlines()[1].split()[:4] == ["demo:web", "i-1", "1", "unsafe"]
    assert taskerman("dlq", "redrive", "t-1", "i-1", "--why", "repaired").code == 0
    taskerman.fleet.do("t-1", "i-1", Outcome.SUCCEEDED)
    assert taskerman("slots", "demo:web").out == "No slot is held.\n"
    assert taskerman("dlq", "list").out == "No dead letter.\n"
    assert "1 succeeded" in taskerman("status", "t-1").out


def test_an_acknowledged_hold_prints_what_was_taken_before(taskerman: CommandLine) -> None:
    taskerman.fleet.send()
    taskerman.fleet.take("t-1", "i-1")
    said = taskerman("hold", "everything", "--why", "migration")
    assert said.code == 0
    assert "i-1" in said.out
    hold = said.out.split()[1]
    assert hold in taskerman("status").out
    assert taskerman("unhold", "everything").code == 0
    assert taskerman("unhold", hold).code == 3
    assert taskerman("hold", "owner:nobody", "--why", "x").out.splitlines()[1] == "Nothing was acting."


def test_cancel_waits_for_who_still_acts(taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = taskerman.fleet
    fleet.send()
    fleet.take("t-1", "i-1")
    said = taskerman("cancel", "t-1", "--why", "wrong cluster")
    assert (said.code, "i-1" in said.out) == (0, True)
    monkeypatch.setattr("time.sleep", lambda seconds: fleet.end("t-1", "i-1", Outcome.SUCCEEDED))
    assert taskerman("cancel", "t-1", "--why", "again", "--wait").code == 0
    assert taskerman("cancel", "t-1", "--why", "once more").code == 0


def test_cancel_that_waited_in_vain_is_13(taskerman: CommandLine) -> None:
    taskerman.fleet.send()
    taskerman.fleet.take("t-1", "i-1")
    assert taskerman("cancel", "t-1", "--why", "x y", "--wait", "--timeout", "5").code == 13


def test_release_and_resume(taskerman: CommandLine) -> None:
    ill(taskerman.fleet)
    assert "no slot any more" in taskerman("slots", "release", "i-1", "--why", "looked at it").out
    assert "goes on: 5 nodes rung" in taskerman("resume", "t-1").out
    assert taskerman("resume", "t-1").code == 4


def test_an_outage_is_5(taskerman: CommandLine) -> None:
    taskerman.fleet.server.cut(taskerman.fleet.tree)
    said = taskerman("status")
    assert said.code == 5
    assert "E-ZK" in said.err
    assert taskerman("doctor").code == 5


def test_doctor_prints_a_line_for_each_thing(taskerman: CommandLine) -> None:
    said = taskerman("doctor")
    assert said.code == 0
    assert "ok    zookeeper" in said.out


def test_init_is_idempotent_and_names_how_to_lift_the_first_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = CommandLine(Fleet(), monkeypatch, capsys)
    first, second = bare("init"), bare("init")
    assert first.out == second.out
    assert "taskerman unhold new-installation" in first.out


def test_settings_lists_each_with_its_origin(taskerman: CommandLine) -> None:
    (operator,) = [one for one in taskerman("settings", "--json").json if one["variable"] == "TASKERMAN_OPERATOR"]
    assert operator["value"] == "ada@laptop"


# --- the ends of a process -------------------------------------------------------------------------------


def test_a_bug_says_that_it_is_one_and_shows_where(taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(control, "overview", broken)
    said = taskerman("status")
    assert said.code == 1
    assert "error E-BUG: ZeroDivisionError: oh" in said.err
    assert "Traceback" in said.err


def test_an_interrupt_is_130(taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(control, "overview", interrupted)
    assert taskerman("status").code == 130


def test_no_word_at_all_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke([]) == 0
    assert "submit" in capsys.readouterr().out


HEAVY = {"pydantic", "pydantic_settings", "rich", "boto3", "botocore", "kazoo", "structlog", "taskerman.control"}


@pytest.mark.parametrize("words", [["--help"], ["submit", "--help"], ["dlq", "--help"], ["bogus"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    """What help costs is what it imports: measured by benchmarks, held here."""
    code = (
        f"import sys; from taskerman.cli import invoke; invoke({words!r}); print(sorted(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(json.loads(ended.stderr.splitlines()[-1].replace("'", '"')))
    of_the_parser = {"pydantic"} if words != ["--help"] else set()  # Typer parses options with it
    assert imported & HEAVY <= of_the_parser


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`taskerman schema task | head -1`."""
    code = "import sys; from taskerman.cli import invoke; sys.exit(invoke(['schema', 'task']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_in_plain_text(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Usage: taskerman {verb}" in said
    assert said.isascii()


def test_a_terminal_gets_the_same_words_and_nobodys_text_is_taken_for_markup(
    taskerman: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    taskerman.fleet.send()
    taskerman.fleet.do("t-1", "i-1", Outcome.UNSAFE, "[red]port[/red] closed")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    told = taskerman("status", "t-1").out
    assert "[red]port[/red] closed" in told
    assert "unsafe" in told
    followed = taskerman("status", "t-1", "--watch")
    assert followed.code == 0
    assert "halted" in followed.out


def test_every_verb_that_help_lists_is_there(taskerman: CommandLine) -> None:
    """Help knows verbs by their first line only; none of them may turn out to do nothing."""
    for verb in VERBS:
        assert f"  {verb} " in taskerman("--help").out
        assert taskerman(verb, "--no-such-option").code == 2


def test_the_version_is_the_packages(taskerman: CommandLine) -> None:
    assert taskerman("--version").out.strip() == importlib.metadata.version("taskerman")


def test_what_has_ended_is_called_ended(taskerman: CommandLine) -> None:
    """The record calls it open until it is put away; a person is not told so."""
    taskerman.fleet.send(limit=1)
    taskerman.fleet.do("t-1", "i-1", Outcome.SUCCEEDED)
    assert "ended: 1 succeeded" in taskerman("status", "t-1").out
    assert taskerman("explain", "t-1").out.startswith("t-1 on demo:web: ended.")


def test_nodes_with_one_answer_share_a_line(taskerman: CommandLine) -> None:
    """Of two hundred that wait in a line nobody reads two hundred sentences."""
    taskerman.fleet.send()
    taskerman.fleet.join("t-1", "i-1", "i-2", "i-3")
    said = taskerman("explain", "t-1").out
    assert "i-2 i-3" in said
    assert "i-4 i-5 i-6" in said


def test_a_time_is_told_with_how_long_it_is_until_then(taskerman: CommandLine) -> None:
    taskerman.fleet.send()
    taskerman("hold", "everything", "--why", "drill", "--for", "2h")
    assert re.search(
        r"everything, by ada@laptop: drill\. Until \S+Z?( \S+Z)?, in 2h00m\.", taskerman("explain", "t-1").out
    )


def test_help_cuts_no_sentence(taskerman: CommandLine) -> None:
    """Each verb's first sentence fits on its line."""
    for verb in ("--help", "slots", "scopes", "brackets", "breaker", "dlq", "history", "schedules", "keys"):
        lines = taskerman(verb, *(() if verb == "--help" else ("--help",))).out.splitlines()[1:]
        assert not [line for line in lines if line.endswith("...")], verb
