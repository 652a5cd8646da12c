"""A harness whose commands really run, and one whose process is killed (-9) in the midst of a hook.

`python -m tests.support.on_the_machine SPEC.json` runs one hook of one runner in a process that kills itself at a named
step: what was saved is on disk, what was asked of the service manager was asked, and no `finally` was reached.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from taskerman import CommandFailed, CommandResult, TaskRunner
from taskerman.runner import load_runner
from taskerman.testing.harness import RunnerHarness

__all__ = ["OnTheMachine", "act_until_killed"]

R = TypeVar("R", bound=TaskRunner)
ROOT = Path(__file__).parents[2]


class OnTheMachine(RunnerHarness[R]):
    """Commands are run here and now."""

    def __init__(self, runner: type[R], **options: Any) -> None:
        super().__init__(runner, **options)
        self.options = options

    def _run(self, argv: Sequence[str], check: bool) -> CommandResult:
        words = tuple(str(word) for word in argv)
        self.commands.append(words)
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if check and done.returncode:
            raise CommandFailed(words, done.returncode, done.stdout + done.stderr)
        return CommandResult(words, done.returncode, done.stdout + done.stderr)


def act_until_killed(harness: OnTheMachine[R], target: str, step: str, folder: Path) -> None:
    """Run `execute_action` of the runner `target` in a process that is killed at `step`; what it saved is saved here.

    `step`: `save N` (after the N-th save, which is durable), `command` (before one starts), `commanded` (after it
    ended), or `log WORDS` (when it logs that). Fails when it ended before it came there.
    """
    saved = folder / "saved.json"
    saved.write_text(json.dumps(harness.saved))
    spec = folder / "spec.json"
    spec.write_text(json.dumps({"target": target, "step": step, "saved": str(saved), **harness.options}))
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.on_the_machine", str(spec)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, f"it was not killed at {step}: {done.returncode} {done.stderr[-2000:]}"
    harness.saved = json.loads(saved.read_text())


class _Doomed(OnTheMachine[TaskRunner]):
    """Kills its own process at a step."""

    def __init__(self, runner: type[TaskRunner], step: str, path: Path, **options: Any) -> None:
        super().__init__(runner, **options)
        self._step, self._path, self._saves = step, path, 0

    def runner(self, phase: str = "") -> TaskRunner:
        made = super().runner(phase)
        keep, log = made.ctx._on_save, made.ctx.log

        def save(values: Mapping[str, Any]) -> None:
            keep(values)
            self._path.write_text(json.dumps(values))
            self._saves += 1
            self._reached(f"save {self._saves}")

        def logged(message: str, **fields: object) -> None:
            log(message, **fields)
            self._reached(f"log {message}")

        made.ctx._on_save = save
        made.ctx.log = logged  # type: ignore[method-assign]
        return made

    def _run(self, argv: Sequence[str], check: bool) -> CommandResult:
        self._reached("command")
        result = super()._run(argv, check)
        self._reached("commanded")
        return result

    def _reached(self, step: str) -> None:
        if step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def _main(spec: dict[str, Any]) -> None:
    target, step, path = spec.pop("target"), spec.pop("step"), Path(spec.pop("saved"))
    saved = json.loads(path.read_text())
    _Doomed(load_runner(target), step, path, **{**spec, "saved": saved}).execute_action()


if __name__ == "__main__":
    _main(json.loads(Path(sys.argv[1]).read_text()))
