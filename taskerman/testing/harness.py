"""A harness for authors of runners: hooks run here and now, and the commands they would run are a script.

    harness = RunnerHarness(Restart, settings={"unit": "redis"})
    harness.answer("systemctl", "restart", exit=1, output="unit not found")
    with pytest.raises(CommandFailed):
        harness.execute_action()
    assert harness.commands == [("systemctl", "restart", "redis")]

`run` plays the whole attempt with the decisions of the engine, in no time: `harness.run().outcome == "succeeded"`.
`deaths` and `failures` (in `taskerman.testing`) play it once for each point at which it may be killed, and for each of
its commands that may fail.

Every hook gets a new instance of the runner, because in production each may run in a process of its own: what a later
hook must know has to be saved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from os import PathLike
from typing import Generic, TypeVar

from pydantic import JsonValue

from taskerman.model.task import TimeoutArgs, WhenLost
from taskerman.policy.lifecycle import Limits
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
from taskerman.runner.context import ANSWER_BYTES
from taskerman.testing.dying import Mortal
from taskerman.testing.passing_time import PassingTime
from taskerman.testing.playing import MACHINE_DOWN, Played, Player
from taskerman.testing.scripts import Said, Script, shown

__all__ = ["Logged", "Plan", "RunnerHarness"]

R = TypeVar("R", bound=TaskRunner)

Plan = Callable[[Context, tuple[str, ...], bool, timedelta | None], CommandResult | None]
"""Whose command it is, its words, whether another exit than 0 is raised, and its timeout."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One `ctx.log`."""

    message: str
    fields: Mapping[str, object]


_NONE = object()


class RunnerHarness(Generic[R]):
    """One attempt of one runner, without a process, a queue or a cluster.

    `commands`: what the runner ran, in order; `users`: as whom each (None: as the runner). `logged`: what it logged.
    `saved`: what it saved. `boot_id`: which boot it is; a test that reboots the machine assigns another. `interrupted`:
    the action was asked to stop. `acted_in_boot`: where the action last began. `plan`: is asked before each command,
    and may answer, or raise, in its place. `to_come`: a command whose effect is still to come.
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
        scheduled_for: str | None = None,
    ) -> None:
        """`args`: as in a task's `action_args`; a hook raises `ActionArgsInvalid` when they do not fit. `params`: the
        other groups of its `taskerman_params`. `accepted_at`, `scheduled_for`: when the task was
        accepted, and when a schedule's was due, RFC 3339."""
        self.boot_id = boot_id
        self.commands: list[tuple[str, ...]] = []
        self.users: list[str | None] = []
        self.logged: list[Logged] = []
        self.saved: dict[str, JsonValue] = dict(saved or {})
        self._runner = runner
        self._args: dict[str, JsonValue] = dict(args or {})
        self._params: dict[str, JsonValue] = {**(params or {}), "action_args": self._args}
        self._settings = dict(settings or {})
        self._node, self._cluster, self._nodes = node, cluster, tuple(nodes)
        self._cap, self._fence = cap, fence
        self._accepted_at = accepted_at
        self._scheduled_for = scheduled_for
        self._scripts: list[Script] = []
        self.interrupted = False
        self.acted_in_boot = boot_id
        self.mortal: Mortal | None = None
        self.plan: Plan | None = None
        self.passing = PassingTime()
        self.to_come: tuple[str, ...] | None = None

    def answer(
        self,
        *prefix: str,
        exit: int | None = 0,  # noqa: A002
        output: str = "",
        times: int | None = None,
        by: Callable[[tuple[str, ...]], Said] | None = None,
    ) -> None:
        """Commands that begin with `prefix` end with `exit` (None: cannot be started, or took too long) and print
        `output`. `by`: is given the command's words, does to the test's world what the command would, and answers what
        it prints, the code with which it ends, or both. `times`: only the next so many. The latest script that fits
        counts; without one, a command succeeds and prints nothing."""
        self._scripts.append(Script(prefix, exit, output, times, by=by))

    def interrupt(self, *prefix: str) -> None:
        """The action's soft timeout comes during the next command that begins with `prefix`."""
        self._scripts.append(Script(prefix, None, times=1, interrupts=True))

    def reboot(self, *prefix: str) -> None:
        """The machine goes down during the next command that begins with `prefix`, and comes up in another boot. For
        `run`; who calls a hook by himself assigns `boot_id`."""
        self._scripts.append(Script(prefix, times=1, reboots=True))

    def run(self, *, soft_s: float | None = None, settle_s: float | None = None) -> Played:
        """The whole attempt, from pre_check to its outcome, with the decisions of the engine.

        Nothing is waited for: within, `time.sleep` and the pauses between two post_checks only let `time.time` and
        `time.monotonic` go on. The action has a thread of its own. `soft_s`, `settle_s`: as in a task's
        `timeout_args`; absent: as `params` say, else the runner, else what holds for every task.
        """
        return self.player(soft_s, settle_s).begin()

    def player(self, soft_s: float | None = None, settle_s: float | None = None, die_at: int | None = None) -> Player:
        """What plays one attempt. For `run` and its like."""
        runner = self._runner
        said = TimeoutArgs.model_validate(self._group("timeout_args"))
        lost = self._group("failure_args").get("when_lost") or runner.when_lost
        when_lost: WhenLost = "retry" if lost == "retry" else "never" if lost == "never" else "verify"
        if soft_s is None:
            declared = runner.soft is not None and "soft_s" not in said.model_fields_set
            soft_s = runner.soft.total_seconds() if declared and runner.soft is not None else said.soft_s
        if settle_s is None:
            declared = runner.settle is not None and "settle_s" not in said.model_fields_set
            settle_s = runner.settle.total_seconds() if declared and runner.settle is not None else said.settle_s
        self.interrupted = False
        return Player(
            self, self.passing, soft_s, Limits(settle_s, when_lost, runner.is_bracketed()), runner.reboots, die_at
        )

    def _group(self, name: str) -> dict[str, JsonValue]:
        found = self._params.get(name, {})
        return found if isinstance(found, dict) else {}

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

    def cluster_begin(self) -> None:
        """Call the hook; what it raises is raised. It may be called twice, as in production."""
        self.runner("cluster_begin").cluster_begin()

    def cluster_end(self) -> None:
        """Call the hook, in a new instance; what it raises is raised. It may be called twice, and without a begin."""
        self.runner("cluster_end").cluster_end()

    def _run(self, argv: Sequence[str], check: bool) -> CommandResult:
        words = tuple(str(word) for word in argv)
        self.commands.append(words)
        script = self._script(words)
        if script is None:
            return CommandResult(words)
        if script.times is not None:
            place, left = self._scripts.index(script), script.times - 1
            self._scripts[place : place + 1] = [replace(script, times=left)] * (left > 0)
        if script.interrupts:
            self.interrupted = True
            raise ActionInterrupted("the harness was told to interrupt here")
        if script.reboots:
            self.go_down()
        return script.end(words, check)

    def _script(self, words: tuple[str, ...]) -> Script | None:
        """The latest that fits."""
        fits = [script for script in self._scripts if words[: len(script.prefix)] == script.prefix]
        return fits[-1] if fits else None

    def may_come_late(self, words: tuple[str, ...]) -> bool:
        """Whether the command does something to the test's world, which it may do after who asked for it has died."""
        script = self._script(words)
        return script is not None and script.by is not None

    def let_come(self) -> None:
        """What was asked for by a process that died in the midst of a command happens now. Idempotent."""
        words, self.to_come = self.to_come, None
        if words is not None:
            with suppress(CommandFailed):
                self._run(words, False)

    def go_down(self) -> None:
        """The machine goes down, and comes up in another boot; the process that acts ends here."""
        self.boot_id = f"{self.boot_id}+1"
        if self.mortal is None:
            raise AssertionError("the machine goes down only in `run` and its like: assign boot_id")
        self.mortal.die(MACHINE_DOWN)


class _FakeContext(Context):
    """A context whose commands are the harness's script."""

    def __init__(self, harness: RunnerHarness[R], phase: str) -> None:
        super().__init__(
            assignment={
                "task_id": "t-harness",
                "cluster_name": harness._cluster,
                "destnode": harness._node,
                "taskerman_params": harness._params,
                "scheduled_for": harness._scheduled_for,
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
        self._mortal = harness.mortal

    def _keep(self, values: Mapping[str, JsonValue]) -> None:
        names = ", ".join(name for name, value in values.items() if self._harness.saved.get(name, _NONE) != value)
        self._point(f"before it saved {names}")
        self._harness.saved = json.loads(json.dumps(values))  # as another process would read it
        self._point(f"after it saved {names}")

    def _point(self, where: str) -> None:
        """Where the process may die."""
        if self._mortal is not None:
            self._mortal.point(where)

    def log(self, message: str, **fields: object) -> None:
        self._point(f"as it logged {message!r}")
        self._harness.logged.append(Logged(message, fields))

    def command(
        self,
        argv: Sequence[str],
        *,
        timeout: timedelta | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: str | PathLike[str] | None = None,
        user: str | None = None,
        pass_fds: Sequence[int] = (),
    ) -> CommandResult:
        self._harness.users.append(user)
        return self._answer(tuple(str(word) for word in argv), check, timeout)

    def ask(
        self, argv: Sequence[str], *, timeout: timedelta | None = None, most_bytes: int = ANSWER_BYTES
    ) -> CommandResult:
        self._harness.users.append(None)
        return self._answer(tuple(str(word) for word in argv), False, timeout)

    def _answer(self, words: tuple[str, ...], check: bool, timeout: timedelta | None) -> CommandResult:
        self._point(f"before the command {shown(words)}")
        if self._mortal is not None and self._harness.may_come_late(words):
            self._harness.to_come = words
            self._point(f"during the command {shown(words)}, before its effect")
            self._harness.to_come = None
        result = None if self._harness.plan is None else self._harness.plan(self, words, check, timeout)
        if result is None:
            result = self._harness._run(words, check)
        self._point(f"after the command {shown(words)}")
        return result


def _as_on_the_wire(check: Check) -> Check:
    """What the agent would read. Raises `TypeError` for an answer that is none: the runner's mistake."""
    return check_from_json(check_to_json(check))
