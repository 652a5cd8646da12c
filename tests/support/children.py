"""Children under test: started for real, their reports collected, nothing of them left when the test ends."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from taskerman.agent.child_talk import ChildGone, ChildSpec, Ended, ExecuteAction, Report
from taskerman.agent.killing import kill_attempt
from taskerman.agent.machine import boot_id, boottime
from taskerman.agent.process import ChildProcess, start
from taskerman.child.kin import process_start
from tests.support.waiting import until

__all__ = [
    "ATTEMPT",
    "MINUTE",
    "Starting",
    "Watched",
    "alive",
    "begin",
    "go",
    "mark",
    "of_the_session",
    "spec_for",
    "watched_child",
]

R = TypeVar("R", bound=Report)

MINUTE = timedelta(minutes=1)
RUNNERS = "tests.integration.child_runners"
ATTEMPT = f"t-{uuid.uuid4().hex[:8]}.n-1.1"
"""Of these tests alone: attempts are told apart by it on the whole machine, where others may run the same tests."""


def spec_for(runner: str, folder: Path, attempt: str = ATTEMPT, **changes: Any) -> ChildSpec:
    """A spec for one of the runners of the tests, or for `module:Class`."""
    settings = {"folder": str(folder), **changes.pop("settings", {})}
    fields: dict[str, Any] = {
        "attempt": attempt,
        "assignment": {"task_id": "t-1", "destnode": "n-1"},
        "node": "n-1",
        "cluster": "demo:test",
        "nodes": ["n-1", "n-2"],
        "cap": 2,
        "boot_id": boot_id(),
        "fence": 7,
        "target": runner if ":" in runner else f"{RUNNERS}:{runner}",
        "settings": settings,
    }
    return ChildSpec(**(fields | changes))


class Watched:
    """A child and everything that it has reported."""

    def __init__(self, spec: ChildSpec, directory: Path) -> None:
        self.directory = directory
        self.hold: threading.Event | None = None
        """While it is there and not set, reports are not read, as by a frozen agent."""
        self.reports: list[Report] = []
        self._news = threading.Condition()
        self.child: ChildProcess = start(spec, directory, self._hear)

    def saw(self, kind: type[Report]) -> bool:
        """Whether such a report has come."""
        return any(isinstance(report, kind) for report in self.reports)

    def _hear(self, report: Report) -> None:
        if self.hold is not None:
            self.hold.wait()
        with self._news:
            self.reports.append(report)
            self._news.notify_all()

    def expect(self, kind: type[R], within_s: float = 30.0) -> R:
        """The first report of `kind`, waiting for it; fails with all that came when it does not come in time."""

        def found() -> R | None:
            return next((report for report in self.reports if isinstance(report, kind)), None)

        with self._news:
            self._news.wait_for(lambda: found() or self.saw(ChildGone), within_s)
            report = found()
        assert report is not None, f"no {kind.__name__} within {within_s:g} s, but {self.reports}\n{self.log()}"
        return report

    def ended(self) -> Ended:
        """The result of the action."""
        return self.expect(Ended)

    def log(self) -> str:
        """The attempt's log."""
        return (self.directory / "output.log").read_text(errors="replace")


@contextmanager
def watched_child(spec: ChildSpec, directory: Path) -> Iterator[Watched]:
    """Started; killed with all its kin at the end, whatever happened."""
    watched = Watched(spec, directory)
    try:
        yield watched
    finally:
        assert kill_attempt(spec.attempt, watched.child.pid, watched.child.pid_start, 20)
        watched.child.close()
        assert watched.child.wait(20)


Starting = Callable[..., Watched]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Starting]:
    """Starts children that are gone when the test ends."""
    with ExitStack() as stack:

        def started(runner: str, directory: str = "attempt", **changes: Any) -> Watched:
            spec = spec_for(runner, tmp_path, **changes)
            return stack.enter_context(watched_child(spec, tmp_path / directory))

        yield started


def go(soft: float = 60, hard: float = 120) -> ExecuteAction:
    """An action with its timeouts in seconds from now."""
    return ExecuteAction(timedelta(seconds=soft), boottime() + hard)


def mark(folder: Path, name: str) -> str:
    """The text of a mark that a runner leaves, once it is there."""
    return until(lambda: ((folder / name).read_text() or " ") if (folder / name).exists() else "", f"the mark {name}")


def alive(pids: str) -> list[int]:
    """Those of the pids (separated by spaces) that are running."""
    return [pid for pid in map(int, pids.split()) if process_start(pid) is not None]


def of_the_session(keeper: int) -> list[int]:
    """Who lives in the keeper's session."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getsid(int(name)) == keeper and process_start(int(name)) is not None:
                found.append(int(name))
        except ProcessLookupError:
            continue
    return found
