"""What `exclusive` decides without a process: whether a command is proved to have ended, who may be beside whom."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from taskerman.child.kin import Process
from taskerman.errors import CommandNotExecutable, CommandNotFound
from taskerman.exclusive.host import Gone, Host, Lives, Unjudged, judge, this_host
from taskerman.exclusive.notes import Notes
from taskerman.exclusive.program import find_program
from taskerman.exclusive.signals import Signals
from taskerman.model.command import draw_holder, host_called, shown_argv
from taskerman.model.ids import NodeId
from taskerman.model.slot import Slot, SlotState
from taskerman.policy.sharing import most_beside, room_for
from taskerman.policy.snapshot import ScopeSeen
from tests.support.commands import END, processes

HERE = Host(id="web-1", boot="b-1", machine="m-1", pid_space="pid:[4026531836]", uid=0)
NOBODY_S_PID = 2**22 + 7
"""Above what the kernel ever gives."""


def verdict(here: Host = HERE, *table: Process, **recorded: object):
    return judge(processes(**recorded), "web-1-x22222222", here, table=lambda: {one.pid: one for one in table})


def process(pid: int, start: int = 5, session: int = 1, state: str = "S") -> Process:
    return Process(NOBODY_S_PID + pid if pid > 1000 else pid, state, 1, session, start)


def test_no_process_of_it_left_on_the_same_boot_is_proof() -> None:
    assert isinstance(verdict(HERE, process(7)), Gone)


@pytest.mark.parametrize(
    "left",
    [process(100, start=1), process(101, start=2, session=101), process(2000, session=101)],
    ids=["its wrapper", "the command", "what the command started"],
)
def test_whatever_lives_of_it_is_named(left: Process) -> None:
    found = verdict(HERE, left)
    assert isinstance(found, Lives)
    assert str(left.pid) in found.who[0]


def test_a_zombie_does_nothing_any_more() -> None:
    assert isinstance(verdict(HERE, process(101, start=2, session=101, state="Z")), Gone)


def test_numbers_that_were_given_anew_are_not_it() -> None:
    """A session's number is given anew only when its last process is gone, so all who have it are somebody else's."""
    assert isinstance(verdict(HERE, process(100, start=9), process(101, start=9, session=101)), Gone)
    others = process(101, start=9, session=101), process(2000, session=101)
    assert isinstance(verdict(HERE, *others), Gone)


def test_another_boot_of_the_same_machine_is_proof_whatever_runs_now() -> None:
    assert isinstance(verdict(replace(HERE, boot="b-2"), process(101, start=2, session=101)), Gone)


@pytest.mark.parametrize(
    ("here", "recorded"),
    [
        (replace(HERE, boot="b-2", machine="m-2"), {}),
        (replace(HERE, boot="b-2", machine=None), {"machine": None}),
        (replace(HERE, boot="b-2", pid_space="pid:[7]"), {"pid_space": "pid:[7]"}),
        (replace(HERE, boot="b-2", pid_space="pid:[7]"), {}),
        (replace(HERE, pid_space="pid:[7]"), {}),
        (replace(HERE, uid=1000), {}),
        (replace(HERE, uid=1000, sees_all=False), {"uid": 1000}),
    ],
    ids=[
        "another machine of the same name",
        "a machine without an id, another boot",
        "a container that may have moved",
        "from a container into the machine",
        "another container of this machine",
        "another user's",
        "hidden processes",
    ],
)
def test_what_cannot_be_known_from_here_is_left_to_a_person(here: Host, recorded: dict[str, object]) -> None:
    assert isinstance(verdict(here, **recorded), Unjudged)


def test_this_host_and_this_process_are_what_the_kernel_says() -> None:
    here = this_host("web-1", Path("/proc/sys/kernel/random/boot_id"))
    mine = here.processes_of(os.getpid())
    assert mine is not None
    assert isinstance(judge(mine, "web-1-x22222222", here), Lives)
    assert here.processes_of(NOBODY_S_PID) is None


@pytest.mark.parametrize(
    ("name", "host"),
    [("web-1", "web-1"), ("web-1.example.com", "web-1-example-com"), ("_x", "x"), ("ü", ""), ("...", "")],
)
def test_a_hosts_name_becomes_an_id(name: str, host: str) -> None:
    assert host_called(name) == host


def test_holders_are_node_ids_and_differ_however_long_their_hosts_name() -> None:
    """Two long names that begin alike are two hosts."""
    from pydantic import TypeAdapter  # noqa: PLC0415

    long = ["h" * 63, "h" * 62 + "i"]
    for name in ["a", *long]:
        one, two = draw_holder(host_called(name)), draw_holder(host_called(name))
        assert one != two
        TypeAdapter(NodeId).validate_python(one)
        assert one.rpartition("-x")[0] == host_called(name)
    assert host_called(long[0]) != host_called(long[1])


def test_words_of_a_command_are_recorded_as_text_and_not_without_end() -> None:
    assert shown_argv(("a", "b c")) == ("a", "b c")
    assert shown_argv(("\udcff",)) == ("�",)
    assert sum(map(len, shown_argv(("x" * 9000, "y")))) <= 2001
    assert len(shown_argv(tuple("x" for _ in range(5000)))) <= 201


def slot(cap: int | None) -> Slot:
    return Slot(node="n", cap=cap, state=SlotState.ACTING)


@pytest.mark.parametrize(
    ("capacity", "there", "promise", "room"),
    [
        (None, [], 1, True),
        (None, [1], 9, False),
        (None, [2], 2, True),
        (None, [3, 2], 9, False),
        (0, [], 9, False),
        (2, [9], 9, True),
        (2, [9, 9], 9, False),
        (5, [None], 1, False),
        (5, [None, None], 3, True),
    ],
)
def test_the_smallest_promise_binds(capacity: int | None, there: list[int | None], promise: int, room: bool) -> None:
    """A task counts as one that promised nothing."""
    seen = ScopeSeen("backup", capacity, tuple(slot(cap) for cap in there))
    assert room_for(seen, promise) is room
    assert most_beside(seen, promise) <= promise


def test_a_commands_promise_binds_tasks_too() -> None:
    seen = ScopeSeen("backup", 5, (slot(2), slot(None)))
    assert not seen.has_room("i-1")
    assert ScopeSeen("backup", 5, (slot(3), slot(None))).has_room("i-1")


def test_notes_are_kept_where_it_can_be_written_and_found_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    notes = Notes([tmp_path / "file", tmp_path / "home"])
    assert notes.write("web-1-x22222222", END)
    assert notes.read("web-1-x22222222") == END
    notes.remove("web-1-x22222222")
    assert notes.read("web-1-x22222222") is None
    notes.remove("web-1-x22222222")
    assert not Notes([tmp_path / "file"]).write("web-1-x22222222", END)


def test_a_note_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "h.json").write_text("{")
    assert Notes([tmp_path]).read("h") is None


def test_programs_are_found_as_shells_find_them(tmp_path: Path) -> None:
    for name, mode in (("good", 0o755), ("plain", 0o644)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "good").mkdir()
    path = f"{tmp_path / 'first'}:{tmp_path}"
    assert find_program(["good"], path) == str(tmp_path / "good")
    assert find_program([str(tmp_path / "good")], "") == str(tmp_path / "good")
    for word in ("plain", str(tmp_path / "plain"), str(tmp_path / "first")):
        with pytest.raises(CommandNotExecutable):
            find_program([word], path)
    for word in ("nothing", str(tmp_path / "nothing"), ""):
        with pytest.raises(CommandNotFound):
            find_program([word], path)


def test_signals_are_noted_and_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            signals.wait(10)
            assert signals.asked == [signal.SIGTERM]
            signals.wake()
            signals.wait(10)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        signals.wake()
    finally:
        signal.signal(signal.SIGHUP, before)
