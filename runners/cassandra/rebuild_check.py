"""`cassandra_task:rebuild_check`: whether a node that was added, rebuilt or replaced is fit to be counted.

It acts on nothing. It is the gate between "the node is there" and "the old ones may go": it fails with every reason
that speaks against, so that a task whose nodes must all pass halts.
"""

from __future__ import annotations

from datetime import timedelta
from statistics import median

from pydantic import BaseModel, ConfigDict, Field

from runners.cassandra import rules
from runners.cassandra.operation import Operation
from runners.cassandra.view import View
from taskerman import Check, Go, Recovered

__all__ = ["RebuildCheck", "unfit"]


class Unfit(Exception):
    """The node should not be counted; the text says why, all of it."""


class RebuildCheck(Operation):
    """Looks at ownership, data, streams, builds and at what peers say; changes nothing."""

    class Args(BaseModel):
        """`action_args`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        min_load_percent: float = Field(
            default=20.0,
            ge=0,
            le=100,
            description="least load, in percent of the median in its data centre",
        )
        tokens: int = Field(default=0, ge=0, description="how many tokens it must have; 0: any number")

    args: Args
    description = "checks that a rebuilt or replaced node owns, holds and serves what it should"
    when_lost = "retry"
    soft = timedelta(minutes=10)
    settle = timedelta(minutes=1)

    def pre_check(self) -> Check:
        """Go when its server can be asked."""
        return self.looked(lambda _: Go())

    def execute_action(self) -> None:
        """Raises `Unfit` with every reason."""
        why: list[str] = []

        def judge(view: View) -> Check:
            why.extend(unfit(view, min_load_percent=self.args.min_load_percent, tokens=self.args.tokens))
            return Go()

        if (answer := self.looked(judge, rings=True)) != Go():
            why.append(getattr(answer, "reason", str(answer)))
        if why:
            raise Unfit("; ".join(why))
        self.ctx.log("the node is fit to be counted")

    def post_check(self) -> Check:
        """Looking changes nothing, so there is nothing to wait for; that it was found unfit is the action's failure."""
        return Go()

    def recover(self) -> Recovered:
        """Whoever does not know whether it looked looks again."""
        return Recovered.NOT_DONE


def unfit(view: View, *, min_load_percent: float, tokens: int) -> list[str]:
    """Everything that speaks against counting this node. Empty: it is fit."""
    own, row = view.own, view.row
    if own is None or row is None:
        return [view.silent or f"no node of the cluster is called {view.me}"]
    why: list[str] = []
    well = rules.is_well(view)
    if well != Go():
        why.append(getattr(well, "reason", str(well)))
    if moving := [name for name, one in view.rows.items() if one.state != "N" and name != view.me]:
        why.append(f"{moving[0]} joins, leaves or moves: what this node owns is about to change")
    if building := [kind for kind in own.compactions.active if "build" in kind.lower()]:
        why.append(f"it still builds: {building[0]}")
    if tokens and len(own.info.tokens) != tokens:
        why.append(f"it has {len(own.info.tokens)} tokens, not {tokens}")
    for name, ring in view.rings.items():
        wanted = view.cluster.copies[name].get("*", view.cluster.copies[name].get(row.dc, 0))
        if wanted and not any(view.me in one.endpoints for one in ring):
            why.append(f"it keeps no range of {name}, which has {wanted} copies in {row.dc}")
    loads = [one.load_bytes for one in view.others.values() if one.dc == row.dc and one.load_bytes is not None]
    if row.load_bytes is None:
        why.append("its load is not known")
    elif loads and row.load_bytes < median(loads) * min_load_percent / 100:
        why.append(
            f"it holds {row.load_bytes:,.0f} bytes, and half of its data centre more than {median(loads):,.0f}: "
            "it was not rebuilt, or not from everywhere"
        )
    return why
