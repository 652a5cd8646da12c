"""`elasticsearch_task:snapshot`: one snapshot for a task, whichever node comes first. It bears the task's name."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from runners.elasticsearch.config import ElasticsearchConfig
from runners.elasticsearch.http import Client, NotUnderstood, Refused, Unreachable
from taskerman import Check, Go, Recovered, Refuse, Skip, TaskRunner, Wait

__all__ = ["Snapshot"]

LOOK_EVERY_S = 2.0
PREFIX = "taskerman-"
_NAME = r"^[a-z0-9][a-z0-9_.-]{0,126}$"


class SnapshotFailed(Exception):
    """It ended, and is not whole."""


class Snapshot(TaskRunner):
    """Starts it, waits for its end, and removes the oldest of its own beyond `keep`."""

    class Args(BaseModel):
        """Of a snapshot."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        repository: str = Field(pattern=_NAME, description="a snapshot repository that the cluster knows")
        indices: str = Field(default="*", min_length=1, max_length=2000, description="which, as in the API: a,b-*")
        include_global_state: bool = Field(default=True, description="settings, templates and pipelines as well")
        keep: int = Field(default=14, ge=1, le=10_000, description="how many of this runner's snapshots are kept")

    Config = ElasticsearchConfig
    args: Args
    config: ElasticsearchConfig
    description = "makes one snapshot of the cluster for the whole task"
    soft = timedelta(hours=6)
    scope = "backup"

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when nobody has made it for this task, no other one is being made, and no primary is missing."""
        try:
            self._client().get(f"/_snapshot/{self.args.repository}")
            state = self._state()
            running = self._client().get("/_snapshot/_status")["snapshots"]
            health = self._client().get("/_cluster/health")["status"]
        except Unreachable as error:
            return Wait(str(error))
        except Refused as error:
            if error.kind == "repository_missing_exception":
                return Refuse(f"the repository {self.args.repository} is not there: register it, or correct its name")
            return Refuse(str(error)) if error.status in (401, 403) else Wait(str(error))
        except (NotUnderstood, KeyError, TypeError) as error:
            return Refuse(f"an answer is not what was expected: {error}")
        return self._judge(state, running, health)

    def _judge(self, state: str, running: list[Any], health: str) -> Check:
        if state == "SUCCESS":
            return Skip(f"the snapshot {self._name} of this task is made")
        if state == "IN_PROGRESS" or running:
            return Wait("a snapshot is being made", of="cluster")
        if state:
            return Refuse(f"the snapshot {self._name} is {state}: look at it, and delete it to have another one made")
        if health == "red":
            return Wait("the cluster is red: a snapshot would lack what is missing", of="cluster")
        return Go()

    def execute_action(self) -> None:
        """Start it under the task's name, and wait for its end. Raises `SnapshotFailed`."""
        self.ctx.save(asked=True)
        body = {"indices": self.args.indices, "include_global_state": self.args.include_global_state}
        self._client().ask("PUT", self._path, {**body, "metadata": {"task": self.ctx.task_id}})
        while (state := self._state()) in ("IN_PROGRESS", ""):
            time.sleep(LOOK_EVERY_S)
        if state != "SUCCESS":
            raise SnapshotFailed(f"the snapshot {self._name} is {state}: {self._failures()}")
        self._prune()

    def post_check(self) -> Check:
        """The node is well when its server answers; while the snapshot goes on it is asked again."""
        try:
            if self._state() == "IN_PROGRESS":
                return Wait(f"the snapshot {self._name} is still being made")
            self._client().get("/_cluster/health")
        except (Unreachable, Refused, NotUnderstood) as error:
            return Wait(str(error))
        return Go()

    def recover(self) -> Recovered:
        """By the snapshot of the task's name."""
        if not self.ctx.saved.get("asked"):
            return Recovered.NOT_DONE
        try:
            state = self._state()
        except (Unreachable, Refused, NotUnderstood):
            return Recovered.UNKNOWN
        return {"SUCCESS": Recovered.DONE, "IN_PROGRESS": Recovered.UNKNOWN}.get(state, Recovered.NOT_DONE)

    def abort(self) -> None:
        """Stop the one of this task, if it is being made: what is not whole is deleted by the cluster."""
        if not self.ctx.saved.get("asked"):
            return
        try:
            if self._state() == "IN_PROGRESS":
                self._client().ask("DELETE", self._path)
        except (Unreachable, Refused, NotUnderstood) as error:
            self.ctx.log_as("error", "the snapshot is not stopped", {"why": str(error)})

    # --- the parts ---------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"{PREFIX}{self.ctx.task_id.lower()}"

    @property
    def _path(self) -> str:
        return f"/_snapshot/{self.args.repository}/{quote(self._name)}"

    def _client(self) -> Client:
        return Client(self.config.url, self.config)

    def _found(self) -> dict[str, Any]:
        """As the cluster tells it; empty when there is none of that name."""
        try:
            found = self._client().get(self._path)["snapshots"]
        except Refused as error:
            if error.kind == "snapshot_missing_exception":
                return {}
            raise
        except (KeyError, TypeError) as error:
            raise NotUnderstood(f"an answer about {self._name} has no {error}") from None
        return found[0] if found else {}

    def _state(self) -> str:
        return str(self._found().get("state", ""))

    def _failures(self) -> str:
        failures = self._found().get("failures") or []
        return (
            "; ".join(f"{each.get('index')}: {each.get('reason')}"[:200] for each in failures[:3]) or "no reason given"
        )

    def _prune(self) -> None:
        """The oldest of this runner's whole ones beyond `keep`; what cannot be deleted now is at the next time."""
        path = f"/_snapshot/{self.args.repository}/{PREFIX}*"
        mine = [each for each in self._client().get(path)["snapshots"] if each["state"] == "SUCCESS"]
        mine.sort(key=lambda each: int(each["start_time_in_millis"]))
        for old in mine[: -self.args.keep]:
            try:
                self._client().ask("DELETE", f"/_snapshot/{self.args.repository}/{quote(old['snapshot'])}")
                self.ctx.log("deleted an old snapshot", snapshot=old["snapshot"])
            except (Unreachable, Refused, NotUnderstood) as error:
                self.ctx.log_as("warning", "an old snapshot is not deleted", {"why": str(error)})
