"""The command line over a fleet in memory: what is typed, what is printed, what it ends with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from taskerman import bootstrap, cli
from taskerman.control import Desk
from taskerman.control.wire import AWS_VARIABLES
from taskerman.exclusive import Kit
from taskerman.exclusive.host import this_host
from taskerman.ports.history import HistoryReader
from taskerman.ports.schedules import ScheduleStore
from taskerman.ports.tree import Tree
from taskerman.settings import Loaded, Settings
from taskerman.testing.history import MemoryHistory
from taskerman.testing.schedules import MemoryScheduleStore
from tests.support.fleet import Fleet


@dataclass(frozen=True)
class Answer:
    """What one command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, or the error on standard error, as JSON."""
        return json.loads(self.out or self.err)


class _Lent:
    """The fleet's own client, which nobody who borrows it closes."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tree, name)

    def close(self) -> None:
        """Not by us."""


class CommandLine:
    """Types commands at a fleet's desk. `pause` of a command that waits lets the fleet's clock go on."""

    def __init__(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.fleet = fleet
        self._capsys = capsys

        self.history = MemoryHistory()

        @contextmanager
        def open_history_reader(settings: Settings) -> Iterator[HistoryReader]:
            yield self.history

        @contextmanager
        def open_desk(settings: Settings) -> Iterator[Desk]:
            yield fleet.desk

        def open_exclusive(settings: Settings, say: Callable[[str], None]) -> Kit:
            return Kit(
                connect=lambda: cast(Tree, _Lent(fleet.tree)),
                clock=fleet.clock,
                host=this_host("w-2", settings.boot_id_file),
                by=settings.operator,
                notes=(),
                say=say,
                path=os.environ["PATH"],
            )

        monkeypatch.setattr(bootstrap, "open_exclusive", open_exclusive)
        self.schedules = MemoryScheduleStore(fleet.clock.now)

        @contextmanager
        def open_schedule_store(settings: Settings) -> Iterator[ScheduleStore]:
            yield self.schedules

        monkeypatch.setattr(bootstrap, "open_desk", open_desk)
        monkeypatch.setattr(bootstrap, "open_schedule_store", open_schedule_store)
        monkeypatch.setattr(bootstrap, "open_history_reader", open_history_reader)
        own = Settings(operator="ada@laptop", state_dir=Path("/nonexistent"))  # not what this machine happens to have
        monkeypatch.setattr(bootstrap, "read_settings", lambda: Loaded(own, {}))
        monkeypatch.setattr("time.sleep", fleet.clock.advance)
        for name in AWS_VARIABLES:  # what this machine has set is no business of a test
            monkeypatch.delenv(name, raising=False)

    def __call__(self, *words: str) -> Answer:
        self._capsys.readouterr()
        code = cli.invoke(list(words))
        out, err = self._capsys.readouterr()
        return Answer(code, out, err)
