"""How fast a rolling task rolls: 200 nodes, 10 at once, every agent real, on a real ZooKeeper, beside a semaphore.

    python benchmarks/rolling.py                     # the table of the README
    python benchmarks/rolling.py --nodes 50 --seconds 1

Every agent has its own session, queue and journal, and every attempt is a child process with fsync; the agents share
one process, because 200 Python processes would measure the machine's memory. The queues are moto's SQS, in a process
of its own. What is printed is what was seen, beside the goal.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kazoo.client import KazooClient
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from benchmarks.runners import duration
from taskerman.adapters.aws import Aws
from taskerman.adapters.clock import SystemClock
from taskerman.adapters.sqs import SqsQueues
from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.agent import Agent, JournalFile, Profile
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.router_moves import RouterMoves
from taskerman.errors import ActionUnknown
from taskerman.model.cluster import Node
from taskerman.model.event import Event
from taskerman.model.ids import QueueNames
from taskerman.model.task import ActionTraits
from taskerman.router import Router, RouterLimits
from taskerman.testing.discovery import MemoryDiscovery
from taskerman.testing.zookeeper_server import ZookeeperServer

CLUSTER = "bench:fleet"
ACTION = "bench_task:sleep"
NAMES = QueueNames("bench")


@dataclass(frozen=True, slots=True)
class Work:
    """What both contenders do."""

    nodes: int
    at_once: int
    seconds: float
    uneven: bool

    @property
    def names(self) -> list[str]:
        """The nodes."""
        return [f"i-{k:04d}" for k in range(self.nodes)]

    @property
    def bound(self) -> float:
        """The shortest time in which it can be done: all the work over the places, or its longest piece."""
        pieces = [duration(name, self.seconds, self.uneven) for name in self.names]
        return max(sum(pieces) / self.at_once, *pieces)

    def __str__(self) -> str:
        uneven = f"{self.seconds / 2:g} to {self.seconds * 1.5:g}" if self.uneven else f"{self.seconds:g}"
        return f"{self.nodes} nodes, {self.at_once} at once, {uneven} s"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was measured. Times in seconds; requests an attempt."""

    makespan: float
    hand_over: Sequence[float]
    most_at_once: int
    cpu: float
    children_cpu: float
    zk_writes: float
    zk_reads: float
    sqs: float


class _Catalog:
    def names(self) -> Sequence[str]:
        return (ACTION,)

    def target(self, action: str) -> str:
        if action != ACTION:
            raise ActionUnknown(f"No runner is installed for {action!r}.")
        return "benchmarks.runners:Sleep"

    def traits(self, action: str) -> ActionTraits:
        self.target(action)
        return ActionTraits()

    def check_args(self, action: str, args: Mapping[str, JsonValue]) -> None:
        self.target(action)


def _serve_aws(port: multiprocessing.Queue[int]) -> None:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  only the server's process pays for it

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port.put(server.get_host_and_port()[1])
    threading.Event().wait()


@contextmanager
def local_aws() -> Iterator[str]:
    """moto's server in a process of its own; its address."""
    os.environ.update(
        AWS_ACCESS_KEY_ID="AKIALOCALBENCHONLY", AWS_SECRET_ACCESS_KEY="not-a-secret", AWS_DEFAULT_REGION="eu-west-1"
    )
    context = multiprocessing.get_context("spawn")
    port: multiprocessing.Queue[int] = context.Queue()
    server = context.Process(target=_serve_aws, args=(port,), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{port.get(timeout=30)}"
    finally:
        server.kill()
        server.join()


def ours(work: Work, hosts: str, aws_url: str, folder: Path, *, hold: bool) -> Seen:
    """Taskerman does the work. `hold`: let everybody stand in line before the first may go."""
    requests: Counter[str] = Counter()
    counting = threading.Lock()

    def count(kind: str) -> None:
        with counting:
            requests[kind] += 1

    events: list[tuple[float, Event]] = []
    emit: Callable[[Event], None] = lambda event: events.append((time.monotonic(), event))  # noqa: E731
    root = f"/bench-{work.nodes}-{time.monotonic_ns()}"

    def connect(counted: bool = True) -> ZookeeperTree:
        told = count if counted else None
        return ZookeeperTree(hosts, root=root, session_timeout=timedelta(seconds=30), on_request=told)

    queues = SqsQueues(Aws(endpoint_url=aws_url, on_request=count), receivers=work.nodes + 10)
    clock = SystemClock()
    log = folder / "log"
    log.touch()
    tree = connect(counted=False)  # what the benchmark itself looks at is not an attempt's
    tree.open()
    router_tree = connect()
    operator = _install(tree, queues, clock)
    router_tree = connect()
    router = Router(
        RouterMoves(router_tree),
        queues=queues,
        names=NAMES,
        discoveries={"aws_tags": MemoryDiscovery({CLUSTER: [Node(id=name) for name in work.names]})},
        catalog=_Catalog(),
        clock=clock,
        emit=emit,
        limits=RouterLimits(poll=timedelta(seconds=2)),
    )
    agents = _agents(work, folder, log, connect, queues, emit)
    threads = [threading.Thread(target=run) for run in (router.run, *(agent.run for agent in agents))]
    for thread in threads:
        thread.start()
    while len(_children(tree, "/nodes")) < work.nodes or sum(e.name == "agent_ready" for _, e in events) < work.nodes:
        time.sleep(0.05)
    requests.clear()  # from here on everything belongs to the task: its joins too
    queues.send(NAMES.tasks, json.dumps(_document(work)))
    while hold and len(_children(tree, "/tasks/rolling/line/0")) < work.nodes:
        time.sleep(0.05)
    cpu, children = _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN)
    operator.unhold("new-installation", "go")
    try:
        while len(_children(tree, "/tasks/rolling/end")) < work.nodes:
            time.sleep(0.05)
            if not any(thread.is_alive() for thread in threads[1:]):
                raise RuntimeError(f"the agents ended: {[e for _, e in events][-3:]}")
        cpu, children = _cpu(resource.RUSAGE_SELF) - cpu, _cpu(resource.RUSAGE_CHILDREN) - children
        while sum(event.name == "assignment_settled" for _, event in events) < work.nodes:
            time.sleep(0.05)  # settlements belong to the requests of an attempt
            if not any(thread.is_alive() for thread in threads[1:]):
                raise RuntimeError("the agents ended before everything was settled")
    finally:
        counted = Counter(requests)
        for agent in agents:
            agent.stop()
        router.stop()
        for thread in threads:
            thread.join()
        tree.close()
        router_tree.close()
    return _measure(work, events, log, counted, cpu, children)


def _install(tree: ZookeeperTree, queues: SqsQueues, clock: SystemClock) -> OperatorMoves:
    operator = OperatorMoves(tree, "benchmark", clock.now)
    operator.install("benchmark")
    queues.ensure(NAMES.tasks)
    queues.ensure(NAMES.dead_letter)
    return operator


def _agents(
    work: Work,
    folder: Path,
    log: Path,
    connect: Callable[[], ZookeeperTree],
    queues: SqsQueues,
    emit: Callable[[Event], None],
) -> list[Agent]:
    settings: dict[str, JsonValue] = {"log": str(log), "seconds": work.seconds, "uneven": work.uneven}
    return [
        Agent(
            Profile(node=name, clusters=(CLUSTER,), actions=("*",), runners={"bench_task": settings}),
            JournalFile(folder / name, name),
            connect=connect,
            queues=queues,
            names=NAMES,
            catalog=_Catalog(),
            clock=SystemClock(),
            emit=emit,
        )
        for name in work.names
    ]


def _children(tree: ZookeeperTree, path: str) -> Sequence[str]:
    found = tree.children(path)
    return found.names if found else ()


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _measure(
    work: Work, events: list[tuple[float, Event]], log: Path, requests: Counter[str], cpu: float, children: float
) -> Seen:
    taken = sorted(at for at, event in events if event.name == "attempt_taken")
    ended = sorted(at for at, event in events if event.name == "attempt_ended")
    lines = sorted(
        ((float(at), what, node) for what, node, at in (line.split() for line in log.read_text().splitlines())),
    )
    looked = [at for at, what, _ in lines if what == "pre"]
    attempts = len(taken)
    if attempts != work.nodes:
        print(f"note: {attempts} attempts for {work.nodes} nodes")
    return Seen(
        makespan=ended[-1] - taken[0],
        hand_over=[after - freed for freed, after in zip(ended, looked[work.at_once :], strict=False)],
        most_at_once=_most(lines),
        cpu=cpu,
        children_cpu=children,
        zk_writes=requests["write"] / attempts,
        zk_reads=requests["read"] / attempts,
        sqs=(requests["SendMessage"] + requests["DeleteMessage"] + requests["ChangeMessageVisibility"]) / attempts + 1,
    )


def _most(lines: list[tuple[float, str, str]]) -> int:
    now = most = 0
    for _, what, _ in lines:
        now += {"begin": 1, "end": -1}.get(what, 0)
        most = max(most, now)
    return most


def semaphore(work: Work, hosts: str) -> Seen:
    """kazoo's blocking Semaphore does the same sleeps, in threads: ephemeral, and it starts no process."""
    root = f"/semaphore-{time.monotonic_ns()}"
    ready = threading.Barrier(work.nodes + 1)
    lines: list[tuple[float, str, str]] = []

    def node(name: str) -> None:
        client = KazooClient(hosts=hosts, timeout=30)
        client.start()
        ready.wait()
        with client.Semaphore(root, max_leases=work.at_once):
            lines.append((time.monotonic(), "begin", name))
            time.sleep(duration(name, work.seconds, work.uneven))
            lines.append((time.monotonic(), "end", name))
        client.stop()
        client.close()

    threads = [threading.Thread(target=node, args=(name,)) for name in work.names]
    for thread in threads:
        thread.start()
    ready.wait()
    cpu = _cpu(resource.RUSAGE_SELF)
    for thread in threads:
        thread.join()
    cpu = _cpu(resource.RUSAGE_SELF) - cpu
    lines.sort()
    began = [at for at, what, _ in lines if what == "begin"]
    ended = [at for at, what, _ in lines if what == "end"]
    hand_over = [after - freed for freed, after in zip(ended, began[work.at_once :], strict=False)]
    return Seen(ended[-1] - began[0], hand_over, _most(lines), cpu, 0.0, 0, 0, 0)


def _document(work: Work) -> dict[str, object]:
    return {
        "action": ACTION,
        "version": 1.2,
        "cluster_name": CLUSTER,
        "owner": "bench",
        "task_id": "rolling",
        "taskerman_params": {"lease_args": {"concurrency": work.at_once}},
    }


def report(console: Console, work: Work, mine: Seen, theirs: Seen | None, goal: float) -> None:
    """Print what was seen, beside the goal."""
    table = Table(title=f"{work} (lower bound {work.bound:.1f} s)")
    for column in ("", "goal", "Taskerman", "kazoo Semaphore"):
        table.add_column(column, justify="left" if not column else "right")

    def row(name: str, aim: str, value: Callable[[Seen], str], both: bool = True) -> None:
        table.add_row(name, aim, value(mine), value(theirs) if theirs and both else "-")

    row("makespan", "", lambda s: f"{s.makespan:.1f} s")
    row("efficiency (bound / makespan)", f">= {goal:.2f}", lambda s: f"{work.bound / s.makespan:.3f}")
    row("hand-over p50", "<= 25 ms", lambda s: _quantile_ms(s.hand_over, 0.5))
    row("hand-over p99", "<= 100 ms", lambda s: _quantile_ms(s.hand_over, 0.99))
    row("most at once, by the actions' own log", f"<= {work.at_once}", lambda s: str(s.most_at_once))
    row("ZooKeeper writes an attempt", "<= 4", lambda s: f"{s.zk_writes:.2f}", both=False)
    row("ZooKeeper reads an attempt", "", lambda s: f"{s.zk_reads:.1f}", both=False)
    row("SQS requests an assignment", "<= 4", lambda s: f"{s.sqs:.2f}", both=False)
    row("CPU of all agents", "", lambda s: f"{100 * s.cpu / s.makespan:.0f} % of a core")
    row("CPU of a child", "", lambda s: f"{1000 * s.children_cpu / work.nodes:.0f} ms", both=False)
    console.print(table)


def _quantile_ms(seconds: Sequence[float], q: float) -> str:
    """In milliseconds; a dash when nobody had to wait for somebody else's slot."""
    if len(seconds) < 2:
        return "-"
    return f"{statistics.quantiles(seconds, n=1000, method='inclusive')[int(q * 1000) - 1] * 1000:.0f} ms"


def main() -> int:
    """Measure what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--seconds", type=float, help="one run with actions of this length, instead of the table")
    parser.add_argument("--uneven", action="store_true", help="actions of 0.5 to 1.5 times --seconds")
    parser.add_argument("--no-reference", action="store_true", help="leave kazoo's Semaphore out")
    options = parser.parse_args()
    if shutil.which("java") is None:
        print("This needs a real ZooKeeper: install java and Debian's zookeeper (`make services`).", file=sys.stderr)
        return 5
    nodes, at_once = options.nodes, options.at_once
    wanted = (
        [Work(nodes, at_once, options.seconds, options.uneven)]
        if options.seconds is not None
        else [
            Work(nodes, at_once, 1.0, False),
            Work(nodes, at_once, 5.0, False),
            Work(nodes, at_once, 1.0, True),
            Work(min(nodes, 40), 1, 1.0, False),  # the machine has time: what a hand-over is by itself
        ]
    )
    console = Console(width=110)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with ZookeeperServer() as zookeeper, local_aws() as aws_url:
        for work in wanted:
            with tempfile.TemporaryDirectory(prefix="taskerman-bench-") as folder:
                mine = ours(work, zookeeper.hosts, aws_url, Path(folder), hold=True)
            theirs = None if options.no_reference else semaphore(work, zookeeper.hosts)
            report(console, work, mine, theirs, 0.97 if work.seconds >= 5 else 0.90)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
