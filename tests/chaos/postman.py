"""Whoever reads the dead-letter queue: takes every announcement out and notes its key. A real consumer would too."""

from __future__ import annotations

import json
import threading
from typing import Any

from botocore.exceptions import ClientError

from tests.chaos.town import Listener
from tests.support.aws import LocalCloud

__all__ = ["Postman"]


class Postman:
    """Reads from `start` until `close`."""

    def __init__(self, cloud: LocalCloud, prefix: str, tell: Listener) -> None:
        self._cloud, self._queue, self._tell = cloud, f"{prefix}-dead-letter", tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="postman", daemon=True)
        self.count = 0

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Back when the last letter is noted."""
        self._stop.set()
        self._thread.join(30)

    def _read(self) -> None:
        with self._cloud.client("sqs") as sqs:
            while not self._stop.wait(0.5):
                try:
                    self._empty(sqs)
                except ClientError as error:  # the local cloud's own bad moment: the letter is still there
                    self._tell("postman_waits", why=str(error))

    def _empty(self, sqs: Any) -> None:
        for url in sqs.list_queues(QueueNamePrefix=self._queue).get("QueueUrls", []):
            while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                for message in found:
                    letter = json.loads(message["Body"])
                    self._tell("letter", key=letter["key"], outcome=letter["outcome"])
                    self.count += 1
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
