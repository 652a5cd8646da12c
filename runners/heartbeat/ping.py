"""Says how long it took to come here. It looks at nothing, changes nothing, and refuses to judge what it measured."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from taskerman import Check, Go, Recovered, TaskRunner

__all__ = ["Ping"]


class Ping(TaskRunner):
    """Notes when it began, and how long ago it was due."""

    class Args(BaseModel):
        """None."""

        model_config = ConfigDict(extra="forbid", frozen=True)

    class Config(BaseModel):
        """None."""

        model_config = ConfigDict(extra="forbid", frozen=True)

    args: Args
    config: Config
    when_lost = "retry"
    description = "does nothing, and measures how long it took to come so far"
    soft = timedelta(minutes=1)
    settle = timedelta(seconds=30)

    def pre_check(self) -> Check:
        """There is nothing that could speak against it."""
        return Go()

    def execute_action(self) -> None:
        """Save and log the latency: that the disk of the node takes it is part of what is tried."""
        since, at = self._due()
        latency_s = round(time.time() - at.timestamp(), 3)
        self.ctx.save(latency_s=latency_s, since=since)
        said = {} if latency_s >= 0 else {"clock": "this node's is behind the one that said when it was due"}
        self.ctx.log("pinged", latency_s=latency_s, since=since, at=at.isoformat(), **said)

    def post_check(self) -> Check:
        """Nothing was changed, so nothing can have become unwell."""
        return Go()

    def recover(self) -> Recovered:
        """Done when it saved what it is for."""
        return Recovered.DONE if "latency_s" in self.ctx.saved else Recovered.NOT_DONE

    def _due(self) -> tuple[str, datetime]:
        """When it was due, or else accepted."""
        due = self.ctx.assignment.get("scheduled_for")
        if due is not None:
            return "scheduled_for", datetime.fromisoformat(str(due))
        return "accepted_at", datetime.fromisoformat(self.ctx.accepted_at)
