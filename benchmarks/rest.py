"""What an agent costs while there is nothing to do: memory, CPU, requests, and whether it holds a session.

    python benchmarks/rest.py                 # watches the shipped command for two minutes
    python benchmarks/rest.py --minutes 10

One agent as a process of its own, as it is shipped; ZooKeeper and SQS (moto) beside it, which count what it asks of
them. What is printed is what was seen, beside the goal.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from taskerman.testing.zookeeper_server import ZookeeperServer

BIN = Path(sys.executable).parent
SETTLE_S = 40
"""After its start an agent looks for work once, and lets its session go."""


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process, whose output goes to `log`; ended in the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def wait_for_port(port: int) -> None:
    """Until somebody listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"Nobody serves on port {port}.")


def resident_mib(pid: int) -> tuple[float, float]:
    """Resident memory, and the part of it that is the process's own."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return kib["Rss"] / 1024, (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024


def cpu_s(pid: int) -> float:
    """CPU seconds of the process so far."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def sessions(port: int) -> int:
    """How many clients ZooKeeper has, but for this question's own connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
        wire.sendall(b"mntr")
        said = b"".join(iter(lambda: wire.recv(4096), b"")).decode()
    return int(next(line.split()[1] for line in said.splitlines() if "num_alive_connections" in line)) - 1


def main() -> int:
    """Watch one agent, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2)
    options = parser.parse_args()
    if shutil.which("java") is None:
        print("This needs a real ZooKeeper: install java and Debian's zookeeper (`make services`).", file=sys.stderr)
        return 5
    with tempfile.TemporaryDirectory(prefix="taskerman-rest-") as name, ZookeeperServer() as zookeeper:
        folder, port = Path(name), free_port()
        environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": "AKIALOCALBENCHONLY",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "TASKERMAN_ZOOKEEPER_HOSTS": zookeeper.hosts,
            "TASKERMAN_NODE_ID": "i-rest",
            "TASKERMAN_CLUSTERS": "bench:rest",
            "TASKERMAN_STATE_DIR": str(folder / "state"),
            "TASKERMAN_IDLE_SESSION_S": "5",
        }
        moto = [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
        taskerman = str(BIN / "taskerman")
        with started(moto, environment, folder / "aws"):
            wait_for_port(port)
            subprocess.run([taskerman, "init"], env=environment, check=True, stdout=subprocess.DEVNULL)
            with started([taskerman, "agent"], environment, folder / "agent") as agent:
                time.sleep(SETTLE_S)
                asked = (folder / "aws").read_text().count("POST ")
                used, began = cpu_s(agent.pid), time.monotonic()
                time.sleep(options.minutes * 60)
                if agent.poll() is not None:
                    raise RuntimeError(f"The agent ended: {(folder / 'agent').read_text()[-2000:]}")
                minutes = (time.monotonic() - began) / 60
                requests = (folder / "aws").read_text().count("POST ") - asked
                resident, own = resident_mib(agent.pid)
                cpu = (cpu_s(agent.pid) - used) / minutes / 60
                held = sessions(zookeeper.port)
    table = Table(title=f"An agent at rest, watched for {minutes:.1f} minutes")
    for column in ("", "goal", "seen"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("resident memory", "<= 70 MB", f"{resident * 1.048576:.0f} MB, {own * 1.048576:.0f} MB its own")
    table.add_row("CPU", "<= 0.2 %", f"{cpu * 100:.2f} %")
    table.add_row("SQS requests a minute", "3", f"{requests / minutes:.1f}")
    table.add_row("ZooKeeper sessions", "0", str(held))
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
