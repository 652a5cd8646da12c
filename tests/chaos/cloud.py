"""A local cloud in a process of its own, so that the run and the cloud do not share one interpreter's time.

`python -m tests.chaos.cloud` prints its URL; a queue's prefix on a line of standard input ends the loans of every
message in the queues that begin so: as if fifteen minutes had passed, which a run does not have. It ends with its
standard input.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.aws import LocalCloud, running_cloud

__all__ = ["Cloud", "separate_cloud"]


class Cloud:
    """The cloud, and its clock's wizard."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process, self._lock = process, threading.Lock()
        self.local = LocalCloud(process.stdout.readline().strip())

    def end_loans(self, prefix: str) -> None:
        """Every message lent from a queue of that prefix can be received again."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(prefix + "\n")
            self._process.stdin.flush()
            self._process.stdout.readline()

    def depths(self, prefix: str) -> dict[str, int]:
        """How many messages each such queue has, those on loan included."""
        found = {}
        with self.local.client("sqs") as sqs:
            for url in sqs.list_queues(QueueNamePrefix=prefix).get("QueueUrls", []):
                counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
                names = ("", "NotVisible", "Delayed")
                found[url.rsplit("/", 1)[1]] = sum(int(counts[f"ApproximateNumberOfMessages{name}"]) for name in names)
        return found


@contextmanager
def separate_cloud() -> Iterator[Cloud]:
    """The process, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.cloud"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Cloud(process)
    finally:
        process.kill()
        process.communicate()


def _serve() -> None:
    from moto.core.models import DEFAULT_ACCOUNT_ID  # noqa: PLC0415  (only in the cloud's own process)
    from moto.sqs.models import sqs_backends  # noqa: PLC0415

    from tests.support.aws import REGION  # noqa: PLC0415

    with running_cloud() as cloud:
        print(cloud.url, flush=True)
        for line in sys.stdin:
            for name in list(sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues):
                if name.startswith(line.strip()):
                    cloud.end_loans(name)
            print("done", flush=True)


if __name__ == "__main__":
    _serve()
