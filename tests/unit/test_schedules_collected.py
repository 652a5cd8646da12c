"""Schedules that scripts carry: found in comments of any language, and written to one file that does not jitter."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskerman.adapters.schedules.collecting import collect
from taskerman.adapters.schedules.one_file import Entry, read_file
from taskerman.adapters.schedules.scripts import Carried, read_script
from taskerman.adapters.schedules.writing import generated_file
from taskerman.errors import RefusedByState, SchedulesInvalid, UsageError
from taskerman.model.schedule import Schedule

ONE = """\
# >>> taskerman
# name: trim-logs
# every: 6h
#
# task: {cluster_name: "redis:sessions", owner: storage}
# <<< taskerman
"""


def carried(text: str, path: str = "/opt/x.sh") -> list[Schedule]:
    found = read_script(text.encode(), path)
    assert found.faults == ()
    return [entry.schedule for entry in found.entries]


def test_a_schedule_in_a_comment_means_the_script_itself() -> None:
    (found,) = carried(f"#!/bin/sh\nset -e\n{ONE}echo done\n")
    assert (found.name, found.command) == ("trim-logs", ("/opt/x.sh",))


@pytest.mark.parametrize("prefix", ["# ", "#", "// ", "-- ", "; ", " * ", "    # ", "% ", "", "REM ", ":: "])
def test_any_language_s_comment_will_do(prefix: str) -> None:
    block = ONE.replace("# ", prefix).replace("#\n", f"{prefix.rstrip()}\n")
    assert [one.name for one in carried(f"some code\n{block}more\n")] == ["trim-logs"]
    assert carried(block.replace("\n", "\r\n"))[0].name == "trim-logs"
    assert carried(f"\ufeff{block}")[0].name == "trim-logs"


@pytest.mark.parametrize(
    "what",
    ["command: [ls, -l]", "script: ls", "task: {action: 'x:y', cluster_name: 'a:b', owner: o}"],
)
def test_one_that_says_what_is_done_does_that(what: str) -> None:
    task = "" if what.startswith("task") else "# task: {cluster_name: 'a:b', owner: o}\n"
    (found,) = carried(f"# >>> taskerman\n# name: a\n# every: 5m\n# {what}\n{task}# <<< taskerman\n")
    assert found.command == (("ls", "-l") if what.startswith("command") else None)


def test_a_block_may_be_a_list_and_a_script_may_have_several() -> None:
    listed = """\
# >>> taskerman
# - {name: a, every: 5m, task: {cluster_name: "a:b", owner: o}}
# - name: b
#   every: 5m
#   task: {cluster_name: "a:b", owner: o}
# <<< taskerman
"""
    assert [one.name for one in carried(listed + ONE)] == ["a", "b", "trim-logs"]


@pytest.mark.parametrize(
    "text",
    ["", "echo '>>> taskerman'\n", "# see >>> taskerman\n", "x = 1  # >>> taskerman\n", "# >>> taskerman 2\n"],
)
def test_what_only_speaks_of_a_block_is_none(text: str) -> None:
    assert carried(text) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x\n# >>> taskerman\n# name: a\n", "2: the block that begins here does not end; its last line is"),
        ("x\n# <<< taskerman\n", "2: a block ends that did not begin"),
        ("# >>> taskerman\n# >>> taskerman\n# <<< taskerman\n", "2: a block begins in the one that began in line 1"),
        (
            "# >>> taskerman\n# name: a\nname: b\n# <<< taskerman\n",
            "3: in the block that began in line 1 each line begins as",
        ),
        ("x\n# >>> taskerman\n# <<< taskerman\n", "3: the block is empty"),
        ("x\n# >>> taskerman\n# name: a\n# every: ]\n# <<< taskerman\n", "4: it is not YAML"),
        ("x\n# >>> taskerman\n# name: a\n# every: never\n# <<< taskerman\n", "4: block[0] (a) every: 'never' is not"),
        ("x\n# >>> taskerman\n# a\n# <<< taskerman\n", "3: block[0]: a schedule is a mapping"),
        ("x\n# >>> taskerman\n# - 5\n# <<< taskerman\n", "3: block[0]: a schedule is a mapping"),
        (ONE.replace("redis:sessions", "sessions"), "5: block[0] (trim-logs) task.cluster_name: 'sessions' is not"),
    ],
)
def test_a_fault_is_told_by_the_script_s_line(text: str, told: str) -> None:
    faults = read_script(text.encode(), "/opt/x.sh").faults
    assert any(fault.startswith(told) for fault in faults), faults


def test_a_script_that_is_not_utf_8_is_a_fault_only_if_it_carries_something() -> None:
    assert read_script(b"\xff\n", "/x").faults == ()
    assert read_script(b"ok\n\xff\n" + ONE.encode(), "/x").faults == ("2: it is not UTF-8",)


# --- the file ----------------------------------------------------------------------------------------------


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    (folder / "sub").mkdir(parents=True)
    (folder / "z.sh").write_text(f"#!/bin/sh\n{ONE}")
    (folder / "sub" / "a.py").write_text(ONE.replace("trim-logs", "archive"))
    (folder / "plain.sh").write_text("echo\n")
    (folder / ".hidden.sh").write_text(ONE.replace("trim-logs", "hidden"))
    (folder / ".git").mkdir()
    (folder / ".git" / "x.sh").write_text(ONE.replace("trim-logs", "hidden"))
    (folder / "binary").write_bytes(bytes(range(256)))
    return folder


def test_one_file_has_them_all_by_name_and_says_what_made_it(scripts: Path) -> None:
    found = collect(scripts, None)
    read = read_file(found.text.encode())
    assert [(one.schedule.name, one.schedule.command) for one in read.entries] == [
        ("archive", (f"{scripts}/sub/a.py",)),
        ("trim-logs", (f"{scripts}/z.sh",)),
    ]
    assert (found.schedules, found.scripts) == (2, 2)
    assert found.text.startswith("# Generated by `taskerman schedules collect`")
    assert "  # sub/a.py\n  - name: archive\n" in found.text


def test_the_nodes_may_have_the_scripts_elsewhere(scripts: Path) -> None:
    text = collect(scripts, None, installed_at="/opt/maintenance").text
    assert "/opt/maintenance/sub/a.py" in text
    assert str(scripts) not in text


def test_the_same_scripts_give_the_same_bytes_and_are_not_written_again(scripts: Path, tmp_path: Path) -> None:
    out = tmp_path / "scripts.yaml"
    assert collect(scripts, out).changed
    before = out.stat().st_ino, out.read_bytes()
    assert not collect(scripts, out).changed
    assert (out.stat().st_ino, out.read_bytes()) == before
    (scripts / "sub" / "a.py").rename(scripts / "renamed.py")
    assert collect(scripts, out).changed


def test_check_writes_nothing_and_refuses_what_would_change(scripts: Path, tmp_path: Path) -> None:
    out = tmp_path / "scripts.yaml"
    with pytest.raises(RefusedByState, match="schedules collect") as raised:
        collect(scripts, out, check=True)
    assert raised.value.exit_code == 4
    assert not out.exists()
    collect(scripts, out)
    assert not collect(scripts, out, check=True).changed
    out.write_text(out.read_text().replace("6h", "7h"))
    changed = out.read_bytes()
    with pytest.raises(RefusedByState):
        collect(scripts, out, check=True)
    assert out.read_bytes() == changed


def test_every_fault_of_every_script_is_told_and_nothing_is_written(scripts: Path, tmp_path: Path) -> None:
    (scripts / "a.sh").write_text(ONE.replace("6h", "never"))
    (scripts / "zz.sh").write_text(f"\n{ONE}")
    out = tmp_path / "scripts.yaml"
    with pytest.raises(SchedulesInvalid) as raised:
        collect(scripts, out)
    assert [fault.partition(" is not")[0] for fault in raised.value.faults] == [
        "a.sh:3: block[0] (trim-logs) every: 'never'",
        "zz.sh:3: (trim-logs) name: another schedule is called 'trim-logs', in z.sh:3",
    ]
    assert not out.exists()


def test_where_no_script_carries_one_the_file_says_that_nothing_is_declared(tmp_path: Path) -> None:
    text = collect(tmp_path, None).text
    assert text.endswith("\nschedules: []\n")
    assert read_file(text.encode()).faults == ()


def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    scripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UsageError, match=r"scripts\.yaml cannot be written: No space left"):
        collect(scripts, tmp_path / "scripts.yaml")
    assert [one.name for one in tmp_path.iterdir()] == ["scripts"]


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"), max_size=40)
looks_like_more = "22:00 1e5 010 no null true 0x1f 1_0 2026-01-31 @daily << *a &a !x ~ ' % \" 5 -".split()  # noqa: SIM905
odd = st.sampled_from([*looks_like_more, "", " x", "a: b", "# x", "- a", "a\nb\n", "\na", "x\n\n", "a\n  b"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | texts | odd,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts.filter(lambda key: key != "<<"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values, odd | texts)
@example(5e-324, "1e-7")
@example("x\n\n", "\nx")
def test_what_is_written_is_read_as_it_was_meant(value: object, text: str) -> None:
    """Also a text that looks like something else, and the file is refused before it says another thing."""
    written = {
        "name": "a",
        "every": "5m",
        "description": text,
        "task": {
            "action": "x:y",
            "cluster_name": "x:y",
            "owner": "o",
            "taskerman_params": {"action_args": {"v": value}},
        },
    }
    schedule = Schedule.model_validate_json('{"name": "a", "every": "5m", "task": {"action": "x:y"}}')
    text = generated_file([Carried("x.sh", Entry(schedule, 1, 1, 0, written))])  # type: ignore[arg-type]
    (entry,) = read_file(text.encode()).entries
    assert entry.written == written


def test_a_name_of_a_script_does_not_break_out_of_its_comment(tmp_path: Path) -> None:
    (tmp_path / "a\nschedules: [].sh").write_text(ONE)
    text = collect(tmp_path, None, installed_at=str(PurePosixPath("/opt"))).text
    assert [one.schedule.name for one in read_file(text.encode()).entries] == ["trim-logs"]
