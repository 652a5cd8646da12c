"""An installation of processes: the shipped `taskerman router`, `agent` and verbs, as a person or systemd runs them.

Each agent has a state folder, a node id and a settings file of its own. Daemons can be killed, frozen and thawed. What
they logged belongs to the message of every failure. Everything ends with the test, and with the test process, also
when that is killed; actions, which outlive their agents by design, end at their own deadline then.

It judges nothing: whoever wants to know what was really done asks the action's own log, or a witness.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.support.aws import LocalCloud, unique
from tests.support.cgroups import remove_groups

__all__ = ["Answer", "Daemon", "Installation", "running_installation"]

ROOT = Path(__file__).parents[2]
SESSION_S = 4
_TAIL_LINES = 25
_MARK = "TEST_INSTALLATION"

T = TypeVar("T")


class Answer:
    """How a verb ended: `code`, `out`, `err`; `json` is `out`, parsed."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self) -> Any:
        """What it printed with `--json`."""
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


class Daemon:
    """A running `taskerman router` or `taskerman agent`."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name, self._log = name, log
        self.may_end = False
        """Its end is no surprise: else waiting for anything fails at once when it has ended."""
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_dies_with_parent(), *argv],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the daemon itself."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL; back when it is gone. What its actions do goes on."""
        self.may_end = True
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self, within_s: float = 30.0) -> int:
        """SIGTERM, as systemd would; back with its exit code."""
        self.may_end = True
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(within_s)

    def freeze(self) -> None:
        """It stands still in mid-step (SIGSTOP), its connections open, until `thaw`."""
        self._process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        while stat.read_text().rsplit(") ", 1)[1][0] != "T":
            time.sleep(0.001)

    def thaw(self) -> None:
        """It goes on as if no time had passed."""
        self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """Everything that it has logged."""
        return self._log.read_text(errors="replace")

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Its log lines, those that are whole; of one event if `name` is given."""
        found = []
        for line in self.log().splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and (not name or event.get("event") == name):
                    found.append(event)
        return found


class Installation:
    """One root in ZooKeeper, one queue prefix, and the processes of it.

    `cluster`: the name that its nodes are tagged with.
    """

    def __init__(
        self,
        folder: Path,
        cloud: LocalCloud,
        zookeeper_hosts: str,
        *,
        cluster: str,
        session_s: float = SESSION_S,
        sqs_url: str | None = None,
    ) -> None:
        """Nothing runs yet. `sqs_url`: where daemons and verbs find AWS, when not at the cloud itself."""
        self.folder, self.cloud, self.cluster = folder, cloud, cluster
        self.prefix = unique("t")[:11]
        self.daemons: list[Daemon] = []
        self._mark = uuid.uuid4().hex
        self._plugin = _scripted_plugin(folder)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TASKERMAN_", "AWS_"))}
        self.env: dict[str, str] = {
            **clean,
            **cloud.environment(sqs_url),
            "PYTHONPATH": os.pathsep.join([str(self._plugin), str(ROOT)]),
            "NO_COLOR": "1",
            "COLUMNS": "200",
            _MARK: self._mark,
            "TASKERMAN_ZOOKEEPER_HOSTS": zookeeper_hosts,
            "TASKERMAN_ZOOKEEPER_ROOT": f"/{self.prefix}",
            "TASKERMAN_ZOOKEEPER_SESSION_S": str(session_s),
            "TASKERMAN_QUEUE_PREFIX": self.prefix,
            "TASKERMAN_OPERATOR": "tester@acceptance",
            "TASKERMAN_RETRY_BACKOFF_S": "0.3",
            "TASKERMAN_DEFERRAL_S": "0.3",
            "TASKERMAN_CGROUP": f"/taskerman-{self.prefix}",
            "TASKERMAN_LOG_FORMAT": "json",
            "TASKERMAN_LOG_LEVEL": "debug",
        }

    # --- people ------------------------------------------------------------------------------------------

    def run(self, *words: str | Path, stdin: str | None = None, **env: str) -> Answer:
        """`taskerman` with `words`, as typed."""
        done = subprocess.run(
            [*_command(), *map(str, words)],
            env={**self.env, **env},
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        )
        return Answer(done)

    def must(self, *words: str | Path, **env: str) -> Answer:
        """The same; fails the test unless it ends with 0."""
        answer = self.run(*words, **env)
        assert answer.code == 0, f"taskerman {' '.join(map(str, words))}: {answer}\n{self.story()}"
        return answer

    def lift_first_hold(self) -> None:
        """A new installation begins with a hold on everything; now it may begin."""
        self.must("unhold", "new-installation", "--why", "all stand in line")

    def submit(self, document: Mapping[str, Any]) -> str:
        """As a file, as a person would; the task's id."""
        path = self.folder / f"document-{uuid.uuid4().hex[:8]}.json"
        path.write_text(json.dumps(document, indent=2))
        return str(self.must("submit", "--file", path, "--json").json["task_id"])

    # --- daemons -----------------------------------------------------------------------------------------

    def start_router(self, **env: str) -> Daemon:
        """One more router."""
        return self._start("router", ["router"], env)

    def start_janitor(self, **env: str) -> Daemon:
        """One more janitor. All of an installation share one history, in its folder."""
        return self._start("janitor", ["janitor"], {"TASKERMAN_STATE_DIR": str(self.folder), **env})

    def start_scheduler(self, name: str, files: Path, **env: str) -> Daemon:
        """A scheduler of that name. `files`: the folder of schedules; what people add is beside the history."""
        own = {"TASKERMAN_STATE_DIR": str(self.folder), "TASKERMAN_SCHEDULES": str(files)}
        return self._start(name, ["scheduler"], {**own, **env})

    def start_agent(self, node: str, runners: Mapping[str, Mapping[str, Any]], **env: str) -> Daemon:
        """The agent of `node`; started again it finds the state folder of the one before. `runners`: the node's
        configuration for each."""
        home = self.folder / node
        home.mkdir(exist_ok=True)
        file = home / "taskerman.toml"
        file.write_text(_toml(runners))
        own = {
            "TASKERMAN_NODE_ID": node,
            "TASKERMAN_CLUSTERS": self.cluster,
            "TASKERMAN_ACTIONS": ",".join(f"{runner}:*" for runner in runners),
            "TASKERMAN_STATE_DIR": str(home / "state"),
            "TASKERMAN_SETTINGS_FILE": str(file),
        }
        return self._start(f"agent-{node}", ["agent"], {**own, **env})

    def _start(self, name: str, words: Sequence[str], env: Mapping[str, str]) -> Daemon:
        daemon = Daemon(name, [*_command(), *words], {**self.env, **env}, self.folder / f"{name}.log")
        self.daemons.append(daemon)
        return daemon

    def close(self) -> None:
        """Nothing of it is left: no daemon, no action."""
        for daemon in self.daemons:
            if daemon.exit_code is None:
                daemon.kill()
        while left := self._left():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        remove_groups(self.env["TASKERMAN_CGROUP"])

    def _left(self) -> list[int]:
        """Our processes, known by what they inherited: those of actions are nobody's children by now."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with suppress(OSError):
                mark = f"{_MARK}={self._mark}".encode()
                if mark in (entry / "environ").read_bytes() and not _is_zombie(entry):
                    found.append(int(entry.name))
        return found

    # --- looking -----------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], T], what: str, *, within_s: float = 45.0) -> T:
        """Ask until the answer is truthy, and return it. Fails with the end of every log when it is not so in time, and
        at once when a daemon has ended that should not."""
        deadline = time.monotonic() + within_s
        while not (answer := condition()):
            assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}\n{self.story()}"
            ended = [daemon.name for daemon in self.daemons if daemon.exit_code is not None and not daemon.may_end]
            assert not ended, f"{ended} ended by themselves, before: {what}\n{self.story()}"
            time.sleep(0.02)
        return answer

    def story(self) -> str:
        """The end of every daemon's log."""
        parts = []
        for name in dict.fromkeys(daemon.name for daemon in self.daemons):
            daemon = [each for each in self.daemons if each.name == name][-1]
            how = "runs" if daemon.exit_code is None else f"ended with {daemon.exit_code}"
            parts.append(f"--- {name} ({how})\n" + "\n".join(daemon.log().splitlines()[-_TAIL_LINES:]))
        return "\n".join(parts)


@contextmanager
def running_installation(installation: Installation) -> Iterator[Installation]:
    """Gone with the block. What was logged is printed, so that it stands in the report of a failed test."""
    try:
        yield installation
    finally:
        print(installation.story())
        installation.close()


def _command() -> list[str]:
    return [str(Path(sys.executable).with_name("taskerman"))]


def _dies_with_parent() -> list[str]:
    """util-linux' setpriv sets the death signal and becomes the daemon: no code of ours between fork and exec."""
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "KILL"]


def _is_zombie(entry: Path) -> bool:
    return (entry / "stat").read_text().rsplit(") ", 1)[1][0] == "Z"


def _toml(runners: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for runner, values in runners.items():
        lines += [
            f"[runners.{runner}]",
            *(f"{json.dumps(key)} = {_toml_value(value)}" for key, value in values.items()),
        ]
    return "\n".join([*lines, ""])


def _toml_value(value: Any) -> str:
    """Strings, numbers and booleans are written in TOML as in JSON."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(each) for each in value) + "]"
    return json.dumps(value)


def _scripted_plugin(folder: Path) -> Path:
    """A folder that offers the scripted runner as an installed package would: as an entry point."""
    place = folder / "plugin"
    info = place / "scripted_task-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted-task\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "[taskerman.runners]\nscripted_task.restart = tests.support.scripted:Scripted\n"
        "scripted_task.bracketed = tests.support.bracketed:Bracketed\n"
        "hanging_task.restart = tests.support.hanging:Hanging\n"
    )
    return place
