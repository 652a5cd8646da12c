"""`cassandra_task:cleanup`: removes what the node keeps of ranges that are other nodes' now.

Data that is cleaned up is gone, so it is done only while nobody joins, leaves or moves.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from runners.cassandra import rules
from runners.cassandra.operation import Operation
from runners.cassandra.view import View
from taskerman import Check, CommandFailed, Go, Recovered, Refuse

__all__ = ["Cleanup"]


class NotClean(Exception):
    """The ring changed, or nodetool did not finish. What was cleaned up before stays so."""


class Cleanup(Operation):
    """One keyspace after the other; each rewrites its files, so there must be room for the largest of them."""

    class Args(BaseModel):
        """`action_args`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        keyspaces: tuple[str, ...] = Field(default=(), description="which; none named: all except Cassandra's own")
        files_at_once: int = Field(default=1, ge=1, le=32, description="how many files are rewritten at once")
        min_free_percent: float = Field(
            default=25.0,
            ge=0,
            le=95,
            description="of each data disk, in percent; files are written anew beside the old",
        )
        max_pending_compactions: int = Field(default=50, ge=0, description="while more wait on this node, it waits")

    args: Args
    description = "removes data of ranges that are other nodes' now"
    when_lost = "retry"
    soft = timedelta(hours=12)
    settle = timedelta(minutes=10)

    def pre_check(self) -> Check:
        """Go when the ring is at rest and the disks have room."""
        return self.looked(self._may)

    def execute_action(self) -> None:
        """Each keyspace that was not noted as done; the ring is looked at again before each. Raises `NotClean`."""
        names: list[str] = []
        self._look(names)
        done = int(str(self.ctx.saved.get("next", 0))) if self.ctx.saved.get("of") == names else 0
        for place in range(done, len(names)):
            self._look([])
            self.ctx.save(of=list(names), next=place)
            answer = self.tool().do("cleanup", "-j", str(self.args.files_at_once), "--", names[place])
            if "Aborted" in answer.output or "error" in answer.output.lower():
                raise NotClean(f"{names[place]}: {answer.output.strip()[-200:]}")
        self.ctx.save(of=list(names), next=len(names))

    def recover(self) -> Recovered:
        """Done when each keyspace was noted as done; else it is repeated, which takes time and does no harm."""
        names = self.ctx.saved.get("of")
        whole = isinstance(names, list) and self.ctx.saved.get("next") == len(names)
        return Recovered.DONE if whole else Recovered.NOT_DONE

    def abort(self) -> None:
        """Stop the cleanup inside the server: it goes on without nodetool."""
        if "of" not in self.ctx.saved:
            self.ctx.log("nothing to take back")
            return
        try:
            self.tool().do("stop", "CLEANUP", timeout=timedelta(seconds=20))
        except CommandFailed as error:
            self.ctx.log("the cleanup could not be stopped; it ends by itself", why=str(error))

    def _may(self, view: View) -> Check:
        if (answer := rules.is_quiet(view, max_pending=self.args.max_pending_compactions)) != Go():
            return answer
        if missing := [name for name in self.args.keyspaces if name not in view.cluster.copies]:
            return Refuse(f"there is no keyspace {', '.join(missing)}")
        if view.disk.free_percent < self.args.min_free_percent:
            return Refuse(
                f"only {view.disk.free_percent:.1f} % of a data disk is free, and files are written beside the old "
                f"(at least {self.args.min_free_percent:g} %)"
            )
        return Go()

    def _look(self, names: list[str]) -> None:
        def judge(view: View) -> Check:
            kept = [name for name, copies in view.cluster.copies.items() if copies and not name.startswith("system")]
            names.extend(sorted(self.args.keyspaces or kept))
            return self._may(view)

        if (answer := self.looked(judge)) != Go():
            raise NotClean(f"it may not be cleaned up any more: {getattr(answer, 'reason', answer)}")
