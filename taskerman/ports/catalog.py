"""Which actions exist here, what their arguments must look like, and what can be told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import JsonValue

from taskerman.model.action import ActionDescription
from taskerman.model.task import ActionTraits

__all__ = ["Catalog", "Guide"]


class Catalog(Protocol):
    """The runners installed in this build, by action name (`<runner>:<operation>`)."""

    def names(self) -> Sequence[str]:
        """Every installed action, sorted. Imports no runner."""
        ...

    def target(self, action: str) -> str:
        """`module:Class` of the runner, for the child to import. Raises `ActionUnknown`."""
        ...

    def traits(self, action: str) -> ActionTraits:
        """What the runner declares of the action (when_lost, reboots, ...). Imports it. Raises `ActionUnknown`."""
        ...

    def check_args(self, action: str, args: Mapping[str, JsonValue]) -> None:
        """Validate `action_args` with the runner's own typed model.

        Raises `ActionUnknown`, `ActionArgsInvalid` (naming the field and the reason).
        """
        ...


class Guide(Protocol):
    """The same runners, for people. What carries out tasks does not need it."""

    def names(self) -> Sequence[str]:
        """See `Catalog.names`."""
        ...

    def describe(self, action: str) -> ActionDescription:
        """All that its runner says of it. Imports it. Raises `ActionUnknown`, also for one that cannot be described."""
        ...

    def check_args(self, action: str, args: Mapping[str, JsonValue]) -> None:
        """See `Catalog.check_args`."""
        ...

    def check_config(self, action: str, settings: Mapping[str, JsonValue]) -> bool:
        """Judge a node's configuration for the runner with the runner's own typed model. False: it has none, so that
        nobody can say. Raises `ActionUnknown`, `RunnerMisconfigured` (naming each key and the reason)."""
        ...
