"""What is ordered during a run: tasks of many kinds, some of them twice, and now and then something unreadable.

A document counts as ordered when the queue said so, by whichever way it went there. It orders more only when a cluster
is not far behind, so that faults meet tasks at every stage and the run has an end.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.chaos.town import SCOPES, Town

__all__ = ["OWNERS", "Orders"]

OWNERS = ("red", "blue")


class Orders:
    """Orders tasks from `start` until `stop`, on a thread of its own."""

    def __init__(self, town: Town, seed: int) -> None:
        self._town, self._sizes, self._tell = town, town.sizes(), town.tell
        self._dice = random.Random(f"orders {seed}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._order, name="orders", daemon=True)
        self.backlog: dict[str, int] = {}
        """Open tasks by cluster, as somebody who looks tells it."""
        self.count = 0
        self._last = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more orders; back when the last one is made."""
        self._stop.set()
        self._thread.join(120)

    def _order(self) -> None:
        with self._town.cloud.local.client("sqs") as sqs:
            queue = None
            while not self._stop.wait(self._dice.expovariate(1.0)):
                if queue is None:
                    urls = sqs.list_queues(QueueNamePrefix=f"{self._town.installation.prefix}-tasks").get(
                        "QueueUrls", []
                    )
                    if not urls:
                        continue
                    queue = urls[0]
                cluster = self._dice.choice([*self._sizes])
                draw = self._dice.random()
                if draw < 0.04:
                    self._put(sqs, queue, self._garbage())
                elif self.backlog.get(cluster, 0) < 3:
                    self._submit(sqs, queue, cluster)

    def _submit(self, sqs: Any, queue: str, cluster: str) -> None:
        self.count += 1
        document, cap = self._document(cluster)
        body = json.dumps(document)
        ordered: dict[str, Any] = {
            "task": document["task_id"],
            "cluster": cluster,
            "owner": document["owner"],
            "cap": cap,
        }
        ordered["scope"] = document["taskerman_params"]["lease_args"].get("scope", "")
        ordered["exclusive"] = document["taskerman_params"]["lease_args"]["exclusive"]
        self.backlog[cluster] = self.backlog.get(cluster, 0) + 1
        if self._dice.random() < 0.1:
            path = self._town.folder / f"{document['task_id']}.json"
            path.write_text(body)
            answer = self._town.type("submit", "--file", str(path), "--json")
            if answer.code == 0:
                self._tell("ordered", **ordered)
            else:
                self._tell("not_ordered", code=answer.code, said=answer.err[-300:], **ordered)
            return
        self._put(sqs, queue, body)
        self._tell("ordered", **ordered)
        if self._dice.random() < 0.1:
            self._put(sqs, queue, body)

    def _document(self, cluster: str) -> tuple[dict[str, Any], int]:
        dice, size = self._dice, self._sizes[cluster]
        concurrency: int | str = dice.choice((1, 1, 1, 2, 2, 3, "50%"))
        cap = concurrency if isinstance(concurrency, int) else max(1, size * int(concurrency[:-1]) // 100)
        document: dict[str, Any] = {
            "action": dice.choice(("chaos_task:reboot", *["chaos_task:restart"] * 9)),
            "version": 1.2,
            "cluster_name": cluster,
            "owner": dice.choice(OWNERS),
            "task_id": f"t{self.count:04d}",
            "taskerman_params": {
                "lease_args": {
                    "concurrency": concurrency,
                    "priority": dice.choice((5, 5, 5, 1, 9)),
                    "exclusive": dice.random() < 0.1,
                },
                "timeout_args": {"soft_s": 5, "hard_s": 8, "settle_s": 3},
                "workqueue_args": {"retry_count": dice.choice((0, 1, 2))},
                "failure_args": {
                    "max_failures": dice.choice((0, 0, 1, 2)),
                    "when_lost": dice.choice(("verify", "verify", "retry", "never")),
                },
            },
        }
        if dice.random() < 0.25:
            document["taskerman_params"]["lease_args"]["scope"] = dice.choice([*SCOPES])
        if dice.random() < 0.1:
            begins = datetime.now(UTC) + timedelta(seconds=dice.uniform(0, 5))
            ends = begins + timedelta(seconds=dice.uniform(3, 15))
            blackout = {"begins": f"{begins:%Y-%m-%dT%H:%M:%SZ}", "ends": f"{ends:%Y-%m-%dT%H:%M:%SZ}", "why": "chaos"}
            document["taskerman_params"]["window_args"] = {"blackouts": [blackout]}
        if dice.random() < 0.3:
            document["limit"] = dice.randint(1, size)
        if dice.random() < 0.1:
            soon = datetime.now(UTC) + timedelta(seconds=dice.choice((1, 10, 30)))
            document["not_after"] = f"{soon:%Y-%m-%dT%H:%M:%SZ}"
        return document, cap

    def _garbage(self) -> str:
        """Something that no router can accept; never the same twice."""
        self.count += 1
        body = self._dice.choice(
            (
                "not JSON",
                json.dumps({"action": "chaos_task:restart", "version": 2, "task_id": "two"}),
                json.dumps({"action": "nobody:knows", "version": 1.2, "owner": "red", "cluster_name": "a:b"}),
                json.dumps({"version": 1.2, "owner": "no such field"}),
            )
        )
        body += " " * self.count
        self._tell("garbage", key=hashlib.sha256(body.encode()).hexdigest())
        return body

    def _put(self, sqs: Any, queue: str, body: str) -> None:
        while True:
            try:
                sqs.send_message(QueueUrl=queue, MessageBody=body)
                return
            except Exception as error:  # a producer is patient; the local cloud itself is not to be tested
                self._tell("producer_waits", why=str(error))
                time.sleep(0.5)
