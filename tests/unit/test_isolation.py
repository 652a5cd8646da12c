"""What a machine offers to keep attempts apart, read from its mounts: on folders that stand in for the kernel's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from taskerman.agent.isolation import Isolation, detect
from taskerman.child.cgroup import Cgroup
from taskerman.control import Subject
from taskerman.control.doctor import _isolation
from taskerman.model.task import TimeoutArgs
from taskerman.policy.bounds import UNBOUNDED, Bounds, asked_by

ALL = "cpu memory pids"
UUID = "0123456789abcdef-0123"
ATTEMPT = "t-1.n-1.1"


def mounts(folder: Path, **kinds: str) -> Path:
    """A list of mounts: each name is a folder, and its value how it is mounted."""
    lines = []
    for name, options in kinds.items():
        (folder / name).mkdir(exist_ok=True)
        kind = "cgroup2" if options == "v2" else "cgroup"
        lines.append(f"31 23 0:28 / {folder / name} rw,relatime - {kind} {kind} rw,{options}\n")
    file = folder / "mountinfo"
    file.write_text("".join(lines))
    return file


def unified(folder: Path, offered: str = ALL, let_through: str = ALL) -> Isolation:
    """A machine with cgroup v2 alone, whose controllers are let through to our folder."""
    ours = folder / "v2" / "taskerman"
    ours.mkdir(parents=True)
    for place in (folder / "v2", ours):
        (place / "cgroup.controllers").write_text(offered)
        (place / "cgroup.subtree_control").write_text(let_through)
    return detect("/taskerman", UUID, mounts=mounts(folder, v2="v2"))


def test_a_unified_machine_keeps_every_limit_in_one_group_that_leaves_the_keeper_free(tmp_path: Path) -> None:
    found = unified(tmp_path)
    assert found.honoured == {"memory_mb", "cpu_percent", "processes"}
    text = found.enclose(ATTEMPT, Bounds(memory_mb=64, cpu_percent=150, processes=32))
    group = tmp_path / "v2" / "taskerman" / f"0123456789ab.{ATTEMPT}"
    assert text == str(group)
    written = {file.name: file.read_text() for file in (group / "work").iterdir()}
    assert written == {"memory.max": "67108864", "cpu.max": "150000 100000", "pids.max": "32"}
    assert list((group / "keeper").iterdir()) == []


def test_an_attempts_next_child_is_bound_anew(tmp_path: Path) -> None:
    found = unified(tmp_path)
    found.enclose(ATTEMPT, Bounds(memory_mb=64, cpu_percent=150, processes=32))
    group = Cgroup.parse(found.enclose(ATTEMPT, UNBOUNDED))
    assert group is not None
    work = Path(group.work[0])
    assert [(work / name).read_text() for name in ("memory.max", "cpu.max", "pids.max")] == ["max", "max 100000", "max"]


def test_what_the_machine_does_not_offer_is_not_pretended(tmp_path: Path) -> None:
    found = unified(tmp_path, offered="pids", let_through="pids")
    assert found.honoured == {"processes"}
    assert "processes" in str(found)
    assert found.rlimit_memory_mb(Bounds(memory_mb=64)) == 64


def test_what_is_not_let_through_is_asked_for(tmp_path: Path) -> None:
    unified(tmp_path, let_through="")
    for folder in ("v2", "v2/taskerman"):
        assert (tmp_path / folder / "cgroup.subtree_control").read_text().startswith("+")


def test_the_kernels_counts_are_read_and_absent_ones_are_nothing(tmp_path: Path) -> None:
    found = unified(tmp_path)
    group = Cgroup.parse(found.enclose(ATTEMPT, UNBOUNDED))
    assert group is not None
    assert (group.counters().oom_kills, group.peak_bytes()) == (0, 0)
    work = Path(group.work[0])
    (work / "memory.events").write_text("low 0\nmax 12\noom 3\noom_kill 2\n")
    (work / "memory.peak").write_text("67108864\n")
    (work / "pids.events").write_text("max 5\n")
    (work / "cpu.stat").write_text("usage_usec 100\nthrottled_usec 2500000\n")
    counted = group.counters()
    assert (counted.oom_kills, counted.refused_forks, counted.held_back_s) == (2, 5, 2.5)
    assert group.peak_bytes() == 64 << 20


def test_a_unified_group_is_killed_in_one_step_after_forks_were_stopped(tmp_path: Path) -> None:
    found = unified(tmp_path)
    group = Cgroup.parse(found.enclose(ATTEMPT, UNBOUNDED))
    assert group is not None
    kill = Path(group.directories[0]) / "cgroup.kill"
    kill.write_text("")
    assert group.kill(time.monotonic())
    assert kill.read_text() == "1"
    assert (Path(group.work[0]) / "pids.max").read_text().startswith("0")


def test_a_group_whose_members_cannot_be_read_is_not_called_empty(tmp_path: Path) -> None:
    group = Cgroup([str(tmp_path / "g")])
    (tmp_path / "g" / "work" / "cgroup.procs").mkdir(parents=True)  # reading it is an error
    assert not group.kill(time.monotonic())


def test_a_group_of_a_hierarchy_that_is_not_mounted_any_more_is_not_called_empty(tmp_path: Path) -> None:
    assert not Cgroup([str(tmp_path / "unmounted" / "g")]).kill(time.monotonic())
    assert Cgroup([str(tmp_path / "removed")]).kill(time.monotonic())


def test_separate_hierarchies_are_used_for_what_they_bind(tmp_path: Path) -> None:
    found = detect(
        "/taskerman", UUID, mounts=mounts(tmp_path, blkio="blkio", memory="memory", cpu="cpu,cpuacct", pids="pids")
    )
    text = found.enclose(ATTEMPT, Bounds(memory_mb=64, cpu_percent=50, processes=8))
    first, *rest = (Path(part) for part in text.split(":"))
    assert first.parent == tmp_path / "pids" / "taskerman", "the one that says who belongs to it"
    assert {path.parent.parent.name for path in rest} == {"memory", "cpu"}
    assert (first / "work" / "pids.max").read_text() == "8"
    by_name = {path.parent.parent.name: path for path in rest}
    assert (by_name["memory"] / "memory.limit_in_bytes").read_text() == "67108864"
    assert (by_name["cpu"] / "cpu.cfs_quota_us").read_text() == "50000"
    assert not (tmp_path / "blkio" / "taskerman").exists()


def test_a_machine_without_groups_says_why(tmp_path: Path) -> None:
    found = detect("/taskerman", UUID, mounts=mounts(tmp_path))
    assert found.honoured == frozenset()
    assert "no control groups are mounted" in str(found)
    assert found.enclose(ATTEMPT, Bounds(memory_mb=64)) == ""
    assert found.empty(ATTEMPT, 0)


def test_a_folder_that_cannot_be_made_is_left_out_with_its_reason(tmp_path: Path) -> None:
    file = mounts(tmp_path, memory="memory")
    (tmp_path / "memory" / "taskerman").write_text("not a folder")
    assert "memory: File exists" in str(detect("/taskerman", UUID, mounts=file))


@pytest.mark.parametrize(
    ("node", "task", "both"),
    [(None, 5, 5), (5, None, 5), (5, 7, 5), (7, 5, 5), (None, None, None)],
)
def test_the_tighter_bound_counts(node: int | None, task: int | None, both: int | None) -> None:
    assert Bounds(processes=node).tightened(Bounds(processes=task)) == Bounds(processes=both)


def test_a_task_asks_for_what_its_timeout_args_name() -> None:
    asked = asked_by(TimeoutArgs(memory_mb=64, processes=9))
    assert asked == Bounds(memory_mb=64, processes=9)
    assert asked.names == {"memory_mb", "processes"}


@pytest.mark.parametrize(
    ("subject", "levels"),
    [
        (Subject(), []),
        (Subject(node="i-1", isolation="a session"), ["warn"]),
        (Subject(node="i-1", isolation="a group", grouped=True), ["ok"]),
        (Subject(node="i-1", isolation="a group", grouped=True, unkept=("memory_mb",)), ["fail"]),
    ],
)
def test_doctor_says_what_is_not_kept_where_an_agent_is_meant_to_run(subject: Subject, levels: list[str]) -> None:
    assert [finding.level for finding in _isolation(subject)] == levels
