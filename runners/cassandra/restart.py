"""`cassandra_task:restart`: takes the node out of service, drains it, restarts it, and calls it well when peers do."""

from __future__ import annotations

import shutil
import time
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from runners.cassandra import rules
from runners.cassandra.answers import NotUnderstood
from runners.cassandra.nodetool import CannotAsk, MayNotAsk, Nodetool
from runners.cassandra.operation import Operation
from runners.cassandra.view import View
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, steadily

__all__ = ["Restart"]

RECOVER_WITHIN_S = 35.0
"""A hook that looks has 60 seconds, and one answer may take 15 of them."""
LOOK_EVERY_S = 2.0


class NotReady(Exception):
    """The action found, before it did any harm, that it may not go on."""


class Restart(Operation):
    """Closes the node to clients, then to its peers, drains it, and has the service manager restart it.

    What was begun is finished or taken back: a node that was only closed is opened again by `abort`; one that drains
    cannot be opened again, so `abort` asks for its restart.
    """

    class Args(BaseModel):
        """`action_args`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        rack: str = Field(
            default="", description="act on the nodes of this rack only; needed when concurrency is not 1"
        )
        drain_s: float = Field(
            default=300.0, gt=0, le=3600, description="how long draining may take, seconds; then it is restarted anyway"
        )
        accept_unavailable: tuple[str, ...] = Field(
            default=("system_traces",), description="keyspaces that may be without a quorum while the node is down"
        )
        min_free_percent: float = Field(default=10.0, ge=0, le=90, description="of each data disk, in percent")
        max_hints_bytes: int = Field(
            default=256 * 2**20, ge=0, description="hints that may wait on this node for others, bytes"
        )

    args: Args
    description = "drains and restarts the node's Cassandra, and waits until its peers see it well"
    when_lost = "retry"
    soft = timedelta(minutes=15)
    settle = timedelta(minutes=30)

    def pre_check(self) -> Check:
        """Go when the cluster can do without this node now."""
        if shutil.which(self.config.restart[0]) is None:
            return Refuse(f"{self.config.restart[0]} is not on this machine: correct `restart` of this node")
        return self.looked(self._may, rings=self.ctx.cap > 1)

    def execute_action(self) -> None:
        """Look once more, note which start this is, close, drain, restart. A node that an earlier process drained is
        down already, so that nothing is asked before its restart. Raises `NotReady`, `CommandFailed`."""
        if self.ctx.saved.get("stage") == "closing":
            self._open_again()  # an earlier process closed it, and nobody knows what the cluster is like by now
        if self.ctx.saved.get("stage") != "draining":
            serving: list[bool] = []

            def judge(view: View) -> Check:
                serving.append(view.own is not None and view.own.net.mode == "NORMAL")
                return self._may(view)

            answer = self.looked(judge, rings=self.ctx.cap > 1)
            if not isinstance(answer, Go):
                raise NotReady(f"it may not be restarted any more: {getattr(answer, 'reason', answer)}")
            tool = self.tool()
            self._note_start(tool)
            if serving == [True]:
                self._close_and_drain(tool)
        self._ask_for_restart()

    def post_check(self) -> Check:
        """After a restart that was asked for, only a new start counts."""
        noted = self.ctx.saved.get("generation") if self.ctx.saved.get("stage") == "asked" else None
        generation = noted if isinstance(noted, int) else None
        return steadily(self.ctx, self.settled(lambda view: rules.is_well(view, generation=generation)), over_s=10.0)

    def recover(self) -> Recovered:
        """Compare the generation, which grows with each start, with the one that was noted."""
        saved = self.ctx.saved
        if saved.get("stage") != "asked":
            return Recovered.NOT_DONE
        noted = saved.get("generation")
        if not isinstance(noted, int):
            return Recovered.UNKNOWN  # it was down before: nothing tells one start from another
        give_up_at = time.monotonic() + RECOVER_WITHIN_S
        while True:
            try:
                if self.tool().info().generation > noted:
                    return Recovered.DONE
            except (CannotAsk, MayNotAsk, NotUnderstood) as error:
                self.ctx.log("does not know yet", why=str(error))
            if time.monotonic() >= give_up_at:
                return Recovered.UNKNOWN  # it may still be on its way
            time.sleep(LOOK_EVERY_S)

    def abort(self) -> None:
        """A node that was closed is opened again; one that was drained is restarted, because nothing else opens it."""
        match self.ctx.saved.get("stage"):
            case "closing":
                self._open_again()
            case "draining":
                self._ask_for_restart()
            case "asked" if self._is_drained():
                self._ask_for_restart()  # it may not have been heard; to be restarted twice does a drained node no harm
            case _:
                self.ctx.log("nothing to take back")

    # --- the parts of the action -------------------------------------------------------------------------

    def _may(self, view: View) -> Check:
        return rules.may_restart(
            view,
            at_once=self.ctx.cap,
            rack=self.args.rack,
            accept_unavailable=self.args.accept_unavailable,
            min_free_percent=self.args.min_free_percent,
            max_hints_bytes=self.args.max_hints_bytes,
        )

    def _is_drained(self) -> bool:
        try:
            return self.tool().net().mode in rules.OUT_OF_SERVICE
        except (CannotAsk, MayNotAsk, NotUnderstood):
            return False

    def _note_start(self, tool: Nodetool) -> None:
        """The generation of the start that is about to end. Gossip that is off says 0; peers still know it then."""
        if isinstance(self.ctx.saved.get("generation"), int):
            return
        for asked in (tool, *(self.tool(peer) for peer in self.config.peers)):
            try:
                known = asked.info().generation if asked is tool else 0
                known = known or int(asked.gossip().get(self.config.address, {}).get("generation", 0))
            except (CannotAsk, NotUnderstood):
                continue
            if known:
                self.ctx.save(generation=known)
                return
        self.ctx.save(generation=None)

    def _close_and_drain(self, tool: Nodetool) -> None:
        """Clients first, so that they find other nodes; then peers; then what is in memory goes to disk."""
        self.ctx.save(stage="closing")
        try:
            tool.do("disablebinary", timeout=timedelta(seconds=60))
            tool.do("disablegossip", timeout=timedelta(seconds=60))
        except CommandFailed:
            self._open_again()
            raise
        self.ctx.save(stage="draining")
        try:
            tool.do("drain", timeout=timedelta(seconds=self.args.drain_s))
        except CommandFailed as error:
            # What was not flushed is in the commit log, and is replayed by the start.
            self.ctx.log("draining failed; it is restarted all the same", why=str(error))

    def _open_again(self) -> None:
        for word in ("enablegossip", "enablebinary"):
            try:
                self.tool().do(word, timeout=timedelta(seconds=10))
            except CommandFailed as error:
                self.ctx.log("could not open it again; post_check will see it", why=str(error))
        self.ctx.save(stage="")

    def _ask_for_restart(self) -> None:
        self.ctx.save(stage="asked")
        try:
            self.ctx.command(list(self.config.restart))
        except CommandFailed:
            self.ctx.save(stage="refused")  # so that nobody waits for a new start
            raise
