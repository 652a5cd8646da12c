"""`postgres_task` on a real PostgreSQL, hook by hook: the harness, but its commands are run."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from taskerman import Check, CommandFailed, CommandResult, Context, Go, TaskRunner, steadily
from taskerman.testing.harness import RunnerHarness
from tests.support.stores.member import Member
from tests.support.stores.postgres import PostgresStore
from tests.support.waiting import until

__all__ = ["OnTheMachine", "believe_sooner", "killed", "settled", "task"]

R = TypeVar("R", bound=TaskRunner)


class OnTheMachine(RunnerHarness[R]):
    """The harness, but commands are run. `keeps_in`: a file that has what was saved, also when we are killed."""

    keeps_in: Path | None = None

    def _kept(self) -> None:
        if self.keeps_in is not None:
            new = self.keeps_in.with_suffix(".new")
            new.write_text(json.dumps(self.saved))
            new.replace(self.keeps_in)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "saved":
            self._kept()

    def _run(self, argv: Sequence[str], check: bool) -> CommandResult:
        words = tuple(argv)
        self.commands.append(words)
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if check and done.returncode:
            raise CommandFailed(words, done.returncode, done.stdout)
        return CommandResult(words, done.returncode, done.stdout)


def task(
    runner: type[R],
    store: PostgresStore,
    member: Member,
    *,
    nodes: Sequence[str] = (),
    at_once: int = 1,
    ago_s: float = 0.0,
    settings: Mapping[str, Any] | None = None,
    cluster: str = "postgres:test",
    **args: Any,
) -> OnTheMachine[R]:
    """The runner on the node of `member`. `nodes`: of the task; by default only this one, so that nobody is waited for.
    `ago_s`: how long ago the task was accepted. `settings`: in place of those of the store."""
    accepted = (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat()
    return OnTheMachine(
        runner,
        settings={**store.settings(member), **(settings or {})},
        args=args,
        cap=at_once,
        node=member.name,
        nodes=nodes or [member.name],
        cluster=cluster,
        accepted_at=accepted,
    )


def settled(harness: OnTheMachine[Any], within_s: float = 30) -> None:
    """post_check says Go in time."""
    until(lambda: isinstance(harness.post_check(), Go), f"well; it said {harness.post_check()}", within_s=within_s)


def killed(harness: OnTheMachine[Any], where: str, *, after: bool = False) -> None:
    """Act in a process of its own that is killed (-9) when it comes to `where` ("module:Class.method"): before that is
    done, or `after` it. What was saved until then is in the harness, as on the disk of a node."""
    module, _, path = where.partition(":")
    owner_path, _, name = path.rpartition(".")
    saved = Path(tempfile.mkdtemp()) / "saved.json"
    saved.write_text(json.dumps(harness.saved))
    pid = os.fork()
    if pid == 0:
        try:
            owner = importlib.import_module(module)
            for each in filter(None, owner_path.split(".")):
                owner = getattr(owner, each)
            real = getattr(owner, name)

            def dies(*args: Any, **named: Any) -> Any:
                if after:
                    real(*args, **named)
                os.kill(os.getpid(), signal.SIGKILL)

            setattr(owner, name, dies)
            harness.keeps_in = saved
            harness.execute_action()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    harness.saved = json.loads(saved.read_text())
    shutil.rmtree(saved.parent)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"it never came to {where}"


def believe_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two good answers in a row are enough, so that many tests take seconds. That it takes more is the engine's
    test."""

    def sooner(ctx: Context, answer: Check, **_: Any) -> Check:
        return steadily(ctx, answer, times=2, over_s=0.0)

    for module in ("restart", "backing_up", "upkeep"):
        monkeypatch.setattr(f"runners.postgres.{module}.steadily", sooner)
