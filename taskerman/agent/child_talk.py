"""What agent and child say to each other: the commands, the reports, and what a child is given at its start.

Values only, and their JSON, one object a line. What is promised about them stands with the process that keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, assert_never

from pydantic import JsonValue

from taskerman.model.attempt import Result
from taskerman.policy.bounds import UNBOUNDED, Bounds
from taskerman.runner import Check, Recovered, check_from_json

__all__ = [
    "Abort",
    "Checked",
    "ChildGone",
    "ChildSpec",
    "ClusterBegin",
    "ClusterEnd",
    "Command",
    "Died",
    "Done",
    "Ended",
    "Errored",
    "ExecuteAction",
    "Exit",
    "Failed",
    "HookName",
    "OnReport",
    "PostCheck",
    "PreCheck",
    "Ready",
    "Recover",
    "RecoveredAs",
    "Report",
    "TimedOut",
    "command_to_json",
    "report_from_json",
]

HookName = Literal["pre_check", "post_check", "recover", "cluster_begin", "cluster_end"]

# --- what a child is told --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PreCheck:
    """Ask `pre_check`. Answered by `Checked`, `Errored`, `TimedOut` or `Died`.

    `fence`: the fencing token of the take, for a child that was started before it. None: as its spec says.
    """

    timeout: timedelta
    fence: int | None = None


@dataclass(frozen=True, slots=True)
class ExecuteAction:
    """Go. Answered by exactly one `Ended`, whatever happens, unless the keeper itself is killed (`ChildGone`).

    `soft`: from now, then the action is interrupted and cleans up. `deadline_boottime`: on CLOCK_BOOTTIME, then
    everything that it started is killed.
    """

    soft: timedelta
    deadline_boottime: float


@dataclass(frozen=True, slots=True)
class Abort:
    """Interrupt the action now, as its soft timeout would. Without an action under way it does nothing."""


@dataclass(frozen=True, slots=True)
class PostCheck:
    """Ask `post_check`. Answered as `PreCheck`."""

    timeout: timedelta


@dataclass(frozen=True, slots=True)
class Recover:
    """Ask `recover`. Answered by `RecoveredAs`, `Errored`, `TimedOut` or `Died`."""

    timeout: timedelta


@dataclass(frozen=True, slots=True)
class ClusterBegin:
    """Call `cluster_begin`. Answered by `Done`, `Errored`, `TimedOut` or `Died`."""

    timeout: timedelta


@dataclass(frozen=True, slots=True)
class ClusterEnd:
    """Call `cluster_end`. Answered as `ClusterBegin`."""

    timeout: timedelta


@dataclass(frozen=True, slots=True)
class Exit:
    """End. During an action: after its result. During a check: at once."""


Command = PreCheck | ExecuteAction | Abort | PostCheck | Recover | ClusterBegin | ClusterEnd | Exit

# --- what a child reports --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The runner is imported and its arguments are valid."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no runner to ask, and there will not be in this child. `phase`: "import" (no such module or class, or
    its import raised), "args" (`action_args` are refused) or "init" (its constructor raised)."""

    phase: Literal["import", "args", "init"]
    error: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A check answered."""

    phase: HookName
    check: Check


@dataclass(frozen=True, slots=True)
class Errored:
    """A hook raised, or answered what is no answer. `error`: type, message and the last lines of the traceback."""

    phase: HookName
    error: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A hook did not answer in time; its process and all that it had started were killed. Ask again if you like."""

    phase: HookName


@dataclass(frozen=True, slots=True)
class Died:
    """The process of a hook vanished. `how`: "signal SIGKILL" or "exit 3". Ask again if you like."""

    phase: HookName
    how: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The action ended; its result file is written. Nothing of the action is left running.

    `result.status`: "ok"; "error" (it raised); "timeout" (interrupted at its soft timeout, and cleaned up); "killed"
    (stopped in another way: aborted, over its hard deadline, or its process died; `result.error` says which).
    """

    result: Result


@dataclass(frozen=True, slots=True)
class RecoveredAs:
    """What `recover` found out."""

    answer: Recovered


@dataclass(frozen=True, slots=True)
class Done:
    """A hook that answers nothing has returned."""

    phase: HookName


@dataclass(frozen=True, slots=True)
class ChildGone:
    """The child has ended: always the last report. `exit`: its code, negative for a signal; None if it is not ours.

    After `ExecuteAction` without an `Ended` it may have left processes, and a result file: kill, then read.
    """

    exit: int | None


Report = Ready | Failed | Checked | Errored | TimedOut | Died | Ended | RecoveredAs | Done | ChildGone
OnReport = Callable[[Report], None]
"""Called on the child's own reading thread, one report at a time. It must not raise."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """Everything that a child needs to know.

    `assignment`: the task document with `destnode`. `nodes`: those of the plan; `cap`: on how many of them at once.
    `boot_id`: of this boot. `target`: `module:Class`. `settings`: this node's configuration for the runner. `saved`:
    what an earlier child of this assignment saved. `cgroup`: what it enters first, if anything. `bounds`: what binds it
    there; `rlimit_memory_mb`: where no group can bind its memory, each of its processes. `log_form`: of the log's
    lines. `accepted_at`: when a router accepted the task, RFC 3339. `log_max_bytes`, `tail_bytes`: bounds of the
    attempt's log and of a result's tail.
    """

    attempt: str
    assignment: Mapping[str, JsonValue]
    node: str
    cluster: str
    nodes: Sequence[str]
    cap: int
    fence: int
    boot_id: str
    target: str
    args: Mapping[str, JsonValue] = field(default_factory=dict)
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    saved: Mapping[str, JsonValue] = field(default_factory=dict)
    cgroup: str = ""
    bounds: Bounds = UNBOUNDED
    rlimit_memory_mb: int | None = None
    log_form: str = "human"
    accepted_at: str = ""
    log_max_bytes: int = 16 * 1024 * 1024
    tail_bytes: int = 4096


# --- as JSON ---------------------------------------------------------------------------------------------


def command_to_json(command: Command) -> dict[str, JsonValue]:  # noqa: PLR0911  (one for each command)
    """The line that tells a child to do `command`."""
    match command:
        case PreCheck(timeout, fence):
            told: dict[str, JsonValue] = {"do": "pre_check", "timeout_s": timeout.total_seconds()}
            return told if fence is None else {**told, "fence": fence}
        case PostCheck(timeout):
            return {"do": "post_check", "timeout_s": timeout.total_seconds()}
        case Recover(timeout):
            return {"do": "recover", "timeout_s": timeout.total_seconds()}
        case ClusterBegin(timeout):
            return {"do": "cluster_begin", "timeout_s": timeout.total_seconds()}
        case ClusterEnd(timeout):
            return {"do": "cluster_end", "timeout_s": timeout.total_seconds()}
        case ExecuteAction(soft, deadline):
            return {"do": "execute_action", "soft_s": soft.total_seconds(), "deadline_boottime": deadline}
        case Abort():
            return {"do": "abort"}
        case Exit():
            return {"do": "exit"}
        case _:
            assert_never(command)


def report_from_json(line: Mapping[str, Any]) -> Report:  # noqa: PLR0911  (one for each report)
    """The report that a child wrote. Raises `ValueError` or `KeyError` for what no child of this build writes."""
    match line["report"]:
        case "ready":
            return Ready()
        case "failed":
            return Failed(line["phase"], line["error"])
        case "check":
            return Checked(line["phase"], check_from_json(line["check"]))
        case "error":
            return Errored(line["phase"], line["error"])
        case "timeout":
            return TimedOut(line["phase"])
        case "died":
            return Died(line["phase"], line["how"])
        case "result":
            return Ended(Result.model_validate_json(json.dumps(line["result"])))
        case "recovered":
            return RecoveredAs(Recovered(line["answer"]))
        case "done":
            return Done(line["phase"])
        case unknown:
            raise ValueError(f"{unknown!r} is no report of a child")
