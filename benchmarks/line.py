"""What a long line costs: simulated agents on one real ZooKeeper, all in one line, handing a few places on.

    python benchmarks/line.py                  # 10, 100 and 1,000 nodes wait: the table of the README
    python benchmarks/line.py --waiting 300

An agent here is its protocol and its session, without queue, journal and child: the moves are those of the product,
one client each, on a small pool of threads. So a hand-over is from the answer to an END to the answer to the next
TAKE, which is what ZooKeeper and the line add to it. What is printed is what was seen, beside the goal.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import queue
import resource
import shutil
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.coordination.ending import Dice, end_attempt
from taskerman.coordination.node_moves import NodeMoves, Ready
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.coordination.router_moves import RouterMoves
from taskerman.model.base import content_hash
from taskerman.model.cluster import Node
from taskerman.model.outcome import Outcome
from taskerman.model.plan import Plan
from taskerman.model.task import TaskDocument
from taskerman.policy.conclusion import Ending
from taskerman.policy.routing import make_plan
from taskerman.policy.snapshot import Waiting
from taskerman.testing.zookeeper_server import ZookeeperServer

CLUSTER = "bench:line"
AT_ONCE = 5
ACTION_S = 0.1
ENOUGH = 300
"""Hand-overs that one size is measured with: short lines are walked through several times."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one size cost. Times in seconds; requests and bytes a hand-over."""

    waiting: int
    hand_over: Sequence[float]
    reads: float
    writes: float
    server_cpu: float
    server_bytes: float
    most_at_once: int


@dataclass
class Fleet:
    """The simulated agents, and what moves them: watches and the time, on a pool of threads."""

    hosts: str
    root: str
    size: int
    requests: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)
    freed: list[float] = field(default_factory=list)
    most: int = 0
    acting: int = 0

    def __post_init__(self) -> None:
        self._counting = threading.Lock()
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="agents")
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._timer_changed = threading.Condition()
        self._closed = False
        self.failures: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self.agents = [Simulated(self, f"i-{k:05d}") for k in range(self.size)]
        threading.Thread(target=self._keep_time, daemon=True).start()

    def connect(self) -> ZookeeperTree:
        """A client of its own."""
        return ZookeeperTree(
            self.hosts,
            root=self.root,
            session_timeout=timedelta(seconds=30),  # a thousand clients share one interpreter
            answer_timeout=timedelta(seconds=60),
            open_timeout=timedelta(seconds=120),
            on_request=self._count,
        )

    def _count(self, kind: str) -> None:
        with self._counting:
            self.requests[kind] += 1

    def open(self) -> None:
        """Connect everybody, a few at a time."""
        with ThreadPoolExecutor(8) as opening:
            list(opening.map(Simulated.open, self.agents))

    def close(self) -> None:
        """End every session."""
        with self._timer_changed:
            self._closed = True
            self._timer_changed.notify()
        self._pool.shutdown(cancel_futures=True)
        with ThreadPoolExecutor(8) as ending:
            list(ending.map(Simulated.close, self.agents))

    def soon(self, step: Callable[[], None]) -> None:
        """Do `step` on the pool."""
        if not self._closed:
            self._pool.submit(self._guarded, step)

    def later(self, seconds: float, step: Callable[[], None]) -> None:
        """Do `step` after `seconds`."""
        with self._timer_changed:
            heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), step))
            self._timer_changed.notify()

    def note(self, moments: list[float], change: int) -> None:
        """Note a take (+1) or an end (-1), when its answer was there."""
        with self._counting:
            moments.append(time.monotonic())
            self.acting += change
            self.most = max(self.most, self.acting)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            self.failures.put(error)

    def _keep_time(self) -> None:
        while True:
            with self._timer_changed:
                if self._closed:
                    return
                now = time.monotonic()
                if not self._later or self._later[0][0] > now:
                    self._timer_changed.wait(self._later[0][0] - now if self._later else None)
                    continue
                _, _, step = heapq.heappop(self._later)
            self.soon(step)


class Simulated:
    """One agent: stand, take, act for a moment, end. Its steps never overlap; a wake during one asks for another."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self._fleet = fleet
        self._tree = fleet.connect()
        self._moves = NodeMoves(self._tree, name, f"journal-{name}")
        self._plan: Plan | None = None
        self._lock = threading.Lock()
        self._queued = threading.Event()
        self._ending: Callable[[], None] | None = None

    def open(self) -> None:
        """Connect and START."""
        self._tree.open()
        self._moves.start()

    def close(self) -> None:
        """End the session."""
        self._tree.close()

    def accept(self, plan: Plan) -> None:
        """Have an assignment."""
        self._plan = plan
        self.wake()

    def wake(self) -> None:
        """On the tree's thread."""
        if not self._queued.is_set():
            self._queued.set()
            self._fleet.soon(self._step)

    def _step(self) -> None:
        with self._lock:
            self._queued.clear()
            if self._ending is not None:
                ending, self._ending = self._ending, None
                ending()
                return
            plan = self._plan
            if plan is None:
                return
            now = datetime.now(UTC)
            standing = self._moves.stand(plan, now, self.wake)
            if isinstance(standing, Waiting):
                if standing.until is not None:
                    self._fleet.later(max(0.001, (standing.until - now).total_seconds()), self.wake)
                return
            if not isinstance(standing, Ready):
                self._plan = None
                return
            taken = self._moves.take(standing, plan, now)
            if taken is None:
                self.wake()
                return
            self._plan = None
            self._fleet.note(self._fleet.took, +1)
            attempt = taken.attempt

            def end() -> None:
                ending = Ending(Outcome.SUCCEEDED, "It slept.", post_check_passed=True)
                end_attempt(self._moves, plan, attempt, ending, Dice(datetime.now(UTC), 0.5))
                self._fleet.note(self._fleet.freed, -1)

        def due() -> None:
            self._ending = end
            self.wake()

        self._fleet.later(ACTION_S, due)


@contextmanager
def _watching(failures: queue.SimpleQueue[BaseException]):  # type: ignore[no-untyped-def]
    """`wait(condition)`: until it holds, unless an agent failed meanwhile."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 600
        while not condition():
            if not failures.empty():
                raise failures.get()
            if time.monotonic() > deadline:
                raise TimeoutError("The line did not move for ten minutes.")
            time.sleep(0.02)

    yield wait


def measure(server: ZookeeperServer, waiting: int) -> Seen:
    """Walk `waiting` nodes through one line, as often as it takes to see enough hand-overs."""
    size = waiting + AT_ONCE
    fleet = Fleet(server.hosts, f"/line-{waiting}-{time.monotonic_ns()}", size)
    hand_over: list[float] = []
    reads = writes = 0
    cpu, sent = 0.0, 0
    tree = fleet.connect()
    with closing(fleet), closing(tree), _watching(fleet.failures) as wait:
        tree.open()
        operator = OperatorMoves(tree, "benchmark", lambda: datetime.now(UTC))
        operator.install("benchmark")
        router = RouterMoves(tree)
        fleet.open()
        hold = "new-installation"
        for walk in itertools.count():
            plan = _plan(f"walk-{walk}", size)
            router.publish(plan)
            for agent in fleet.agents:
                agent.accept(plan)
            line = f"/tasks/walk-{walk}/line/0"
            wait(lambda path=line: len(_children(tree, path)) == size)  # type: ignore[misc]
            fleet.took.clear()
            fleet.freed.clear()
            before = Counter(fleet.requests)
            cpu_before, sent_before = _used(server)
            operator.unhold(hold, "go")
            wait(lambda: len(fleet.freed) == size)
            cpu_after, sent_after = _used(server)
            counted = fleet.requests - before
            reads, writes = reads + counted["read"], writes + counted["write"]
            cpu, sent = cpu + cpu_after - cpu_before, sent + sent_after - sent_before
            hand_over += [b - a for a, b in zip(sorted(fleet.freed), sorted(fleet.took)[AT_ONCE:], strict=False)]
            if len(hand_over) >= ENOUGH:
                break
            hold = operator.hold("*", "between two walks").id
        walked = (walk + 1) * size
    return Seen(waiting, hand_over, reads / walked, writes / walked, cpu / walked, sent / walked, fleet.most)


def _children(tree: ZookeeperTree, path: str) -> Sequence[str]:
    found = tree.children(path)
    return found.names if found else ()


def _plan(task: str, size: int) -> Plan:
    raw = {
        "action": "bench_task:sleep",
        "version": 1.2,
        "cluster_name": CLUSTER,
        "owner": "bench",
        "task_id": task,
        "taskerman_params": {"lease_args": {"concurrency": AT_ONCE}},
    }
    now = datetime.now(UTC)
    nodes = [Node(id=f"i-{k:05d}") for k in range(size)]
    document = TaskDocument.model_validate(raw)
    return make_plan(document, raw, content_hash(raw), nodes, registered=(), sent_at=now, now=now)


def _used(server: ZookeeperServer) -> tuple[float, int]:
    """CPU seconds and bytes written (to sockets and to its log) of the server's process so far."""
    stat = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    io = dict(line.split(": ") for line in Path(f"/proc/{server.pid}/io").read_text().splitlines())
    return (int(stat[11]) + int(stat[12])) / 100, int(io["wchar"])


def _quantile_ms(seconds: Sequence[float], q: float) -> str:
    return f"{statistics.quantiles(seconds, n=1000, method='inclusive')[int(q * 1000) - 1] * 1000:.0f} ms"


def report(console: Console, seen: Sequence[Seen]) -> None:
    """Print what was seen, beside the goal."""
    table = Table(
        title=f"One line, {AT_ONCE} at once, actions of {ACTION_S:g} s, every agent with a session of its own"
    )
    table.add_column("")
    table.add_column("goal", justify="right")
    for one in seen:
        table.add_column(f"{one.waiting:,} wait", justify="right")

    def row(name: str, goal: str, value: Callable[[Seen], str]) -> None:
        table.add_row(name, goal, *(value(one) for one in seen))

    row("hand-over p50 (END to TAKE)", "<= 25 ms", lambda s: _quantile_ms(s.hand_over, 0.5))
    row("hand-over p99", "<= 100 ms", lambda s: _quantile_ms(s.hand_over, 0.99))
    row("hand-overs seen", "", lambda s: str(len(s.hand_over)))
    row("ZooKeeper writes an attempt, after its join", "<= 3", lambda s: f"{s.writes:.2f}")
    row("ZooKeeper reads an attempt, after its join", "the same", lambda s: f"{s.reads:.1f}")
    row("server CPU an attempt", "", lambda s: f"{s.server_cpu * 1000:.1f} ms")
    row("bytes the server wrote an attempt", "", lambda s: f"{s.server_bytes / 1024:.1f} KiB")
    row("most at once", f"<= {AT_ONCE}", lambda s: str(s.most_at_once))
    console.print(table)


def main() -> int:
    """Measure what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, nargs="+", default=[10, 100, 1000])
    options = parser.parse_args()
    if shutil.which("java") is None:
        print("This needs a real ZooKeeper: install java and Debian's zookeeper (`make services`).", file=sys.stderr)
        return 5
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    threading.stack_size(256 * 1024)  # a client has three threads
    seen = []
    with ZookeeperServer(tick_ms=2000) as server:
        for waiting in options.waiting:
            seen.append(measure(server, waiting))
    report(Console(width=120), seen)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
