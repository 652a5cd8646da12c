"""`command_task`: what a node does not name is not run, a code means one thing, and nobody guesses after a crash."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import runners.command
from runners.command.acting import CommandRunner, EndedBadly
from runners.command.args import RunArgs
from runners.command.config import CommandConfig
from runners.command.patterns import More, faults_of, fits
from runners.command.permission import Denied, surroundings
from runners.command.private import check_folder, open_folder, private_file, runnable
from runners.command.program import Run
from runners.command.script import Script, first_line
from runners.command.trust import untrusted
from taskerman import ActionInterrupted, Check, CommandFailed, Go, Recovered, Refuse, Skip, Wait
from taskerman.errors import ActionArgsInvalid, RunnerMisconfigured
from taskerman.runner.base import validate_args, validate_config
from taskerman.runner.identity import Identity, own_name, why_not
from taskerman.testing.harness import RunnerHarness

ME = own_name()
TRUE = "/usr/bin/true"
DF = "/usr/bin/df"
LINE: dict[str, Any] = {"user": ME, "allow": [{"argv": [DF, "-h", "*"]}, {"argv": [TRUE]}]}


def run(*argv: str, settings: dict[str, Any] | None = None, **args: Any) -> RunnerHarness[Run]:
    return RunnerHarness(Run, args={"argv": list(argv), **args}, settings=LINE if settings is None else settings)


def script(text: str, settings: dict[str, Any], **args: Any) -> RunnerHarness[Script]:
    return RunnerHarness(Script, args={"script": text, **args}, settings=settings)


def refused(harness: RunnerHarness[Any]) -> str:
    """Why; and it would not act either, whatever pre_check had said."""
    answer = harness.pre_check()
    assert isinstance(answer, Refuse)
    if harness.runner().misconfigured == "":
        with pytest.raises(Denied):
            harness.execute_action()
    assert harness.commands == []
    return answer.reason


# --- which argument lists ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "words", "more"),
    [
        (["-h"], ["-h"], "nothing"),
        (["*"], ["keyspace"], "nothing"),
        (["--to", "s3://b/**"], ["--to", "s3://b/x/y"], "nothing"),
        (["--to=*"], ["--to=here"], "nothing"),
        (["--to=*"], ["--to=-"], "nothing"),
        ([r"\*.gz"], ["*.gz"], "nothing"),
        (["/var/log/**/*.log"], ["/var/log/a/b.log"], "nothing"),
        ([], ["a", "b/c"], "words"),
        ([], ["--anything", "../.."], "anything"),
        (["a.b"], ["a.b"], "nothing"),
        ([""], [""], "nothing"),
    ],
)
def test_what_a_rule_lets_through(rule: Sequence[str], words: Sequence[str], more: More) -> None:
    assert fits(rule, words, more)


@pytest.mark.parametrize(
    ("rule", "words", "more"),
    [
        ([], ["-h"], "nothing"),
        (["-h"], [], "anything"),
        (["-h"], ["-H"], "nothing"),
        (["*"], ["-rf"], "nothing"),
        (["*"], ["--exec=/bin/sh"], "nothing"),
        (["**"], ["--exec=/bin/sh"], "nothing"),
        (["*"], [""], "nothing"),
        (["--to=*"], ["--to="], "nothing"),
        (["*"], ["a/b"], "nothing"),
        (["/var/log/*"], ["/var/log/.."], "nothing"),
        (["/var/log/**"], ["/var/log/../../etc/shadow"], "nothing"),
        (["--to=**"], ["--to=../../etc"], "nothing"),
        (["**"], ["a:../etc"], "nothing"),
        (["**"], [r"a\..\etc"], "nothing"),
        (["*"], ["a\nb"], "nothing"),
        (["a"], ["a\n"], "nothing"),
        (["*"], ["a\n"], "nothing"),
        (["*"], ["a\x1b[2J"], "nothing"),
        (["*"], ["a\u2028b"], "nothing"),
        (["*"], ["x" * 1025], "nothing"),
        ([r"\*"], ["anything"], "nothing"),
        (["a.b"], ["axb"], "nothing"),
        (["[ab]"], ["a"], "nothing"),
        ([], ["-x"], "words"),
        ([], ["../x"], "words"),
        ([], [""], "words"),
        (["a"], ["b", "a"], "anything"),
    ],
)
def test_what_a_rule_does_not_let_through(rule: Sequence[str], words: Sequence[str], more: More) -> None:
    assert not fits(rule, words, more)


def test_a_pattern_that_would_take_for_ever_is_no_pattern() -> None:
    assert "at most 2" in faults_of("*a*b*")
    assert "no ***" in faults_of("***")
    assert faults_of(r"\*\*\***") == ""
    assert not fits(["**x**"], ["y" * 1024], "nothing")


# --- the node says no ----------------------------------------------------------------------------------------


def test_a_node_that_names_nothing_runs_nothing() -> None:
    said = refused(run(TRUE, settings={"user": ME}))
    assert f"does not run {TRUE}" in said
    assert f'[[runners.command_task.allow]] with argv = ["{TRUE}"]' in said


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([DF, "-h", "-rf"], "1 of the rules in `allow` are about /usr/bin/df, and none lets these arguments through"),
        ([DF], "none lets these arguments through"),
        ([DF, "-h", "a", "b"], 'argv = ["/usr/bin/df", "-h", "a", "b"]'),
        ([TRUE, "a*"], r'argv = ["/usr/bin/true", "a\\*"]'),
        (["/usr/bin/env", "true"], "no rule in `allow` is about /usr/bin/env"),
        (["no-such-program"], "There is no program no-such-program in /usr/local/sbin"),
    ],
)
def test_a_command_that_no_rule_lets_through_is_refused_with_the_rule_that_would(argv: list[str], says: str) -> None:
    assert says in refused(run(*argv))


def test_what_a_refusal_offers_lets_exactly_that_command_through(tmp_path: Path) -> None:
    words = [DF, "-h", "it's *", 'a "quoted" word', "\\"]
    line = refused(run(*words)).partition(" with ")[2].removesuffix(".")
    assert fits(tomllib.loads(line)["argv"], words, "nothing")
    assert not fits(tomllib.loads(line)["argv"], [*words[:2], "it's x", *words[3:]], "nothing")


def test_a_name_is_the_program_that_the_nodes_path_finds_and_nothing_else(tmp_path: Path) -> None:
    harness = run("df", "-h", "x", settings={**LINE, "path": ["/nonexistent", "/usr/bin"]})
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert harness.commands == [(DF, "-h", "x")]
    assert harness.users == [ME]
    assert "no program df" in refused(run("df", "-h", "x", settings={**LINE, "path": [str(tmp_path)]}))


def test_a_rule_for_a_name_is_about_the_program_that_is_found() -> None:
    named = {"user": ME, "allow": [{"argv": ["true"]}]}
    assert run(TRUE, settings=named).pre_check() == Go()
    assert "no rule in `allow` is about /bin/true" in refused(run("/bin/true", settings=named))


@pytest.mark.parametrize(
    "argv",
    [
        [],
        [""],
        ["./df"],
        ["bin/df"],
        ["/usr/bin/../bin/df"],
        ["/usr//bin/df"],
        ["/usr/bin/df/"],
        ["/usr/./bin/df"],
        ["-df"],
        ["d f"],
        ["df\0"],
        ["df", "a\0b"],
        ["df", "x" * 8193],
        ["df"] * 201,
        ["df", *["x" * 8000] * 7],
        "df -h",
    ],
    ids=str,
)
def test_what_is_no_argument_list_is_refused_where_it_is_submitted(argv: object) -> None:
    with pytest.raises(ActionArgsInvalid, match="argv"):
        validate_args(Run, {"argv": argv})


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"user": "root;"}, "user"),
        ({"user": "-u"}, "user"),
        ({"user": "a\n"}, "user"),
        ({"env": {"A=B": "x"}}, "env"),
        ({"env": {"A": "x\0y"}}, "NUL"),
        ({"env": {"": "x"}}, "env"),
        ({"cwd": "tmp"}, "cwd"),
        ({"cwd": "/tmp/../etc"}, "cwd"),
        ({"success": []}, "success"),
        ({"success": [256]}, "success"),
        ({"success": [0, 3], "nothing_to_do": [3]}, "exit code 3 stands in more than one"),
        ({"try_again": [0]}, "exit code 0"),
        ({"check": []}, "check"),
        ({"check": ["true"], "check_nothing_to_do": [0]}, "exit code 0 means that the node is well"),
        ({"check_nothing_to_do": [4]}, "say something of `check`, and there is none"),
        ({"check_before": False}, "say something of `check`, and there is none"),
        ({"try_again_after_s": 0}, "try_again_after_s"),
        ({"shell": True}, "shell: unknown argument"),
    ],
)
def test_arguments_that_mean_nothing_are_refused_by_name(args: dict[str, Any], says: str) -> None:
    with pytest.raises(ActionArgsInvalid, match=says):
        validate_args(Run, {"argv": ["df"], **args})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"allow": [{"argv": []}]}, "argv"),
        ({"allow": [{"argv": ["/usr/bin/*"]}]}, "the program itself has no wildcard"),
        ({"allow": [{"argv": ["/usr/../bin/df"]}]}, "no plain absolute path"),
        ({"allow": [{"argv": ["df", "*a*b*"]}]}, "at most 2 wildcards"),
        ({"allow": [{"argv": ["df"], "more": "all"}]}, "more"),
        ({"allow": ["df"]}, "allow"),
        ({"interpreters": {"sh": {"argv": ["sh"]}}}, "no plain absolute path"),
        ({"binaries": [{}]}, "one of sha256 and prefix"),
        ({"binaries": [{"prefix": "s3://b/x/"}]}, "prefix and signer go together"),
        ({"binaries": [{"prefix": "s3://b/x", "signer": "/k.pub"}]}, "prefix"),
        ({"binaries": [{"sha256": "AB" * 32}]}, "sha256"),
        ({"env": {"TASKERMAN_ATTEMPT": "x"}}, "Taskerman's own"),
        ({"env_allowed": ["*"]}, "env_allowed"),
        ({"cwds": ["srv"]}, "no plain absolute path"),
        ({"allowed": []}, "allowed: unknown key"),
    ],
)
def test_a_nodes_configuration_that_means_nothing_is_refused_before_anything_is_run(
    settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(RunnerMisconfigured, match=says):
        validate_config(Run, settings)
    assert says.split(maxsplit=1)[0].strip(":") in refused(run("df", settings=settings))


# --- as whom, with what, where -------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only an agent that is root has to be told")
def test_an_agent_that_is_root_runs_nothing_as_root_unless_that_is_said() -> None:
    assert 'user = "nobody"' in refused(run(TRUE, settings={"allow": LINE["allow"]}))
    assert "lets no task run as root" in refused(run(TRUE, settings={**LINE, "user": "nobody"}, user="root"))


def test_a_task_names_only_users_that_the_node_lets_it_name() -> None:
    assert 'users = ["daemon"]' in refused(run(TRUE, user="daemon"))
    assert "There is no user 'nosuch'" in refused(run(TRUE, user="nosuch", settings={**LINE, "users": ["nosuch"]}))


def test_a_rule_is_for_its_users_alone() -> None:
    only = {"user": ME, "allow": [{"argv": [TRUE], "users": ["daemon"]}]}
    assert f"does not run {TRUE} as {ME}" in refused(run(TRUE, settings=only))


def test_an_agent_that_may_not_change_users_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskerman.runner.identity._capabilities", lambda: 1 << 7)
    said = why_not(Identity("backup", os.geteuid() + 1, 34, [34], "/"))
    assert "may not run a command as backup (CAP_KILL, CAP_SETGID missing)" in said
    assert why_not(Identity(ME, os.geteuid(), 0, [], "/")) == ""


def test_a_task_sets_only_variables_that_the_node_lets_it_set() -> None:
    assert 'env_allowed = ["REPORT_TO"]' in refused(run(TRUE, env={"REPORT_TO": "x"}))
    some = {**LINE, "env_allowed": ["REPORT_*", "JAVA_HOME"], "env": {"REGION": "eu"}}
    assert run(TRUE, settings=some, env={"REPORT_TO": "x", "JAVA_HOME": "/j"}).pre_check() == Go()
    assert "sets REGION itself" in refused(run(TRUE, settings=some, env={"REGION": "us"}))


@pytest.mark.parametrize(
    "name",
    ["CASSANDRA_INCLUDE", "CASSANDRA_CONF", "PHP_INI_SCAN_DIR", "ANSIBLE_CONFIG", "REDISCLI_RCFILE", "TCLLIBPATH",
     "OPENSSL_MODULES", "OPENSSL_ENGINES", "R_PROFILE", "ALL_PROXY", "ERL_AFLAGS", "LIBRARY_PATH", "PATH",
     "PYTHONPATH", "PYTHONSTARTUP", "PERL5LIB", "RUBYOPT", "NODE_OPTIONS", "BASH_ENV", "ENV", "IFS", "HOME",
     "JAVA_TOOL_OPTIONS", "GIT_SSH_COMMAND", "BASH_FUNC_x", "TMPDIR", "PGPASSFILE", "path", "http_proxy", "AWS_PROFILE",
     "GODEBUG", "GLIBC_TUNABLES", "RSYNC_RSH", "TAR_OPTIONS", "ES_JAVA_OPTS", "LIB_PATH", "BASHRC"],
)  # fmt: skip
def test_no_beginning_lets_a_variable_through_that_changes_what_programs_do(name: str) -> None:
    """The operator may name it in full, and has then thought about it."""
    wide = CommandConfig(user=ME, env_allowed=tuple(f"{letter}*" for letter in "ABCDEGHIJLNOPRTX_abehp"))
    args = RunArgs(argv=("true",), env={name: "x"})
    with pytest.raises(Denied, match=name):
        surroundings(wide, args)
    named = wide.model_copy(update={"env_allowed": (name,)})
    assert surroundings(named, args).env == {name: "x"}


@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "TASKERMAN_ATTEMPT"])
def test_some_variables_no_task_sets_whatever_the_node_says(name: str) -> None:
    config = CommandConfig(user=ME, env_allowed=(name, "LD_*", "TASKERMAN_*"))
    with pytest.raises(Denied, match=f"No task sets {name}"):
        surroundings(config, RunArgs(argv=("true",), env={name: "/tmp/x.so"}))


def test_a_task_stands_where_the_node_lets_it_stand_and_no_link_leads_out(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "out").symlink_to("/etc")
    (tmp_path / "inner").mkdir()
    config = CommandConfig(user=ME, cwds=(str(tmp_path / "in"),))

    def at(folder: Path) -> str:
        return surroundings(config, RunArgs(argv=("true",), cwd=str(folder))).cwd

    assert at(Path("/")) == "/"
    assert at(tmp_path / "in" / "deep") == str(tmp_path / "in" / "deep")
    for other in (tmp_path / "in" / "out", tmp_path / "inner", Path("/etc")):
        with pytest.raises(Denied, match="cwds"):
            at(other)
    with pytest.raises(Denied, match="is no folder"):
        at(tmp_path / "in" / "missing")


# --- who could change a program ------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """One that only we can change, in a folder of ours."""
    folder = tmp_path / "bin"
    folder.mkdir(mode=0o755)
    found = folder / "tool"
    found.write_text("#!/bin/sh\n")
    found.chmod(0o755)
    return found


def test_a_program_that_only_trusted_users_can_change_is_trusted(program: Path) -> None:
    assert untrusted(str(program), {os.geteuid()}) == ""
    assert untrusted("/bin/sh", set()) == "", "through links"


def test_a_program_that_others_could_change_is_not_run(program: Path, tmp_path: Path) -> None:
    ours = {os.geteuid()}
    settings = {"user": ME, "allow": [{"argv": [str(program)]}]}
    assert run(str(program), settings=settings).pre_check() == Go()
    program.chmod(0o757)
    assert f"everybody may write {program}" in untrusted(str(program), ours)
    assert f"{program} is not run: everybody may write" in refused(run(str(program), settings=settings))
    program.chmod(0o755)
    program.parent.chmod(0o777)
    assert f"everybody may write {program.parent}" in untrusted(str(program), ours)
    program.parent.chmod(0o1777)
    assert untrusted(str(program), ours) == "", "as in /tmp: nobody else can exchange it"
    program.parent.chmod(0o755)
    program.chmod(0o644)
    assert "may not be executed" in untrusted(str(program), ours)
    assert "is not there" in untrusted(str(tmp_path / "none"), ours)
    assert "is no file" in untrusted(str(tmp_path), ours)
    assert "cannot be looked at" in untrusted(str(program / "x"), ours)


def test_every_link_on_the_way_is_looked_at(program: Path, tmp_path: Path) -> None:
    ours = {os.geteuid()}
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    (open_to_all / "tool").symlink_to(program)
    link = tmp_path / "link"
    link.symlink_to(open_to_all / "tool")
    assert untrusted(str(link), ours) == ""
    open_to_all.chmod(0o777)
    assert f"everybody may write {open_to_all}" in untrusted(str(link), ours)
    round_about = tmp_path / "round"
    round_about.symlink_to(round_about)
    assert "more than 40 links" in untrusted(str(round_about), ours)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_program_of_somebody_else_is_not_run_but_for_its_owner(program: Path) -> None:
    os.chown(program, 65534, 65534)
    assert "belongs to nobody" in untrusted(str(program), {0})
    assert untrusted(str(program), {65534}) == ""
    os.chown(program, 0, 65534)
    program.chmod(0o775)
    assert "the group 65534 may write" in untrusted(str(program), {0})
    folder = program.parent
    os.chown(folder, 65534, 0)
    assert f"{folder} belongs to nobody" in untrusted(str(program), {0})


# --- scripts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("echo", "sh", []),
        ("#!/bin/sh\necho", "sh", []),
        ("#! /bin/bash -eu\n", "bash", ["-eu"]),
        ("#!/bin/sh -e -u\r\n", "sh", ["-e -u"]),
        ("#!/usr/bin/env python3\n", "python3", []),
        ("#!/usr/bin/env -S python3 -I -B\n", "python3", ["-I", "-B"]),
    ],
)
def test_the_first_line_says_who_reads_a_script(text: str, name: str, options: list[str]) -> None:
    found, wanted = first_line(text)
    assert (found, list(wanted)) == (name, options)


@pytest.mark.parametrize("text", ["#!\n", "#!/bin/-x\n", "#!/usr/bin/env\n", "#!/usr/bin/env a b\n", "#!/x;y\n"])
def test_a_first_line_that_names_nobody_is_refused(text: str) -> None:
    with pytest.raises(Denied, match="first line"):
        first_line(text)


def test_a_script_runs_only_by_an_interpreter_of_the_node(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"user": ME, "folder": str(tmp_path / "own")}
    said = refused(script("#!/bin/bash\n", settings))
    assert "a script for bash: `interpreters` has none" in said
    settings["interpreters"] = {"bash": {"argv": ["/bin/bash", "-p"], "options": ["-e"]}}
    assert "`interpreters` has bash" in refused(script("echo", settings))
    assert "option '-x'" in refused(script("#!/bin/bash -x\n", settings))
    harness = script("#!/evil/bash -e\necho $1", settings, args=["one", "-two"])
    assert harness.pre_check() == Go()
    assert not (tmp_path / "own").exists(), "pre_check changes nothing"
    harness.execute_action()
    [(program, *rest)] = harness.commands
    assert (program, rest[:2], rest[3:]) == ("/bin/bash", ["-p", "-e"], ["one", "-two"])
    assert rest[2].startswith("/proc/self/fd/")
    assert list((tmp_path / "own").iterdir()) == []
    assert script("echo", settings, interpreter="bash").pre_check() == Go()


def test_a_script_of_a_size_that_no_document_should_have_is_refused() -> None:
    for text in ("x" * (32 * 1024 + 1), "é" * (17 * 1024), "", "a\0b"):
        with pytest.raises(ActionArgsInvalid, match="script"):
            validate_args(Script, {"script": text})


def test_a_private_file_has_no_name_and_cannot_be_written(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path / "a"), "b")
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    with private_file(folder, [b"one", b"two"]) as descriptor:
        assert os.listdir(folder) == []
        assert Path(runnable(descriptor)).read_bytes() == b"onetwo"
        assert os.fstat(descriptor).st_nlink == 0
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"x")


def test_a_private_file_that_cannot_be_written_whole_leaves_nothing(tmp_path: Path) -> None:
    def breaks() -> Any:
        yield b"half"
        assert os.listdir(tmp_path) == [], "not even while it is written"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), private_file(str(tmp_path), breaks()):
        raise AssertionError("it is not lent")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_others_could_change_keeps_no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_folder(str(tmp_path / "new" / "er"), needed_bytes=1, to_run=False) == ""
    assert "bytes are free" in check_folder(str(tmp_path), needed_bytes=1 << 60, to_run=False)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(Denied, match=r"everybody may write .*`folder` in \[runners.command_task\]"):
        check_folder(str(tmp_path / "open" / "own"), needed_bytes=1, to_run=False)
    with pytest.raises(Denied, match="everybody may write"):
        open_folder(str(tmp_path / "open"), "own")
    (tmp_path / "file").touch()
    with pytest.raises(Denied, match="may not write into"):
        check_folder(str(tmp_path / "file" / "own"), needed_bytes=1, to_run=False)


# --- what an exit code means ---------------------------------------------------------------------------------

CHECKED = {**LINE, "allow": [*LINE["allow"], {"argv": ["/usr/bin/test", "-e", "**"]}]}
CHECK = ["/usr/bin/test", "-e", "/run/well"]


def test_a_success_is_done_and_a_failure_says_what_a_success_is() -> None:
    harness = run(DF, "-h", "x", success=[0, 3])
    harness.answer(DF, exit=3)
    harness.execute_action()
    assert (harness.recover(), harness.post_check()) == (Recovered.DONE, Go())
    harness.answer(DF, exit=1)
    with pytest.raises(EndedBadly, match="exit 1; a success is 0 or 3"):
        harness.execute_action()
    assert harness.recover() is Recovered.NOT_DONE
    assert harness.post_check() == Go(), "its end was seen"


def test_nothing_to_do_is_as_good_as_done() -> None:
    harness = run(TRUE, nothing_to_do=[4])
    harness.answer(TRUE, exit=4)
    harness.execute_action()
    assert (harness.recover(), harness.post_check()) == (Recovered.DONE, Go())


def test_who_says_that_it_can_only_later_is_asked_again_and_no_attempt_is_used() -> None:
    harness = run(TRUE, try_again_after_s=0.1)
    harness.answer(TRUE, exit=0)
    harness.answer(TRUE, exit=75, times=2)
    harness.execute_action()
    assert harness.commands == [(TRUE,)] * 3
    assert harness.recover() is Recovered.DONE


def test_interrupted_between_two_tries_nothing_has_happened() -> None:
    harness = run(TRUE, try_again_after_s=0.1)
    harness.interrupt(TRUE)
    harness.answer(TRUE, exit=75, times=1)
    with pytest.raises(ActionInterrupted):
        harness.execute_action()
    harness.saved = {"began": True, "exit": 75}  # as it stands while it waits
    assert (harness.recover(), harness.post_check()) == (Recovered.NOT_DONE, Go())


def test_a_command_that_was_killed_leaves_a_node_that_nobody_vouches_for() -> None:
    harness = run(TRUE)
    harness.answer(TRUE, exit=-9)
    with pytest.raises(EndedBadly, match="ended by signal 9"):
        harness.execute_action()
    answer = harness.post_check()
    assert isinstance(answer, Refuse)
    assert "ended by signal 9, and the task has no `check`" in answer.reason


def test_without_a_check_a_command_that_was_interrupted_is_not_called_well() -> None:
    harness = run(TRUE)
    harness.interrupt(TRUE)
    with pytest.raises(ActionInterrupted):
        harness.execute_action()
    answer = harness.post_check()
    assert isinstance(answer, Refuse)
    assert "nobody saw its end" in answer.reason


@pytest.mark.parametrize(
    ("exit_code", "before", "expected"),
    [
        (0, True, Go),
        (4, True, Skip),
        (3, True, Wait),
        (75, True, Wait),
        (None, True, Wait),
        (0, False, Go),
        (4, False, Skip),
        (3, False, Go),
        (None, False, Go),
    ],
)
def test_before_the_action_a_check_says_whether_to_act(
    exit_code: int | None, before: bool, expected: type[Check]
) -> None:
    """What the command's own codes mean says nothing of the check's: 3 is a success of the one, and here ill."""
    args = {"check": CHECK, "check_nothing_to_do": [4], "check_before": before, "success": [0, 3]}
    harness = run(TRUE, settings=CHECKED, **args)
    harness.answer(*CHECK, exit=exit_code, output="because")
    answer = harness.pre_check()
    assert isinstance(answer, expected)
    if exit_code and not isinstance(answer, Go):
        assert "because" in getattr(answer, "reason", "")
    assert harness.users == [ME]


def test_what_is_to_make_the_node_well_does_not_ask_it_before_and_does_after() -> None:
    harness = run(TRUE, settings=CHECKED, check=CHECK, check_before=False)
    assert harness.pre_check() == Go()
    assert harness.commands == []
    harness.answer(*CHECK, exit=1)
    assert isinstance(harness.post_check(), Wait)


def test_a_success_of_the_command_is_none_of_the_check() -> None:
    harness = run(TRUE, settings=CHECKED, check=CHECK, success=[0, 3], nothing_to_do=[4])
    for code in (3, 4, 75, -9):
        harness.answer(*CHECK, exit=code)
        assert isinstance(harness.post_check(), Wait)


def test_a_check_has_to_be_allowed_as_any_command(tmp_path: Path) -> None:
    said = run(TRUE, check=CHECK).pre_check()
    assert isinstance(said, Refuse)
    assert "no rule in `allow` is about /usr/bin/test" in said.reason


def test_after_the_action_a_check_is_believed_only_several_times_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("taskerman.runner.steady.time.time", lambda: now[0])
    harness = run(TRUE, settings=CHECKED, check=CHECK)
    harness.execute_action()
    harness.answer(*CHECK, exit=0)
    harness.answer(*CHECK, exit=1, output="loading", times=1)
    first = harness.post_check()
    assert isinstance(first, Wait)
    assert "loading" in first.reason
    answers = []
    for _ in range(4):
        answers.append(harness.post_check())
        now[0] += 1.0
    assert [type(answer) for answer in answers] == [Wait, Wait, Go, Go]


def test_a_check_that_is_not_allowed_any_more_is_no_proof() -> None:
    harness = run(TRUE, settings=LINE, check=CHECK)
    answer = harness.post_check()
    assert isinstance(answer, Wait)
    assert "does not run /usr/bin/test" in answer.reason


# --- after a crash -------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone: nothing of it goes on, not even its clean-up."""


@pytest.mark.parametrize(
    ("at", "answer"),
    [
        ("before the note", Recovered.NOT_DONE),
        ("the note", Recovered.UNKNOWN),
        ("the command", Recovered.UNKNOWN),
        ("before the code", Recovered.UNKNOWN),
        ("the code", Recovered.DONE),
    ],
)
def test_whoever_comes_after_a_kill_says_what_can_be_known(
    at: str, answer: Recovered, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = run(TRUE)
    save = type(harness.runner().ctx).save
    saves = 0

    def dies(context: Any, **values: Any) -> None:
        nonlocal saves
        saves += 1
        if (at, saves) in {("before the note", 1), ("before the code", 2)}:
            raise Killed
        save(context, **values)
        if (at, saves) in {("the note", 1), ("the code", 2)}:
            raise Killed

    def command_dies(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(type(harness.runner().ctx), "save", dies)
    if at == "the command":
        monkeypatch.setattr(type(harness.runner().ctx), "command", command_dies)
    with pytest.raises(Killed):
        harness.execute_action()
    monkeypatch.undo()
    assert harness.recover() is answer
    assert isinstance(harness.post_check(), Refuse if answer is Recovered.UNKNOWN else Go)


def test_a_command_that_could_not_be_started_has_not_happened() -> None:
    harness = run(TRUE)
    harness.answer(TRUE, exit=None)
    with pytest.raises(CommandFailed):
        harness.execute_action()
    assert (harness.recover(), harness.post_check()) == (Recovered.NOT_DONE, Go())


def test_a_second_run_in_an_attempt_does_not_inherit_the_code_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = run(TRUE, try_again_after_s=0.1)
    harness.interrupt(TRUE)
    harness.answer(TRUE, exit=75, times=1)
    with pytest.raises(ActionInterrupted):
        harness.execute_action()
    assert harness.recover() is Recovered.UNKNOWN


def test_abort_may_be_called_when_there_is_nothing_to_stop_and_twice() -> None:
    harness = run(TRUE)
    harness.abort()
    harness.abort()
    assert harness.commands == []


@pytest.mark.parametrize("runner", [Run, Script])
def test_every_argument_and_every_key_has_a_description(runner: type[CommandRunner]) -> None:
    assert runner.Args is not None
    assert runner.Config is not None
    for model in (runner.Args, runner.Config):
        assert all(field.description for field in model.model_fields.values())


def test_the_configuration_on_the_page_is_one_and_lets_through_what_it_shows() -> None:
    text = str(runners.command.__doc__).partition("```toml")[2].partition("```")[0]
    config = CommandConfig.model_validate(tomllib.loads(text)["runners"]["command_task"], strict=False)
    backup, repair = config.allow
    assert fits(backup.argv[1:], ["--to", "s3://backups.example.com/a/b"], backup.more)
    assert not fits(repair.argv[1:], ["repair", "-pr", "--in-local-dc"], repair.more)
    assert config.binaries[0].signer == "/etc/taskerman/release.pub"
