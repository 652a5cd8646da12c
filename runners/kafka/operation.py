"""What all operations on a Kafka node have in common: who is asked, and what it means when nobody answers.

Before an action, what cannot be read is a `Refuse` when asking again will not help, and a `Wait` when it may; after it,
always a `Wait`, so that a node of which nothing is known ends unsafe and not well.
"""

from __future__ import annotations

from collections.abc import Callable

from runners.kafka.answers import NotUnderstood
from runners.kafka.config import Config as NodeConfig
from runners.kafka.tools import CannotAsk, MayNotAsk, Tools
from runners.kafka.view import View, look
from taskerman import Check, Refuse, TaskRunner, Wait

__all__ = ["Operation", "waited_for"]


class Operation(TaskRunner):
    """The base of Kafka's runners."""

    Config = NodeConfig
    config: NodeConfig

    @property
    def tools(self) -> Tools:
        """Kafka's admin tools."""
        return Tools(self.ctx, self.config)

    def looked(self, judge: Callable[[View], Check]) -> Check:
        """What `judge` says of the cluster; before an action."""
        return self.answered(lambda: judge(self._look()))

    def settled(self, judge: Callable[[View], Check]) -> Check:
        """The same, after an action: what cannot be known is waited for."""
        return waited_for(self.looked(judge))

    def answered(self, ask: Callable[[], Check]) -> Check:
        """What `ask` says, or why nothing can be said."""
        try:
            return ask()
        except (MayNotAsk, NotUnderstood) as error:
            return Refuse(str(error))
        except CannotAsk as error:
            return Wait(str(error))

    def _look(self) -> View:
        view = look(self.ctx, self.config)
        self.ctx.log(
            "looked at the cluster",
            brokers=sorted(view.brokers),
            partitions=len(view.partitions),
            moving=len(view.moving),
            controller=view.controller,
        )
        return view


def waited_for(answer: Check) -> Check:
    """After an action nothing is refused."""
    return Wait(answer.reason) if isinstance(answer, Refuse) else answer
