"""`cassandra_task:repair`: repairs the ranges whose primary this node is, one piece after the other.

Each piece has one set of replicas, and none of them repairs anything else meanwhile. How far it came is saved after
each, so that a process that was killed is followed by one that goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runners.cassandra import rules
from runners.cassandra.answers import NotUnderstood
from runners.cassandra.nodetool import CannotAsk
from runners.cassandra.operation import Operation
from runners.cassandra.ring import Piece, digest, pieces
from runners.cassandra.view import View
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, Skip, Wait

__all__ = ["Repair"]

LOOK_EVERY_S = 10.0
_PARALLEL = {"parallel": [], "sequential": ["-seq"], "dc_parallel": ["-dcpar"]}


class RepairFailed(Exception):
    """A piece could not be repaired; the text names it. Those before it are done."""


class Repair(Operation):
    """Full repairs of small ranges, with a look at the replicas and at waiting compactions between them."""

    class Args(BaseModel):
        """`action_args`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        keyspaces: tuple[str, ...] = Field(
            default=(), description="which to repair; none named: all with more than one copy, except Cassandra's own"
        )
        tables: tuple[str, ...] = Field(default=(), description="only these tables, of the one keyspace that is named")
        pieces_of_a_range: int = Field(default=1, ge=1, le=1000, description="into how many pieces each range is cut")
        piece_s: float = Field(default=3600.0, gt=0, description="how long one piece may take, seconds")
        retries: int = Field(default=2, ge=0, le=20, description="how often a piece is tried again")
        max_pending_compactions: int = Field(
            default=50, ge=0, description="while more wait on this node, nothing is begun"
        )
        patience_s: float = Field(
            default=1800.0,
            ge=0,
            description="how long a piece waits for its replicas and for compactions before it fails, seconds",
        )
        pause_s: float = Field(default=0.0, ge=0, le=3600, description="rest between two pieces, seconds")
        order: Literal["parallel", "sequential", "dc_parallel"] = Field(
            default="parallel", description="whether the replicas of a piece are read at once, or one after the other"
        )

        @model_validator(mode="after")
        def _tables_are_of_one(self) -> Repair.Args:
            if self.tables and len(self.keyspaces) != 1:
                raise ValueError("tables are of one keyspace: name exactly one in keyspaces")
            return self

    args: Args
    description = "repairs the node's primary ranges, one set of replicas at a time"
    when_lost = "retry"
    soft = timedelta(hours=12)
    settle = timedelta(minutes=10)

    def pre_check(self) -> Check:
        """Go when everybody is up, nobody repairs, and there is something to repair."""
        answer = self.looked(self._may, rings=True)
        if not isinstance(answer, Go):
            return answer
        for peer in self.config.peers:
            if why := self._at_work(peer):
                return Wait(why, of="cluster")
        return answer

    def execute_action(self) -> None:
        """Piece by piece, from the first that was not noted as done. Raises `RepairFailed`."""
        todo = self._pieces()
        done = self._done(todo)
        self.ctx.log("repairs", pieces=len(todo), done_before=done)
        for place in range(done, len(todo)):
            self.ctx.save(of=digest(todo), total=len(todo), next=place, now=str(todo[place]))
            self._repair(todo[place])
            if self.args.pause_s and place + 1 < len(todo):
                time.sleep(self.args.pause_s)
        self.ctx.save(of=digest(todo), total=len(todo), next=len(todo), now="")

    def recover(self) -> Recovered:
        """Done when each piece was noted as done. Else not; and what was done is not begun again."""
        saved = self.ctx.saved
        whole = saved.get("total") is not None and saved.get("next") == saved.get("total")
        return Recovered.DONE if whole else Recovered.NOT_DONE

    def abort(self) -> None:
        """Stop what validates here, and the incremental sessions that this node coordinates."""
        tool = self.tool()
        if not self.ctx.saved.get("now"):
            self.ctx.log("nothing to take back")
            return
        try:
            tool.do("stop", "VALIDATION", timeout=timedelta(seconds=10))
            for session, coordinator in tool.sessions().items():
                if coordinator == self.config.address:
                    tool.do("repair_admin", "cancel", "--session", session, timeout=timedelta(seconds=10))
        except (CommandFailed, CannotAsk, NotUnderstood) as error:
            self.ctx.log("what validates could not be stopped; it ends with its piece", why=str(error))

    # --- what there is to do -----------------------------------------------------------------------------

    def _may(self, view: View) -> Check:
        if (answer := rules.is_quiet(view, max_pending=self.args.max_pending_compactions)) != Go():
            return answer
        if view.cluster.partitioner != "Murmur3Partitioner":
            return Refuse(f"tokens of {view.cluster.partitioner} are not known to this runner")
        if missing := [name for name in self.args.keyspaces if name not in view.cluster.copies]:
            return Refuse(f"there is no keyspace {', '.join(missing)}")
        if alone := [name for name in self.args.keyspaces if sum(view.cluster.copies[name].values()) < 2]:
            return Refuse(f"{', '.join(alone)} has one copy, and a repair compares copies")
        if not self._chosen(view):
            return Skip("this node is the primary of no range that has more than one copy")
        return Go()

    def _pieces(self) -> Sequence[Piece]:
        """Of the ring as it is now. Raises `RepairFailed` when that cannot be known."""
        found: list[Piece] = []

        def judge(view: View) -> Check:
            found.extend(self._chosen(view))
            return Go()

        if (answer := self.looked(judge, rings=True)) != Go():
            raise RepairFailed(f"the ring is not known: {getattr(answer, 'reason', answer)}")
        return found

    def _chosen(self, view: View) -> list[Piece]:
        names = self.args.keyspaces or [
            name
            for name, copies in view.cluster.copies.items()
            if sum(copies.values()) > 1 and not name.startswith("system")
        ]
        rings = {name: view.rings[name] for name in names if name in view.rings}
        return pieces(rings, view.me, self.args.pieces_of_a_range)

    def _done(self, todo: Sequence[Piece]) -> int:
        saved = self.ctx.saved
        if saved.get("of") is None:
            return 0
        if saved.get("of") != digest(todo):
            self.ctx.log("the ring has changed since; the repair begins anew")
            return 0
        return int(str(saved.get("next", 0)))

    # --- one piece ---------------------------------------------------------------------------------------

    def _repair(self, piece: Piece) -> None:
        """Once its replicas are ready; again when it failed. Raises `RepairFailed`."""
        words = ["repair", "--full", *_PARALLEL[self.args.order], "-st", str(piece.start), "-et", str(piece.end)]
        words += ["--", piece.keyspace, *self.args.tables]
        why = ""
        for attempt in range(self.args.retries + 1):
            self._wait_for(piece)
            try:
                answer = self.tool().do(*words, timeout=timedelta(seconds=self.args.piece_s))
                # It ends with 0 also when it lost sight of what it had begun.
                if "Repair completed successfully" in answer.output:
                    return
                why = f"it ended without saying that it completed: {answer.output.strip()[-200:]}"
            except CommandFailed as failed:
                why = str(failed)
            self.ctx.log("a piece failed", piece=str(piece), attempt=attempt + 1, why=why)
        raise RepairFailed(f"{piece} could not be repaired in {self.args.retries + 1} attempts: {why}")

    def _wait_for(self, piece: Piece) -> None:
        """Until each replica of the piece is up and repairs nothing, and few compactions wait here."""
        give_up_at = time.monotonic() + self.args.patience_s
        while why := self._not_ready(piece):
            if time.monotonic() >= give_up_at:
                raise RepairFailed(f"{piece} was not begun: {why}")
            self.ctx.log("waits", piece=str(piece), why=why)
            time.sleep(LOOK_EVERY_S)

    def _not_ready(self, piece: Piece) -> str:
        try:
            rows = self.tool().status()
            pending = self.tool().compactions().pending
            streams = self.tool().net().streams
        except (CannotAsk, NotUnderstood) as error:
            return str(error)
        if moving := [name for name, row in rows.items() if row.state != "N"]:
            return f"{moving[0]} joins, leaves or moves"
        if down := [name for name in piece.endpoints if name not in rows or rows[name].up is not True]:
            return f"{down[0]} is down"
        if streams:
            return f"this node streams: {streams[0]}"
        if pending > self.args.max_pending_compactions:
            return f"{pending} compactions wait here (at most {self.args.max_pending_compactions})"
        others = ("" if name == self.config.address else name for name in piece.endpoints)
        return next(filter(None, map(self._at_work, others)), "")

    def _at_work(self, peer: str) -> str:
        """Why a node should not be read by a repair now; "" when it may. `peer`: "" for this one."""
        try:
            tool = self.tool(peer)
            if busy := [kind for kind in tool.compactions().active if kind.startswith(("Validation", "Anticomp"))]:
                return f"{peer or 'this node'} takes part in a repair ({busy[0]})"
            if sessions := tool.sessions():
                return f"{peer or 'this node'} takes part in a repair that {next(iter(sessions.values()))} coordinates"
        except (CannotAsk, NotUnderstood) as error:
            return str(error)
        return ""
