"""What the three operations have in common: who may, what an exit code means, who is asked how the node is.

Before each start a note is saved, and after its end the exit code, so that whoever comes after a crash knows which of
the three it was: never started, ended so, or nobody knows.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import ClassVar

from runners.command.args import CommandArgs
from runners.command.config import CommandConfig
from runners.command.permission import Denied, Surroundings, allowed_argv, surroundings
from runners.objects import NoSuchObject, StoreRefuses, StoreUnavailable
from taskerman import Check, CommandFailed, CommandResult, Go, Recovered, Refuse, Skip, TaskRunner, Wait, steadily

__all__ = ["CommandRunner", "EndedBadly", "Start"]

Start = tuple[Sequence[str], Sequence[int]]
"""What is started, and the descriptors that it gets."""


class EndedBadly(Exception):
    """The command ended with a code that is no success. The node may be as it was, or half done."""


class CommandRunner(TaskRunner):
    """Runs one command of the task's, if the node lets it through."""

    Config = CommandConfig
    config: CommandConfig
    args: CommandArgs
    what: ClassVar[str] = "command"

    # --- what each operation adds --------------------------------------------------------------------------

    @abstractmethod
    def permit(self, at: Surroundings) -> str:
        """Look at everything that can be known before it is started. Answers why it has to wait; empty: it has not.

        Raises `Denied`, `NoSuchObject`, `StoreUnavailable`.
        """

    @abstractmethod
    def made_ready(self, at: Surroundings) -> Iterator[Start]:
        """Permit it again, yield what is to be started, and clean up. Raises the same, and `OSError`."""

    # --- the hooks -----------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Refuse what the node does not let through; then ask `check`, if there is one."""
        try:
            at = surroundings(self.config, self.args)
            waits = self.permit(at)
            if self.args.check is not None:
                allowed_argv(self.config, self.args.check, at.who)
        except (Denied, NoSuchObject, StoreRefuses) as refused:
            return Refuse(str(refused))
        except StoreUnavailable as away:
            return Wait(str(away))
        if waits:
            return Wait(waits)
        return self._asked_before(at)

    def execute_action(self) -> None:
        """Run it, and again after a while as long as it says that it can only later."""
        at = surroundings(self.config, self.args)
        with contextmanager(self.made_ready)(at) as (argv, descriptors):
            while (code := self._run(argv, descriptors, at)) in self.args.try_again:
                self.ctx.log("it says that it can only later", exit=code, again_in_s=self.args.try_again_after_s)
                time.sleep(self.args.try_again_after_s)
        if code in self.args.nothing_to_do:
            self.ctx.log("it says that there was nothing to do", exit=code)
        elif code not in self.args.success:
            how = f"ended by signal {-code}" if code < 0 else f"exit {code}"
            raise EndedBadly(f"the {self.what} {how}; a success is {_codes(self.args.success)}")

    def post_check(self) -> Check:
        """Well when `check` says so; without one, when the command's own end was seen."""
        if self.args.check is not None:
            return steadily(self.ctx, self._asked_after(self.args.check))
        code = self.ctx.saved.get("exit")
        if not self.ctx.saved.get("began") or (isinstance(code, int) and code >= 0):
            return Go()
        how = f"was ended by signal {-code}" if isinstance(code, int) else "began, and nobody saw its end"
        return Refuse(
            f"the {self.what} {how}, and the task has no `check` that says how the node is. Look at the node; "
            "a `check` would spare you that"
        )

    def recover(self) -> Recovered:
        """Done only with a code that says so. Never started, or ended with another code: not done."""
        saved = self.ctx.saved
        code = saved.get("exit")
        if not saved.get("began"):
            return Recovered.NOT_DONE
        if not isinstance(code, int):
            return Recovered.UNKNOWN
        self.ctx.log("it had ended", exit=code)
        return Recovered.DONE if code in (*self.args.success, *self.args.nothing_to_do) else Recovered.NOT_DONE

    def abort(self) -> None:
        """Whatever the command had started is killed with the attempt; nothing of it lies on a disk."""
        self.ctx.log("nothing to take back")

    # --- parts ---------------------------------------------------------------------------------------------

    def _run(self, argv: Sequence[str], descriptors: Sequence[int], at: Surroundings) -> int:
        self.ctx.save(began=True, exit=None)  # before: whoever finds this without a code does not know
        try:
            ended = self.ctx.command(argv, check=False, env=at.env, cwd=at.cwd, user=at.who.name, pass_fds=descriptors)
        except CommandFailed:
            self.ctx.save(began=False)  # nothing was started
            raise
        self.ctx.save(exit=ended.exit)
        return ended.exit

    def _asked_before(self, at: Surroundings) -> Check:
        if self.args.check is None or not (self.args.check_before or self.args.check_nothing_to_do):
            return Go()
        try:
            said = self._check(self.args.check, at)
        except CommandFailed as failed:
            return Wait(f"`check`: {failed}") if self.args.check_before else Go()
        if said.exit in self.args.check_nothing_to_do:
            return Skip(f"`check` says that there is nothing to do: {_said(said)}")
        if said.exit == 0 or not self.args.check_before:
            return Go()
        return Wait(f"the node is not well before the {self.what}: `check` {_said(said)}")

    def _asked_after(self, check: Sequence[str]) -> Check:
        try:
            said = self._check(check, surroundings(self.config, self.args))
        except (CommandFailed, Denied) as failed:
            return Wait(f"`check`: {failed}")
        if said.exit in (0, *self.args.check_nothing_to_do):
            return Go()
        return Wait(f"`check` {_said(said)}")

    def _check(self, check: Sequence[str], at: Surroundings) -> CommandResult:
        return self.ctx.command(
            allowed_argv(self.config, check, at.who),
            timeout=timedelta(seconds=self.args.check_timeout_s),
            check=False,
            env=at.env,
            cwd=at.cwd,
            user=at.who.name,
        )


def _said(ended: CommandResult) -> str:
    last = ended.output.strip().splitlines()[-1:] or ["it printed nothing"]
    return f"ends with {ended.exit}; last output: {last[0][:200]}"


def _codes(codes: Sequence[int]) -> str:
    return " or ".join(map(str, codes))
