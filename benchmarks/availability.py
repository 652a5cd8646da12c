"""What clients notice while real stores are maintained: a rolling restart of each under load, and one that goes wrong.

    python benchmarks/availability.py                    # all of them: the table of the README
    python benchmarks/availability.py --only etcd redis

Everything is real: the store, its clients, ZooKeeper, router, agents and attempts are processes of this machine. Two
clients of each store write and read again, fifty times a second each, and count what failed and the longest time
without a success. First nothing is done, then every member is restarted, one at a time, then the first to be restarted
does not come back. What is printed is what was seen.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from taskerman.testing.zookeeper_server import ZookeeperEnsemble
from tests.acceptance.store_house import StoreHouse, running_store_house
from tests.support.aws import running_cloud
from tests.support.load import Availability, Load
from tests.support.services import zookeeper_classpath
from tests.support.stores.store import Store

QUIET_S = 5.0
WITHIN_S = 300.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A store and what is done to it. `args`: of its restart."""

    open: Callable[[], AbstractContextManager[Store]]
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """What clients saw of one stretch of time. `how`: what happened to the task."""

    what: str
    seconds: float
    seen: Availability
    how: str


def subjects() -> dict[str, Subject]:
    """By name. Imported here, so that one store can be looked at on a machine that lacks the others."""
    from tests.support.stores.etcd import running_etcd  # noqa: PLC0415
    from tests.support.stores.mariadb import forming_galera  # noqa: PLC0415
    from tests.support.stores.postgres import running_postgres  # noqa: PLC0415
    from tests.support.stores.redis import running_redis  # noqa: PLC0415
    from tests.support.stores.service import WebService  # noqa: PLC0415
    from tests.support.stores.zookeeper import running_zookeeper  # noqa: PLC0415

    @contextmanager
    def web() -> Iterator[WebService]:
        with tempfile.TemporaryDirectory(prefix="web-") as folder, closing(WebService(Path(folder))) as service:
            yield service

    return {
        "etcd": Subject(running_etcd),
        "mariadb": Subject(forming_galera),
        "postgres": Subject(running_postgres),
        "redis": Subject(running_redis),
        "service": Subject(web, {"service": "web", "drained_for_s": 0.3}),
        "zookeeper": Subject(running_zookeeper),
    }


def main() -> int:
    """Print the table; 1 when a restart did not do what it should."""
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # a client that loses its server says so, line after line
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = subjects()
    parser.add_argument("--only", nargs="+", choices=sorted(known), default=sorted(known))
    chosen = parser.parse_args()
    console = Console(width=130, file=sys.__stdout__)
    table = Table(title="what clients notice: two of each store, 50 requests a second each")
    for heading in ("store", "what is done", "seconds", "requests", "failed", "longest gap", "the task"):
        table.add_column(
            heading, justify="right" if heading in ("seconds", "requests", "failed", "longest gap") else "left"
        )
    for name in chosen.only:
        for line in observe(known[name]):
            table.add_row(
                name,
                line.what,
                f"{line.seconds:.1f}",
                f"{line.seen.requests:,}",
                str(line.seen.failed),
                f"{line.seen.longest_gap_s:.2f} s",
                line.how,
            )
            for why in line.seen.why[:3]:
                console.print(f"[dim]{name}: {why}[/dim]", highlight=False)
    console.print(table)
    return 0


def observe(subject: Subject) -> Iterator[Seen]:
    """Three stretches of time: nothing, a rolling restart, and one in which the first member does not come back."""
    with house_of(subject) as house:
        house.start()
        with Load(house.store.client) as load:
            time.sleep(QUIET_S)
        yield Seen("nothing", QUIET_S, load.seen, "")
        yield restart(house, subject)
        broken = house.store.members[0]
        broken.must("break")
        yield restart(house, subject, what="a rolling restart; the first does not come back")


def restart(house: StoreHouse, subject: Subject, *, what: str = "a rolling restart") -> Seen:
    """One task, to its end or until it stops by itself."""
    began = time.monotonic()
    with Load(house.store.client) as load:
        settle = {"soft_s": 120, "hard_s": 150, "settle_s": 20}
        task = house.submit("restart", args=subject.args, timeout_args=settle)
        house.installation.until(
            lambda: len(house.records.ended(task)) == len(house.nodes) or house.records.state(task) == "halted",
            "it ends",
            within_s=WITHIN_S,
        )
        seconds = time.monotonic() - began
        time.sleep(1)
    outcomes = sorted(house.records.outcomes(task).values())
    told = [f"{outcomes.count(each)} {each}" for each in dict.fromkeys(outcomes)]
    if untouched := len(house.nodes) - len(outcomes):
        told.append(f"halted, {untouched} untouched")
    return Seen(what, seconds, load.seen, ", ".join(told))


@contextmanager
def house_of(subject: Subject) -> Iterator[StoreHouse]:
    """Everything that it takes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskerman-availability-")))
        cloud = stack.enter_context(running_cloud())
        ensemble = stack.enter_context(ZookeeperEnsemble(3, classpath=zookeeper_classpath()))
        store = stack.enter_context(subject.open())
        stack.enter_context(redirect_stdout(io.StringIO()))  # what daemons logged is for a test's report
        yield stack.enter_context(running_store_house(folder, cloud, ensemble.hosts, store))


if __name__ == "__main__":
    sys.exit(main())
