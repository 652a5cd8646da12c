"""Schedules that people declare by hand: of options or a file, judged as files are, and never against a file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from taskerman import control
from taskerman.errors import HistoryUnavailable, RefusedByState
from taskerman.model.schedule import Overlap
from taskerman.model.schedule_record import ScheduleOrigin
from tests.support.command_line import CommandLine
from tests.support.fleet import CLUSTER, Fleet
from tests.support.scheduling import Tower, schedule

WHY = ("--why", "a quiet hour")
TASK = ("--action", "demo_task:restart", "--cluster", CLUSTER)


@pytest.fixture
def tower() -> Tower:
    """`weekly` is in force from a reviewed file."""
    tower = Tower(schedule("weekly"))
    scheduler = tower.scheduler()
    scheduler.turn()
    scheduler._resign()
    return tower


@pytest.fixture
def cli(tower: Tower, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tower.fleet, monkeypatch, capsys)


def declared(cli: CommandLine, name: str = "nightly") -> dict[str, Any]:
    return control.declared_definition(cli.fleet.desk, cli.schedules, name)


def added(cli: CommandLine, *words: str) -> dict[str, Any]:
    """The definition that these options make."""
    said = cli("schedules", "add", "nightly", *words, *WHY)
    assert (said.code, said.err) == (0, "")
    return declared(cli)


# --- add -------------------------------------------------------------------------------------------------


def test_what_is_said_by_options_is_declared_and_nothing_else(cli: CommandLine) -> None:
    assert added(cli, "--cron", "0 2 * * *", *TASK) == {
        "name": "nightly",
        "cron": "0 2 * * *",
        "task": {"action": "demo_task:restart", "cluster_name": CLUSTER, "owner": "ada"},
    }
    (entry,) = cli.schedules.audit
    assert (entry.by, entry.verb, entry.target, entry.why) == ("ada@laptop", "schedule add", "nightly", "a quiet hour")


def test_every_option_is_the_field_of_its_name(cli: CommandLine) -> None:
    found = added(
        cli,
        *("--cron", "@daily", "--timezone", "Europe/Berlin", "--jitter", "10m", "--catch-up", "all"),
        *("--catch-up-horizon", "2h", "--overlap", "queue", "--not-after", "4h", "--stale-after", "2d"),
        *("--description", "Restarts.", "--runbook", "https://wiki/x", "--notify", "#a", "--notify", "#b"),
        *("--disabled", *TASK, "--owner", "gsi", "--limit", "3", "--concurrency", "10%", "--arg", "force=true"),
        *("--retries", "1", "--max-failures", "2", "--scope", "backup", "--priority", "7", "--exclusive"),
        *("--window", "mon@01:00-05:00"),
    )
    assert found == {
        "name": "nightly",
        "description": "Restarts.",
        "runbook": "https://wiki/x",
        "notify": ["#a", "#b"],
        "enabled": False,
        "cron": "@daily",
        "timezone": "Europe/Berlin",
        "jitter": "10m",
        "catch_up": "all",
        "catch_up_horizon": "2h",
        "overlap": "queue",
        "not_after": "4h",
        "stale_after": "2d",
        "task": {
            "action": "demo_task:restart",
            "cluster_name": CLUSTER,
            "owner": "gsi",
            "limit": 3,
            "taskerman_params": {
                "action_args": {"force": True},
                "workqueue_args": {"retry_count": 1},
                "lease_args": {"concurrency": "10%", "scope": "backup", "priority": 7, "exclusive": True},
                "failure_args": {"max_failures": 2},
                "window_args": {
                    "windows": [{"days": ["mon"], "opens": "01:00", "closes": "05:00"}],
                    "timezone": "Europe/Berlin",
                },
            },
        },
    }


def test_a_window_is_read_on_the_wall_of_the_schedule(cli: CommandLine) -> None:
    """Whoever says `--cron` and `--window` in one breath means one clock."""
    found = added(cli, "--cron", "0 2 * * *", *TASK, "--window", "01:00-05:00")
    assert "timezone" not in found["task"]["taskerman_params"]["window_args"]
    assert cli("schedules", "edit", "nightly", "--timezone", "Asia/Tokyo", *WHY).code == 0
    assert cli("schedules", "edit", "nightly", "--window", "02:00-03:00", *WHY).code == 0
    assert declared(cli)["task"]["taskerman_params"]["window_args"]["timezone"] == "Asia/Tokyo"


def test_beside_every_a_zone_is_that_of_the_windows(cli: CommandLine) -> None:
    zone = ("--timezone", "Europe/Berlin")
    task = ("--action", "demo_task:restart", "--cluster", CLUSTER)
    found = added(cli, "--every", "6h", *task, *zone, "--window", "22:00-04:00")
    assert "timezone" not in found
    assert found["task"]["taskerman_params"]["window_args"]["timezone"] == "Europe/Berlin"
    refused = cli("schedules", "add", "other", "--every", "6h", *task, *zone, "--why", "x")
    assert (refused.code, "every is counted in UTC" in refused.err) == (2, True)


def test_a_command_stands_for_the_action(cli: CommandLine) -> None:
    found = added(cli, "--every", "6h", "--cluster", CLUSTER, "--command", '["df", "-h", "$HOME; x"]', "--unchecked")
    assert found["command"] == ["df", "-h", "$HOME; x"]
    assert found["task"] == {"cluster_name": CLUSTER, "owner": "ada"}


def test_the_answer_says_when_it_fires(cli: CommandLine, tower: Tower) -> None:
    """Jitter among it; and of one that is disabled that it does not."""
    said = cli("schedules", "add", "nightly", "--cron", "0 13 * * *", "--jitter", "1h", *TASK, *WHY, "--json").json
    expected = schedule(jitter="1h")
    assert said["next"] == [f"2026-01-0{day}T13:{expected.offset.seconds // 60:02}:"
                            f"{expected.offset.seconds % 60:02}Z" for day in (1, 2, 3)]  # fmt: skip
    out = cli("schedules", "add", "never", "--cron", "0 13 * * *", "--disabled", *TASK, *WHY).out
    assert "As it is declared it does not fire." in out
    assert "taskerman schedules show never" in out


YAML = """\
# Every night.
cron: 0 2 * * *
timezone: Europe/Berlin
task:
  action: demo_task:restart
  cluster_name: demo:web
  owner: gsi
  taskerman_params:
    window_args:
      windows:
        - {opens: 22:00, closes: 04:00}
"""


@pytest.mark.parametrize("form", ["yaml", "json", "stdin"])
def test_a_file_has_one_schedule_whole(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """YAML as people write it: `22:00` is a time, and no number."""
    wanted = {
        "name": "nightly",
        "cron": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "task": {
            "action": "demo_task:restart",
            "cluster_name": "demo:web",
            "owner": "gsi",
            "taskerman_params": {"window_args": {"windows": [{"opens": "22:00", "closes": "04:00"}]}},
        },
    }
    text = YAML if form != "json" else json.dumps(wanted, indent="\t")
    file = tmp_path / "nightly"
    file.write_text(text, encoding="utf-8")
    if form == "stdin":
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert added(cli, "--file", "-" if form == "stdin" else str(file)) == wanted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"cron: [", "it is not YAML"),
        (b"- cron", "no mapping"),
        (b"", "no mapping"),
        (b"cron: '@daily'\ncron: '@daily'\n", ":2: cron: the key stands twice"),
        (b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9))
            for n in range(98, 110)), "too many values"),
        (b"a: !!python/object:os.system x\n", ":1: a: the tag"),
        (b"{a: 1, [x]: 2}", "a key is a plain text"),
        (b"a: 1\n---\nb: 1\n", "a second document"),
        (b"a: 1\nb: \xff", ":2: it is not UTF-8"),
        (b"a: " + b"[" * 50_000, "nested too deeply"),
        (b"a: " + b"9" * 5000, "too long"),
        (b"a: " + b"x" * 300_000, "more than one schedule may have"),
        (b"a: \x07", "U+0007"),
        (b"cron: '@daily'\ntask: {cluster_name: demo:web}\ncolour: red\n", "colour: unknown field"),
        (b"cron: '@daily'\ntask: {action: demo_task:restart, cluster_name: demo:web, owner: x, limit: 1e999}", "task"),
        (b"name: other\ncron: '@daily'\n", "'other', and not nightly"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_schedule_is_refused_with_the_place(
    cli: CommandLine, tmp_path: Path, text: bytes, says: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(text)
    said = cli("schedules", "add", "nightly", "--file", str(file), *WHY)
    assert said.code == 2, said
    assert says in said.err
    assert str(file) in said.err
    assert cli.schedules.audit == ()


def test_what_this_machine_does_not_know_is_taken_when_a_person_says_so(cli: CommandLine) -> None:
    words = ("schedules", "add", "nightly", "--cron", "@daily", "--action", "nosuch:x", "--cluster", CLUSTER, *WHY)
    assert cli(*words).code == 2
    assert cli(*words, "--unchecked").code == 0
    assert declared(cli)["task"]["action"] == "nosuch:x"


def test_a_discovery_that_nobody_knows_is_refused(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(YAML.replace("  owner: gsi\n", "  owner: gsi\n  discovery: nosuch\n"), encoding="utf-8")
    said = cli("schedules", "add", "nightly", "--file", str(file), *WHY)
    assert said.code == 2
    assert "'nosuch' is not known here" in said.err
    assert cli("schedules", "add", "nightly", "--file", str(file), *WHY, "--unchecked").code == 0


# --- what reviewed files declare ---------------------------------------------------------------------------


def test_what_a_reviewed_file_declares_is_only_read_here(cli: CommandLine) -> None:
    """Also when somebody had added one of that name before."""
    cli.schedules.add(schedule("weekly", enabled=False), "ana@desk", "x")
    for words in (["add", "weekly", "--cron", "@daily", *TASK], ["edit", "weekly", "--cron", "@daily"]):
        said = cli("schedules", *words, *WHY)
        assert said.code == 4
        assert "declared in a reviewed file, weekly.yaml:1: here it is only read" in said.err
    assert declared_in(cli) == {"weekly": schedule("weekly", enabled=False)}
    assert cli("schedules", "remove", "weekly", *WHY).code == 0, "that clears up which one is meant"


def declared_in(cli: CommandLine) -> dict[str, Any]:
    return {one.schedule.name: one.schedule for one in cli.schedules.another().read()}


def test_a_name_is_free_when_no_file_declares_it_any_more(cli: CommandLine, tower: Tower) -> None:
    scheduler = tower.scheduler()
    tower.source.declare()
    scheduler.turn()
    assert tower.record("weekly").retired_at is not None
    assert cli("schedules", "add", "weekly", "--cron", "@daily", *TASK, *WHY).code == 0


def test_a_scheduler_puts_in_force_what_a_person_declares_and_gives_it_up_when_it_is_removed(
    cli: CommandLine, tower: Tower
) -> None:
    """And what is in force from the database is changed there, and nowhere else."""
    scheduler = tower.scheduler(sources=(tower.source, cli.schedules))
    scheduler.turn()
    assert cli("schedules", "add", "nightly", "--cron", "0 13 * * *", *TASK, *WHY).code == 0
    tower.clock.advance(60)
    scheduler.turn()
    record = tower.record("nightly")
    assert (record.origin, record.place) == (ScheduleOrigin.DATABASE, "added by ada@laptop")
    assert cli("schedules", "edit", "nightly", "--cron", "30 13 * * *", *WHY).code == 0
    tower.clock.advance(60)
    scheduler.turn()
    record = tower.record("nightly")
    assert (record.schedule.cron, record.place) == ("30 13 * * *", "changed by ada@laptop")
    assert cli("schedules", "remove", "nightly", *WHY).code == 0
    tower.clock.advance(60)
    scheduler.turn()
    assert tower.record("nightly").retired_at is not None
    assert tower.record("weekly").retired_at is None


# --- edit and remove ---------------------------------------------------------------------------------------


FULL = {
    "timezone": "Europe/Berlin",
    "overlap": "queue",
    "task": {
        "limit": 3,
        "taskerman_params": {
            "action_args": {"force": True},
            "lease_args": {"concurrency": 2, "exclusive": True},
            "window_args": {
                "timezone": "Europe/Berlin",
                "windows": [{"opens": "22:00", "closes": "04:00"}],
                "blackouts": [{"begins": "2026-12-24T00:00:00Z", "ends": "2026-12-27T00:00:00Z"}],
            },
        },
    },
}


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["--cron", "0 3 * * *"], ["cron"]),
        (["--every", "6h"], ["cron", "every", "timezone"]),
        (["--disabled"], ["enabled"]),
        (["--overlap", "skip"], ["overlap"]),
        (["--notify", "#a"], ["notify"]),
        (["--limit", "5"], ["task.limit"]),
        (["--node", "i-1"], ["task.nodes"]),
        (["--owner", "dba"], ["task.owner"]),
        (["--arg", "force=false"], ["task.taskerman_params.action_args.force"]),
        (["--concurrency", "1"], ["task.taskerman_params.lease_args.concurrency"]),
        (["--not-exclusive"], ["task.taskerman_params.lease_args.exclusive"]),
        (["--retries", "0"], ["task.taskerman_params.workqueue_args"]),
        (["--window", "sat@01:00-02:00"], ["task.taskerman_params.window_args.windows"]),
    ],
    ids=str,
)
def test_an_edit_changes_what_it_names_and_nothing_else(cli: CommandLine, words: list[str], fields: list[str]) -> None:
    cli.schedules.add(schedule(**json.loads(json.dumps(FULL))), "ana@desk", "x")
    said = cli("schedules", "edit", "nightly", *words, *WHY, "--json")
    assert said.err == ""
    assert [one["field"] for one in said.json["changed"]] == fields
    assert said.json["definition"] == declared(cli)


def test_another_way_to_say_what_takes_the_place_of_the_former(cli: CommandLine) -> None:
    cli.schedules.add(schedule(task={"taskerman_params": {"action_args": {"force": True}}}), "ana@desk", "x")
    edit = ("schedules", "edit", "nightly", "--unchecked", *WHY)
    assert cli(*edit, "--command", '["df"]').err == ""
    found = declared(cli)
    assert found["command"] == ["df"]
    assert found["task"] == {"cluster_name": CLUSTER, "owner": "gsi"}
    assert cli(*edit, "--action", "demo_task:restart").err == ""
    found = declared(cli)
    assert "command" not in found
    assert found["task"]["action"] == "demo_task:restart"


def test_an_edit_by_a_file_declares_the_whole_anew(cli: CommandLine, tmp_path: Path) -> None:
    cli.schedules.add(schedule(description="x", overlap="queue"), "ana@desk", "x")
    file = tmp_path / "nightly.yaml"
    file.write_text(YAML, encoding="utf-8")
    assert cli("schedules", "edit", "nightly", "--file", str(file), *WHY).err == ""
    assert cli.schedules.find("nightly").schedule.overlap is Overlap.SKIP
    assert "description" not in declared(cli)


def test_an_edit_that_is_repeated_changes_nothing_and_says_so(cli: CommandLine) -> None:
    """As whoever lost the answer does."""
    cli.schedules.add(schedule(), "ana@desk", "x")
    cli.schedules.lose_an_answer()
    words = ("schedules", "edit", "nightly", "--cron", "0 3 * * *", *WHY)
    assert cli(*words).code == 5
    assert "nothing was changed" in cli(*words).out
    assert [one.verb for one in cli.schedules.audit] == ["schedule add", "schedule edit"]


def test_an_edit_shows_what_was_and_what_is(cli: CommandLine) -> None:
    cli.schedules.add(schedule(), "ana@desk", "x")
    said = cli("schedules", "edit", "nightly", "--cron", "0 3 * * *", "--limit", "2", *WHY).out
    assert '  cron: "0 13 * * *" -> "0 3 * * *"\n' in said
    assert "  task.limit: not said -> 2\n" in said


def test_an_edit_of_what_somebody_else_changed_meanwhile_is_refused(cli: CommandLine) -> None:
    """Between looking and writing."""
    cli.schedules.add(schedule(), "ana@desk", "x")
    seen = declared(cli)
    cli.schedules.edit(schedule(description="theirs"), "bob@desk", "y")
    with pytest.raises(RefusedByState, match="bob@desk"):
        control.edit_schedule(
            cli.fleet.desk,
            cli.schedules,
            {**seen, "cron": "0 3 * * *"},
            "mine",
            place="nightly",
            instead_of=seen,
        )


def test_what_cannot_be_read_is_declared_anew_by_a_file_or_removed(cli: CommandLine, tmp_path: Path) -> None:
    cli.schedules.add(schedule(), "ana@desk", "x")
    cli.schedules.spoil("nightly")
    said = cli("schedules", "edit", "nightly", "--disabled", *WHY)
    assert said.code == 2
    assert "of_tomorrow: unknown field" in said.err
    file = tmp_path / "nightly.yaml"
    file.write_text(YAML, encoding="utf-8")
    said = cli("schedules", "edit", "nightly", "--file", str(file), *WHY)
    assert (said.code, said.err) == (0, "")
    assert "cannot be read here" in said.out
    cli.schedules.spoil("nightly")
    assert cli("schedules", "remove", "nightly", *WHY).code == 0
    assert declared_in(cli) == {}


def test_what_was_removed_is_printed_so_that_it_can_be_added_again(cli: CommandLine, tmp_path: Path) -> None:
    cli.schedules.add(schedule(), "ana@desk", "x")
    *_, text = cli("schedules", "remove", "nightly", *WHY).out.splitlines()
    (tmp_path / "again.json").write_text(text, encoding="utf-8")
    assert cli("schedules", "add", "nightly", "--file", str(tmp_path / "again.json"), *WHY).err == ""
    assert declared_in(cli) == {"nightly": schedule()}


@pytest.mark.parametrize(
    "words", [["add", "new", "--cron", "@daily", *TASK], ["edit", "own", "--disabled"], ["remove", "own"]], ids=str
)
def test_without_the_database_a_verb_says_so(cli: CommandLine, words: list[str]) -> None:
    cli.schedules.add(schedule("own"), "ana@desk", "x")
    cli.schedules.fail()
    said = cli("schedules", *words, *WHY)
    assert said.code == HistoryUnavailable.exit_code
    assert said.err.startswith("error E-HISTORY: ")
    cli.schedules.recover()
    assert declared_in(cli) == {"own": schedule("own")}


def test_a_fleet_without_schedules_takes_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No scheduler has ever run there."""
    fleet = Fleet()
    fleet.install()
    cli = CommandLine(fleet, monkeypatch, capsys)
    assert cli("schedules", "add", "nightly", "--cron", "@daily", *TASK, *WHY).code == 0
