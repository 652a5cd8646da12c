"""The catalog of runners: packages announce them as entry points, and nothing of them is loaded before it is wanted.

An action `<runner>:<operation>` is the entry point `<runner>.<operation>` of the group `taskerman.runners` (a colon is
not allowed in the name of an entry point). Listing reads the packages' metadata and imports none of them, because a
runner's import may be slow, or broken, and must hurt only who asks for that runner.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points

from pydantic import JsonValue, ValidationError

from taskerman.errors import ActionArgsInvalid, ActionUnknown, RunnerMisconfigured, TaskermanError
from taskerman.model.action import ActionDescription
from taskerman.model.task import ActionTraits
from taskerman.runner.base import TaskRunner, load_runner, validate_args, validate_config

__all__ = ["GROUP", "InstalledRunners"]

GROUP = "taskerman.runners"


class InstalledRunners:
    """The `Catalog`, and the `Guide`, of what is installed beside this program, as it was when it was first asked."""

    def __init__(self, group: str = GROUP) -> None:
        """`group`: of the entry points."""
        self._group = group

    def names(self) -> Sequence[str]:
        """See `Catalog.names`."""
        return tuple(sorted(self._entries))

    def target(self, action: str) -> str:
        """See `Catalog.target`. Imports nothing."""
        entry = self._entry(action)
        return f"{entry.module}:{entry.attr}"

    def traits(self, action: str) -> ActionTraits:
        """See `Catalog.traits`."""
        runner = self._load(action)
        try:
            return ActionTraits(
                when_lost=runner.when_lost,
                reboots=runner.reboots,
                replaces=runner.replaces,
                soft_s=_seconds(runner.soft),
                settle_s=_seconds(runner.settle),
                scope=runner.scope or None,
                bracket=(runner.bracket or action.partition(":")[0]) if runner.is_bracketed() else None,
            )
        except ValidationError as error:
            wrong = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors(include_url=False))
            raise ActionUnknown(
                f"The runner of {action!r} declares what no runner may: {wrong}.", next_step="Correct its class."
            ) from error

    def check_args(self, action: str, args: Mapping[str, JsonValue]) -> None:
        """See `Catalog.check_args`. The rules are those of the attempt itself: the same function checks there."""
        try:
            validate_args(self._load(action), args)
        except ActionArgsInvalid as error:
            raise ActionArgsInvalid(f"{action}: {error.what}", next_step=error.next_step) from error
        except TaskermanError:
            raise
        except Exception as error:  # whatever a foreign validator does
            raise ActionArgsInvalid(
                f"{action}: its own check of action_args broke: {type(error).__name__}: {error}.",
                next_step="Correct the arguments, or that runner's Args.",
            ) from error

    def describe(self, action: str) -> ActionDescription:
        """See `Guide.describe`."""
        from taskerman.runner.describing import describe  # noqa: PLC0415  (only people ask)

        runner, traits = self._load(action), self.traits(action)
        try:
            return describe(action, runner, traits, self._introducing(action, runner.__module__))
        except Exception as error:  # whatever a foreign model does when it is asked for its schema
            raise ActionUnknown(
                f"The runner of {action!r} cannot be described: {type(error).__name__}: {error}.",
                next_step="Correct its Args and its Config: each must have a JSON Schema.",
            ) from error

    def check_config(self, action: str, settings: Mapping[str, JsonValue]) -> bool:
        """See `Guide.check_config`. The rules are those of the attempt itself: the same function checks there."""
        runner = self._load(action)
        try:
            return validate_config(runner, settings) is not None
        except RunnerMisconfigured as error:
            raise RunnerMisconfigured(f"{action}: {error.what}", next_step=error.next_step) from error
        except Exception as error:  # whatever a foreign validator does
            raise RunnerMisconfigured(
                f"{action}: its own check of the configuration broke: {type(error).__name__}: {error}.",
                next_step="Correct the configuration, or that runner's Config.",
            ) from error

    def _introducing(self, action: str, module: str) -> str:
        """The module whose docstring is about the runner as a whole: its package, where nothing but this runner is in
        it and it says something, else the operation's own module."""
        package, _, _ = module.rpartition(".")
        mine, _, _ = action.partition(":")
        inside = {name.partition(":")[0] for name, offers in self._entries.items()
                  if any(f"{offer.module}.".startswith(f"{package}.") for offer in offers)}  # fmt: skip
        return package if package and inside == {mine} and sys.modules[package].__doc__ else module

    @cached_property
    def _entries(self) -> Mapping[str, Sequence[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = defaultdict(list)
        for entry in entry_points(group=self._group):
            runner, dot, operation = entry.name.partition(".")
            if dot:
                found[f"{runner}:{operation}"].append(entry)
        return found

    def _entry(self, action: str) -> EntryPoint:
        offers = self._entries.get(action, ())
        if not offers:
            installed = ", ".join(self.names()) or "none"
            raise ActionUnknown(
                f"The action {action!r} is not installed here.",
                next_step=f"Installed: {installed}. Correct the name, or install the package that has it.",
            )
        if len({entry.value for entry in offers}) > 1:
            packages = ", ".join(sorted(entry.dist.name if entry.dist else entry.value for entry in offers))
            raise ActionUnknown(
                f"The action {action!r} is offered by more than one package: {packages}.",
                next_step="Uninstall all but one: nobody can say which is meant.",
            )
        return offers[0]

    def _load(self, action: str) -> type[TaskRunner]:
        target = self.target(action)
        try:
            return load_runner(target)
        except TaskermanError:
            raise
        except (Exception, SystemExit) as error:  # whatever a foreign module does when it is imported
            raise ActionUnknown(
                f"The action {action!r} is installed as {target}, which cannot be imported: "
                f"{type(error).__name__}: {error}.",
                next_step="Correct that package.",
            ) from error


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else round(span.total_seconds())
