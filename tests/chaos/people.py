"""People: they type the shipped commands, and write down what was acknowledged, and when they set about it.

Whom an act concerns is drawn among what there is at that moment. An answer other than 0, 3, 4, 5 or 10 to 13 is an
accident: 1 is a bug, and 2 would be a misuse of ours.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from taskerman.model.task import TaskState
from tests.chaos.look import Look
from tests.chaos.schedule import Act
from tests.chaos.town import Town
from tests.chaos.work import OWNERS
from tests.support.daemons import Answer

__all__ = ["People"]

_EXPECTED = frozenset({0, 3, 4, 5, 10, 11, 12, 13})


class People:
    """Whoever types. Safe for several threads."""

    STOPPED = (TaskState.HALTED, TaskState.PARKED)

    def __init__(self, town: Town, look: Look) -> None:
        self._town, self._look = town, look
        self._tell = town.tell

    def do(self, act: Act) -> None:
        """What was planned, if there is anybody to do it to. Returns when it is done, a hold when it is lifted."""
        dice = random.Random(act.dice)
        match act.act:
            case "hold-cluster":
                self._hold(
                    f"cluster:{dice.choice(sorted({name for seat in self._town.seats for name in seat.clusters}))}",
                    act.lasts_s,
                )
            case "hold-owner":
                self._hold(f"owner:{dice.choice(OWNERS)}", act.lasts_s)
            case "hold-everything":
                self._hold("everything", act.lasts_s)
            case "cancel":
                for task in self._one(dice, self._look.tasks()):
                    self.cancel(task)
            case "resume":
                for task in self._one(dice, self._look.tasks(*self.STOPPED)):
                    self.resume(task)
            case "redrive":
                for task, node in self._one(dice, self._look.letters()):
                    self.redrive(task, node)
            case "discard":
                for task, node in self._one(dice, self._look.letters()):
                    self._type("dlq", "discard", task, node, "--why", "chaos")
            case "release":
                for node in self._one(dice, self._look.holders()):
                    self.release(node)
            case "declare-off":
                self._declare_off(dice)
            case "explain":
                for task in self._one(dice, self._look.tasks()):
                    self._type("explain", task)
            case other:
                raise AssertionError(other)

    def release(self, node: str, *words: str) -> None:
        """Give back what the node holds."""
        began = self._tell("releases", node=node)
        answer = self._type("slots", "release", node, "--why", "chaos", *words)
        asked = answer.code == 0 and not answer.json["freed"]
        if not asked and answer.code != 4:  # 5: perhaps it happened; then from the moment at which they typed
            self._tell("released", node=node, typed_at=began["at"])

    def resume(self, task: str) -> Answer:
        """Let a halted task go on."""
        return self._type("resume", task, "--why", "chaos")

    def redrive(self, task: str, node: str) -> None:
        """Try it again."""
        self._type("dlq", "redrive", task, node)

    def cancel(self, task: str) -> None:
        """End a task."""
        answer = self._type("cancel", task, "--why", "chaos")
        if answer.code == 0:
            self._stopped(f"task:{task}", f"task:{task}", answer)

    def tidy(self) -> int:
        """What a person does who wants to see everything ended: lift holds, give back kept slots, let halted tasks go
        on or end them. Returns how much there was to do."""
        done = 0
        for hold in self._look.holds():
            self._unhold(hold)
            done += 1
        for node in self._look.keepers():
            self.release(node)
            done += 1
        for task in self._look.tasks(*self.STOPPED):
            done += 1
            if self.resume(task).code == 4 and self._type("approve", task, "--why", "chaos").code == 4:
                self.cancel(task)
        return done

    # --- inside ------------------------------------------------------------------------------------------

    def _hold(self, on: str, lasts_s: float) -> None:
        answer = self._type("hold", on, "--why", "chaos")
        if answer.code != 0:
            return
        hold = answer.json["hold"]["id"]
        self._stopped("*" if on == "everything" else on, hold, answer)
        time.sleep(lasts_s)
        self._unhold(hold)

    def _unhold(self, hold: str) -> None:
        self._tell("unstops", id=hold)
        give_up = time.monotonic() + 30.0
        while self._type("unhold", hold, "--why", "chaos").code == 5 and time.monotonic() < give_up:
            time.sleep(1.0)

    def _stopped(self, on: str, stop_id: str, answer: Answer) -> None:
        named = [place["attempt"] for place in answer.json["acting"]]
        self._tell("stopped", on=on, id=stop_id, named=named)

    def _declare_off(self, dice: random.Random) -> None:
        """Only of a machine that is off: the word of a person is believed."""
        holders = self._look.holders()
        seats = [seat for seat in self._town.seats if seat.instance in holders]
        for seat in self._one(dice, seats):
            self._town.kill_node(seat, 60.0)
            self._tell("off", node=seat.instance)
            self.release(seat.instance, "--node-is-off")
            seat.agent.down_until = time.monotonic()

    def _type(self, *words: str) -> Answer:
        answer = self._town.type(*words, "--json")
        self._tell("typed", words=list(words), code=answer.code, said=(answer.err or "")[-200:])
        if answer.code not in _EXPECTED:
            self._tell("accident", text=f"taskerman {' '.join(words)} ended with {answer.code}: {answer.err[-600:]}")
        return answer

    @staticmethod
    def _one(dice: random.Random, found: Sequence) -> Sequence:
        return [dice.choice(list(found))] if found else []
