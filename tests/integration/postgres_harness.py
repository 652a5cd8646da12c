"""`postgres_task` on a real PostgreSQL, hook by hook: the harness, but its commands are run."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from taskerman import CommandFailed, CommandResult, Go, TaskRunner
from taskerman.testing.harness import RunnerHarness
from tests.support.stores.member import Member
from tests.support.stores.postgres import PostgresStore
from tests.support.waiting import until

__all__ = ["OnTheMachine", "settled", "task"]

R = TypeVar("R", bound=TaskRunner)


class OnTheMachine(RunnerHarness[R]):
    """The harness, but commands are run."""

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
    task_id: str = "",
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
