"""The process in which a runner lives: imports it, runs one hook at a time, says what came of it.

It has no deadline and trusts the runner with everything: it may be killed at any moment, and whatever must survive
that is the keeper's. It decides nothing about what an answer means.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

from taskerman.child.durable import write_durably
from taskerman.errors import ActionArgsInvalid
from taskerman.runner import (
    ActionInterrupted,
    Context,
    Recovered,
    TaskRunner,
    check_to_json,
    load_runner,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["Worker", "saved_path"]

ERROR_CHARACTERS = 2000
TRACEBACK_LINES = 12


def saved_path(result_path: str) -> str:
    """Where saved values are kept, beside the result."""
    return os.path.join(os.path.dirname(result_path), "saved.json")


class Worker:
    """One runner and the pipe to the keeper."""

    def __init__(self, spec: Mapping[str, Any], saved: Mapping[str, Any], commands: int, reports: int) -> None:
        """`spec`: as the agent wrote it. `saved`: as of now. `commands`, `reports`: this process's ends."""
        self._spec = spec
        self._saved_path = saved_path(spec["result_path"])
        self._commands = os.fdopen(commands, "rb")
        self._reports = reports
        self._interruptible = False
        self._interrupted = False
        self._pid = os.getpid()
        self._context = Context(
            assignment=spec["assignment"],
            attempt_id=spec["attempt"],
            node_id=spec["node"],
            cluster=spec["cluster"],
            nodes=spec["nodes"],
            cap=spec["cap"],
            boot_id=spec["boot_id"],
            fence=spec["fence"],
            args=spec["args"],
            settings=spec["settings"],
            saved=saved,
            on_save=self._save,
            log_form=spec.get("log_form", "human"),
            accepted_at=spec.get("accepted_at", ""),
        )

    def work(self) -> None:
        """Import the runner, then run the hooks that the keeper names, until its pipe closes."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        runner = self._load()
        if runner is None:
            return
        self._say({"say": "ready"})
        for line in self._commands:
            told = json.loads(line)
            hook = told["do"]
            self._context.phase, self._context.fence = hook, told["fence"]
            self._hear_libraries()
            match hook:
                case "pre_check":
                    self._ask(hook, runner.look_before, _check_answer)
                case "post_check":
                    self._ask(hook, runner.post_check, _check_answer)
                case "recover":
                    self._ask(hook, runner.recover, _recover_answer)
                case "cluster_begin":
                    self._ask(hook, runner.cluster_begin, _no_answer)
                case "cluster_end":
                    self._ask(hook, runner.cluster_end, _no_answer)
                case "execute_action":
                    self._act(runner)
                case "abort":
                    self._say({"say": "ended", "hook": "abort", "error": self._abort(runner)})

    def _load(self) -> TaskRunner | None:
        self._context.phase = phase = "import"
        try:
            runner = load_runner(self._spec["target"])
            phase = "init"
            return runner(self._context)
        except ActionArgsInvalid as error:
            self._say({"say": "failed", "phase": "args", "error": str(error)})
        except BaseException as error:  # SystemExit as well: a module that exits has failed to be imported
            self._say({"say": "failed", "phase": phase, "error": self._describe(error)})
        return None

    def _hear_libraries(self) -> None:
        if "logging" in sys.modules:
            from taskerman.child.library_log import hear_libraries  # noqa: PLC0415

            hear_libraries(self._context)

    def _ask(self, hook: str, call: Callable[[], object], answer: Callable[[str, object], Any]) -> None:
        try:
            said = answer(hook, call())
        except BaseException as error:
            self._say({"say": "error", "hook": hook, "said": self._describe(error)})
        else:
            self._context.log("answers", answer=said)
            self._say({"say": "answer", "hook": hook, "said": said})

    def _act(self, runner: TaskRunner) -> None:
        how, error = "ok", ""
        self._context.log("begins")
        try:
            try:
                self._interruptible = True
                if self._interrupted:
                    raise ActionInterrupted("the action was asked to stop before it began")
                runner.execute_action()
                self._interruptible = False
            except ActionInterrupted:
                raise
            except BaseException as raised:
                self._interruptible = False
                how, error = "error", self._describe(raised)
        except ActionInterrupted as stopped:
            self._interruptible = False
            error = "; ".join(getattr(stopped, "__notes__", ()))  # what did not let itself be stopped
        # The action is over, and a signal that comes from here on came too late to have interrupted it.
        was_interrupted, self._interrupted = self._interrupted, False
        if was_interrupted:
            # Also when the runner swallowed it and returned, or raised something else while it cleaned up.
            how = "interrupted"
            self._context.phase = "abort"
            error = "\n".join(filter(None, [error, self._abort(runner)]))
        self._context.log("ends", how=how)
        self._say({"say": "ended", "hook": "execute_action", "how": how, "error": error})

    def _abort(self, runner: TaskRunner) -> str:
        try:
            runner.abort()
        except BaseException as raised:
            return "abort() failed: " + self._describe(raised)
        return ""

    def _on_sigterm(self, signum: int, frame: object) -> None:
        if os.getpid() != self._pid:
            # A process that the runner forked without exec: for it, SIGTERM means what it means everywhere.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._interrupted = True  # it may come before the action has begun: then it ends as it begins
        if self._interruptible:
            self._interruptible = False  # once: a second one must not break off the cleaning up
            raise ActionInterrupted("the action was asked to stop")

    def _save(self, values: Mapping[str, Any]) -> None:
        write_durably(self._saved_path, json.dumps(values, allow_nan=False).encode())
        self._say({"say": "saved", "saved": values})

    def _say(self, message: dict[str, Any]) -> None:
        rss = max(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        )
        data = memoryview(json.dumps(message | {"max_rss_bytes": rss * 1024}).encode() + b"\n")
        sys.stdout.flush()  # what was printed before is read before
        while data:
            data = data[os.write(self._reports, data) :]

    def _describe(self, error: BaseException) -> str:
        """Type, message and the last lines of the traceback; all of it goes into the log."""
        import traceback  # noqa: PLC0415  (only when something went wrong)

        trace = error.__traceback__.tb_next if error.__traceback__ is not None else None  # without our own frame
        lines = "".join(traceback.format_exception(error.with_traceback(trace))).splitlines()
        sys.stderr.write("\n".join(lines) + "\n")
        head = f"{type(error).__name__}: {error}"[: ERROR_CHARACTERS // 2]
        rest = "\n".join(lines[-TRACEBACK_LINES:])
        return f"{head}\n{rest[-(ERROR_CHARACTERS - len(head) - 1) :]}"


def _check_answer(hook: str, answer: object) -> Any:
    try:
        return check_to_json(answer)  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(f"{hook} returned a wrong answer: {error}") from None


def _recover_answer(hook: str, answer: object) -> Any:
    if not isinstance(answer, Recovered):
        raise TypeError(f"{hook} returned {answer!r:.100}, which is not a Recovered")
    return answer.value


def _no_answer(hook: str, answer: object) -> None:
    """Returning is all that is asked."""
