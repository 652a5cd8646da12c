"""Runners that get out of hand, each in one way: what an attempt has to be contained against."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from taskerman import ActionInterrupted, Check, Go
from tests.integration.child_runners import SLEEPER, Plain

SPAWNER = f"""
import os, subprocess, sys, time
for _ in range({{count}}):
    try:
        subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], start_new_session=True, env={{{{}}}})
    except OSError:
        pass
"""


class Leaking(Plain):
    """Takes memory until somebody says no: in its own process, or (settings["below"]) in one that it starts."""

    def execute_action(self) -> None:
        super().execute_action()
        if self.ctx.settings.get("below"):
            code = "kept = []\nwhile True: kept.append(bytearray(1 << 20))"
            self.ctx.save(exit=self.ctx.command([sys.executable, "-c", code], check=False).exit)
            raise RuntimeError("the tool was killed")
        kept: list[bytearray] = []
        while len(kept) < 1024:  # at the very most, where nobody says no
            kept.append(bytearray(1 << 20))
        raise RuntimeError("nobody said no")


class Forking(Plain):
    """Starts processes that start processes, in sessions of their own with nothing in their environment."""

    def execute_action(self) -> None:
        super().execute_action()
        count = int(str(self.ctx.settings["count"]))
        for _ in range(4):
            try:
                subprocess.Popen([sys.executable, "-c", SPAWNER.format(count=count)], start_new_session=True)
            except OSError as error:
                self.ctx.log("refused", error=str(error))
        time.sleep(0.3)
        self.wait_for("enough")


class Escaping(Plain):
    """Forks twice, in a session of its own, with no environment, and is silent: only a group still knows it."""

    def execute_action(self) -> None:
        super().execute_action()
        away = (
            "import os, subprocess, sys\n"
            f"p = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], env={{}}, start_new_session=True,"
            " stdin=-3, stdout=-3, stderr=-3)\n"
            "print(p.pid)"
        )
        made = subprocess.run(
            [sys.executable, "-c", away], env={}, start_new_session=True, stdout=subprocess.PIPE, text=True, check=True
        )
        self.mark("escaped", made.stdout.strip())
        self.wait_for("enough")


class Stopping(Plain):
    """Stops itself: no signal that can be handled reaches it any more."""

    def execute_action(self) -> None:
        super().execute_action()
        os.kill(os.getpid(), signal.SIGSTOP)


class Burning(Plain):
    """Burns CPU until it is asked to stop."""

    def execute_action(self) -> None:
        super().execute_action()
        while True:
            sum(range(1000))


class Untiring(Plain):
    """Prints without end, and minds no signal."""

    def execute_action(self) -> None:
        super().execute_action()
        block = b"y" * 4095 + b"\n"
        while True:
            try:
                os.write(1, block)
            except ActionInterrupted:
                continue


class LeakingCheck(Leaking):
    """The same in its pre_check."""

    def pre_check(self) -> Check:
        super().execute_action()
        return Go()
