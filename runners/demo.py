"""`demo_task:restart`: restarts one HTTP service. Small on purpose: it is the runner to copy from.

It waits while more of the other nodes are down than the task itself may have taken down. The service is well again when
it says so and runs as another start than the one that was noted before; the same comparison says, when the process that
acted is lost, whether the restart happened.

```toml
actions = ["demo_task:restart"]

[runners.demo_task]
restart = ["systemctl", "restart", "web"]
health_url = "http://127.0.0.1:8080/health"             # 200 and {"started": ...}, another value after every start
peers = {"web-2" = "http://10.0.0.2:8080/health"}       # the same for the other nodes
```
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from taskerman import Check, Go, Recovered, TaskRunner, Wait

__all__ = ["Restart"]

HEALTH_TIMEOUT_S = 2.0


class Health:
    """What a service said of itself. `status`: of HTTP, 0 for no answer. `started`: which start it is."""

    def __init__(self, status: int, started: JsonValue = None) -> None:
        self.status = status
        self.started = started

    @property
    def well(self) -> bool:
        """It answered, and said so."""
        return self.status == 200


def ask_health(url: str) -> Health:
    """Ask once; no answer is an answer too. Never by way of a proxy: the question is to this very service."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=HEALTH_TIMEOUT_S) as answer:
            said = json.load(answer)
            return Health(answer.status, said.get("started") if isinstance(said, dict) else None)
    except urllib.error.HTTPError as error:
        with error:
            return Health(error.code)
    except (OSError, ValueError):
        return Health(0)


class Restart(TaskRunner):
    """Asks the service manager for a restart, when enough of the other nodes are well."""

    class Args(BaseModel):
        """Of a restart."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        force: bool = Field(default=False, description="also when other nodes are down")
        seconds: float = Field(
            default=0.0, ge=0.0, le=3600.0, description="how long the action lasts at least, after the restart"
        )

    class Config(BaseModel):
        """`[runners.demo_task]` of a node's settings file."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        restart: tuple[str, ...] = Field(
            min_length=1, description="the command that asks the machine's service manager for a restart"
        )
        health_url: str = Field(
            min_length=1,
            description="where the service says how it is: 200 when it is well, and a JSON object whose `started` is "
            "another one after every start",
        )
        peers: dict[str, str] = Field(
            default_factory=dict, description="the same for the other nodes of the cluster, by their ids"
        )

    args: Args
    config: Config
    description = "restarts the node's HTTP service"

    def pre_check(self) -> Check:
        """Go when no more peers are down than the task itself may have taken down."""
        peers = {node: url for node, url in self.config.peers.items() if node != self.ctx.node_id}
        down = [node for node, url in peers.items() if not ask_health(url).well]
        self.ctx.log("looked at the peers", down=down)
        if len(down) > self.ctx.cap - 1 and not self.args.force:
            return Wait(f"not well: {', '.join(sorted(down))}", of="cluster")
        return Go()

    def execute_action(self) -> None:
        """Note which start this is, then have the service restarted."""
        self.ctx.save(started_before=self._own_health().started, restarted=False)
        self.ctx.command(self.config.restart)
        self.ctx.save(restarted=True)
        time.sleep(self.args.seconds)

    def post_check(self) -> Check:
        """Well when it says so; after a restart that was carried out, only the new start counts."""
        health = self._own_health()
        if not health.well:
            return Wait(f"the service answers {health.status}" if health.status else "the service does not answer")
        if self.ctx.saved.get("restarted") and health.started == self.ctx.saved.get("started_before"):
            return Wait("the service still runs as it was started before")
        return Go()

    def recover(self) -> Recovered:
        """Compare the start that runs with the one that was noted before it was asked for another."""
        if "started_before" not in self.ctx.saved:
            return Recovered.NOT_DONE
        health = self._own_health()
        if health.started is not None and health.started != self.ctx.saved["started_before"]:
            return Recovered.DONE
        # The service manager may have been asked, and the restart be still to come.
        return Recovered.UNKNOWN

    def _own_health(self) -> Health:
        return ask_health(self.config.health_url)
