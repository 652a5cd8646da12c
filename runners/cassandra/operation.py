"""What all operations on a Cassandra node have in common: who is asked, and what it means when nobody answers.

Before an action, what cannot be read is a `Refuse` when asking again will not help, and a `Wait` when it may; after it,
always a `Wait`, so that a node of which nothing is known ends unsafe and not well.
"""

from __future__ import annotations

from collections.abc import Callable

from runners.cassandra import rules
from runners.cassandra.answers import NotUnderstood
from runners.cassandra.config import Config as NodeConfig
from runners.cassandra.nodetool import CannotAsk, MayNotAsk, Nodetool
from runners.cassandra.view import Unreadable, View, look
from taskerman import Check, Refuse, TaskRunner, Wait, steadily

__all__ = ["Operation"]


class Operation(TaskRunner):
    """The base of Cassandra's runners."""

    Config = NodeConfig
    config: NodeConfig

    def looked(self, judge: Callable[[View], Check], *, rings: bool = False) -> Check:
        """What `judge` says of the cluster; before an action. `rings`: it needs to know who keeps which range."""
        try:
            view = look(self.ctx, self.config, rings=rings)
            self.ctx.log("looked at the cluster", **shown(view))
            return judge(view)
        except (MayNotAsk, NotUnderstood, Unreadable) as error:
            return Refuse(str(error))
        except CannotAsk as error:
            return Wait(str(error))

    def post_check(self) -> Check:
        """Well when the node says so and its peers do, several times in a row."""
        return steadily(self.ctx, self.settled(rules.is_well), over_s=10.0)

    def settled(self, judge: Callable[[View], Check]) -> Check:
        """The same as `looked`, after an action: what cannot be known is waited for."""
        answer = self.looked(judge)
        return Wait(answer.reason) if isinstance(answer, Refuse) else answer

    def tool(self, peer: str = "") -> Nodetool:
        """Asks the own server, or that of `peer`."""
        return Nodetool(self.ctx, self.config, peer)


def shown(view: View) -> dict[str, object]:
    """A view in a line of the log."""
    return {
        "mode": view.own.net.mode if view.own else view.silent,
        "nodes": len(view.rows),
        "peers": len(view.peers),
        "silent_peers": sorted(view.silent_peers),
    }
