"""What authors of runners import, and nothing else: checks, the context, the base class.

It stands apart from the engine on purpose. A runner is imported in a process of its own, once an attempt, so this
package imports no pydantic (only a runner that declares typed arguments pays for it), no client of anything, and
knows nothing of queues, slots or the agent. It decides nothing: what an answer means is policy.
"""

from __future__ import annotations

from taskerman.runner.base import ActionInterrupted, TaskRunner, load_runner, validate_args
from taskerman.runner.checks import Check, Go, Recovered, Refuse, Skip, Wait, check_from_json, check_to_json
from taskerman.runner.context import CommandFailed, CommandResult, Context
from taskerman.runner.steady import steadily

__all__ = [
    "ActionInterrupted",
    "Check",
    "CommandFailed",
    "CommandResult",
    "Context",
    "Go",
    "Recovered",
    "Refuse",
    "Skip",
    "TaskRunner",
    "Wait",
    "check_from_json",
    "check_to_json",
    "load_runner",
    "steadily",
    "validate_args",
]
