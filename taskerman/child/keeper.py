"""The keeper: the process that stands between an attempt's code and everything else.

It promises:
- **The deadline holds.** At the hard deadline (CLOCK_BOOTTIME, so that neither a changed clock nor a suspended machine
  moves it) everything that the action started is killed, in whatever session it hides, until nothing is left. No
  signal but SIGKILL ends the keeper, and no code of a runner runs in it.
- **An action that began is ended.** When the agent dies after "go", the action goes on; before it, and in a check,
  everything ends with the agent.
- **One result.** Every end of an action is written, whole or not at all, before it is reported. By then nothing of
  the action is left running: what it leaves behind is killed and named in the log, so that the check that follows
  sees the node as it will stay.
- **Nothing is left** when the keeper exits. Only SIGKILL breaks this; then the worker dies with it, and the rest
  carries the attempt's marker.

It refuses to retry, to judge an answer, and to know what a slot is.
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections import deque

from taskerman.child import ABORT_SECONDS, ABORT_SIGNAL, IMPORT_SECONDS
from taskerman.child.action import ABORTED, TOO_LONG, Action
from taskerman.child.cgroup import Cgroup
from taskerman.child.clocks import boottime, wall_clock
from taskerman.child.durable import remove_durably, write_durably
from taskerman.child.hand import Hand
from taskerman.child.limits import Limits
from taskerman.child.offspring import Offspring
from taskerman.child.outbox import Outbox
from taskerman.child.output import Output
from taskerman.runner.log_line import log_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Keeper"]

ACTION = "execute_action"
BRACKET_HOOKS = ("cluster_begin", "cluster_end")
LONGEST_POLL_SECONDS = 5.0
"""A poll does not notice that the machine was suspended, so look at the clock at least this often."""


class Keeper:
    """A loop over four sources: the agent's commands, the worker's words, its output, and the deaths of processes.

    `phase`: what the worker does now ("import", a hook, or None: it waits); `until`: when that must be over, on
    CLOCK_BOOTTIME. One hook at a time; commands that come meanwhile wait in `queue`.
    """

    def __init__(self, spec: Mapping[str, Any], commands: int, reports: int) -> None:
        """`commands`, `reports`: descriptors of the agent's two pipes. Raises `OSError` (no log, no pipes)."""
        self.spec = spec
        self.phase: str | None = None
        self.saved: dict[str, Any] = dict(spec["saved"])
        self.output = Output(spec["log_path"], spec["log_max_bytes"], spec["tail_bytes"], spec["attempt"], self._line)
        self.commands = commands
        self.outbox = Outbox(reports)
        self.partial = b""
        self.queue: deque[dict[str, Any]] = deque()
        self.leaving = False
        self.commands_closed = False
        self.hand: Hand | None = None
        self.hand_exit: int | None = None
        self.until: float | None = None
        self.was_ready = False
        self.unusable = ""
        self.action: Action | None = None
        self.cgroup = Cgroup.parse(spec["cgroup"])
        self.offspring = Offspring(self.output, self.cgroup, spec["bounds"]["processes"])
        self.limits = Limits(self.cgroup, spec["bounds"], spec["rlimit_memory_mb"], self.output)
        self.woken, waker = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    def _line(self, text: str) -> bytes:
        """A line of our own, with the ids that the worker's lines have."""
        spec = self.spec
        ids = {
            "task": str(spec["assignment"].get("task_id", "")),
            "node": spec["node"],
            "attempt": spec["attempt"],
            "phase": self.phase or "",
        }
        return log_line(spec.get("log_form", "human"), text, ids, {})

    # --- the loop ----------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Until the agent lets go and no action is under way. Whatever happens, nothing is left afterwards."""
        try:
            self._settle_in()
            while not (self.leaving and self.action is None):
                self._turn(self._poll())
        finally:
            self._kill_all()
            self.output.pump()
            self.output.finish()
            self.outbox.flush()

    def _settle_in(self) -> None:
        try:
            if self.cgroup is not None:
                self.cgroup.enter_as_keeper()
        except OSError as error:  # outside of it nothing of a runner's may begin
            self._on_unusable("init", f"its control group cannot be entered: {error}")
        else:
            self._fork(boottime() + IMPORT_SECONDS)

    def _poll(self) -> set[int]:
        poll = select.poll()
        poll.register(self.woken, select.POLLIN)
        poll.register(self.output.read_end, select.POLLIN)
        if not self.commands_closed:
            poll.register(self.commands, select.POLLIN)
        if self.outbox.waiting:
            poll.register(self.outbox.descriptor, select.POLLOUT)
        if self.hand is not None and not self.hand.mute:
            poll.register(self.hand.reports, select.POLLIN)
        wait = None if self.until is None else min(max(self.until - boottime(), 0.0), LONGEST_POLL_SECONDS)
        return {descriptor for descriptor, _ in poll.poll(None if wait is None else wait * 1000 + 1)}

    def _turn(self, ready: set[int]) -> None:
        if self.woken in ready and ABORT_SIGNAL in os.read(self.woken, 4096):
            self._interrupt(ABORTED)
        if self.output.read_end in ready:
            self.output.pump()
        if self.commands in ready:
            self._hear_agent()
        if self.outbox.waiting:
            self.outbox.send()
        self._reap()  # before its words are read: what a dead worker said is all there
        self._hear_worker()
        if self.hand_exit is not None:
            self._on_death(self.hand_exit)
        if self.until is not None and boottime() >= self.until:
            self._on_time_over()
        while self.phase is None and self.queue and not (self.leaving and self.action is None):
            self._begin(self.queue.popleft())

    # --- the agent ---------------------------------------------------------------------------------------

    def _hear_agent(self) -> None:
        chunk = os.read(self.commands, 64 * 1024)
        *lines, self.partial = (self.partial + chunk).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if command["do"] == "exit":
                self.leaving = True
            elif command["do"] == "abort":
                self._interrupt(ABORTED)
            elif command["do"] != ACTION:
                self.queue.append(command)
            elif self.action is None:
                # Commanded is begun: from here on it goes to its end, whatever becomes of the agent. An older
                # result must be gone before, or it would be taken for this one's.
                remove_durably(self.spec["result_path"])
                self.action = Action(wall_clock(), boottime() + command["soft_s"], command["deadline_boottime"])
                self.queue.append(command)
        if not chunk:
            self.commands_closed = self.leaving = True
            if self.action is not None:
                self.output.note("the agent is gone; the action goes on to its end or its deadline")

    def _report(self, report: str, **fields: Any) -> None:
        self.outbox.put(json.dumps({"report": report, **fields}).encode() + b"\n")

    # --- hooks -------------------------------------------------------------------------------------------

    def _fork(self, until: float) -> None:
        try:
            self.hand = Hand(self.spec, self.saved, self.output.write_end)
        except OSError as error:  # the machine has no process to spare: that must not cost the action its result
            self._on_unusable("init", f"no process can be had: {error}")
        else:
            self.phase, self.until = "import", until

    def _begin(self, command: dict[str, Any]) -> None:
        hook = command["do"]
        action = self.action if hook == ACTION else None
        if self.unusable:
            self._over(hook, "error", self.unusable)
        elif action is not None and action.stopped:
            action.ended("interrupted", "it had not begun")
            self._finish_action()
        elif self.hand is None:
            # The one before was killed or died. This command is the first again when the new one is ready.
            self.queue.appendleft(command)
            import_until = boottime() + IMPORT_SECONDS
            self._fork(import_until if action is None else min(import_until, action.hard_at))
        else:
            self.phase = hook
            self.limits.mark()
            self.until = boottime() + command["timeout_s"] if action is None else action.next_at
            if "fence" in command:  # known only now, and later workers are forked with it
                self.spec = {**self.spec, "fence": command["fence"]}
            self.hand.tell(hook, self.spec["fence"])

    def _hear_worker(self) -> None:
        if self.hand is None:
            return
        for word in self.hand.heard():
            self.offspring.saw_rss(word["max_rss_bytes"])
            match word["say"]:
                case "saved":
                    self.saved = word["saved"]
                case "ready":
                    self._on_ready()
                case "failed":
                    self._on_unusable(word["phase"], word["error"])
                case "ended" if word["hook"] == "abort":
                    self._finish_action(word["error"])
                case "ended" if self.action is not None:
                    self.action.ended(word["how"], word["error"])
                    self._finish_action()
                case how:
                    self._over(word["hook"], how, word["said"])
        if self.hand is not None and self.hand.mute and self.hand_exit is None:
            self.hand.kill()  # the runner closed its pipe: it can never answer

    def _on_ready(self) -> None:
        assert self.hand is not None
        if self.action is not None and self.action.status:
            self.phase = "abort"  # `until` goes on: the import is part of its time
            self.hand.tell("abort", self.spec["fence"])
            return
        self.phase = self.until = None
        if not self.was_ready:
            self.was_ready = True
            self._report("ready")

    def _on_unusable(self, phase: str, error: str) -> None:
        self.unusable, self.phase, self.until = error, None, None
        self._kill_all()
        self._report("failed", phase=phase, error=error)
        if self.action is not None and self.action.status:
            self._finish_action(f"abort() could not be called: {error}")

    def _over(self, hook: str, how: str, what: Any) -> None:
        """A hook is over in one of the ways in which checks can be: tell the agent."""
        self.phase = self.until = None
        if hook == ACTION and self.action is not None:
            self.action.ended("error", str(what))
            self._finish_action()
        elif how == "answer" and hook in BRACKET_HOOKS:
            self._report("done", phase=hook)
        elif how == "answer" and hook == "recover":
            self._report("recovered", answer=what)
        elif how == "answer":
            self._report("check", phase=hook, check=what)
        elif how == "died":
            self._report("died", phase=hook, how="; ".join([what, *self._met()]))
        elif how == "timeout":
            self._report("timeout", phase=hook)
        else:
            self._report("error", phase=hook, error="\n".join([what, *self._met()]))

    def _on_death(self, exit_code: int) -> None:
        how = f"signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit {exit_code}"
        phase = self.phase
        self.output.note(f"the worker died: {how} phase={phase}")
        self._kill_all()
        if phase == ACTION and self.action is not None:
            self.action.killed(f"its process died: {how}", exit_code)
            self._abort_afresh()
        elif phase == "abort" or (phase == "import" and self.action is not None and self.action.status):
            self._finish_action(f"abort() died: {how}")
        elif phase == "import":
            self._on_unusable("import", f"the process died while it imported the runner: {how}")
        elif phase is not None:
            self._over(phase, "died", how)

    def _on_time_over(self) -> None:
        phase, action = self.phase, self.action
        if phase == ACTION and action is not None and not action.stopped and boottime() < action.hard_at:
            self._interrupt(TOO_LONG)
            return
        self.output.note(f"out of time, killing everything phase={phase}")
        self._kill_all()
        if action is not None and action.status:
            self._finish_action(f"abort() took longer than {ABORT_SECONDS:g} s")
        elif action is not None and boottime() >= action.hard_at and phase in (ACTION, "import"):
            self.queue.clear()
            action.killed("it did not end by its hard deadline")
            self._abort_afresh()
        elif phase == "import":
            self._on_unusable("import", f"importing the runner took longer than {IMPORT_SECONDS:g} s")
        elif phase is not None:
            self._over(phase, "timeout", None)

    # --- the action --------------------------------------------------------------------------------------

    def _interrupt(self, why: str) -> None:
        action = self.action
        if action is None or action.stopped or action.status:
            return
        action.stopped = why
        self.output.note(f"asking the action to stop: {why}")
        if self.phase == ACTION and self.hand is not None:
            self.until = action.next_at
            self.hand.interrupt()

    def _abort_afresh(self) -> None:
        """The action was killed, but what it asked others to do may go on: only its runner can stop that."""
        self._fork(boottime() + ABORT_SECONDS)

    def _finish_action(self, abort_error: str = "") -> None:
        action = self.action
        assert action is not None
        if abort_error:
            action.errors.append(abort_error)
        self._kill_but_the_worker()
        self.output.pump()
        limits = self.limits.met(failed=action.status != "ok")
        for limit in limits:
            self.output.note(f"met: {limit}")
        result = action.result(
            self.spec["attempt"],
            saved=self.saved,
            ended=wall_clock(),
            max_rss_bytes=self.limits.peak_bytes or self.offspring.max_rss_bytes,
            limits=limits,
            tail=self.output.tail(),
        )
        try:
            write_durably(self.spec["result_path"], json.dumps(result).encode())
        except OSError as error:
            # The agent, if it lives, still hears of it; if it does not, the next one asks the runner.
            self.output.note(f"the result could not be written: {error}")
        self.phase = self.until = self.action = None
        self._report("result", result=result)

    def _met(self) -> list[str]:
        return [f"met: {limit}" for limit in self.limits.met(failed=True)]

    # --- processes ---------------------------------------------------------------------------------------

    def _reap(self) -> None:
        ended = self.offspring.reap(self.hand)
        self.hand_exit = self.hand_exit if ended is None else ended

    def _kill_all(self) -> None:
        """Nobody is left below us afterwards. What the worker had said is not lost."""
        self.offspring.kill(self.hand, spare=False)
        if self.hand is not None:
            for word in self.hand.heard():
                self.saved = word.get("saved", self.saved)
            self.hand.close()
            self.hand = self.hand_exit = None

    def _kill_but_the_worker(self) -> None:
        ended = self.offspring.kill(self.hand, spare=True)
        self.hand_exit = self.hand_exit if ended is None else ended
