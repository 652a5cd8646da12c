"""Runners that behave badly in one way each. `settings["folder"]` is where they leave marks for the tests to see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, Field

from taskerman import ActionInterrupted, Check, CommandFailed, Go, Recovered, TaskRunner, Wait

SLEEPER = "import time; time.sleep(600)"
DEAF_SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


class Plain(TaskRunner):
    """Does as it is told by its settings; well unless they say otherwise."""

    @property
    def folder(self) -> Path:
        return Path(str(self.ctx.settings["folder"]))

    def mark(self, name: str, text: str = "") -> None:
        aside = self.folder / f".{name}.tmp"
        aside.write_text(text)
        aside.rename(self.folder / name)

    def pre_check(self) -> Check:
        self.ctx.save(from_pre_check=1)
        return Go()

    def execute_action(self) -> None:
        self.mark("began", str(os.getpid()))
        self.ctx.save(from_action={"seen": self.ctx.saved.get("from_pre_check")} if self.ctx.saved else None)

    def post_check(self) -> Check:
        return Wait(str(sorted(self.ctx.saved)), until=datetime(2026, 1, 31, 12, tzinfo=UTC), of="cluster")

    def recover(self) -> Recovered:
        return Recovered.DONE if self.ctx.saved else Recovered.UNKNOWN

    def abort(self) -> None:
        with (self.folder / "aborts").open("a") as file:
            file.write(f"{os.getpid()}\n")

    def wait_for(self, name: str) -> None:
        while not (self.folder / name).exists():
            time.sleep(0.005)


class Slow(Plain):
    """Its action lasts until the mark "enough", and cleans up when it is interrupted."""

    def execute_action(self) -> None:
        super().execute_action()
        try:
            self.mark("acting")
            self.wait_for("enough")
            self.mark("ended")
        except Exception:  # must not catch the interruption
            self.mark("swallowed")
        finally:
            self.mark("cleaned")


class SlowCommand(Plain):
    """Its action is one long command."""

    def execute_action(self) -> None:
        super().execute_action()
        self.ctx.command([sys.executable, "-c", f"import os; print('sleeper', os.getpid(), flush=True); {SLEEPER}"])


class Swallower(Plain):
    """Catches the interruption, and returns as if nothing had been."""

    def execute_action(self) -> None:
        super().execute_action()
        try:
            self.wait_for("enough")
        except ActionInterrupted:
            return


def spawn_a_family(mark: Path) -> None:
    """A deaf child, a deaf grandchild in a session of its own, and a daemon that forked twice; their pids in `mark`."""
    child = subprocess.Popen([sys.executable, "-c", DEAF_SLEEPER])
    apart = subprocess.Popen([sys.executable, "-c", DEAF_SLEEPER], start_new_session=True)
    daemonize = (
        "import subprocess as s, sys; "
        f"p = s.Popen([sys.executable, '-c', {DEAF_SLEEPER!r}], stdout=2, start_new_session=True); print(p.pid)"
    )
    daemon = subprocess.run([sys.executable, "-c", daemonize], stdout=subprocess.PIPE, check=True, text=True)
    aside = mark.with_suffix(".tmp")
    aside.write_text(f"{child.pid} {apart.pid} {daemon.stdout}")
    aside.rename(mark)


class Stubborn(Plain):
    """Its action ignores SIGTERM, and so does everything that it has started, in sessions of its own or not."""

    def execute_action(self) -> None:
        super().execute_action()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        spawn_a_family(self.folder / "family")
        self.wait_for("enough")


class StubbornWithABadAbort(Stubborn):
    def abort(self) -> None:
        super().abort()
        raise RuntimeError("nothing to talk to")


class Leaver(Plain):
    """Its action ends well and leaves processes behind."""

    def execute_action(self) -> None:
        spawn_a_family(self.folder / "family")


class Chatty(Plain):
    """Prints settings["megabytes"] and then a few lines, one of them not UTF-8, one very long."""

    def execute_action(self) -> None:
        megabyte = ("x" * 99 + "\n").encode() * 10486
        for _ in range(int(str(self.ctx.settings["megabytes"]))):
            os.write(1, megabyte)
        print("a last line, buffered")
        os.write(2, b"not \xff UTF-8, and \x1b[31mred\n" + b"l" * 3000 + b"\nthe end\n")
        print("no end of a line", end="")


class Hanging(Plain):
    """Its pre_check hangs, with a family."""

    def pre_check(self) -> Check:
        spawn_a_family(self.folder / "family")
        self.wait_for("enough")
        return Go()


class Dying(Plain):
    """The process of the hook that settings["in"] names dies."""

    def pre_check(self) -> Check:
        self._die("pre_check")
        return Go()

    def execute_action(self) -> None:
        super().execute_action()
        spawn_a_family(self.folder / "family")
        self._die("execute_action")

    def _die(self, hook: str) -> None:
        if self.ctx.settings["in"] == hook:
            os.kill(os.getpid(), signal.SIGKILL)


class Failing(Plain):
    """Everything raises, or answers nonsense."""

    def pre_check(self) -> Check:
        raise LookupError("no such peer")

    def execute_action(self) -> None:
        self.ctx.command([sys.executable, "-c", "print('disk is full'); raise SystemExit(3)"])

    def post_check(self) -> Check:
        return None  # type: ignore[return-value]

    def recover(self) -> Recovered:
        sys.exit("I quit")


class Commanding(Plain):
    """Says what its commands see."""

    def execute_action(self) -> None:
        self.ctx.command(["sh", "-c", "echo marker=$TASKERMAN_ATTEMPT extra=$EXTRA"], env={"EXTRA": "yes"})
        try:
            self.ctx.command(
                ["sh", "-c", f"{sys.executable} -c '{SLEEPER}' & echo $!; wait"], timeout=timedelta(seconds=1)
            )
        except CommandFailed as failed:
            self.ctx.save(slow=failed.why, slow_pid=int(failed.tail))
        result = self.ctx.command(["sh", "-c", "echo out; echo err >&2; exit 4"], check=False)
        self.ctx.save(exit=result.exit, output=result.output)
        # A process in the background that keeps the output open is not waited for.
        self.ctx.save(quick=self.ctx.command(["sh", "-c", "sleep 600 & echo started"]).output)


class Typed(Plain):
    class Args(BaseModel):
        force: bool = False
        seconds: float = Field(default=0.0, ge=0)

    args: Args

    def pre_check(self) -> Check:
        return Wait(f"force={self.args.force} seconds={self.args.seconds}")


class Abstract(TaskRunner):
    def pre_check(self) -> Check:
        return Go()


class Interloper(Plain):
    """Its pre_check closes every descriptor that it did not open, as some libraries do, and goes on for long."""

    def pre_check(self) -> Check:
        os.closerange(3, 256)
        self.wait_for("enough")
        return Go()


class Unmarked(Plain):
    """Its action starts a process without the marker, in its session, and one in a session of its own."""

    def execute_action(self) -> None:
        clean = {"PATH": os.environ["PATH"]}
        both = [
            subprocess.Popen([sys.executable, "-c", SLEEPER], env=clean, start_new_session=apart)
            for apart in (False, True)
        ]
        self.mark("unmarked", " ".join(str(process.pid) for process in both))
        self.wait_for("enough")


NOT_A_RUNNER = 42
