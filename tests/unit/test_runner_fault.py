"""`fault_task`: denied unless allowed, bounded by the node, written down before it is done, undone whatever happens."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runners.fault import process
from runners.fault.clear import Undo
from runners.fault.fill_disk import FillDisk
from runners.fault.journal import Entry, Journal, boot_id
from runners.fault.network import AddLatency, PacketLoss
from runners.fault.operation import Fault, NotUndone
from runners.fault.processes import KillProcess, PauseProcess
from runners.fault.stop_service import StopService
from runners.fault.undo import left_over, main, undo_all
from taskerman import ActionInterrupted, CommandFailed, Go, Recovered, Refuse, Skip, Wait
from taskerman.testing.harness import RunnerHarness
from tests.support.waiting import until

CLUSTER = "web:staging"
NETWORK = {"interfaces": ["lo"], "ports": [80, 81], "max_loss_percent": 30, "max_latency_ms": 100}
SLEEPS = "import time; time.sleep(1000)"
ARGS: dict[type[Fault], dict[str, Any]] = {
    StopService: {"service": "web"},
    KillProcess: {"process": "worker"},
    PauseProcess: {"process": "worker"},
    FillDisk: {"disk": "data", "leave_free_bytes": 2**20},
    PacketLoss: {"interface": "lo", "ports": [80], "percent": 10.0},
    AddLatency: {"interface": "lo", "latency_ms": 50},
}
KINDS = tuple(ARGS)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.fault.operation.UNDO_WITHIN_S", 0.2)


class Node:
    """A node on which all of it is allowed, and nothing of it is real but processes of ours and files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = folder / "service-runs"
        self.journal = Journal(folder / "state")
        self.settings: dict[str, Any] = {
            "clusters": [CLUSTER],
            "hosts": ["node-*"],
            "max_duration_s": 60,
            "state_folder": str(self.journal.folder),
            "checks": [{"command": ["true", "self"]}],
            "peers": {f"node-{number}": {"command": ["true", f"peer-{number}"]} for number in (1, 2, 3)},
            "services": {
                "web": {
                    "stop": ["true", "stop"],
                    "start": ["touch", str(self.service)],
                    "running": ["test", "-e", str(self.service)],
                }
            },
            "processes": {"worker": {"pattern": f"{re.escape(SLEEPS)} {folder}$"}},
            "disks": {"data": {"path": str(folder), "min_free_bytes": 2**20}},
            "network": NETWORK,
            "switch": {"arm": ["true", "arm", "{name}", "{seconds}"], "disarm": ["true", "disarm", "{name}"]},
        }

    def attempt(self, kind: type[Fault], *, cluster: str = CLUSTER, **more: Any) -> RunnerHarness[Fault]:
        """`more`: of the arguments; `cap`, `params`, `node`: of the task."""
        task = {name: more.pop(name) for name in ("cap", "params", "node") if name in more}
        args = {"duration_s": 0.01, **ARGS[kind], **more}
        return RunnerHarness(kind, settings=self.settings, args=args, cluster=cluster, **task)

    def sets(self, key: str, value: Any) -> None:
        """`key`: a path in the settings, by dots."""
        *path, last = key.split(".")
        place = self.settings
        for each in path:
            place[each] = dict(place[each])
            place = place[each]
        place[last] = value


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def worker(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    """A process that may be harmed, known by its command line."""
    with running(node) as found:
        yield found
        found.kill()


def running(node: Node) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", SLEEPS, str(node.folder)])
    line = Path("/proc", str(child.pid), "cmdline")
    until(lambda: str(node.folder).encode() in line.read_bytes(), "it has its command line")
    return child


def refused(harness: RunnerHarness[Any]) -> str:
    answer = harness.pre_check()
    assert isinstance(answer, Refuse), answer
    return answer.reason


# --- what is allowed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_without_a_word_about_it_takes_no_harm(node: Node, kind: type[Fault]) -> None:
    silent = {"checks": node.settings["checks"], "state_folder": node.settings["state_folder"]}
    harness = RunnerHarness(kind, settings=silent, args={"duration_s": 1, **ARGS[kind]}, cluster=CLUSTER)
    assert "not allowed in the cluster" in refused(harness)
    assert harness.commands == []
    assert not node.journal.folder.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_outside_of_the_clusters_and_hosts_that_are_named_it_is_refused(node: Node, kind: type[Fault]) -> None:
    assert f"`clusters` of fault_task names {CLUSTER}" in refused(node.attempt(kind, cluster="web:production"))
    assert "not allowed in the cluster web:staging2" in refused(node.attempt(kind, cluster="web:staging2"))
    assert "`hosts` of fault_task names node-*" in refused(node.attempt(kind, node="db-1"))
    node.sets("hosts", [])
    assert "names none" in refused(node.attempt(kind))


def test_a_host_may_be_named_by_its_own_name(node: Node) -> None:
    node.service.touch()
    node.sets("hosts", [socket.gethostname()])
    assert node.attempt(StopService, node="i-0abc").pre_check() == Go()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_is_too_long_for_the_node_or_for_its_task_is_refused(node: Node, kind: type[Fault]) -> None:
    assert "allows 60" in refused(node.attempt(kind, duration_s=61))
    short = {"timeout_args": {"soft_s": 80}}
    assert "soft_s is 80" in refused(node.attempt(kind, duration_s=60, params=short))


@pytest.mark.parametrize(
    ("kind", "args", "said"),
    [
        (StopService, {"service": "sshd"}, "no 'sshd' under `services`"),
        (KillProcess, {"process": "init"}, "no 'init' under `processes`"),
        (PauseProcess, {"process": "init"}, "it has: worker"),
        (FillDisk, {"disk": "root"}, "no 'root' under `disks`"),
        (FillDisk, {"leave_free_bytes": 2**20 - 1}, "this node keeps 1,048,576"),
        (PacketLoss, {"interface": "eth0"}, "'eth0' may not be disturbed"),
        (PacketLoss, {"ports": [80, 22]}, "ports [22] may not be lost"),
        (PacketLoss, {"percent": 31.0}, "allows 30"),
        (AddLatency, {"interface": "eth0"}, "'eth0' may not be disturbed"),
        (AddLatency, {"latency_ms": 101}, "allows 100"),
        (AddLatency, {"latency_ms": 60, "jitter_ms": 50}, "up to 110 ms"),
        (AddLatency, {"latency_ms": 20, "jitter_ms": 50}, "is more than latency_ms"),
    ],
)
def test_what_is_not_named_and_what_is_beyond_a_limit_is_refused(
    node: Node, kind: type[Fault], args: dict[str, Any], said: str
) -> None:
    assert said in refused(node.attempt(kind, **args))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("services.web", {"stop": ["true"]}, "name its unit, or all of stop, start and running"),
        ("processes.worker", {"pattern": "("}, "no regular expression"),
        ("processes.worker", {"pattern": "x", "pid_file": "/x"}, "by one of"),
        ("disks.data", {"path": "data", "min_free_bytes": 1}, "path"),
        ("disks.data", {"path": "/", "min_free_bytes": 0}, "min_free_bytes"),
        ("checks", [], "checks"),
        ("cluster", ["x"], "cluster: unknown key"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(node: Node, key: str, value: Any, said: str) -> None:
    node.sets(key, value)
    assert said in refused(node.attempt(StopService))


def test_a_service_that_does_not_run_is_not_stopped(node: Node) -> None:
    harness = node.attempt(StopService)
    harness.answer("test", exit=1)
    assert "does not run" in refused(harness)
    node.sets("services.web", {"stop": ["/no/such"], "start": ["true"], "running": ["true"]})
    assert "no such program: /no/such" in refused(node.attempt(StopService))


def test_too_many_processes_are_refused_and_none_is_waited_for(node: Node, worker: subprocess.Popen[bytes]) -> None:
    assert node.attempt(PauseProcess).pre_check() == Go()
    with running(node) as second:
        until(lambda: len(process.find(node.settings["processes"]["worker"])) == 2, "there are two")
        assert "2 processes are meant" in refused(node.attempt(PauseProcess))
        second.kill()
    worker.kill()
    worker.wait()
    assert node.attempt(KillProcess).pre_check() == Wait("no process 'worker' runs")


def test_whoever_looks_and_all_its_ancestors_are_never_meant() -> None:
    """The agent is among them."""
    me = os.getpid()
    everybody = {pid for pid, _ in process.find({"pattern": "."})}
    lineage = set()
    while me > 1:
        lineage.add(me)
        me = int(Path("/proc", str(me), "stat").read_text().rsplit(") ", 1)[1].split()[1])
    assert not everybody & (lineage | {1})
    assert process.find({"pid_command": ["echo", str(os.getpid())]}) == ()


@pytest.mark.parametrize("kind", [StopService, PauseProcess, AddLatency])
def test_what_only_a_process_can_undo_needs_a_switch_that_is_none_of_ours(
    node: Node, kind: type[Fault], worker: subprocess.Popen[bytes]
) -> None:
    node.sets("switch.arm", ["/no/such", "{name}"])
    assert "nothing would undo it if agent and action died (no such program: /no/such)" in refused(node.attempt(kind))
    node.sets("unguarded", True)
    assert node.attempt(kind).pre_check() == Go()


def test_without_systemd_its_timer_is_not_believed_in(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.fault.switch.shutil.which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr("runners.fault.switch.SYSTEMD", node.folder / "absent")
    del node.settings["switch"]
    assert "systemd does not run this machine" in refused(node.attempt(StopService))
    monkeypatch.setattr("runners.fault.switch.SYSTEMD", node.folder)
    assert node.attempt(StopService).pre_check() == Go()


@pytest.mark.parametrize("kind", [PacketLoss, FillDisk, KillProcess])
def test_what_is_limited_by_itself_needs_none(
    node: Node, kind: type[Fault], worker: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runners.fault.fill_disk._own_device", lambda folder: -1)
    node.sets("switch.arm", ["/no/such"])
    assert node.attempt(kind).pre_check() == Go()


def test_a_kernel_that_cannot_do_it_is_found_out_where_it_harms_nobody(node: Node) -> None:
    for kind, said in ((AddLatency, "has no netem"), (PacketLoss, "cannot lose packets at random")):
        harness = node.attempt(kind)
        harness.answer("unshare", exit=2, output="Error: Specified qdisc kind is unknown.")
        assert said in refused(harness)
        assert all(words[0] in ("true", "ip", "unshare") for words in harness.commands)


def test_somebody_elses_queueing_discipline_is_not_lost(node: Node) -> None:
    harness = node.attempt(AddLatency)
    harness.answer("tc", "qdisc", "show", output="qdisc htb 1: root refcnt 2 r2q 10\n")
    assert "which would be lost: qdisc htb 1:" in refused(harness)
    harness.answer("tc", "qdisc", "show", output="qdisc mq 0: root \nqdisc fq_codel 0: parent :1\n")
    assert harness.pre_check() == Go()


@pytest.mark.parametrize(("cap", "down", "goes"), [(1, 0, True), (1, 1, False), (2, 1, True), (2, 2, False)])
def test_nothing_is_harmed_while_the_cluster_is_not_well(node: Node, cap: int, down: int, goes: bool) -> None:
    harness = node.attempt(StopService, cap=cap)
    for number in range(down):
        harness.answer("true", f"peer-{number + 2}", exit=1)
    assert isinstance(harness.pre_check(), Go if goes else Wait)
    harness.answer("true", "self", exit=1)
    assert isinstance(harness.pre_check(), Wait)


# --- always undone -----------------------------------------------------------------------------------------


def test_what_undoes_it_is_on_disk_and_the_switch_is_armed_before_it_is_done(node: Node) -> None:
    harness = node.attempt(StopService, duration_s=7)
    seen: list[list[Entry]] = []
    runner = harness.runner("execute_action")
    run = runner.ctx.command

    def look(argv: Any, **more: Any) -> Any:
        if list(argv)[:2] in (["true", "arm"], ["true", "stop"]):
            seen.append(list(node.journal.entries()))
        if list(argv) == ["true", "stop"]:
            raise ActionInterrupted
        return run(argv, **more)

    runner.ctx.command = look  # type: ignore[method-assign]
    with pytest.raises(ActionInterrupted):
        runner.execute_action()
    assert [len(entries) for entries in seen] == [1, 1]
    (arm,) = [words for words in harness.commands if words[1] == "arm"]
    assert arm[3] == "12", "five seconds after its end"
    assert arm[4:] == (
        sys.executable,
        "-I",
        "-m",
        "runners.fault.undo",
        str(node.journal.folder),
        seen[0][0].id,
    )
    assert node.service.exists(), "it is started again"
    assert node.journal.entries() == ()
    assert harness.commands[-1][:2] == ("true", "disarm")


def test_a_switch_that_cannot_be_armed_keeps_it_from_being_done(node: Node) -> None:
    harness = node.attempt(StopService)
    harness.answer("true", "arm", exit=1)
    with pytest.raises(CommandFailed):
        harness.execute_action()
    assert ("true", "stop") not in harness.commands
    assert harness.recover() is Recovered.NOT_DONE
    assert node.journal.entries() == ()


def test_a_journal_that_cannot_be_written_keeps_it_from_being_done(node: Node) -> None:
    node.journal.folder.write_text("a file is in its place")
    harness = node.attempt(StopService)
    with pytest.raises((OSError, NotUndone)):
        harness.execute_action()
    assert ("true", "stop") not in harness.commands


@pytest.mark.parametrize("hook", ["abort", "recover", "pre_check", "execute_action"])
def test_whoever_comes_next_undoes_what_is_left_over(node: Node, hook: str) -> None:
    left = entry(node, "stop_service", {"start": ["touch", str(node.service)], "running": ["test", "-e", "x"]})
    node.journal.write(left)
    harness = node.attempt(StopService)
    if hook == "pre_check":
        assert "an earlier fault is not undone" in refused(harness)
    else:
        with pytest.raises(NotUndone):
            getattr(harness, hook)()
    assert node.service.exists(), "it was tried"
    assert ("true", "stop") not in harness.commands
    answer = harness.post_check()
    assert isinstance(answer, Wait)
    assert "not known to be undone: stop_service of t-1" in answer.reason
    assert f"python -m runners.fault.undo {node.journal.folder}" in answer.reason
    node.journal.write(entry(node, "stop_service", {"start": ["true"], "running": ["test", "-e", str(node.service)]}))
    getattr(harness, hook)()
    assert [left.task for left in node.journal.entries()] == []


def test_a_journal_that_cannot_be_read_is_a_fault_that_is_not_undone(node: Node) -> None:
    node.journal.folder.mkdir()
    (node.journal.folder / "x.fault").write_text('{"id": "x"')
    assert "cannot be read" in refused(node.attempt(StopService))
    assert isinstance(node.attempt(StopService).post_check(), Refuse)
    assert "cannot be read" in refused(RunnerHarness(Undo, settings=node.settings))
    assert main([str(node.journal.folder)]) == 1


def test_recover_tells_what_lasted_its_time_from_what_was_cut_short_and_what_was_not_begun(node: Node) -> None:
    whole = node.attempt(StopService)
    assert whole.recover() is Recovered.NOT_DONE
    whole.execute_action()
    assert whole.recover() is Recovered.DONE
    cut = node.attempt(StopService)
    cut.interrupt("true", "stop")
    with pytest.raises(ActionInterrupted):
        cut.execute_action()
    assert cut.recover() is Recovered.UNKNOWN, "nobody repeats harm without a person"


def test_it_is_well_only_when_nothing_is_left_over_and_everybody_is_well_several_times(node: Node) -> None:
    harness = node.attempt(StopService)
    harness.execute_action()
    assert isinstance(harness.post_check(), Wait)
    for _ in range(2):
        saved = harness.saved["steady"]
        assert isinstance(saved, dict)
        saved["since"] = time.time() - 3
        answer = harness.post_check()
    assert answer == Go()
    harness.answer("true", "peer-2", exit=1)
    assert isinstance(harness.post_check(), Wait)


def test_a_stop_that_may_still_be_on_its_way_is_followed_by_a_start(node: Node) -> None:
    """Asked of the service manager by somebody who died: the service runs now, and is stopped in a moment."""
    node.service.touch()
    marker = node.folder / "started"
    node.journal.write(
        entry(node, "stop_service", {"start": ["touch", str(marker)], "running": ["test", "-e", str(node.service)]})
    )
    assert undo_all(node.journal, within_s=0.2, say=lambda what: None) == ""
    assert marker.exists()


# --- processes ---------------------------------------------------------------------------------------------


def test_a_process_is_paused_and_goes_on(node: Node, worker: subprocess.Popen[bytes]) -> None:
    harness = node.attempt(PauseProcess, duration_s=0.2)
    (meant,) = process.find(node.settings["processes"]["worker"])
    states: list[str] = []
    runner = harness.runner("execute_action")
    inject = runner.inject

    def then_look(undo: Any) -> None:
        inject(undo)
        until(lambda: process.state(meant) == "T", "it is stopped")
        states.append(process.state(meant))

    runner.inject = then_look  # type: ignore[method-assign]
    runner.execute_action()
    assert states == ["T"]
    assert process.state(meant) in ("S", "R")


def test_a_process_that_was_killed_is_started_again_or_told_to_be_missing(
    node: Node, worker: subprocess.Popen[bytes]
) -> None:
    forgotten = node.attempt(KillProcess)
    with pytest.raises(NotUndone, match="0 of 1 processes"):
        forgotten.execute_action()
    assert worker.wait() == -signal.SIGKILL
    answer = forgotten.post_check()
    assert isinstance(answer, Wait)
    assert "kill_process" in answer.reason
    (left,) = node.journal.entries()
    node.journal.remove(left)

    starts = [sys.executable, "-c", DAEMON, sys.executable, "-I", "-S", "-c", SLEEPS, str(node.folder)]
    with running(node) as second:
        node.sets("processes.worker", {**node.settings["processes"]["worker"], "start": starts})
        node.attempt(KillProcess).execute_action()
        assert second.wait() == -signal.SIGKILL
    (again,) = process.find(node.settings["processes"]["worker"])
    assert again[0] != second.pid
    assert process.send(again, signal.SIGKILL)
    until(lambda: not process.same(again), "it is gone")


DAEMON = """
import os, subprocess, sys
null = subprocess.DEVNULL
subprocess.Popen(sys.argv[1:], stdin=null, stdout=null, stderr=null, start_new_session=True)
"""


def test_what_is_slow_to_start_is_not_started_again_and_again(node: Node) -> None:
    count = node.folder / "starts"
    slow = ["sh", "-c", f"echo x >> {count}"]
    left = entry(node, "kill_process", {"processes": [[1, 1]], "target": {"pattern": "no such"}, "start": slow})
    node.journal.write(left)
    assert "0 of 1 processes" in undo_all(node.journal, within_s=0.5, say=lambda what: None)
    assert count.read_text() == "x\n"


def test_another_process_with_the_same_number_is_not_meant(worker: subprocess.Popen[bytes]) -> None:
    assert process.send((worker.pid, 1), signal.SIGKILL) is False
    assert worker.poll() is None
    assert process.state((worker.pid, 1)) == ""


def test_after_a_reboot_numbers_mean_nobody(node: Node, worker: subprocess.Popen[bytes]) -> None:
    (meant,) = process.find(node.settings["processes"]["worker"])
    process.send(meant, signal.SIGSTOP)
    until(lambda: process.state(meant) == "T", "it is stopped")
    then = entry(node, "pause_process", {"processes": [list(meant)]}, boot="another")
    assert left_over(then) == ""
    assert left_over(entry(node, "pause_process", {"processes": [list(meant)]})) != ""


# --- undo --------------------------------------------------------------------------------------------------


def test_undo_clears_everything_and_skips_a_node_on_which_nothing_is_left(node: Node) -> None:
    node.sets("clusters", [])
    harness = RunnerHarness(Undo, settings=node.settings)
    assert harness.pre_check() == Skip("nothing is left over")
    undo = {"start": ["touch", str(node.service)], "running": ["test", "-e", str(node.service)]}
    node.journal.write(entry(node, "stop_service", undo))
    assert harness.pre_check() == Go(), "also where no fault is allowed any more"
    assert harness.recover() is Recovered.NOT_DONE
    harness.execute_action()
    assert harness.recover() is Recovered.DONE
    assert node.service.exists()


def test_the_command_undoes_all_or_one_and_says_by_its_code_whether_anything_is_left(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 2
    assert main([str(node.journal.folder)]) == 0
    for name in ("a", "b"):
        file = node.folder / name
        node.journal.write(
            entry(node, "stop_service", {"start": ["touch", str(file)], "running": ["test", "-e", str(file)]}, id=name)
        )
    assert main([str(node.journal.folder), "b"]) == 0
    assert [left.id for left in node.journal.entries()] == ["a"]
    assert "stop_service of t-1 is undone" in capsys.readouterr().out
    assert main([str(node.journal.folder)]) == 0
    assert node.journal.entries() == ()


def entry(node: Node, kind: str, undo: dict[str, Any], *, boot: str | None = None, id: str = "x") -> Entry:  # noqa: A002
    json.dumps(undo)
    return Entry(id=id, kind=kind, undo=undo, task="t-1", until=0.0, boot=boot or boot_id())
