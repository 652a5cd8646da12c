"""`demo_task:restart`: restarts one HTTP service. Small on purpose: it is the runner to copy from.

The node's configuration says what is needed to do it here:

    restart     the command that asks the machine's service manager, as a list: ["systemctl", "restart", "web"]
    health_url  where the service says how it is: 200 when it is well, and a JSON object whose `started` is another
                one after every start
    peers       the same for the other nodes of the cluster: {"web-2": "http://10.0.0.2/health"}
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from taskerman import Check, CommandFailed, Go, Recovered, Refuse, TaskRunner, Wait

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
        """`force`: also when other nodes are down. `seconds`: how long the action lasts at least, after the restart."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        force: bool = False
        seconds: float = Field(default=0.0, ge=0.0, le=3600.0)

    args: Args
    description = "restarts the node's HTTP service"

    def pre_check(self) -> Check:
        """Go when no more peers are down than the task itself may have taken down."""
        if missing := {"restart", "health_url"} - set(self.ctx.settings):
            return Refuse(f"this node's configuration for demo_task has no {' and no '.join(sorted(missing))}")
        down = [node for node, url in self._peers().items() if node != self.ctx.node_id and not ask_health(url).well]
        self.ctx.log("looked at the peers", down=down)
        if len(down) > self.ctx.cap - 1 and not self.args.force:
            return Wait(f"not well: {', '.join(sorted(down))}", of="cluster")
        return Go()

    def execute_action(self) -> None:
        """Note which start this is, then have the service restarted."""
        self.ctx.save(started_before=self._own_health().started, restarted=False)
        self.ctx.command(self._restart_command())
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
        """Compare the start that runs with the one that was noted before."""
        if "started_before" not in self.ctx.saved:
            return Recovered.NOT_DONE
        health = self._own_health()
        if health.started is None:
            return Recovered.UNKNOWN
        if health.started != self.ctx.saved["started_before"]:
            return Recovered.DONE
        # The same start: either the restart was never asked for, or it was and is still to come.
        return Recovered.UNKNOWN if self.ctx.saved.get("restarted") else Recovered.NOT_DONE

    def _own_health(self) -> Health:
        return ask_health(str(self.ctx.settings["health_url"]))

    def _peers(self) -> dict[str, str]:
        peers = self.ctx.settings.get("peers")
        return {node: str(url) for node, url in peers.items()} if isinstance(peers, dict) else {}

    def _restart_command(self) -> list[str]:
        command = self.ctx.settings["restart"]
        if not isinstance(command, list) or not command:
            raise CommandFailed([], None, "", f"restart is {command!r:.100}, not a list of words")
        return [str(word) for word in command]
