"""Taskerman maintains clusters of datastores: declared tasks, done node by node, safely.

What authors of runners import stands here: `from taskerman import Go, TaskRunner, Wait`. The names are looked up
when they are first used, so that importing this package costs nothing: every module of it is imported through here,
and the process that runs one attempt pays for each import again and again.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskerman.runner import (
        ActionInterrupted,
        Check,
        CommandFailed,
        CommandResult,
        Context,
        Go,
        Recovered,
        Refuse,
        Skip,
        TaskRunner,
        Wait,
        steadily,
    )

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
    "steadily",
]


if not TYPE_CHECKING:  # a type checker knows the names from above, and would take any other one from here

    def __getattr__(name: str) -> object:
        if name in __all__:
            from taskerman import runner  # noqa: PLC0415  (the whole point: not before somebody asks)

            return getattr(runner, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
