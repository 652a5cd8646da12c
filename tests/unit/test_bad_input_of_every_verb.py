"""Whoever types something wrong is told what, which, and what to type next, by an exit code of its kind; and nothing
was changed by it.

The tables are exhaustive: a verb that they do not know fails the test, and so does a verb without a case for each
kind of name that it takes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import typer

from taskerman.cli.app import VERBS, parser_for
from taskerman.errors import QueuesUnavailable
from tests.support.command_line import Answer, CommandLine
from tests.support.evening import HOLDER, OVER, an_evening, everything
from tests.support.fleet import Fleet
from tests.support.history import record_a_week
from tests.support.scheduling import schedule

WHY = ("--why", "at 3 am")
FLAGS = ("--action", "demo_task:restart", "--cluster", "demo:web")


@dataclass(frozen=True)
class Bad:
    """One mistake. `says`: what its one line has to name, the next step among it."""

    words: str
    code: int
    error: str
    says: Sequence[str]
    more: Sequence[str] = field(default=())

    @property
    def line(self) -> list[str]:
        return [*self.words.split(), *self.more]


USAGE, GONE, STATE, UNKNOWN = "E-USAGE", "E-NOT-FOUND", "E-STATE", "E-TASK-UNKNOWN"
NONE, TAKEN, WRONG = "E-SCHEDULE-UNKNOWN", "E-SCHEDULE-EXISTS", "E-SCHEDULE"
NEW = (*FLAGS, *WHY)
AWAY = ("t-away has ended (6 succeeded)", "taskerman history --task t-away")

CASES = (
    # --- submit
    Bad("submit", 2, USAGE, ("--action", "--file task.json")),
    Bad("submit --cluster demo:web", 2, USAGE, ("--action",)),
    Bad("submit --file /nonexistent", 2, USAGE, ("/nonexistent", "path")),
    Bad("submit --task-id ../../control", 2, "E-DOC-ID", ("task_id", "../../control", "schema task"), FLAGS),
    Bad("submit --node ../x", 2, "E-DOC-ID", ("nodes.0", "../x"), FLAGS),
    Bad("submit --node i-404", 2, "E-NODE-UNKNOWN", ("i-404",), FLAGS),
    Bad("submit --node s-2", 2, "E-NODE-UNKNOWN", ("s-2", "demo:shop", "not of demo:web"), FLAGS),
    Bad("submit --action demo_task:restart --cluster web", 2, "E-DOC-ID", ("cluster_name", "web", "<kind>:<name>")),
    Bad("submit --action demo_task:restart --cluster demo:none", 2, "E-CLUSTER-EMPTY", ("demo:none",)),
    Bad("submit --action nosuch:x --cluster demo:web", 2, "E-ACTION-UNKNOWN", ("nosuch:x", "--unchecked")),
    Bad("submit --action restart --cluster demo:web", 2, "E-DOC-ID", ("action", "restart", "<runner>:<operation>")),
    Bad("submit --arg forse=1", 2, "E-ACTION-ARGS", ("forse", "force"), FLAGS),
    Bad("submit --arg force", 2, USAGE, ("name=value",), FLAGS),
    Bad("submit --limit 0", 2, "E-DOC-FIELD", ("limit",), FLAGS),
    Bad("submit --limit two", 2, USAGE, ("--limit", "--help"), FLAGS),
    Bad("submit --concurrency lots", 2, "E-DOC-FIELD", ("concurrency", "10%"), FLAGS),
    Bad("submit --retries -1", 2, "E-DOC-FIELD", ("retry_count",), FLAGS),
    Bad("submit --max-failures -1", 2, "E-DOC-FIELD", ("max_failures",), FLAGS),
    Bad("submit --scope ../x", 2, "E-DOC-ID", ("scope", "../x"), FLAGS),
    Bad("submit --scope nobodys", 2, "E-SCOPE-UNKNOWN", ("nobodys", "taskerman scopes set"), FLAGS),
    Bad("submit --priority 10", 2, "E-DOC-FIELD", ("priority",), FLAGS),
    Bad("submit --priority high", 2, USAGE, ("--priority", "--help"), FLAGS),
    Bad("submit --window night", 2, USAGE, ("--window", "'night'", "mon,tue@22:00-04:00"), FLAGS),
    Bad("submit --window @22:00-04:00", 2, USAGE, ("--window", "mon,tue@22:00-04:00"), FLAGS),
    Bad("submit --window 22:00-25:00", 2, "E-DOC-FIELD", ("windows.0.closes", "25:00"), FLAGS),
    Bad("submit --window 22:00-22:00", 2, "E-DOC-FIELD", ("windows.0", "22:00"), FLAGS),
    Bad("submit --window funday@22:00-23:00", 2, "E-DOC-FIELD", ("windows.0.days.0",), FLAGS),
    Bad("submit --window 22:00-23:00 --timezone Berlin", 2, "E-DOC-FIELD", ("timezone", "Berlin"), FLAGS),
    Bad("submit --timezone Europe/Berlin", 2, USAGE, ("--timezone", "--window"), FLAGS),
    Bad("submit --exclusive --file task.json", 2, USAGE, ("--file",)),
    Bad("submit --task-id t-ended", 4, "E-TASK-EXISTS", ("t-ended", "other content", "id of its own"), FLAGS),
    Bad("submit --timeout 5", 2, USAGE, ("--timeout", "--wait"), FLAGS),
    Bad("submit --wait --timeout -5", 2, USAGE, ("--timeout",), FLAGS),
    Bad("submit --dry-run --wait", 2, USAGE, ("--dry-run", "--wait"), FLAGS),
    Bad("submit --dry-run --unchecked", 2, USAGE, ("--dry-run", "--unchecked"), FLAGS),
    Bad("submit --task-id t-away", 4, "E-TASK-EXISTS", ("t-away", "id of its own"), FLAGS),
    # --- status
    Bad("status t-404", 3, UNKNOWN, ("t-404", "taskerman status")),
    Bad("status ../../control", 2, USAGE, ("'../../control'", "taskerman status")),
    Bad("status demo:web", 2, USAGE, ("'demo:web'", "taskerman slots demo:web")),
    Bad("status t-halted/i-2", 2, USAGE, ("t-halted i-2",)),
    Bad("status t-refused", 3, UNKNOWN, ("refused", "E-CLUSTER-EMPTY", "taskerman dlq show")),
    Bad("status --watch", 2, USAGE, ("--watch", "taskerman status TASK --watch")),
    Bad("status --watch t-404", 3, UNKNOWN, ("t-404",)),
    Bad("status t-away", 4, "E-TASK-ENDED", AWAY),
    # --- explain
    Bad("explain", 2, USAGE, ("'task'", "--help")),
    Bad("explain t-404", 3, UNKNOWN, ("t-404", "taskerman status")),
    Bad("explain t-refused", 3, UNKNOWN, ("refused", "taskerman dlq show")),
    Bad("explain ../x", 2, USAGE, ("'../x'", "taskerman status")),
    Bad("explain t-open i-404", 3, GONE, ("i-404", "t-open", "taskerman status t-open")),
    Bad("explain t-open i-1", 3, GONE, ("i-1 is not in the plan of t-open",)),
    Bad("explain t-open ../x", 2, USAGE, ("'../x'", "node")),
    Bad("explain t-away", 4, "E-TASK-ENDED", AWAY),
    # --- cancel
    Bad("cancel", 2, USAGE, ("'task'",)),
    Bad("cancel t-open", 2, USAGE, ("--why",)),
    Bad("cancel t-open --why ...", 2, USAGE, ("reason",)),
    Bad("cancel t-404", 3, UNKNOWN, ("t-404", "taskerman status", "taskerman history --task t-404"), WHY),
    Bad("cancel t-refused", 3, UNKNOWN, ("t-refused",), WHY),
    Bad("cancel ../x", 2, USAGE, ("'../x'",), WHY),
    Bad("cancel t-ended", 4, "E-TASK-ENDED", ("t-ended has ended", "taskerman status t-ended"), WHY),
    Bad("cancel t-expired", 4, "E-TASK-ENDED", ("t-expired has ended",), WHY),
    Bad("cancel t-open --timeout 5", 2, USAGE, ("--timeout", "--wait"), WHY),
    Bad("cancel t-open --wait --timeout -1", 2, USAGE, ("--timeout",), WHY),
    Bad("cancel t-away", 4, "E-TASK-ENDED", AWAY, WHY),
    # --- resume
    Bad("resume", 2, USAGE, ("'task'",)),
    Bad("resume t-404", 3, UNKNOWN, ("t-404",)),
    Bad("resume ../x", 2, USAGE, ("'../x'",)),
    Bad("resume t-open", 4, STATE, ("t-open is open", "taskerman status t-open")),
    Bad("resume t-ended", 4, "E-TASK-ENDED", ("t-ended has ended", "taskerman status t-ended")),
    Bad("resume t-cancelled", 4, STATE, ("t-cancelled is cancelled",)),
    Bad("resume t-parked", 4, STATE, ("t-parked is parked", "taskerman approve t-parked")),
    Bad("resume t-away", 4, "E-TASK-ENDED", AWAY),
    # --- approve
    Bad("approve", 2, USAGE, ("'task'",)),
    Bad("approve t-parked", 2, USAGE, ("--why",)),
    Bad("approve t-404", 3, UNKNOWN, ("t-404",), WHY),
    Bad("approve ../x", 2, USAGE, ("'../x'",), WHY),
    Bad("approve t-open", 4, STATE, ("t-open is open", "taskerman status t-open"), WHY),
    Bad("approve t-ended", 4, STATE, ("t-ended",), WHY),
    Bad("approve t-halted", 4, STATE, ("t-halted is halted", "taskerman resume t-halted"), WHY),
    Bad("approve t-away", 4, "E-TASK-ENDED", AWAY, WHY),
    # --- hold
    Bad("hold", 2, USAGE, ("ON",)),
    Bad("hold everything", 2, USAGE, ("--why",)),
    Bad("hold web", 2, USAGE, ("'web'", "cluster:<kind>:<name>"), WHY),
    Bad("hold cluster:web", 2, USAGE, ("'cluster:web'", "cluster:<kind>:<name>"), WHY),
    Bad("hold task:t-open", 2, USAGE, ("'task:t-open'",), WHY),
    Bad("hold owner:dba", 4, STATE, ("owner:dba already", "ada@laptop", "quarter end", "taskerman unhold h"), WHY),
    Bad("hold everything --for soon", 2, USAGE, ("'soon'", "2h"), WHY),
    Bad("hold everything --for 9999d", 2, USAGE, ("366 days",), WHY),
    Bad("hold everything", 2, USAGE, ("400 characters", "shorter"), ("--why", "x" * 400)),
    # --- unhold
    Bad("unhold", 2, USAGE, ("HOLD",)),
    Bad("unhold h000000", 3, GONE, ("h000000", "taskerman status")),
    Bad("unhold owner:nobody", 3, GONE, ("owner:nobody",)),
    Bad("unhold everything", 3, GONE, ("everything",)),
    # --- slots
    Bad("slots demo:none", 3, GONE, ("demo:none", "taskerman slots")),
    Bad("slots web", 2, USAGE, ("'web'", "<kind>:<name>")),
    Bad("slots list ../x", 2, USAGE, ("'../x'",)),
    Bad("slots release", 2, USAGE, ("'node'",)),
    Bad("slots release i-2", 2, USAGE, ("--why",)),
    Bad("slots release i-404", 3, GONE, ("i-404", "taskerman slots"), WHY),
    Bad("slots release ../x", 2, USAGE, ("'../x'",), WHY),
    Bad("slots release i-1", 4, STATE, ("i-1 holds no slot", "taskerman slots"), WHY),
    Bad("slots release i-1 --node-is-off", 4, STATE, ("i-1 holds no slot",), WHY),
    Bad(f"slots release {HOLDER}", 4, STATE, (HOLDER, "is a command", "--node-is-off"), WHY),
    Bad(f"slots release {OVER} --node-is-off", 4, STATE, (OVER, "has ended"), WHY),
    # --- scopes
    Bad("scopes bogus", 2, USAGE, ("bogus",)),
    Bad("scopes set", 2, USAGE, ("'name'",)),
    Bad("scopes set backup 2", 2, USAGE, ("--why",)),
    Bad("scopes set backup two", 2, USAGE, ("'capacity'",), WHY),
    Bad("scopes set backup 99999", 2, USAGE, ("99999", "0 to 10,000"), WHY),
    Bad("scopes set ../x 2", 2, USAGE, ("'../x'",), WHY),
    Bad("scopes set demo:web 2", 2, USAGE, ("'demo:web'", "cluster"), WHY),
    # --- exclusive
    Bad("exclusive", 2, USAGE, ("CMD ARGS",)),
    Bad("exclusive true", 2, USAGE, ("--scope",)),
    Bad("exclusive --scope backup", 2, USAGE, ("CMD ARGS",)),
    Bad("exclusive --scope ../x true", 2, USAGE, ("'../x'", "name of a scope")),
    Bad("exclusive --scope demo:web true", 2, USAGE, ("'demo:web'", "cluster")),
    Bad("exclusive --scope backup --concurrency 0 true", 2, USAGE, ("0 is not a concurrency", "1 to 10,000")),
    Bad("exclusive --scope backup --concurrency two true", 2, USAGE, ("--concurrency",)),
    Bad("exclusive --scope backup --group ../x true", 2, USAGE, ("'../x'", "name of a group")),
    Bad("exclusive --scope backup --wait soon true", 2, USAGE, ("--wait", "'soon'", "2h")),
    Bad("exclusive --scope backup --wait 9999d true", 2, USAGE, ("--wait", "31 days")),
    Bad("exclusive --scope backup --grace 0 true", 2, USAGE, ("--grace", "'0'")),
    Bad("exclusive --scope backup no-such-program", 127, "E-COMMAND", ("'no-such-program'", "Nothing was taken")),
    Bad("exclusive --scope backup /proc/version", 126, "E-COMMAND", ("'/proc/version'", "Nothing was taken")),
    Bad("exclusive --scope backup --group nobodys true", 3, "E-GROUP-UNKNOWN", ("nobodys", "taskerman groups set")),
    Bad("exclusive --scope backup --group nightly true", 6, "E-DENIED", ("w-2", "nightly", "taskerman groups list")),
    Bad("exclusive --scope busy true", 4, STATE, (HOLDER, "2026-01-31T12:00:00Z", "backup.sh --all", "--wait")),
    # --- groups
    Bad("groups bogus", 2, USAGE, ("bogus",)),
    Bad("groups set", 2, USAGE, ("'name'",)),
    Bad("groups set nightly w-1", 2, USAGE, ("--why",)),
    Bad("groups set nightly w-1", 2, USAGE, ("reason", "--why"), ("--why", " ")),
    Bad("groups set nightly", 2, USAGE, ("--nobody",), WHY),
    Bad("groups set nightly w-1 --nobody", 2, USAGE, ("--nobody",), WHY),
    Bad("groups set ../x w-1", 2, USAGE, ("'../x'",), WHY),
    Bad("groups set nightly ../x", 2, USAGE, ("'../x'",), WHY),
    # --- brackets
    Bad("brackets list web", 2, USAGE, ("'web'", "<kind>:<name>")),
    Bad("brackets close", 2, USAGE, ("'cluster'",)),
    Bad("brackets close demo:web", 2, USAGE, ("'name'",)),
    Bad("brackets close demo:web silence", 2, USAGE, ("--why",)),
    Bad("brackets close web silence", 2, USAGE, ("'web'", "<kind>:<name>"), WHY),
    Bad("brackets close demo:web ../x", 2, USAGE, ("'../x'", "taskerman brackets list"), WHY),
    Bad("brackets close demo:web nosuch", 3, GONE, ("nosuch", "demo:web", "taskerman brackets list"), WHY),
    Bad("brackets close demo:shop silence", 4, STATE, ("s-1 acts", "taskerman slots demo:shop"), WHY),
    # --- breaker
    Bad("breaker show demo:none", 3, GONE, ("demo:none", "taskerman breaker show")),
    Bad("breaker show web", 2, USAGE, ("'web'", "<kind>:<name>")),
    Bad("breaker reset", 2, USAGE, ("'cluster'",)),
    Bad("breaker reset demo:web", 2, USAGE, ("--why",)),
    Bad("breaker reset demo:none", 3, GONE, ("demo:none", "taskerman breaker show"), WHY),
    Bad("breaker reset ../x", 2, USAGE, ("'../x'",), WHY),
    Bad("breaker reset demo:jump", 4, STATE, ("demo:jump",), WHY),
    # --- dlq
    Bad("dlq", 2, USAGE, ("--help",)),
    Bad("dlq bogus", 2, USAGE, ("bogus",)),
    Bad("dlq list extra", 2, USAGE, ("extra",)),
    Bad("dlq show", 2, USAGE, ("TASK",)),
    Bad("dlq show t-404", 3, UNKNOWN, ("t-404",)),
    Bad("dlq show ../x", 2, USAGE, ("'../x'",)),
    Bad("dlq show t-ended", 3, GONE, ("no dead letter", "taskerman dlq list")),
    Bad("dlq show t-ended i-1", 3, GONE, ("i-1 ended succeeded", "no dead letter")),
    Bad("dlq show t-open s-1", 3, GONE, ("s-1", "taskerman explain t-open s-1")),
    Bad("dlq show t-open ../x", 2, USAGE, ("'../x'",)),
    Bad("dlq show t-halted.i-2.99", 3, GONE, ("t-halted.i-2.99", "taskerman dlq list")),
    Bad("dlq show 0123456789abcdef", 3, UNKNOWN, ("0123456789abcdef",)),
    Bad("dlq redrive", 2, USAGE, ("TASK",)),
    Bad("dlq redrive t-404", 3, UNKNOWN, ("t-404",)),
    Bad("dlq redrive ../x", 2, USAGE, ("'../x'",)),
    Bad("dlq redrive t-halted ../x", 2, USAGE, ("'../x'",)),
    Bad("dlq redrive t-ended i-1", 4, STATE, ("i-1 ended succeeded",)),
    Bad("dlq redrive t-cancelled s-2", 4, STATE, ("s-2 ended cancelled",)),
    Bad("dlq redrive t-open s-1", 3, GONE, ("s-1", "taskerman explain t-open s-1")),
    Bad("dlq redrive t-halted i-404", 3, GONE, ("i-404", "t-halted")),
    Bad("dlq redrive t-halted s-1", 3, GONE, ("s-1", "t-halted")),
    Bad("dlq redrive t-halted.i-2.99", 3, GONE, ("t-halted.i-2.99", "taskerman dlq list")),
    Bad("dlq discard", 2, USAGE, ("TASK",)),
    Bad("dlq discard t-halted i-2", 2, USAGE, ("--why",)),
    Bad("dlq discard t-404", 3, UNKNOWN, ("t-404",), WHY),
    Bad("dlq discard ../x", 2, USAGE, ("'../x'",), WHY),
    Bad("dlq discard t-halted ../x", 2, USAGE, ("'../x'",), WHY),
    Bad("dlq discard t-ended i-1", 4, STATE, ("i-1", "no open dead letter"), WHY),
    Bad("dlq discard t-discarded s-3", 4, STATE, ("s-3", "discarded"), WHY),
    Bad("dlq discard t-open s-1", 3, GONE, ("s-1", "taskerman explain t-open s-1"), WHY),
    Bad("dlq show t-away", 4, "E-TASK-ENDED", AWAY),
    Bad(
        "dlq redrive t-away i-1",
        4,
        "E-TASK-ENDED",
        AWAY,
    ),
    Bad(
        "dlq discard t-away i-1",
        4,
        "E-TASK-ENDED",
        AWAY,
        WHY,
    ),
    # --- history
    Bad("history bogus", 2, USAGE, ("bogus",)),
    Bad("history --task t-404", 3, UNKNOWN, ("t-404", "taskerman status t-404")),
    Bad("history --task ../x", 2, USAGE, ("'../x'",)),
    Bad("history --cluster web", 2, USAGE, ("'web'", "<kind>:<name>")),
    Bad("history --node ../x", 2, USAGE, ("'../x'",)),
    Bad("history --outcome bad", 2, USAGE, ("'bad'", "succeeded")),
    Bad("history --since soon", 2, USAGE, ("'soon'", "2h")),
    Bad("history --limit 0", 2, USAGE, ("--limit",)),
    Bad("history letters --task ../x", 2, USAGE, ("'../x'",)),
    Bad("history letters --cluster web", 2, USAGE, ("'web'",)),
    Bad("history audit --limit many", 2, USAGE, ("--limit",)),
    Bad("history commands --scope ../x", 2, USAGE, ("'../x'", "scope")),
    Bad("history commands --host ../x", 2, USAGE, ("'../x'",)),
    Bad("history commands --since soon", 2, USAGE, ("'soon'", "2h")),
    Bad("history upgrade now", 2, USAGE, ("now",)),
    # --- schedules
    Bad("schedules bogus", 2, USAGE, ("bogus",)),
    Bad("schedules --cluster web", 2, USAGE, ("'web'", "<kind>:<name>")),
    Bad("schedules show", 2, USAGE, ("'NAME'",)),
    Bad("schedules show nobodys", 3, NONE, ("nobodys", "taskerman schedules list")),
    Bad("schedules show ../x", 2, USAGE, ("'../x'", "taskerman schedules")),
    Bad("schedules show nightly-with-a-name-that-is-as-long-as-20260101T120000Z", 2, USAGE, ("'nightly-", "show")),
    Bad("schedules pause nightly", 2, USAGE, ("--why",)),
    Bad("schedules pause nightly", 2, USAGE, ("reason", "--why"), ("--why", " ")),
    Bad("schedules pause nobodys", 3, NONE, ("nobodys",), WHY),
    Bad("schedules pause ../x", 2, USAGE, ("'../x'",), WHY),
    Bad("schedules pause paused", 4, STATE, ("paused already", "ada@laptop", "resume paused"), WHY),
    Bad("schedules resume nightly", 4, STATE, ("nightly is not paused", "schedules show nightly")),
    Bad("schedules resume nobodys", 3, NONE, ("nobodys",)),
    Bad("schedules resume ../x", 2, USAGE, ("'../x'",)),
    Bad("schedules trigger nightly", 2, USAGE, ("--why",)),
    Bad("schedules trigger nobodys", 3, NONE, ("nobodys",), WHY),
    Bad("schedules trigger ../x", 2, USAGE, ("'../x'",), WHY),
    Bad("schedules trigger gone", 4, STATE, ("declared no more", "taskerman submit"), WHY),
    Bad("schedules trigger nightly --sign-with /nonexistent", 2, USAGE, ("/nonexistent",), WHY),
    # --- schedules, declared by a person
    Bad("schedules add", 2, USAGE, ("'NAME'",)),
    Bad("schedules add new --cron @daily", 2, USAGE, ("--why",), FLAGS),
    Bad("schedules add new --cron @daily", 2, USAGE, ("reason", "--why"), (*FLAGS, "--why", "?")),
    Bad("schedules add ../x --cron @daily", 2, USAGE, ("'../x'", "taskerman schedules"), NEW),
    Bad("schedules add nightly --cron @daily", 4, TAKEN, ("nightly.yaml:1", "schedules pause nightly"), NEW),
    Bad("schedules add own --cron @daily", 4, TAKEN, ("added by ana@desk", "schedules edit own"), NEW),
    Bad("schedules add new", 2, WRONG, ("new:", "one of cron and every", "schedules add --help"), NEW),
    Bad("schedules add new --cron @daily --every 6h", 2, WRONG, ("one of cron and every",), NEW),
    Bad("schedules add new --cron @never", 2, WRONG, ("new: cron:", "'@never'", "@daily"), NEW),
    Bad("schedules add new", 2, WRONG, ("cron: '0 25 * * *'",), (*NEW, "--cron", "0 25 * * *")),
    Bad("schedules add new --every soon", 2, WRONG, ("every: 'soon'", "90s, 30m, 2h"), NEW),
    Bad("schedules add new --every 6h --jitter 2d", 2, WRONG, ("jitter",), NEW),
    Bad("schedules add new --cron @daily --timezone Berlin", 2, WRONG, ("timezone: 'Berlin'",), NEW),
    Bad("schedules add new --cron @daily --catch-up some", 2, WRONG, ("catch_up:", "'latest'"), NEW),
    Bad("schedules add new --cron @daily --overlap never", 2, WRONG, ("overlap:", "'skip'"), NEW),
    Bad("schedules add new --cron @daily --action demo_task:restart", 2, WRONG, ("task: cluster_name:",), WHY),
    Bad("schedules add new --cron @daily --action demo_task:restart --cluster web", 2, WRONG, ("'web'",), WHY),
    Bad("schedules add new --cron @daily --limit 0", 2, WRONG, ("task: limit:",), NEW),
    Bad("schedules add new --cron @daily --window night", 2, USAGE, ("--window", "'night'"), NEW),
    Bad("schedules add new --cron @daily --arg forse=1", 2, "E-ACTION-ARGS", ("forse", "force"), NEW),
    Bad(
        "schedules add new --cron @daily --action nosuch:x --cluster demo:web",
        2,
        "E-ACTION-UNKNOWN",
        ("nosuch:x", "--unchecked"),
        WHY,
    ),
    Bad("schedules add new --cron @daily --cluster demo:web --command df", 2, USAGE, ("--command", "'df'"), WHY),
    Bad("schedules add new --cron @daily --command []", 2, WRONG, ("command: it should have at least 1 item",), NEW),
    Bad('schedules add new --cron @daily --command ["df"]', 2, WRONG, ("one of task.action, command",), NEW),
    Bad("schedules add new --file /nonexistent", 2, USAGE, ("/nonexistent", "path"), WHY),
    Bad("schedules add new --file new.yaml --cron @daily", 2, USAGE, ("--file",), WHY),
    Bad("schedules edit", 2, USAGE, ("'NAME'",)),
    Bad("schedules edit own --cron @daily", 2, USAGE, ("--why",)),
    Bad("schedules edit own", 2, USAGE, ("Nothing", "--cron"), WHY),
    Bad("schedules edit own --cron @never", 2, WRONG, ("'@never'",), WHY),
    Bad("schedules edit ../x --cron @daily", 2, USAGE, ("'../x'",), WHY),
    Bad("schedules edit nobodys --cron @daily", 3, NONE, ("nobodys", "taskerman schedules list"), WHY),
    Bad("schedules edit nightly --cron @daily", 4, TAKEN, ("nightly.yaml:1", "reviewed file"), WHY),
    Bad("schedules remove", 2, USAGE, ("'NAME'",)),
    Bad("schedules remove own", 2, USAGE, ("--why",)),
    Bad("schedules remove ../x", 2, USAGE, ("'../x'",), WHY),
    Bad("schedules remove nobodys", 3, NONE, ("nobodys", "taskerman schedules list"), WHY),
    Bad("schedules remove nightly", 4, TAKEN, ("nightly.yaml:1", "schedules pause nightly"), WHY),
    # --- schedules in files
    Bad("validate /nonexistent", 2, USAGE, ("/nonexistent", "TASKERMAN_SCHEDULES")),
    Bad("validate a b", 2, USAGE, ("b",)),
    Bad("schedules collect", 2, USAGE, ("'DIR'",)),
    Bad("schedules collect /nonexistent", 2, USAGE, ("/nonexistent", "folder")),
    Bad("schedules collect /usr/bin --check", 2, USAGE, ("--check", "--out FILE")),
    Bad("schedules collect configs --installed-at opt", 2, USAGE, ("--installed-at opt", "/")),
    Bad("schedules collect configs --out /nonexistent/x.yaml", 2, USAGE, ("/nonexistent/x.yaml", "path and rights")),
    Bad("schedules collect configs --check --out /nonexistent/x.yaml", 4, STATE, ("/nonexistent/x.yaml", "commit")),
    # --- upload
    Bad("upload", 2, USAGE, ("'FILE'",)),
    Bad("upload /etc/hostname", 2, USAGE, ("--to s3://bucket/prefix", "TASKERMAN_UPLOADS")),
    Bad("upload /nonexistent --to s3://bucket", 2, USAGE, ("/nonexistent", "path")),
    Bad("upload /usr/bin --to s3://bucket", 2, USAGE, ("/usr/bin is no file",)),
    Bad("upload /dev/zero --to s3://bucket", 2, USAGE, ("/dev/zero is no file",)),
    Bad("upload /etc/hostname --to /srv", 2, USAGE, ("'/srv'", "s3://bucket/prefix")),
    Bad("upload /etc/hostname --to s3://bucket --name a/b", 2, USAGE, ("'a/b'", "--name")),
    Bad("upload /usr/bin/true --to s3://b --sign-with /etc/passwd", 2, USAGE, ("/etc/passwd", "keys generate")),
    # --- plan, diff
    Bad("plan extra", 2, USAGE, ("extra",)),
    Bad("plan --from soon", 2, USAGE, ("'soon'", "2h")),
    Bad("plan --until 367d", 2, USAGE, ("366d", "--until")),
    Bad("plan --from 2026-01-31 --until 2026-01-30", 2, USAGE, ("2026-01-30", "--until")),
    Bad("plan --schedule ../x", 2, USAGE, ("'../x'", "taskerman plan")),
    Bad("plan --cluster web", 2, USAGE, ("'web'", "<kind>:<name>")),
    Bad("plan --files /nonexistent", 2, USAGE, ("/nonexistent", "TASKERMAN_SCHEDULES")),
    Bad("diff", 2, USAGE, ("'old'",)),
    Bad("diff /nonexistent", 2, USAGE, ("'new'",)),
    Bad("diff /nonexistent /nonexistent", 2, USAGE, ("/nonexistent", "TASKERMAN_SCHEDULES")),
    Bad("diff /nonexistent /nonexistent --until never", 2, USAGE, ("'never'", "7d")),
    # --- actions
    Bad("actions bogus", 2, USAGE, ("bogus",)),
    Bad("actions show", 2, USAGE, ("'ACTION'",)),
    Bad("actions show restart", 2, "E-ACTION-UNKNOWN", ("'restart'", "demo_task:restart")),
    Bad("actions show redis_task:fly", 2, "E-ACTION-UNKNOWN", ("'redis_task:fly'", "redis_task:restart")),
    Bad("actions show redis_task:restart --config /nonexistent", 2, USAGE, ("/nonexistent",)),
    Bad("actions show redis_task:restart --config README.md", 2, USAGE, ("README.md", "TOML")),
    # --- new-runner
    Bad("new-runner", 2, USAGE, ("'NAME'",)),
    Bad("new-runner ../x", 2, USAGE, ("'../x'", "Small letters")),
    Bad("new-runner web --into /nonexistent", 2, USAGE, ("/nonexistent", "folder")),
    Bad("new-runner tests --into /proc", 2, USAGE, ("/proc",)),
    # --- keys
    Bad("keys generate", 2, USAGE, ("'file'",)),
    Bad("keys generate /nonexistent/folder/mine.key", 2, USAGE, ("/nonexistent/folder",)),
    Bad("keys digest", 2, USAGE, ("'user'",)),
    Bad("keys digest ada --password-file /nonexistent", 2, USAGE, ("/nonexistent", "path and rights")),
    # --- daemons, and the installation
    Bad("router extra", 2, USAGE, ("extra",)),
    Bad("janitor extra", 2, USAGE, ("extra",)),
    Bad("scheduler extra", 2, USAGE, ("extra",)),
    Bad("agent --once --max-wait soon", 2, USAGE, ("--max-wait",)),
    Bad("agent --once --max-wait -5", 2, USAGE, ("--max-wait",)),
    Bad("demo --bogus", 2, USAGE, ("--bogus",)),
    Bad("init extra", 2, USAGE, ("extra",)),
    Bad("init --of x", 2, USAGE, ("--of", "--accept-installation")),
    Bad("init --accept-installation", 2, USAGE, ("reason", "--why")),
    Bad("init --accept-installation", 4, STATE, ("accepted", "taskerman init --accept-installation --of"), WHY),
    Bad("doctor extra", 2, USAGE, ("extra",)),
    Bad("settings extra", 2, USAGE, ("extra",)),
    Bad("schema", 2, USAGE, ("'document'", "dead-letter")),
    Bad("schema bogus", 2, USAGE, ("bogus", "dead-letter")),
    Bad("bogus", 2, USAGE, ("bogus", "taskerman --help")),
    Bad("--bogus", 2, USAGE, ("--bogus", "taskerman --help")),
)

WELL = {
    "submit": ["submit", *FLAGS],
    "status": ["status"],
    "explain": ["explain", "t-open"],
    "cancel": ["cancel", "t-open", *WHY],
    "resume": ["resume", "t-halted"],
    "approve": ["approve", "t-parked", *WHY],
    "hold": ["hold", "everything", *WHY],
    "unhold": ["unhold", "owner:dba"],
    "slots list": ["slots"],
    "slots release": ["slots", "release", "i-2", *WHY],
    "scopes list": ["scopes"],
    "scopes set": ["scopes", "set", "backup", "2", *WHY],
    "exclusive": ["exclusive", "--scope", "backup", "--", "true"],
    "groups list": ["groups"],
    "groups set": ["groups", "set", "nightly", "w-1", "w-2", *WHY],
    "brackets list": ["brackets", "list"],
    "brackets close": ["brackets", "close", "demo:web", "silence", *WHY],
    "breaker show": ["breaker", "show"],
    "breaker reset": ["breaker", "reset", "demo:burnt", *WHY],
    "dlq list": ["dlq", "list"],
    "dlq show": ["dlq", "show", "t-halted"],
    "dlq redrive": ["dlq", "redrive", "t-halted"],
    "dlq discard": ["dlq", "discard", "t-halted", *WHY],
    "schedules list": ["schedules"],
    "plan": ["plan", "--offline"],
    "schedules show": ["schedules", "show", "nightly"],
    "schedules pause": ["schedules", "pause", "nightly", *WHY],
    "schedules resume": ["schedules", "resume", "paused"],
    "schedules trigger": ["schedules", "trigger", "nightly", *WHY],
    "schedules add": ["schedules", "add", "new", "--cron", "@daily", *NEW],
    "schedules edit": ["schedules", "edit", "own", "--cron", "@daily", *WHY],
    "schedules remove": ["schedules", "remove", "own", *WHY],
    "init": ["init"],
    "doctor": ["doctor"],
}
"""Of each verb that asks ZooKeeper a command that works that evening."""

SETS_A_NAME = ("scopes set", "groups set", "new-runner")
"""A name that is not there yet is no mistake there."""

NEEDS_NO_ZOOKEEPER = {
    "upload",
    *("history list", "history letters", "history audit", "history commands", "history upgrade"),
    *("validate", "schedules collect", "keys generate", "keys digest", "actions list", "actions show", "new-runner"),
    *("router", "agent", "janitor", "scheduler", "settings", "schema", "demo"),
    "diff",
}
"""Asks another store, nothing at all, or is a daemon, which waits."""


@cache
def commands() -> dict[str, set[str]]:
    """Every verb that can be typed, with the verbs below it (`dlq show`), and what it takes."""
    found = {}
    for name in VERBS:
        command: Any = typer.main.get_command(parser_for(name))
        command = command.commands[name]
        for below, each in getattr(command, "commands", {"": command}).items():
            found[f"{name} {below}".strip()] = {one.name for one in each.params}
    return found


def path_of(case: Bad) -> str:
    """The verb that the words are meant for."""
    first, *rest = case.line
    if rest and f"{first} {rest[0]}" in commands():
        return f"{first} {rest[0]}"
    return f"{first} list" if f"{first} list" in commands() and first != "dlq" else first


@pytest.fixture(scope="module")
def evening() -> Fleet:
    """One for all mistakes: none of them changes anything."""
    return an_evening()


@pytest.fixture
def mistyped(evening: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    line = CommandLine(evening, monkeypatch, capsys)
    record_a_week(line.history)
    line.schedules.add(schedule("own"), "ana@desk", "quieter hours")
    return line


@pytest.fixture
def taskerman(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    line = CommandLine(an_evening(), monkeypatch, capsys)
    record_a_week(line.history)
    line.schedules.add(schedule("own"), "ana@desk", "quieter hours")
    return line


def is_an_error(said: Answer) -> str:
    """Its one line, which is fit for 3 am: a code, a sentence, a next step, and nothing of our own insides."""
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert re.fullmatch(r"error E-[A-Z0-9-]+: \S.*[.?`\"]", line), line
    for inside in ("Traceback", "<class", "object at 0x", "None", "znode", "pydantic", "Input should", "Value error"):
        assert inside not in line, line
    return line


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case.line)[:70])
def test_a_mistake_is_told_in_one_line_and_changes_nothing(mistyped: CommandLine, case: Bad) -> None:
    """And as JSON it is the same, with the next step apart."""
    before = everything(mistyped.fleet)
    said = mistyped(*case.line)
    line = is_an_error(said)
    assert (said.code, line.split()[1]) == (case.code, f"{case.error}:"), line
    for word in case.says:
        assert word in line
    said = mistyped(*case.line, "--json")
    assert everything(mistyped.fleet) == before
    assert len(mistyped.schedules.audit) == 1, "that of the one which was there"
    if "No such option: --json" in said.err:  # a verb that prints nothing but JSON, or starts a daemon
        return
    error = said.json["error"]
    assert (error["exit_code"], error["code"], said.code) == (case.code, case.error, case.code)
    assert error["what"]
    assert error["next_step"], error


def test_every_verb_is_in_the_table() -> None:
    """A new verb is not done before its mistakes are."""
    assert {path_of(case) for case in CASES} >= set(commands())
    assert set(WELL) | NEEDS_NO_ZOOKEEPER == set(commands())


@pytest.mark.parametrize("path", sorted(commands()))
def test_every_kind_of_name_that_a_verb_takes_is_tried(path: str) -> None:
    """What is no name at all, what is not there, and for what changes something also what is over."""
    takes = commands()[path]
    mine = [case for case in CASES if path_of(case) == path]
    tried = {(case.code, case.error) for case in mine}
    if "task" in takes or ("name" in takes and path not in SETS_A_NAME):
        assert any(code == 2 and "'" in "".join(case.says) for case in mine for code in [case.code]), "what is no id"
        unknown = {"schedules": NONE, "brackets": GONE}.get(path.split(maxsplit=1)[0], UNKNOWN)
        makes_it = path in ("history letters", "schedules add")
        assert makes_it or (3, unknown) in tried, "one that is not there"
    if {"task", "name", "node"} & takes and "why" in takes and path not in SETS_A_NAME:
        assert any(code == 4 for code, _ in tried), "what is over, or not in that state"
    if "why" in takes and path not in ("unhold", "resume", "dlq redrive", "init", "schedules resume"):
        assert any("--why" in case.says for case in mine), "no reason"


@pytest.mark.parametrize("path", sorted(WELL))
def test_what_is_typed_well_works_that_evening(taskerman: CommandLine, path: str) -> None:
    """Else the tests below would prove nothing."""
    said = taskerman(*WELL[path])
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize("path", sorted(WELL))
def test_without_zookeeper_a_verb_says_so_and_changes_nothing(taskerman: CommandLine, path: str) -> None:
    fleet = taskerman.fleet
    before = everything(fleet)
    fleet.server.cut(fleet.tree)
    said = taskerman(*WELL[path])
    assert said.code == 5
    if path == "doctor":
        assert "fail  zookeeper" in said.out
    else:
        assert is_an_error(said).startswith("error E-ZK: ")
    fleet.server.heal(fleet.tree)
    assert everything(fleet) == before


@pytest.mark.parametrize("path", sorted(set(WELL) - {"init", "doctor"}))
def test_where_there_is_no_installation_a_verb_says_so_and_makes_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    """As with a wrong TASKERMAN_ZOOKEEPER_ROOT: "there is no such task" would send the oncall the wrong way."""
    taskerman = CommandLine(Fleet(), monkeypatch, capsys)
    before = everything(taskerman.fleet)
    said = taskerman(*WELL[path])
    line = is_an_error(said)
    assert (said.code, line.split()[1]) == (4, "E-INSTALLATION:")
    assert "taskerman init" in line
    assert "TASKERMAN_ZOOKEEPER_ROOT" in line
    assert everything(taskerman.fleet) == before


@pytest.mark.parametrize("path", ["submit", "resume", "approve", "dlq redrive", "doctor", "status", "init"])
def test_without_sqs_a_verb_says_what_was_done_and_what_was_not(
    taskerman: CommandLine, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that was made is not called an error because its nodes could not be rung."""
    fleet = taskerman.fleet

    def away(*_: object, **__: object) -> object:
        raise QueuesUnavailable("SQS cannot be reached: it is away.", next_step="It may work later.")

    for name in ("send", "depth", "ensure", "exists"):
        monkeypatch.setattr(fleet.queues, name, away)
    monkeypatch.setattr(fleet.queues, "send_each", list)
    before = everything(fleet)
    said = taskerman(*WELL[path])
    if path in ("submit", "init"):
        assert said.code == 5
        assert is_an_error(said).startswith("error E-SQS: ")
        assert everything(fleet) == before
    elif path == "doctor":
        assert said.code == 5
        assert "fail  queue taskerman-tasks" in said.out
    elif path == "status":
        assert said.code == 0
        assert "cannot be looked at" in said.out
    else:
        assert said.code == 0
        assert "rung" in said.out


def test_a_hold_on_a_cluster_that_nobody_knows_stands_and_asks_whether_its_name_is_right(
    taskerman: CommandLine,
) -> None:
    """It may be a new one; it may as well be misspelt, and then it stops nothing."""
    assert "is its name right?" in taskerman("hold", "cluster:demo:wbe", *WHY).out
    assert "is its name right?" not in taskerman("hold", "cluster:demo:web", *WHY).out
