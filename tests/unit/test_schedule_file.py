"""One file of schedules: what is declared, its defaults, and every fault by its line and field."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from textwrap import dedent

import pytest

from taskerman.adapters.schedules.composing import MAX_FILE_BYTES
from taskerman.adapters.schedules.one_file import NOT_DEFAULTS, FileRead, read_file
from taskerman.model.schedule import Schedule, template_of
from taskerman.model.task import TaskDocument


def read(text: str) -> FileRead:
    return read_file(dedent(text).lstrip("\n").encode())


def good(text: str) -> dict[str, Schedule]:
    found = read(text)
    assert found.faults == ()
    return {entry.schedule.name: entry.schedule for entry in found.entries}


ONE = """
schedules:
  - name: restart
    cron: "0 3 * * tue"
    timezone: Europe/Berlin
    jitter: 10m
    task: {action: redis_task:restart, cluster_name: "redis:sessions", owner: storage}
"""


def test_a_schedule_is_what_the_file_says() -> None:
    found = read(ONE)
    ((entry),) = found.entries
    assert (entry.line, entry.name_line, entry.index) == (2, 2, 0)
    assert entry.schedule.jitter == timedelta(minutes=10)
    assert template_of(entry.schedule).cluster_name == "redis:sessions"


# --- faults ------------------------------------------------------------------------------------------------

HEAD = """\
schedules:
  - name: fine
    every: 5m
    task: {action: a:b, cluster_name: a:b, owner: o}
  - name: wrong
    every: 5m
    task:
      action: a:b
      cluster_name: a:b
      owner: o
"""

FAULTS = [
    # The schedule itself.
    ("    bogus: 1\n", 11, "bogus: unknown field"),
    ("    jitter: 5x\n", 11, "jitter: '5x' is not a time span"),
    ("    jitter: true\n", 11, "jitter: it should be a time span"),
    ("    enabled: yes\n", 11, "enabled: it should be true or false"),
    ("    description: 5\n", 11, "description: it should be text"),
    ("    notify: ada\n", 11, "notify: it should be a list"),
    ("    notify:\n      - ada\n      - 5\n", 13, "notify[1]: it should be text"),
    ("    catch_up: some\n", 11, "catch_up: it should be 'none', 'latest' or 'all'"),
    ("    catch_up_horizon: 90d\n", 5, "catch_up_horizon is 1s to 31d"),
    ('    cron: "0 3 * * *"\n', 5, "it says when by one of cron and every"),
    ("    timezone: UTC\n", 11, "timezone: it is for cron"),
    ("    command: [ls]\n", 5, "it says what by one of task.action, command, script and binary"),
    ("    jitter: 5m\n    jitter: 6m\n", 12, "jitter: the key stands twice; it is in line 11 too"),
    ("    runbook: !!str x\n", 11, "runbook: the tag"),
    # The document that it makes.
    ("      task_id: x\n", 5, "task.task_id is filled in by each firing"),
    ("      limit: none\n", 11, "task.limit: it should be a whole number"),
    ("      bogus: 1\n", 11, "task.bogus: unknown field"),
    ("      nodes: [i-1, i-1]\n", 7, "task: nodes names a node twice"),
    (
        "      taskerman_params:\n        lease_args:\n          concurrency: lots\n",
        13,
        "task.taskerman_params.lease_args.concurrency: 'lots' is neither a count",
    ),
    (
        "      taskerman_params:\n        window_args:\n          windows:\n            - opens: '25:00'\n",
        14,
        "task.taskerman_params.window_args.windows[0].opens: '25:00' is not a time such as 22:00",
    ),
    (
        "      taskerman_params:\n        window_args:\n          windows:\n            - opens: '22:00'\n",
        14,
        "task.taskerman_params.window_args.windows[0].closes: required, and missing",
    ),
    ("      taskerman_params: 5\n", 11, "task.taskerman_params: it should be a mapping"),
]


@pytest.mark.parametrize(("more", "line", "says"), FAULTS)
def test_a_fault_is_told_by_its_line_and_field(more: str, line: int, says: str) -> None:
    found = read_file((HEAD + more).encode())
    mine = [fault for fault in found.faults if says in fault]
    assert len(mine) == 1, found.faults
    assert mine[0].startswith(f"{line}: schedules[1] (wrong)")
    assert [entry.schedule.name for entry in found.entries] == ["fine"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1: the file is empty"),
        ("# nothing yet\n", "1: the file is empty"),
        ("- a\n", "1: a file of schedules is a mapping"),
        ("defaults: {}\n", "1: schedules: required, and missing"),
        ("schedules: 5\n", "1: schedules: it should be a list"),
        ("schedules: []\nschedule: []\n", "2: schedule: unknown key"),
        ("schedules: []\nschedules: []\n", "2: schedules: the key stands twice"),
        ("schedules:\n  - 5\n", "2: schedules[0]: a schedule is a mapping"),
        ("schedules:\n  - every: 5m\n    task: {action: a:b}\n", "2: schedules[0] name: required, and missing"),
        ("schedules:\n  - name: a b\n", "2: schedules[0] (a b) name: 'a b' is not a name"),
        ("schedules: []\n---\nschedules: []\n", "2: a second document begins"),
        ("defaults: 5\nschedules: []\n", "1: defaults: it should be a mapping"),
        ("defaults:\n  name: x\nschedules: []\n", "2: defaults name: it is each schedule's own"),
        ("defaults:\n  bogus: x\nschedules: []\n", "2: defaults bogus: unknown field"),
        ("defaults:\n  task: x\nschedules: []\n", "2: defaults task: it should be a mapping"),
        ("defaults:\n  jitter: 5m\n  jitter: 5m\nschedules: []\n", "3: defaults jitter: the key stands twice"),
    ],
)
def test_a_fault_of_the_whole_file_is_told_by_its_line(text: str, told: str) -> None:
    assert any(fault.startswith(told) for fault in read_file(text.encode()).faults), read_file(text.encode()).faults


def test_what_is_not_text_is_told_by_its_line() -> None:
    assert read_file(b"schedules:\n  - name: \xff\n").faults == ("2: it is not UTF-8",)


def test_a_file_that_is_too_large_is_not_parsed() -> None:
    (fault,) = read_file(b"#" * (MAX_FILE_BYTES + 1)).faults
    assert "at most 4,194,304 are read" in fault
    assert read_file(b"schedules: []\n#" + b"#" * (MAX_FILE_BYTES - 15)).faults == ()


def test_every_fault_is_told_in_the_order_of_lines_and_the_good_ones_are_found() -> None:
    found = read(
        """
        schedules:
          - {name: a, every: 5m, task: {action: "a:b", owner: o}}
          - {name: b, every: 5m, task: {action: "a:b", cluster_name: "a:b", owner: o}}
          - {name: c, every: 0s, cron: "@never", notify: 5}
        """
    )
    assert [fault.partition(": ")[0] for fault in found.faults] == ["2", "4", "4", "4"]
    assert [entry.schedule.name for entry in found.entries] == ["b"]


def test_a_fault_is_one_line_whatever_stands_in_the_file() -> None:
    found = read('schedules:\n  - {name: "a\\nb", "c\\nd": 1, every: "e\\nf"}\n')
    assert found.faults
    assert all(len(fault.splitlines()) == 1 for fault in found.faults)


def test_a_byte_order_mark_is_none_of_the_keys() -> None:
    assert read_file("\ufeffschedules: []\n".encode()).faults == ()


# --- defaults ----------------------------------------------------------------------------------------------


def test_defaults_are_laid_under_a_schedule_group_by_group() -> None:
    found = good(
        """
        defaults:
          timezone: Europe/Berlin
          jitter: 10m
          notify: [storage, platform]
          task:
            owner: storage
            limit: 3
            taskerman_params:
              lease_args: {scope: wire, concurrency: 1}
              workqueue_args: {retry_count: 7}
        schedules:
          - name: a
            cron: "@daily"
            notify: [dba]
            task:
              action: x:y
              cluster_name: x:y
              limit: 5
              taskerman_params:
                lease_args: {concurrency: 2}
          - name: b
            cron: "@daily"
            timezone: UTC
            task: {action: "x:y", cluster_name: "x:y"}
        """
    )
    a, b = template_of(found["a"]), template_of(found["b"])
    assert (found["a"].timezone, found["b"].timezone) == ("Europe/Berlin", "UTC")
    assert (found["a"].jitter, found["a"].notify) == (timedelta(minutes=10), ("dba",))
    assert (a.owner, a.limit, b.limit) == ("storage", 5, 3)
    assert (a.taskerman_params.lease_args.scope, a.taskerman_params.lease_args.concurrency) == ("wire", 2)
    assert a.taskerman_params.workqueue_args.retry_count == 7
    assert b.taskerman_params.lease_args.concurrency == 1


def test_a_schedule_may_have_all_of_its_task_from_the_defaults() -> None:
    found = good(
        """
        defaults: {task: {action: "x:y", cluster_name: "x:y", owner: o}}
        schedules: [{name: a, every: 5m}, {name: b, every: 6m, task: {limit: 1}}]
        """
    )
    assert template_of(found["a"]).limit is None
    assert template_of(found["b"]).limit == 1


def test_a_default_zone_counts_only_for_cron() -> None:
    found = good(
        """
        defaults: {timezone: Europe/Berlin, task: {action: "x:y", cluster_name: "x:y", owner: o}}
        schedules: [{name: a, every: 5m}, {name: b, cron: "@daily"}]
        """
    )
    assert (found["a"].timezone, found["b"].timezone) == ("UTC", "Europe/Berlin")


@pytest.mark.parametrize("name", NOT_DEFAULTS)
def test_what_is_each_schedule_s_own_has_no_default(name: str) -> None:
    (fault,) = read(f"defaults: {{{name}: x}}\nschedules: []\n").faults
    assert fault.startswith(f"1: defaults {name}: ")


def test_a_wrong_default_is_told_once_at_its_own_line() -> None:
    found = read(
        """
        defaults:
          jitter: 5x
          task:
            owner: o
            taskerman_params:
              lease_args: {priority: 99}
              window_args:
                windows: [{opens: "9"}]
        schedules:
          - {name: a, every: 5m, task: {action: "x:y", cluster_name: "x:y"}}
          - {name: b, every: 5m, task: {action: "x:y", cluster_name: "x:y"}}
        """
    )
    assert [fault.partition(": it ")[0].partition(": '")[0] for fault in found.faults] == [
        "2: defaults jitter",
        "6: defaults task.taskerman_params.lease_args.priority",
        "8: defaults task.taskerman_params.window_args.windows[0].opens",
        "8: defaults task.taskerman_params.window_args.windows[0].closes: required, and missing",
    ]


def test_what_is_missing_is_missing_in_the_schedule_and_not_in_the_defaults() -> None:
    found = read(
        """
        defaults:
          task: {owner: o}
        schedules:
          - name: a
            every: 5m
            task: {action: "x:y"}
          - name: b
            every: 5m
            command: [ls]
        """
    )
    assert found.faults == (
        "6: schedules[0] (a) task.cluster_name: required, and missing",
        "7: schedules[1] (b) task.cluster_name: required, and missing",
    )


def test_aliases_within_a_file_are_what_they_stand_for() -> None:
    found = good(
        """
        schedules:
          - {name: a, every: 5m, task: &what {action: "x:y", cluster_name: "x:y", owner: o}}
          - {name: b, every: 6m, task: *what}
        """
    )
    assert found["a"].task == found["b"].task


# --- a judge -----------------------------------------------------------------------------------------------


def test_what_a_judge_says_is_told_at_its_field() -> None:
    def judge(schedule: Schedule, document: TaskDocument) -> Iterator[tuple[tuple[str | int, ...], str]]:
        if schedule.name == "wrong":
            yield ("task", "action"), f"{document.action} is not installed"

    found = read_file(HEAD.encode(), judge)
    assert found.faults == ("8: schedules[1] (wrong) task.action: a:b is not installed",)
    assert [entry.schedule.name for entry in found.entries] == ["fine"]


def test_ten_thousand_schedules_are_read_as_they_are_declared() -> None:
    lines = ["defaults: {task: {action: 'x:y', cluster_name: 'x:y', owner: o}}", "schedules:"]
    lines += [f'  - {{name: s-{n}, cron: "{n % 60} {n % 24} * * *", jitter: {n}s}}' for n in range(10_000)]
    found = read_file("\n".join(lines).encode())
    assert found.faults == ()
    assert [entry.schedule.name for entry in found.entries] == [f"s-{n}" for n in range(10_000)]
    assert [(entry.line, int(entry.schedule.jitter.total_seconds())) for entry in found.entries] == [
        (n + 3, n) for n in range(10_000)
    ]
