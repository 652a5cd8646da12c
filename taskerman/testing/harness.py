"""A harness for authors of runners: hooks run here and now, and the commands they would run are a script.

    harness = RunnerHarness(Restart, settings={"unit": "redis"})
    harness.answer("systemctl", "restart", exit=1, output="unit not found")
    with pytest.raises(CommandFailed):
        harness.execute_action()
    assert harness.commands == [("systemctl", "restart", "redis")]

Every hook gets a new instance of the runner, because in production each may run in a process of its own: what a later
hook must know has to be saved. Timeouts, killing and the log file are the engine's, and are not played here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from os import PathLike
from typing import Generic, TypeVar

from pydantic import JsonValue

from taskerman.runner import (
    ActionInterrupted,
    Check,
    CommandFailed,
    CommandResult,
    Context,
    Recovered,
    TaskRunner,
    check_from_json,
    check_to_json,
)

__all__ = ["Logged", "RunnerHarness"]

R = TypeVar("R", bound=TaskRunner)


@dataclass(frozen=True, slots=True)
class Logged:
    """One `ctx.log`."""

    message: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Script:
    prefix: tuple[str, ...]
    exit: int | None
    output: str
    interrupts: bool
    times: int | None


class RunnerHarness(Generic[R]):
    """One attempt of one runner, without a process, a queue or a cluster.

    `commands`: what the runner ran, in order. `logged`: what it logged. `saved`: what it saved.
    `boot_id`: which boot it is; a test that reboots the machine assigns another.
    """

    def __init__(
        self,
        runner: type[R],
        *,
        args: Mapping[str, JsonValue] | None = None,
        params: Mapping[str, JsonValue] | None = None,
        settings: Mapping[str, JsonValue] | None = None,
        saved: Mapping[str, JsonValue] | None = None,
        node: str = "node-1",
        cluster: str = "demo:test",
        nodes: Sequence[str] = ("node-1", "node-2", "node-3"),
        cap: int = 1,
        fence: int = 1,
        boot_id: str = "boot-1",
        accepted_at: str = "",
    ) -> None:
        """`args`: as in a task's `action_args`; a hook raises `ActionArgsInvalid` when they do not fit. `params`: the
        other groups of its `taskerman_params`. `accepted_at`: when the task was accepted, RFC 3339."""
        self.boot_id = boot_id
        self.commands: list[tuple[str, ...]] = []
        self.logged: list[Logged] = []
        self.saved: dict[str, JsonValue] = dict(saved or {})
        self._runner = runner
        self._args: dict[str, JsonValue] = dict(args or {})
        self._params: dict[str, JsonValue] = {**(params or {}), "action_args": self._args}
        self._settings = dict(settings or {})
        self._node, self._cluster, self._nodes = node, cluster, tuple(nodes)
        self._cap, self._fence = cap, fence
        self._accepted_at = accepted_at
        self._scripts: list[_Script] = []

    def answer(self, *prefix: str, exit: int | None = 0, output: str = "", times: int | None = None) -> None:  # noqa: A002
        """Commands that begin with `prefix` end with `exit` (None: cannot be started, or took too long) and print
        `output`. `times`: only the next so many. The latest script that fits counts; without one, a command succeeds
        and prints nothing."""
        self._scripts.append(_Script(prefix, exit, output, interrupts=False, times=times))

    def interrupt(self, *prefix: str) -> None:
        """The action's soft timeout comes during the next command that begins with `prefix`."""
        self._scripts.append(_Script(prefix, None, "", interrupts=True, times=1))

    def runner(self, phase: str = "") -> R:
        """A new instance, as a new process would make it."""
        return self._runner(_FakeContext(self, phase))

    def pre_check(self) -> Check:
        """Ask the hook; what it raises is raised."""
        return _as_on_the_wire(self.runner("pre_check").look_before())

    def execute_action(self) -> None:
        """Act. What the hook raises is raised; `ActionInterrupted` after `abort` was called, as the engine does."""
        runner = self.runner("execute_action")
        try:
            runner.execute_action()
        except ActionInterrupted:
            runner.abort()
            raise

    def post_check(self) -> Check:
        """Ask the hook; what it raises is raised."""
        return _as_on_the_wire(self.runner("post_check").post_check())

    def recover(self) -> Recovered:
        """Ask the hook; what it raises is raised."""
        return self.runner("recover").recover()

    def abort(self) -> None:
        """Call the hook, in a new instance, as after an action that was killed."""
        self.runner("abort").abort()

    def _run(self, argv: Sequence[str], check: bool) -> CommandResult:
        words = tuple(str(word) for word in argv)
        self.commands.append(words)
        for place in range(len(self._scripts) - 1, -1, -1):
            script = self._scripts[place]
            if words[: len(script.prefix)] != script.prefix:
                continue
            if script.times is not None:
                left = script.times - 1
                self._scripts[place : place + 1] = [
                    _Script(script.prefix, script.exit, script.output, script.interrupts, left)
                ] * (left > 0)
            if script.interrupts:
                raise ActionInterrupted("the harness was told to interrupt here")
            if script.exit is None or (check and script.exit != 0):
                raise CommandFailed(words, script.exit, script.output, "" if script.exit is not None else "no answer")
            return CommandResult(words, script.exit, script.output)
        return CommandResult(words)


class _FakeContext(Context):
    """A context whose commands are the harness's script."""

    def __init__(self, harness: RunnerHarness[R], phase: str) -> None:
        super().__init__(
            assignment={
                "task_id": "t-harness",
                "cluster_name": harness._cluster,
                "destnode": harness._node,
                "taskerman_params": harness._params,
            },
            attempt_id=f"t-harness.{harness._node}.1",
            node_id=harness._node,
            cluster=harness._cluster,
            nodes=harness._nodes,
            cap=harness._cap,
            boot_id=harness.boot_id,
            fence=harness._fence,
            args=harness._args,
            settings=harness._settings,
            saved=harness.saved,
            on_save=self._keep,
            accepted_at=harness._accepted_at,
        )
        self.phase = phase
        self._harness = harness

    def _keep(self, values: Mapping[str, JsonValue]) -> None:
        self._harness.saved = json.loads(json.dumps(values))  # as another process would read it

    def log(self, message: str, **fields: object) -> None:
        self._harness.logged.append(Logged(message, fields))

    def command(
        self,
        argv: Sequence[str],
        *,
        timeout: timedelta | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: str | PathLike[str] | None = None,
    ) -> CommandResult:
        return self._harness._run(argv, check)


def _as_on_the_wire(check: Check) -> Check:
    """What the agent would read. Raises `TypeError` for an answer that is none: the runner's mistake."""
    return check_from_json(check_to_json(check))
