"""What a plan of ten thousand nodes costs: its size, the time to fix it, to ring everybody, and to put it away.

    python benchmarks/plan.py --aws-server "ministack"      # 10,000 nodes
    python benchmarks/plan.py --nodes 1000                  # moto serves SQS and EC2, which is slow

The router is the product's, on a real ZooKeeper; instances and queues are those of a local AWS, which the option
names as a command that serves on the port of the variable GATEWAY_PORT. The nodes' queues do not exist before: the
worst case, which a fleet meets once. What is printed is what was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from benchmarks.rolling import local_aws
from taskerman.adapters.aws import Aws
from taskerman.adapters.ec2 import CLUSTER_TAG, Ec2Discovery
from taskerman.adapters.sql import SqlHistory
from taskerman.adapters.sqs import SqsQueues
from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.putting_away import begin_closing, bury, delete_copied, stand
from taskerman.coordination.router_moves import RouterMoves
from taskerman.model.base import content_hash
from taskerman.model.ids import QueueNames
from taskerman.model.plan import Plan
from taskerman.model.task import parse_task_document
from taskerman.policy.putting_away import tombstone
from taskerman.policy.routing import make_plan
from taskerman.policy.upkeep import Upkeep
from taskerman.ringing import ring
from taskerman.testing.zookeeper_server import ZookeeperServer

CLUSTER = "bench:huge"
NAMES = QueueNames("bench")
T = TypeVar("T")


@contextmanager
def served_by(command: str) -> Iterator[str]:
    """A local AWS that `command` serves; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(
        AWS_ACCESS_KEY_ID="AKIALOCALBENCHONLY", AWS_SECRET_ACCESS_KEY="not-a-secret", AWS_DEFAULT_REGION="eu-west-1"
    )
    environment = {**os.environ, "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1"}
    server = subprocess.Popen(
        shlex.split(command),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"`{command}` does not serve on port {port}.")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def launch(aws: Aws, nodes: int) -> None:
    """Instances of the cluster, in three zones."""
    ec2 = aws.client("ec2", read_timeout=timedelta(seconds=60))
    tags = [{"ResourceType": "instance", "Tags": [{"Key": CLUSTER_TAG, "Value": CLUSTER}]}]
    left, zone = nodes, 0
    while left:
        some = min(left, 500)
        ec2.run_instances(
            ImageId="ami-12c6146b",
            InstanceType="t3.micro",
            MinCount=some,
            MaxCount=some,
            Placement={"AvailabilityZone": f"eu-west-1{'abc'[zone % 3]}"},
            TagSpecifications=tags,
        )
        left, zone = left - some, zone + 1


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """What `work` answers, and the seconds that it took."""
    began = time.monotonic()
    answer = work()
    return time.monotonic() - began, answer


def measure(console: Console, url: str, hosts: str, nodes: int) -> None:
    """Plan, ring, ring again; print the table."""
    requests: Counter[str] = Counter()

    def count(kind: str) -> None:
        requests[kind] += 1

    aws = Aws(endpoint_url=url, on_request=count)
    queues = SqsQueues(aws, dead_letter=NAMES.dead_letter)
    launch(aws, nodes)
    tree = ZookeeperTree(hosts, root="/plan")
    tree.open()
    now = datetime.now(UTC)
    operator = OperatorMoves(tree, "benchmark", lambda: datetime.now(UTC))
    operator.install("benchmark")
    body = json.dumps(
        {
            "action": "bench_task:sleep",
            "version": 1.2,
            "cluster_name": CLUSTER,
            "owner": "bench",
            "task_id": "huge",
            "taskerman_params": {"lease_args": {"concurrency": "1%"}},
        }
    )
    document, raw = parse_task_document(body)
    table = Table(title=f"A plan of {nodes:,} nodes")
    for column in ("", "seconds", "what"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    requests.clear()
    seconds, found = timed(lambda: Ec2Discovery(aws).nodes(CLUSTER))
    table.add_row("discover", f"{seconds:.2f}", f"{len(found):,} nodes, {requests['DescribeInstances']} requests")
    seconds, plan = timed(
        lambda: make_plan(document, raw, content_hash(raw), found, registered=(), sent_at=now, now=now)
    )
    table.add_row("choose", f"{seconds:.2f}", f"{plan.cap} at once")
    seconds, packed = timed(plan.pack)
    table.add_row("pack", f"{seconds:.2f}", f"{len(packed) / 1024:.0f} KiB; {len(plan.to_json()) / 1024:.0f} KiB plain")
    seconds, _ = timed(lambda: type(plan).unpack(packed).task)
    table.add_row("unpack, on a node", f"{seconds:.2f}", "once for each doorbell of it")
    router = RouterMoves(tree)
    seconds, _ = timed(lambda: router.publish(plan))
    table.add_row("publish", f"{seconds:.2f}", "one transaction")
    queues.ensure(NAMES.dead_letter)
    for name in ("ring, no queue there yet", "ring again"):
        requests.clear()
        seconds, unreached = timed(lambda: ring(queues, NAMES, plan, router.unended(plan)))
        table.add_row(name, f"{seconds:.1f}", f"{sum(requests.values()):,} requests, {len(unreached):,} not reached")
    put_away(table, tree, operator, router, plan)
    tree.close()
    aws.close()
    console.print(table)


def put_away(table: Table, tree: ZookeeperTree, operator: OperatorMoves, router: RouterMoves, plan: Plan) -> None:
    """End every assignment by a cancel, copy all to a history in SQLite, and leave the tombstone: the janitor's GC."""
    task = plan.task.task_id
    seconds, _ = timed(lambda: (operator.cancel(task, "measured"), operator.sweep(task)))
    table.add_row("cancel", f"{seconds:.1f}", "an end for everybody")
    router.close_ended()
    seconds, seen = timed(lambda: stand(tree, plan))
    assert seen is not None
    assert len(seen.ends) == len(plan.nodes)
    table.add_row("read how it stands", f"{seconds:.1f}", f"{len(seen.ends):,} ends")
    with tempfile.TemporaryDirectory(prefix="taskerman-plan-") as folder:
        history = SqlHistory(f"sqlite:///{folder}/history.db", upgrades=True)
        seconds, _ = timed(lambda: history.record_task(seen.history))
        history.close()
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    table.add_row("copy to the history", f"{seconds:.1f}", f"SQLite, {size / 2**20:.1f} MiB")
    assert begin_closing(tree, seen)
    closing = stand(tree, plan)
    assert closing is not None
    seconds, deleted = timed(lambda: delete_copied(tree, closing))
    assert deleted
    table.add_row("delete what was copied", f"{seconds:.1f}", "in transactions of 500")
    bare = stand(tree, plan)
    assert bare is not None
    assert bare.control.putting_away is not None
    stone = tombstone(plan, bare.control.putting_away.summary, now=datetime.now(UTC), upkeep=Upkeep())
    seconds, buried = timed(lambda: bury(tree, bare, stone))
    assert buried
    table.add_row("leave the tombstone", f"{seconds:.2f}", f"{len(stone.to_json())} bytes")


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--aws-server", help="a command that serves a local AWS; moto when absent")
    options = parser.parse_args()
    if shutil.which("java") is None:
        print("This needs a real ZooKeeper: install java and Debian's zookeeper (`make services`).", file=sys.stderr)
        return 5
    aws = served_by(options.aws_server) if options.aws_server else local_aws()
    with ZookeeperServer() as zookeeper, aws as url:
        measure(Console(width=110), url, zookeeper.hosts, options.nodes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
