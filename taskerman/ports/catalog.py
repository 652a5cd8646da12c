"""Which actions exist here, and what their arguments must look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import JsonValue

from taskerman.model.task import ActionTraits

__all__ = ["Catalog"]


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
