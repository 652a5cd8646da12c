"""A node that was taken out of its load balancer is put back, whoever died in between.

The note is on disk before the node is out, and goes when it is in again. It outlives the attempt on purpose: values
that an attempt saves are not seen by the next one, and a node that stays out for ever serves nobody.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

from runners.service.config import Service
from taskerman import Context

__all__ = ["Drained"]


class Drained:
    """The note that one service of this node is out, or may be. All of it may be repeated."""

    def __init__(self, service: Service, name: str, folder: Path, ctx: Context) -> None:
        """`folder`: of all notes; made when it is needed."""
        self._service = service
        self._ctx = ctx
        self._note = folder / f"{quote(name, safe='')}.drained"

    @property
    def noted(self) -> bool:
        """It is out, or was about to be taken out. Raises `OSError` when nobody can say."""
        return self._note.exists()

    @property
    def way_back(self) -> str:
        """What a person types to put it back."""
        return f"{' '.join(self._service.undrain or ('put it back',))}; then rm {self._note}"

    def impossible(self) -> str:
        """Why no note could be written; "" when it can."""
        if self._service.drain is None:
            return ""
        place = next(each for each in (self._note.parent, *self._note.parent.parents) if each.exists())
        return "" if place.is_dir() and os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written"

    def take_out(self) -> None:
        """Note it down, then take the node out. Does nothing for a service without a drain command.

        Raises `CommandFailed`, `OSError`.
        """
        if self._service.drain is None:
            return
        self._note.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"task": self._ctx.task_id, "attempt": self._ctx.attempt_id})
        with self._note.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._sync_folder()
        self._ctx.command(self._service.drain)

    def put_back(self) -> None:
        """Put the node back when it is noted as out. Raises `CommandFailed`; then the note stays."""
        if self._service.undrain is None or not self.noted:
            return
        self._ctx.command(self._service.undrain)
        self._note.unlink(missing_ok=True)
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self._note.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
