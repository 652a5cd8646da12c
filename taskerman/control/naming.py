"""What a person may type where a name is wanted. A name that cannot be one is told apart from one that is not there.

Names become paths of records, so nothing is looked up under a name that was not checked here.
"""

from __future__ import annotations

import re

from taskerman.errors import UsageError
from taskerman.model.command import GroupName
from taskerman.model.ids import ID, BracketName, ClusterName, NodeId, ScopeName, TaskId
from taskerman.model.schedule import LONGEST_SCHEDULE_NAME, ScheduleName, firing_of

__all__ = [
    "check_bracket",
    "check_cluster",
    "check_group",
    "check_node",
    "check_schedule",
    "check_scope_name",
    "check_task",
]


def check_task(text: str) -> TaskId:
    """`text`, which can be the id of a task. Raises `UsageError`."""
    if re.fullmatch(ID, text):
        return text
    raise UsageError(
        f"{_shown(text)} cannot be the id of a task.", next_step=f"{_meant(text)}`taskerman status` lists the tasks."
    )


def check_node(text: str) -> NodeId:
    """`text`, which can be the id of a node. Raises `UsageError`."""
    if re.fullmatch(ID, text):
        return text
    raise UsageError(
        f"{_shown(text)} cannot be the id of a node.", next_step="`taskerman status TASK` lists the nodes of a task."
    )


def check_schedule(text: str) -> ScheduleName:
    """`text`, which can be the name of a schedule. Raises `UsageError`."""
    if re.fullmatch(ID, text) and len(text) <= LONGEST_SCHEDULE_NAME:
        return text
    found = firing_of(text)
    meant = f"If it is a task of one: `taskerman schedules show {found[0]}`. " if found else ""
    raise UsageError(
        f"{_shown(text)} cannot be the name of a schedule.", next_step=f"{meant}`taskerman schedules` lists them."
    )


def check_cluster(text: str) -> ClusterName:
    """`text`, which can be the name of a cluster. Raises `UsageError`."""
    if re.fullmatch(f"{ID}:{ID}", text):
        return text
    raise UsageError(
        f"{_shown(text)} cannot be the name of a cluster.", next_step="Write <kind>:<name>, such as redis:sessions."
    )


def check_scope_name(text: str) -> ScopeName:
    """`text`, which can be the name of a named scope. Raises `UsageError`."""
    if re.fullmatch(ID, text):
        return text
    raise UsageError(
        f"{_shown(text)} cannot be the name of a scope.",
        next_step="Use letters, digits, _ and -, at most 63; a name with a colon is a cluster's.",
    )


def check_bracket(text: str) -> BracketName:
    """`text`, which can be the name of a bracket. Raises `UsageError`."""
    if re.fullmatch(ID, text):
        return text
    raise UsageError(
        f"{_shown(text)} cannot be the name of a bracket.", next_step="`taskerman brackets list` lists them."
    )


def check_group(text: str) -> GroupName:
    """`text`, which can be the name of a group of hosts. Raises `UsageError`."""
    if re.fullmatch(ID, text):
        return text
    raise UsageError(
        f"{_shown(text)} cannot be the name of a group.", next_step="Use letters, digits, _ and -, at most 63."
    )


def _meant(text: str) -> str:
    """What it may be instead, as people mix them up."""
    if re.fullmatch(f"{ID}:{ID}", text):
        return f"If it is a cluster: `taskerman slots {text}`. "
    if found := re.fullmatch(rf"({ID})[./]({ID})(\.[0-9]+)?", text):
        return f"If it is a task and its node: {found[1]} {found[2]}. "
    return ""


def _shown(text: str) -> str:
    """On one line, however it was typed."""
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:76] + "...'"
