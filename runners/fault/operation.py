"""What every fault has in common: when it is allowed, that it is written down before, and that it is undone.

It does not know one kind of fault from another: what is done is each operation's, how it is undone is undo.py's.
"""

from __future__ import annotations

import socket
import time
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from runners.fault import rules, switch
from runners.fault.config import FaultConfig
from runners.fault.journal import Entry, Journal, Unreadable, boot_id
from runners.fault.undo import undo, undo_all
from runners.service.health import ill
from runners.service.rules import is_well, may_act
from runners.service.view import View, ask_peers
from taskerman import Check, Go, Recovered, Refuse, TaskRunner, Wait, steadily

__all__ = ["Fault", "FaultArgs", "Node", "NotUndone"]

UNDO_WITHIN_S = 20.0
"""`abort` has 30 s."""


class NotUndone(Exception):
    """A fault is in force, and was not undone."""


class FaultArgs(BaseModel):
    """What every fault takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    duration_s: float = Field(gt=0, le=86400, description="How long the fault is in force.")


class Node(TaskRunner):
    """How this node and its peers are, and what is left over on it."""

    Config = FaultConfig
    config: FaultConfig
    settle = timedelta(minutes=3)

    @property
    def journal(self) -> Journal:
        """What is not known to be undone here."""
        return Journal(Path(self.config.state_folder))

    def view(self) -> View:
        """How the node is, and its peers."""
        why = next(filter(None, (ill(each, self.ctx) for each in self.config.checks)), "")
        peers = {name: peer for name, peer in self.config.peers.items() if name != self.ctx.node_id}
        unseen = max(0, len(set(self.ctx.nodes) - {self.ctx.node_id}) - len(peers))
        return View(start="", ill=why, peers=ask_peers(peers, self.ctx), unseen=unseen)

    def post_check(self) -> Check:
        """Well when nothing is left over, and the node and its peers are; several times in a row."""
        return steadily(
            self.ctx, self._left_over() or is_well(self.view(), unwell_may_be=self.ctx.cap - 1, well_must_be=None)
        )

    def abort(self) -> None:
        """Undo what is left over. Raises `NotUndone` when something still is."""
        self.clear()

    def clear(self) -> None:
        """Undo everything that is left over on this node. Raises `NotUndone`."""
        if self.misconfigured:
            raise NotUndone(f"nobody can say where the journal is: {self.misconfigured}")
        if why := undo_all(self.journal, within_s=UNDO_WITHIN_S, say=self.say):
            raise NotUndone(f"{why}. Then, on the node: python -m runners.fault.undo {self.config.state_folder}")

    def say(self, what: str) -> None:
        """Into the attempt's log."""
        self.ctx.log("undo", what=what)

    def _left_over(self) -> Check | None:
        if self.misconfigured:
            return Refuse(self.misconfigured)
        try:
            entries = self.journal.entries()
        except (Unreadable, OSError) as error:
            return Refuse(str(error))
        if not entries:
            return None
        kinds = ", ".join(f"{entry.kind} of {entry.task}" for entry in entries)
        folder = self.config.state_folder
        return Wait(f"not known to be undone: {kinds}. On the node: python -m runners.fault.undo {folder}")


class Fault(Node):
    """One fault, for a time. `guards_itself`: it is limited by what it is made of, and needs no switch."""

    Args: ClassVar[type[FaultArgs]] = FaultArgs
    args: FaultArgs
    soft = timedelta(minutes=30)
    guards_itself: ClassVar[bool] = False

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when it is allowed, small enough, can be undone by others than us, and the cluster is well.

        What an earlier fault left over is undone here: the one thing that it changes.
        """
        try:
            self.clear()
        except NotUndone as error:
            return Refuse(f"an earlier fault is not undone: {error}")
        timeouts = self.ctx.assignment.get("taskerman_params")
        timeouts = timeouts.get("timeout_args") if isinstance(timeouts, Mapping) else None
        soft_s = timeouts.get("soft_s") if isinstance(timeouts, Mapping) else None
        for answer in (
            rules.allowed(self.config, cluster=self.ctx.cluster, names=(self.ctx.node_id, socket.gethostname())),
            rules.duration_fits(self.config, self.args.duration_s, soft_s),
            self.guarded(),
            self.fits(),
        ):
            if not isinstance(answer, Go):
                return answer
        view = self.view()
        if view.ill:
            return Wait(f"the node is not well before its fault: {view.ill}")
        return may_act(
            view,
            at_once=self.ctx.cap,
            at_least=None,
            nodes=len(self.ctx.nodes),
            without_peers=self.config.without_peers,
        )

    def execute_action(self) -> None:
        """Write down what undoes it, arm the switch, do it, wait, and undo it."""
        self.clear()
        fault = f"{self.ctx.attempt_id}-{uuid.uuid4().hex[:8]}"
        self.ctx.save(began=False, over=False)
        entry = Entry(
            id=fault,
            kind=self.kind,
            undo=dict(self.prepare(fault)),
            task=self.ctx.task_id,
            until=time.time() + self.args.duration_s,
            boot=boot_id(),
        )
        self.journal.write(entry)
        try:
            if self.armed:
                switch.arm(self.config, self.ctx, fault, self.args.duration_s + switch.GRACE_S)
            self.ctx.save(began=True)  # before it is: who cannot say whether it was must take it that it was
            self.ctx.log("begins the fault", kind=self.kind, seconds=self.args.duration_s)
            ends_at = time.monotonic() + self.args.duration_s
            self.inject(entry.undo)
            while (left := ends_at - time.monotonic()) > 0:
                time.sleep(min(left, 1.0))
            self.ctx.save(over=True)
        finally:
            self.release()
            self._take_back(entry)

    def recover(self) -> Recovered:
        """Undo what is left over first; then say whether the fault was begun, and whether it lasted its time."""
        self.clear()
        saved = self.ctx.saved
        if saved.get("over"):
            return Recovered.DONE
        return Recovered.UNKNOWN if saved.get("began") else Recovered.NOT_DONE

    # --- what each fault says ----------------------------------------------------------------------------

    kind: ClassVar[str]
    """How it is undone: a key of undo.py."""

    @abstractmethod
    def fits(self) -> Check:
        """Whether what it is done to is named, there, and within the limits of the node."""

    @abstractmethod
    def prepare(self, fault: str) -> Mapping[str, JsonValue]:
        """What is needed to undo it, written down before it is done. Harms nothing."""

    @abstractmethod
    def inject(self, undo: Mapping[str, JsonValue]) -> None:
        """Do it. `undo`: what `prepare` answered."""

    def release(self) -> None:
        """Let go of what the process itself holds."""
        return

    # --- the switch --------------------------------------------------------------------------------------

    @property
    def needs_switch(self) -> bool:
        """Whether only a process can undo it."""
        return not self.guards_itself

    @property
    def armed(self) -> bool:
        """Whether the switch is armed for it."""
        return self.needs_switch and not switch.missing(self.config)

    def guarded(self) -> Check:
        """Whether something undoes it when all of ours is dead."""
        why = switch.missing(self.config) if self.needs_switch else ""
        if why and not self.config.unguarded:
            return Refuse(
                f"nothing would undo it if agent and action died ({why}): name another `switch` for fault_task, "
                "or accept that with unguarded = true"
            )
        return Go()

    def _take_back(self, entry: Entry) -> None:
        if why := undo(entry, self.journal, within_s=UNDO_WITHIN_S, say=self.say):
            raise NotUndone(why)  # the switch stays armed
        if self.armed:
            switch.disarm(self.config, self.ctx, entry.id)
