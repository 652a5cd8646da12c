"""A runner that does what files tell it, and leaves a line for each thing it does: the action itself is the witness.

Below `settings["folder"]`: `<node>.json` may say how each hook behaves (see `Behaviour` below); `log.jsonl` gets one
line for each begin and end, with CLOCK_MONOTONIC.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from taskerman import Check, Go, Recovered, Refuse, Skip, TaskRunner, Wait


class Scripted(TaskRunner):
    """`pre`, `post`: "go", "wait", "wait-cluster", "refuse", "skip", "raise", "hang", "until" (then go); `seconds`: of
    the action; `action`: "ok", "raise", "hang", "until" (a file `<node>.go` appears), "stubborn" (ends for no signal),
    "die-keeper" (the whole child is killed), "escape" (leaves a process that only a group knows), "leak" (takes 1 GiB);
    `recover`: "done", "not_done", "unknown", "raise", "ask" (looks into the log). Where a value is a list, each call
    takes the next one and the last one stays."""

    @property
    def folder(self) -> Path:
        return Path(str(self.ctx.settings["folder"]))

    def behaviour(self, key: str, default: Any) -> Any:
        path = self.folder / f"{self.ctx.node_id}.json"
        table = json.loads(path.read_text()) if path.exists() else {}
        value = table.get(key, default)
        if isinstance(value, list):
            if len(value) > 1:
                table[key] = value[1:]
                new = path.with_suffix(".new")
                new.write_text(json.dumps(table))
                new.replace(path)
            value = value[0]
        return value

    def note(self, what: str) -> None:
        line = {
            "what": what,
            "node": self.ctx.node_id,
            "attempt": self.ctx.attempt_id,
            "fence": self.ctx.fence,
            "cap": self.ctx.cap,
            "at": time.monotonic(),
        }
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def check(self, key: str) -> Check:
        self.note(key)
        match self.behaviour(key, "go"):
            case "go":
                return Go()
            case "wait":
                return Wait("told to wait")
            case "wait-cluster":
                return Wait("told to wait", of="cluster")
            case "refuse":
                return Refuse("told to refuse")
            case "skip":
                return Skip("told to skip")
            case "until":
                self.wait_for_go()
                return Go()
            case "hang":
                time.sleep(3600)
            case "die":
                os.kill(os.getpid(), 9)
        raise RuntimeError(f"told to fail in {key}")

    def wait_for_go(self) -> None:
        while not (self.folder / f"{self.ctx.node_id}.go").exists():
            time.sleep(0.01)

    def pre_check(self) -> Check:
        return self.check("pre")

    def execute_action(self) -> None:
        self.note("begin")
        try:
            how = self.behaviour("action", "ok")
            if how == "until":
                self.wait_for_go()
            elif how == "hang":
                time.sleep(3600)
            elif how == "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(3600)
            elif how == "escape":
                _escape()
                self.note("escaped")
                time.sleep(3600)
            elif how == "leak":
                kept = [bytearray(1 << 20) for _ in range(1024)]
                raise RuntimeError(f"nobody said no to {len(kept)} MiB")
            elif how == "die-keeper":
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(3600)
            time.sleep(float(self.behaviour("seconds", 0.0)))
            if how == "raise":
                raise RuntimeError("told to fail")
        finally:
            self.note("end")

    def post_check(self) -> Check:
        return self.check("post")

    def recover(self) -> Recovered:
        self.note("recover")
        answer = self.behaviour("recover", "ask")
        if answer == "raise":
            raise RuntimeError("told to fail in recover")
        if answer != "ask":
            return Recovered(answer)
        lines = [json.loads(line) for line in (self.folder / "log.jsonl").read_text().splitlines()]
        own = [line["what"] for line in lines if line["attempt"] == self.ctx.attempt_id]
        return Recovered.DONE if "end" in own else Recovered.UNKNOWN if "begin" in own else Recovered.NOT_DONE


def _escape() -> None:
    """A process in a session of its own, nobody's child, with nothing in its environment."""
    away = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
        " env={}, start_new_session=True, stdin=-3, stdout=-3, stderr=-3)"
    )
    subprocess.run([sys.executable, "-c", away], env={}, start_new_session=True, check=True)
