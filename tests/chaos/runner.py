"""A runner that misbehaves by the dice, and writes down what it does: the only witness of the actions.

What it does is drawn from the seed, the task, the node and the attempt, so a run is as deterministic as its timing.
Every other task is tame, a third misbehaves now and then, and the rest often.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from taskerman import Check, Go, Recovered, Refuse, Skip, TaskRunner, Wait
from tests.chaos.witness import read_lines, start_of, write_line

__all__ = ["Chaotic", "Rebooting"]

WILDNESS = (0.0, 0.0, 0.0, 0.04, 0.04, 0.25)


class Chaotic(TaskRunner):
    """An action that sleeps for a moment."""

    def dice(self, hook: str) -> random.Random:
        return random.Random(f"{self.ctx.settings['seed']}/{self.ctx.attempt_id}/{hook}")

    def choose(self, hook: str, ways: Mapping[str, float]) -> str:
        """One of `ways`, by weight, as far as it is wild at all; else "well"."""
        dice = self.dice(hook)
        wild = random.Random(f"{self.ctx.settings['seed']}/{self.ctx.task_id}").choice(WILDNESS)
        if dice.random() >= wild:
            return "well"
        return dice.choices([*ways], [*ways.values()])[0]

    def note(self, what: str, **known: object) -> None:
        write_line(
            str(self.ctx.settings["witness"]),
            what,
            node=self.ctx.node_id,
            cluster=self.ctx.cluster,
            task=self.ctx.task_id,
            attempt=self.ctx.attempt_id,
            fence=self.ctx.fence,
            pid=os.getpid(),
            start=start_of(os.getpid()),
            **known,
        )

    def pre_check(self) -> Check:
        self.note("pre")
        match self.choose("pre", {"wait": 3, "wait-cluster": 1, "skip": 2, "refuse": 1, "raise": 2, "slow": 2}):
            case "wait":
                return Wait("the dice say wait")
            case "wait-cluster":
                return Wait("the dice say that all wait", of="cluster")
            case "skip":
                return Skip("the dice say that there is nothing to do")
            case "refuse":
                return Refuse("the dice say no")
            case "raise":
                raise RuntimeError("the dice say that the check breaks")
            case "slow":
                time.sleep(2)
        return Go()

    def execute_action(self) -> None:
        dice = self.dice("action")
        ways = {"raise": 5, "hang": 1, "stubborn": 1, "die": 1, "leave": 1, "long": 3}
        how = self.choose("action", ways)
        self.note("begin")
        ok = False
        try:
            time.sleep(dice.uniform(0.02, 1.2))
            if how == "long":
                time.sleep(dice.uniform(1.0, 3.0))
            elif how == "raise":
                raise RuntimeError("the dice say that it fails")
            elif how == "hang":
                time.sleep(3600)
            elif how == "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(3600)
            elif how == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            elif how == "leave":
                os.kill(os.getppid(), signal.SIGKILL)
            ok = True
        finally:
            self.note("end", ok=ok)

    def post_check(self) -> Check:
        asked = sum(line["what"] == "post" for line in self.lines())
        how = self.choose("post", {"refuse": 1, "wait": 3, "raise": 1, "never": 0.5})
        well = how == "well" or (how in ("wait", "raise") and asked >= 2)
        self.note("post", well=well)
        if well:
            return Go()
        if how == "refuse":
            return Refuse("the dice say that the node is not well")
        if how == "raise":
            raise RuntimeError("the dice say that the check breaks")
        return Wait("the dice say not yet")

    def recover(self) -> Recovered:
        did = [line for line in self.lines() if line["what"] in ("begin", "end")]
        if not did:
            answer = Recovered.NOT_DONE
        elif did[-1]["what"] == "end":
            answer = Recovered.DONE if did[-1]["ok"] else Recovered.NOT_DONE
        else:
            answer = Recovered.UNKNOWN
        self.note("recover", answer=answer.value)
        return answer

    def lines(self) -> list[dict]:
        """Of this attempt."""
        found = read_lines(str(self.ctx.settings["witness"]), holding=self.ctx.attempt_id)
        return [line for line in found if line.get("attempt") == self.ctx.attempt_id]


class Rebooting(Chaotic):
    """An action that reboots the machine: the power goes, with everything that runs, and another boot begins."""

    reboots = True

    def execute_action(self) -> None:
        self.note("begin")
        ok = False
        try:
            Path(str(self.ctx.settings["reboot"])).touch()
            time.sleep(3600)
        finally:
            self.note("end", ok=ok)
