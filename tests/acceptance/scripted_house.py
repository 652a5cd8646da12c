"""Nodes that do what files tell them, under real agents: for faults, where the action's own log is the witness.

The log is written by the action itself, with CLOCK_MONOTONIC; nobody else writes it, and nobody of ours reads it first.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.records import Records
from tests.support.aws import LocalCloud
from tests.support.daemons import Daemon, Installation

__all__ = ["ScriptedHouse"]


@dataclass
class ScriptedHouse:
    """`nodes`: instance ids, in the order in which a plan has them."""

    installation: Installation
    records: Records
    folder: Path
    nodes: list[str] = field(default_factory=list)

    def tag(self, count: int) -> None:
        """So many running instances of the cluster."""
        self.nodes = [node.id for node in self.installation.cloud.start_nodes(self.installation.cluster, count)]

    def start(self) -> None:
        """One router, and an agent for each node."""
        self.installation.start_router()
        for node in self.nodes:
            self.start_agent(node)

    def start_agent(self, node: str, **env: str) -> Daemon:
        """The agent of a node; after a death, the next one."""
        return self.installation.start_agent(node, {"scripted_task": {"folder": str(self.folder)}}, **env)

    def agent(self, node: str) -> Daemon:
        """The latest agent of a node."""
        return [daemon for daemon in self.installation.daemons if daemon.name == f"agent-{node}"][-1]

    def behave(self, node: str, **behaviour: Any) -> None:
        """What the runner does on that node from now on; see `Scripted`."""
        (self.folder / f"{node}.json").write_text(json.dumps(behaviour))

    def let_go(self, node: str) -> None:
        """An action that was told to wait for it ends."""
        (self.folder / f"{node}.go").touch()

    def document(self, task: str, *, concurrency: int = 1, **params: Mapping[str, Any]) -> dict[str, Any]:
        """`params`: groups of taskerman_params."""
        return {
            "action": "scripted_task:restart",
            "version": 1.2,
            "cluster_name": self.installation.cluster,
            "owner": "gsi",
            "task_id": task,
            "taskerman_params": {
                "lease_args": {"concurrency": concurrency},
                "timeout_args": {"soft_s": 40, "hard_s": 50, "settle_s": 10},
                **params,
            },
        }

    def kill_action(self, node: str) -> None:
        """SIGKILL to whatever acts for the node, its keeper first: nothing is left that could write a result."""
        marked = f"/{node}/state/attempts/".encode()
        keepers = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and marked in (entry / "cmdline").read_bytes():
                    keepers.append(int(entry.name))
        assert keepers
        for pid in sorted(keepers):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def depth(self, queue: str) -> int:
        """How many messages a queue has, those on loan included."""
        with self.installation.cloud.client("sqs") as sqs:
            found = sqs.get_queue_attributes(
                QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"], AttributeNames=["All"]
            )["Attributes"]
        return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])

    def wait_for(self, task: str, *, ends: int) -> None:
        """Until so many nodes have ended."""
        self.installation.until(lambda: len(self.records.ended(task)) >= ends, f"{ends} ends")

    def send(self, document: Mapping[str, Any], *, begin: bool = True) -> str:
        """Put it into the global queue, as any producer may. It begins when every node stands in line, so that the
        order is the plan's; with `begin` off, when the test says so. The task's id."""
        task = str(document["task_id"])
        self.put(json.dumps(document))
        if begin:
            self.begin(task, len(self.nodes))
        return task

    def put(self, body: str) -> None:
        """Put anything into the global queue, by the way that the daemons take."""
        queue = f"{self.installation.prefix}-tasks"
        with LocalCloud(self.installation.env["AWS_ENDPOINT_URL"]).client("sqs") as sqs:

            def url() -> str:
                listed = sqs.list_queues(QueueNamePrefix=queue).get("QueueUrls", [])
                return str(listed[0]) if listed else ""

            found = self.installation.until(url, "a router has made the queue")
            sqs.send_message(QueueUrl=found, MessageBody=body)

    def begin(self, task: str, standing: int) -> None:
        """Lift the first hold when so many stand in the line."""
        self.installation.until(lambda: len(self.records.line(task)) == standing, "all stand in line")
        self.records.operator.unhold("new-installation", "all stand in line")

    # --- the witness -------------------------------------------------------------------------------------

    def log(self) -> list[dict[str, Any]]:
        """The lines of the actions themselves."""
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def did(self, what: str, node: str | None = None) -> int:
        """How often something was done: "pre", "begin", "end", "post", "recover"."""
        return sum(line["what"] == what and node in (None, line["node"]) for line in self.log())

    def acted(self) -> Counter[str]:
        """How often each node acted."""
        return Counter(line["node"] for line in self.log() if line["what"] == "begin")

    def most_at_once(self) -> int:
        """In the action at one moment, at most."""
        now: Counter[str] = Counter()
        most = 0
        for line in sorted(self.log(), key=lambda line: line["at"]):
            now[line["node"]] += {"begin": 1, "end": -1}.get(line["what"], 0)
            most = max(most, sum(now.values()))
        return most

    def wait(self, task: str, outcomes: Mapping[str, str], within_s: float = 45.0) -> None:
        """Until each of the named nodes has ended; their outcomes are these, and nobody holds a slot."""
        self.installation.until(
            lambda: set(self.records.ended(task)) >= set(outcomes), f"ends of {sorted(outcomes)}", within_s=within_s
        )
        assert self.records.outcomes(task) == dict(outcomes), self.installation.story()
