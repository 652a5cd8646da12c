"""The operator's verbs, shared by every surface: a CLI or an API only parses and prints.

Each verb is a function of a `Desk` (what it may touch, and as whom) and answers with a frozen value. An expected "no"
is raised as the error that says what, why, and what to do next; nothing was changed then. Every change is audited in
its own transaction.
"""

from __future__ import annotations

from taskerman.control.actions import check_config, list_actions, show_action
from taskerman.control.brackets import close_bracket, left_over, list_brackets
from taskerman.control.breakers import reset_breaker, show_breakers
from taskerman.control.comparing import compare
from taskerman.control.dead_letters import discard, list_letters, redrive, show_letter
from taskerman.control.declaring import add_schedule, declared_definition, edit_schedule, remove_schedule
from taskerman.control.desk import Desk, check_why
from taskerman.control.doctor import examine
from taskerman.control.explaining import explain
from taskerman.control.following import follow, follow_cancel
from taskerman.control.grouping import check_order, list_groups, set_group
from taskerman.control.history import outcome_named, past_audit, past_letters, past_tasks, point_in_time
from taskerman.control.initialising import initialise
from taskerman.control.past_commands import past_commands
from taskerman.control.places import list_slots, release, slots_of
from taskerman.control.planning import check_wanted, foresee, time_to_come, wanted
from taskerman.control.scheduling import (
    in_force,
    list_schedules,
    pause_schedule,
    resume_schedule,
    show_schedule,
    trigger_document,
    trigger_schedule,
)
from taskerman.control.scoping import list_scopes, set_scope
from taskerman.control.status import overview, task_status
from taskerman.control.stopping import approve, cancel, hold, resume, time_span, unhold
from taskerman.control.subject import Subject
from taskerman.control.submitting import prepare, preview, submit
from taskerman.control.validating import validate

__all__ = [
    "Desk",
    "Subject",
    "add_schedule",
    "approve",
    "cancel",
    "check_config",
    "check_order",
    "check_wanted",
    "check_why",
    "close_bracket",
    "compare",
    "declared_definition",
    "discard",
    "edit_schedule",
    "examine",
    "explain",
    "follow",
    "follow_cancel",
    "foresee",
    "hold",
    "in_force",
    "initialise",
    "left_over",
    "list_actions",
    "list_brackets",
    "list_groups",
    "list_letters",
    "list_schedules",
    "list_scopes",
    "list_slots",
    "outcome_named",
    "overview",
    "past_audit",
    "past_commands",
    "past_letters",
    "past_tasks",
    "pause_schedule",
    "point_in_time",
    "prepare",
    "preview",
    "redrive",
    "release",
    "remove_schedule",
    "reset_breaker",
    "resume",
    "resume_schedule",
    "set_group",
    "set_scope",
    "show_action",
    "show_breakers",
    "show_letter",
    "show_schedule",
    "slots_of",
    "submit",
    "task_status",
    "time_span",
    "time_to_come",
    "trigger_document",
    "trigger_schedule",
    "unhold",
    "validate",
    "wanted",
]
