"""`taskerman exclusive` with real processes on a real ZooKeeper: whoever is killed, never more at once than allowed."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskerman.coordination import layout
from taskerman.coordination.commands import CommandMoves
from taskerman.model.command import CommandHow, CommandRecord
from taskerman.ports.tree import Tree
from taskerman.testing.zookeeper_server import ZookeeperServer
from tests.support.commands import found_installation
from tests.support.exclusives import PROGRAM, Crowd, alive, crowd_on
from tests.support.services import require, zookeeper_classpath
from tests.support.waiting import until
from tests.support.zookeeper import OpenTree


@pytest.fixture
def tree(open_tree: OpenTree) -> Tree:
    tree = open_tree()
    found_installation(tree)
    return tree


@pytest.fixture
def crowd(tree: Tree, zookeeper: ZookeeperServer, zookeeper_root: str, tmp_path: Path) -> Iterator[Crowd]:
    with crowd_on(zookeeper.hosts, tmp_path, zookeeper_root) as crowd:
        yield crowd


def records(tree: Tree) -> list[CommandRecord]:
    listing = tree.children(layout.COMMANDS)
    paths = [layout.command(name) for name in (listing.names if listing else ())]
    return [layout.decode(CommandRecord, found, path) for path in paths if (found := tree.get(path))]


def held(tree: Tree, scope: str = "backup") -> list[str]:
    listing = tree.children(layout.scope(scope))
    return [slot.node for slot in layout.slots(listing.names)] if listing else []


def test_what_it_prints_and_how_it_ends_is_the_commands_own(crowd: Crowd, tree: Tree) -> None:
    script = 'echo out; echo err >&2; read word; echo "got $word"; exit 42'
    done = crowd.start("web-1", "--scope", "backup", argv=["sh", "-c", script])
    assert done.ends() == 42
    assert done.out == "out\ngot \n"
    assert done.err == "err\n"
    (record,) = records(tree)
    assert record.end is not None
    assert (record.end.how, record.end.exit, record.host) == (CommandHow.ENDED, 42, "web-1")
    assert sorted(record.end.tail.splitlines()) == ["err", "got ", "out"]
    assert record.end.max_rss_bytes > 0
    assert record.argv == ("sh", "-c", script)
    assert held(tree) == []


def test_a_signal_that_ends_it_is_told_as_shells_do(crowd: Crowd) -> None:
    assert crowd.start("web-1", "--scope", "backup", argv=["sh", "-c", "kill -9 $$"]).ends() == 137


def test_of_many_hosts_one_runs_at_a_time_and_all_do(crowd: Crowd, tree: Tree) -> None:
    for n in range(6):
        crowd.start(f"web-{n}", "--scope", "backup", "--wait", "2m", argv=crowd.act(f"m{n}", 0.2))
    assert [one.ends() for one in crowd.wrappers] == [0] * 6
    assert len(crowd.spells()) == 6
    assert crowd.most_at_once() == 1
    assert held(tree) == []


def test_promises_of_two_let_two_run_and_never_three(crowd: Crowd) -> None:
    for n in range(5):
        options = ("--scope", "backup", "--concurrency", "2", "--wait", "2m")
        crowd.start(f"web-{n}", *options, argv=crowd.act(f"m{n}", 2.0))
    assert [one.ends() for one in crowd.wrappers] == [0] * 5
    assert crowd.most_at_once() == 2


def test_who_is_not_to_wait_is_told_who_holds_it_since_when(crowd: Crowd, tree: Tree) -> None:
    crowd.start("web-1", "--scope", "backup", argv=crowd.act("m1"))
    crowd.begins("m1")
    refused = crowd.taskerman("exclusive", "--scope", "backup", "--", *crowd.act("m2"), host="web-2")
    assert refused.returncode == 4
    (holder,) = held(tree)
    assert holder.startswith("web-1-x")
    (record,) = records(tree)
    for word in (holder, f"{record.began:%Y-%m-%dT%H:%M:%SZ}", "--wait"):
        assert word in refused.stderr
    waited = crowd.taskerman("exclusive", "--scope", "backup", "--wait", "1s", "--", *crowd.act("m3"), host="web-3")
    assert waited.returncode == 13
    assert holder in waited.stderr
    assert [one.mark for one in crowd.spells()] == ["m1"]


def test_a_wrapper_that_is_killed_keeps_its_slot_as_long_as_its_command_runs(crowd: Crowd, tree: Tree) -> None:
    """And then the next command of its host proves that it is over, and goes."""
    wrapper = crowd.start("web-1", "--scope", "backup", argv=crowd.act("m1"))
    spell = crowd.begins("m1")
    wrapper.send(signal.SIGKILL)
    assert wrapper.ends() == -signal.SIGKILL
    refused = crowd.taskerman("exclusive", "--scope", "backup", "--", *crowd.act("m2"), host="web-1")
    assert refused.returncode == 4
    assert f"it still runs: pid {spell.pid}" in refused.stderr
    waiting = crowd.start("web-1", "--scope", "backup", "--wait", "2m", argv=crowd.act("m3", 0.1))
    until(lambda: "waiting: 1 of 1 place in scope backup is taken" in waiting.err, "it says that it waits")
    os.kill(spell.pid, signal.SIGKILL)
    crowd.end_of(spell.pid, "m1")
    assert waiting.ends() == 0
    assert crowd.most_at_once() == 1
    lost = next(one for one in records(tree) if one.end is not None and one.end.how is CommandHow.LOST)
    assert lost.end is not None
    assert lost.end.exit is None
    assert held(tree) == []


def test_nobody_but_its_own_host_frees_the_slot_of_a_killed_wrapper(crowd: Crowd, tree: Tree) -> None:
    wrapper = crowd.start("web-1", "--scope", "backup", argv=crowd.act("m1"))
    spell = crowd.begins("m1")
    wrapper.send(signal.SIGKILL)
    os.kill(spell.pid, signal.SIGKILL)
    crowd.end_of(spell.pid, "m1")
    refused = crowd.taskerman("exclusive", "--scope", "backup", "--", *crowd.act("m2"), host="web-2")
    assert refused.returncode == 4
    (holder,) = held(tree)
    asked = crowd.taskerman("slots", "release", holder, "--node-is-off", "--why", "burnt")
    assert asked.returncode == 0, asked.stderr
    assert crowd.taskerman("exclusive", "--scope", "backup", "--", *crowd.act("m3", 0), host="web-2").returncode == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_whoever_is_killed_in_whatever_order_no_more_run_than_are_allowed(crowd: Crowd, tree: Tree, seed: int) -> None:
    """Hosts that try again and again, wrappers and commands killed by the dice; afterwards no slot is left."""
    dice = random.Random(seed)
    rounds, killed = 8, 0
    for n in range(rounds):
        options = ("--scope", "backup", "--concurrency", "2", "--wait", "5m")
        crowd.start(f"web-{n % 3}", *options, argv=crowd.act(f"m{n}", dice.uniform(0.5, 2.5)))
    done: set[str] = set()
    deadline = time.monotonic() + 100
    while len(done) < rounds and time.monotonic() < deadline:
        for spell in crowd.spells():
            if spell.mark in done:
                continue
            if spell.end is not None:
                done.add(spell.mark)
            elif killed < 5 and dice.random() < 0.05:
                killed += 1
                if dice.random() < 0.6:
                    crowd.wrappers[int(spell.mark[1:])].send(signal.SIGKILL)
                if dice.random() < 0.6:
                    os.kill(spell.pid, signal.SIGKILL)
                    crowd.end_of(spell.pid, spell.mark)
        time.sleep(0.02)
    assert len(done) == rounds, [one.err for one in crowd.wrappers]
    for wrapper in crowd.wrappers:
        wrapper.ends()
    assert killed
    assert crowd.most_at_once() <= 2
    for host in range(3):
        done_ = crowd.taskerman("exclusive", "--scope", f"other-{host}", "--", "true", host=f"web-{host}")
        assert done_.returncode == 0
    assert held(tree) == []


def test_a_command_that_is_killed_frees_its_slot_and_what_it_left_is_killed_and_named(crowd: Crowd, tree: Tree) -> None:
    """Also what hides in a session of its own."""
    leave = f"setsid {' '.join(map(_quoted, crowd.act('hidden')))} & exec {' '.join(map(_quoted, crowd.act('m1')))}"
    wrapper = crowd.start("web-1", "--scope", "backup", argv=["sh", "-c", leave])
    spell, hidden = crowd.begins("m1"), crowd.begins("hidden")
    os.kill(spell.pid, signal.SIGKILL)
    assert wrapper.ends() == 137
    assert not alive(hidden.pid)
    assert f"killing what the command left running: pid {hidden.pid}" in wrapper.err
    assert held(tree) == []


def test_what_a_killed_wrapper_left_in_another_session_is_found_by_its_marker(crowd: Crowd, tree: Tree) -> None:
    leave = f"setsid {' '.join(map(_quoted, crowd.act('hidden')))} & sleep 600"
    wrapper = crowd.start("web-1", "--scope", "backup", argv=["sh", "-c", leave])
    hidden = crowd.begins("hidden")
    (record,) = records(tree)
    wrapper.send(signal.SIGKILL)
    os.killpg(record.processes.session, signal.SIGKILL)
    until(lambda: not alive(record.processes.session), "its session is gone")
    refused = crowd.taskerman("exclusive", "--scope", "backup", "--", *crowd.act("m2"), host="web-1")
    assert refused.returncode == 4
    assert f"pid {hidden.pid}" in refused.stderr


def test_signals_are_passed_on(crowd: Crowd) -> None:
    script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    wrapper = crowd.start("web-1", "--scope", "backup", argv=["sh", "-c", script])
    until(lambda: "ready" in wrapper.out, "it is ready")
    wrapper.send(signal.SIGTERM)
    assert wrapper.ends() == 7
    assert wrapper.out == "ready\nbye\n"


def test_a_signal_while_it_waits_ends_the_waiting_and_begins_nothing(crowd: Crowd, tree: Tree) -> None:
    crowd.start("web-1", "--scope", "backup", argv=crowd.act("m1"))
    crowd.begins("m1")
    waiting = crowd.start("web-2", "--scope", "backup", "--wait", "2m", argv=crowd.act("m2"))
    until(lambda: "waiting" in waiting.err, "it waits")
    waiting.send(signal.SIGTERM)
    assert waiting.ends() == 143
    listing = tree.children(layout.command_waits("backup"))
    assert listing is not None
    assert listing.names == ()
    assert len(held(tree)) == 1


def test_its_hosts_leaving_the_group_stops_it_first_kindly(crowd: Crowd, tree: Tree) -> None:
    said = crowd.taskerman("groups", "set", "nightly", "web-1", "web-2", "--why", "new")
    assert said.returncode == 0, said.stderr
    outside = crowd.taskerman("exclusive", "--scope", "backup", "--group", "nightly", "--", "true", host="web-3")
    assert outside.returncode == 6
    stubborn = "trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done"
    options = ("--scope", "backup", "--group", "nightly", "--grace", "1s", "--concurrency", "2")
    kind = crowd.start("web-1", *options, argv=crowd.act("m1"))
    deaf = crowd.start("web-1", *options, argv=["sh", "-c", stubborn])
    crowd.begins("m1")
    until(lambda: "ready" in deaf.out, "it is ready")
    shown = json.loads(crowd.taskerman("groups", "list", "--json").stdout)
    assert shown == [{"name": "nightly", "hosts": ["web-1", "web-2"]}]
    assert crowd.taskerman("groups", "set", "nightly", "web-2", "--why", "web-1 is drained").returncode == 0
    assert (kind.ends(), deaf.ends()) == (143, 137)
    assert "no" in deaf.out
    assert "web-1 is not in group nightly any more" in kind.err
    assert held(tree) == []


def test_while_zookeeper_is_away_a_command_runs_on_and_nobody_else_begins(tmp_path: Path) -> None:
    """Also one that is in a group; its end is recorded when ZooKeeper is back."""
    require("zookeeper")
    with (
        ZookeeperServer(classpath=zookeeper_classpath(), durable=True) as server,
        crowd_on(server.hosts, tmp_path, "/t") as crowd,
    ):
        assert crowd.taskerman("init", AWS_ENDPOINT_URL="http://127.0.0.1:1").returncode != 1
        assert crowd.taskerman("unhold", "everything").returncode == 0
        assert crowd.taskerman("groups", "set", "nightly", "web-1", "--why", "new").returncode == 0
        options = ("--scope", "backup", "--group", "nightly")
        wrapper = crowd.start("web-1", *options, argv=crowd.act("m1"))
        spell = crowd.begins("m1")
        server.kill()
        assert crowd.taskerman("exclusive", "--scope", "backup", "--", "true", host="web-2").returncode == 5
        waiting = crowd.start("web-2", "--scope", "backup", "--wait", "2m", argv=crowd.act("m2", 0.1))
        until(lambda: "waiting" in waiting.err, "it waits for ZooKeeper")
        assert alive(spell.pid)
        assert wrapper.code is None
        crowd.stop_all()
        until(lambda: "could not be recorded yet" in wrapper.err, "its end is noted")
        assert [one.name for one in (tmp_path / "state" / "commands").iterdir()]
        server.start()
        assert wrapper.ends() == 0
        assert waiting.ends() == 0
        assert crowd.most_at_once() == 1
        assert list((tmp_path / "state" / "commands").iterdir()) == []


def test_an_end_that_was_never_recorded_is_told_truly_by_the_next_command_of_its_host(
    crowd: Crowd, tree: Tree, zookeeper: ZookeeperServer
) -> None:
    wrapper = crowd.start("web-1", "--scope", "backup", argv=["sh", "-c", "echo hello; exit 3"])
    assert wrapper.ends() == 3
    (record,) = records(tree)
    assert record.end is not None
    # The tree as it was before that end, and the note that its wrapper would have left.
    again = record.model_copy(update={"end": None})
    moves = CommandMoves(tree)
    _put_back(tree, again)
    notes = crowd.folder / "state" / "commands"
    notes.mkdir(parents=True)
    (notes / f"{record.holder}.json").write_bytes(record.end.to_json())
    assert [one.record.holder for one in moves.running("web-1")] == [record.holder]
    assert crowd.taskerman("exclusive", "--scope", "backup", "--", "true", host="web-1").returncode == 0
    told = next(one for one in records(tree) if one.holder == record.holder)
    assert told.end == record.end
    assert list(notes.iterdir()) == []


def test_a_program_that_is_not_there_takes_nothing(crowd: Crowd, tree: Tree) -> None:
    assert crowd.taskerman("exclusive", "--scope", "backup", "--", "no-such-program", host="web-1").returncode == 127
    plain = crowd.folder / "plain"
    plain.write_text("echo hello\n")
    assert crowd.taskerman("exclusive", "--scope", "backup", "--", str(plain), host="web-1").returncode == 126
    assert records(tree) == []
    plain.chmod(0o755)
    done = crowd.taskerman("exclusive", "--scope", "backup", "--", str(plain), host="web-1")
    assert (done.returncode, done.stdout) == (0, "hello\n"), "a script without a first line, as shells take it"


def test_whoever_stops_reading_stops_the_command(crowd: Crowd) -> None:
    """As it would without us: `| head` ends it by SIGPIPE."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write_end, 1)
        os.close(read_end)
        os.execve(
            PROGRAM,
            [PROGRAM, "exclusive", "--scope", "backup", "--", "yes"],
            {**crowd.environment, "TASKERMAN_NODE_ID": "web-1"},
        )
    os.close(write_end)
    assert os.read(read_end, 2) == b"y\n"
    os.close(read_end)
    deadline = time.monotonic() + 30
    done = 0
    while not done and time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    if not done:
        os.kill(pid, signal.SIGKILL)
    assert done, "it went on"
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGPIPE


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _put_back(tree: Tree, record: CommandRecord) -> None:
    from taskerman.coordination.commands import command_slot  # noqa: PLC0415
    from taskerman.model.command import CommandNote  # noqa: PLC0415
    from taskerman.ports.tree import Create, Set  # noqa: PLC0415

    note = CommandNote(host=record.host, command=record.command, at=record.began)
    path = layout.command(record.holder)
    tree.commit([Set(path, record.to_json(), None), Create(command_slot(record), note.to_json())])
