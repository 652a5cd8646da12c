"""Ends that could not be recorded, kept on this host's disk for the next command here, which records them truly."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from taskerman.child.durable import remove_durably, write_durably
from taskerman.model.command import CommandEnd
from taskerman.model.ids import NodeId

__all__ = ["Notes"]


class Notes:
    """One small file for each such end. `folders`: the first that can be written is; all of them are read."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Nothing is made before it is needed."""
        self._folders = [folder / "commands" for folder in folders]

    def write(self, holder: NodeId, end: CommandEnd) -> bool:
        """Keep it. False: nowhere could it be kept."""
        for folder in self._folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_durably(str(folder / f"{holder}.json"), end.to_json())
                return True
            except OSError:
                continue
        return False

    def read(self, holder: NodeId) -> CommandEnd | None:
        """What was kept of it, if it can be read."""
        for folder in self._folders:
            with suppress(OSError, ValidationError):
                return CommandEnd.model_validate_json((folder / f"{holder}.json").read_bytes())
        return None

    def remove(self, holder: NodeId) -> None:
        """It is recorded: it is kept no more. Nothing there is fine."""
        for folder in self._folders:
            with suppress(OSError):
                remove_durably(str(folder / f"{holder}.json"))
