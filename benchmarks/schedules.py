"""What ten thousand schedules cost: to read and judge them, at rest, and when a thousand are due in one second.

    python benchmarks/schedules.py --aws-server "ministack"     # 10,000 schedules, 1,000 of them due at once
    python benchmarks/schedules.py --schedules 1000 --burst 100 # moto serves SQS, which is slow

The scheduler is the shipped command as a process of its own, on a real ZooKeeper; the queue is that of a local AWS that
the option names as a command that serves on the port of the variable GATEWAY_PORT. Two schedules of three say when by a
cron expression in a zone with summer time. What is printed is what was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from benchmarks.plan import served_by
from benchmarks.rest import BIN, cpu_s, resident_mib, started
from benchmarks.rolling import local_aws
from taskerman.testing.zookeeper_server import ZookeeperServer

A_FILE = 100
"""Schedules in one file."""


def declare(folder: Path, schedules: int, burst: int, due: datetime) -> None:
    """Files of schedules; `burst` of them are due at `due`, the others in the night."""
    written = []
    for n in range(schedules):
        when: dict[str, Any]
        if n < burst:
            when = {"cron": f"{due.minute} {due.hour} * * *"}
        elif n % 3:
            when = {"cron": f"{n % 60} 2 * * {n % 7}", "timezone": "Europe/Berlin", "jitter": "10m"}
        else:
            when = {"every": "7d", "jitter": "1h"}
        written.append(
            {
                "name": f"bench-{n:05}",
                "description": "One of many.",
                **when,
                "task": {
                    "action": "redis_task:restart",
                    "cluster_name": f"redis:c{n:05}",
                    "owner": "bench",
                    "taskerman_params": {"lease_args": {"concurrency": 2}, "timeout_args": {"soft_s": 600}},
                },
            }
        )
    for start in range(0, schedules, A_FILE):
        lines = ["schedules:"]
        for one in written[start : start + A_FILE]:
            first = True
            for key, value in one.items():
                lines.append(f"  {'-' if first else ' '} {key}: {json.dumps(value)}")
                first = False
        (folder / f"team-{start // A_FILE:04}.yaml").write_text("\n".join(lines) + "\n")


def events(log: Path, name: str) -> list[dict[str, Any]]:
    """What the scheduler said of that name."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if f'"{name}"' in line:
            found.append(json.loads(line))
    return found


def wait_for(log: Path, name: str, count: int, within_s: float) -> list[dict[str, Any]]:
    """Until it was said so often."""
    deadline = time.monotonic() + within_s
    while len(found := events(log, name)) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(found)} of {count} {name} within {within_s:.0f} s: {log.read_text()[-2000:]}")
        time.sleep(0.25)
    return found


def quantile(values: list[float], q: float) -> float:
    """The value below which so many are."""
    return sorted(values)[min(int(len(values) * q), len(values) - 1)]


def measure(console: Console, url: str, hosts: str, options: argparse.Namespace) -> None:
    """Everything, in the order in which it happens."""
    with tempfile.TemporaryDirectory(prefix="taskerman-schedules-") as name:
        folder = Path(name)
        files = folder / "tasks"
        files.mkdir()
        environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": "AKIALOCALBENCHONLY",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": url,
            "TASKERMAN_ZOOKEEPER_HOSTS": hosts,
            "TASKERMAN_STATE_DIR": str(folder / "state"),
            "TASKERMAN_SCHEDULES": str(files),
            "TASKERMAN_LOG_FORMAT": "json",
        }
        taskerman = str(BIN / "taskerman")
        subprocess.run([taskerman, "init"], env=environment, check=True, stdout=subprocess.DEVNULL)
        due = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=options.rest + 3)
        declare(files, options.schedules, options.burst, due)
        began = time.monotonic()
        subprocess.run([taskerman, "validate", str(files)], env=environment, check=True, stdout=subprocess.DEVNULL)
        validated_s = time.monotonic() - began
        log = folder / "log"
        began = time.monotonic()
        with started([taskerman, "scheduler"], environment, log) as scheduler:
            wait_for(log, "schedules_adopted", 1, 120)
            adopted_s = time.monotonic() - began
            time.sleep(10)  # what it does at its start is not rest
            used, began = cpu_s(scheduler.pid), time.monotonic()
            time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds() - 20))
            rested_s = time.monotonic() - began
            rest_cpu = (cpu_s(scheduler.pid) - used) / rested_s
            resident, _ = resident_mib(scheduler.pid)
            used = cpu_s(scheduler.pid)
            fired = wait_for(log, "schedule_fired", options.burst, 120)
            burst_cpu_s = cpu_s(scheduler.pid) - used
        delays = [float(event["delay_s"]) for event in fired]
    table = Table(title=f"{options.schedules:,} schedules, {options.burst:,} due in one second")
    for column in ("", "seen"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("`taskerman validate`, all of it", f"{validated_s:.1f} s")
    table.add_row("from its start until a scheduler has read, judged and recorded them", f"{adopted_s:.1f} s")
    table.add_row("resident memory", f"{resident * 1.048576:.0f} MB")
    table.add_row(f"CPU at rest, over {rested_s:.0f} s", f"{rest_cpu * 100:.2f} %")
    table.add_row("from due to sent, p50; p99; last", "; ".join(f"{quantile(delays, q):.2f} s" for q in (0.5, 0.99, 1)))
    table.add_row("early", str(sum(delay < 0 for delay in delays)))
    table.add_row("CPU of the burst", f"{burst_cpu_s:.1f} s")
    console.print(table)


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--burst", type=int, default=1_000)
    parser.add_argument("--rest", type=int, default=1, help="minutes in which nothing is due")
    parser.add_argument("--aws-server", default="", help="a command that serves a local AWS; absent: moto")
    options = parser.parse_args()
    if shutil.which("java") is None:
        print("This needs a real ZooKeeper: install java and Debian's zookeeper (`make services`).", file=sys.stderr)
        return 5
    served = served_by(options.aws_server) if options.aws_server else local_aws()
    with served as url, ZookeeperServer() as zookeeper:
        measure(Console(width=100), url, zookeeper.hosts, options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
