"""`command_task` with real processes, real users and a local S3: what is let through runs as it should, and as nobody
else; what was fetched is what was named, or nothing is run; and whoever is killed leaves no file behind."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from runners.command.binary import Binary
from runners.command.fetched import Altered, signed_text
from runners.command.permission import Denied
from runners.command.program import Run
from runners.command.script import Script
from runners.objects import StoreUnavailable
from taskerman import CommandFailed, CommandResult, Go, Recovered, Refuse, TaskRunner, Wait
from taskerman.adapters.signatures import generate_key
from taskerman.agent.child_talk import Exit, Ready, Recover, RecoveredAs
from taskerman.runner.command import stream
from taskerman.runner.identity import own_name
from taskerman.testing.harness import RunnerHarness
from tests.support.aws import LocalCloud, local_cloud, unique
from tests.support.children import MINUTE, Starting, begin, go
from tests.support.waiting import until

__all__ = ["begin", "local_cloud"]

ME = own_name()
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only an agent that is root may become somebody else")
WHO = "id -un; id -gn; id -G; env | sort; pwd; umask"


class OnTheMachine(RunnerHarness[Any]):
    """The harness, but commands are run, as whom and with what they are to be. `printed`: all of it."""

    printed = b""

    def runner(self, phase: str = "") -> Any:
        made: TaskRunner = super().runner(phase)

        def command(argv: Sequence[str], *, timeout: Any = None, check: bool = True, **how: Any) -> CommandResult:
            self.commands.append(tuple(argv))
            how = {"env": None, "cwd": None, **how}
            code, raw, why = stream(argv, timeout=timeout, write=self._print, tail_bytes=16384, **how)
            if code is None or (check and code):
                raise CommandFailed(argv, code, raw.decode(), why)
            return CommandResult(argv, code, raw.decode())

        made.ctx.command = command  # type: ignore[method-assign]
        return made

    def _print(self, data: bytes) -> None:
        self.printed += data

    @property
    def lines(self) -> list[str]:
        return self.printed.decode().splitlines()


def script(folder: Path, text: str, *, user: str = ME, **args: Any) -> OnTheMachine:
    settings: dict[str, Any] = {
        "user": user,
        "folder": str(folder / "own"),
        "interpreters": {"sh": {"argv": ["/bin/sh"]}, "python3": {"argv": [sys.executable, "-I"]}},
        "allow": [{"argv": ["/usr/bin/test", "-e", "**"]}],
    }
    return OnTheMachine(Script, args={"script": text, **args}, settings=settings)


def acted(harness: OnTheMachine) -> list[str]:
    """What it printed, once it was let through and run to its end."""
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert harness.recover() is Recovered.DONE
    return harness.lines


# --- as whom -------------------------------------------------------------------------------------------------


@as_root
def test_a_command_runs_as_its_user_with_that_users_groups_and_none_of_ours(tmp_path: Path) -> None:
    user, group, groups, *_ = acted(script(tmp_path, WHO, user="nobody"))
    assert (user, group, groups) == ("nobody", "nogroup", "65534")


@as_root
def test_who_is_somebody_else_may_not_do_what_we_may(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    harness = script(tmp_path, f"cat {secret} /etc/shadow; kill -0 {os.getpid()} || echo no", user="nobody")
    assert [line.rpartition(": ")[2] for line in acted(harness)][:2] == ["Permission denied"] * 2
    assert harness.lines[-1] == "no"


def test_nothing_of_our_environment_is_passed_on_but_the_mark_of_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/tmp")
    monkeypatch.setenv("TASKERMAN_ATTEMPT", "t.n.1")
    printed = acted(script(tmp_path, "env"))
    names = {line.partition("=")[0] for line in printed}
    assert names - {"_", "PWD", "OLDPWD", "SHLVL"} == {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG"),
        "TASKERMAN_ATTEMPT",
    }
    assert f"USER={ME}" in printed


def test_a_user_that_is_not_there_is_a_command_that_cannot_be_started() -> None:
    code, _, why = stream(
        ["/bin/true"], timeout=None, env=None, cwd=None, write=lambda _: None, tail_bytes=99, user="no-such-user"
    )
    assert (code, why) == (None, "cannot be started: there is no user 'no-such-user' on this node")


def test_what_no_argument_list_can_hold_is_a_command_that_cannot_be_started() -> None:
    code, _, why = stream(["/bin/echo", "a\0b"], timeout=None, env=None, cwd=None, write=print, tail_bytes=99)
    assert code is None
    assert why.startswith("cannot be started: ")


@as_root
def test_a_command_of_another_user_ends_at_its_timeout_as_ours_do() -> None:
    argv = ["/bin/sh", "-c", "trap '' TERM; sleep 600 & wait; sleep 600"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("taskerman.runner.command.GRACE_SECONDS", 0.2)
        soon = timedelta(seconds=0.2)
        code, _, why = stream(argv, timeout=soon, env=None, cwd=None, write=print, tail_bytes=99, user="nobody")
    assert (code, why) == (None, "took longer than 0.2 s and was killed: it did not end within 0.2 s of SIGTERM")


# --- run -----------------------------------------------------------------------------------------------------


def test_an_argument_is_one_argument_whatever_a_shell_would_make_of_it(tmp_path: Path) -> None:
    words = ["; touch x", "$(id)", "a b", "*", "`id`", "", "'\"\\", "ünïcode"]
    harness = OnTheMachine(
        Run,
        args={"argv": ["/usr/bin/printf", "%s|", *words]},
        settings={"user": ME, "allow": [{"argv": ["/usr/bin/printf", "%s|"], "more": "anything"}]},
    )
    assert acted(harness) == ["|".join(words) + "|"]


def test_a_program_that_is_exchanged_by_somebody_else_between_check_and_action_is_not_run(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho ours\n")
    tool.chmod(0o755)
    harness = OnTheMachine(Run, args={"argv": [str(tool)]}, settings={"user": ME, "allow": [{"argv": [str(tool)]}]})
    assert harness.pre_check() == Go()
    tool.chmod(0o777)
    with pytest.raises(Denied, match="everybody may write"):
        harness.execute_action()
    assert harness.commands == []


# --- script --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [ME, pytest.param("nobody", marks=as_root)])
def test_a_script_is_read_by_its_interpreter_with_its_arguments(tmp_path: Path, user: str) -> None:
    text = '#!/usr/bin/env sh\nid -un\nprintf "%s|" "$@"'
    assert acted(script(tmp_path, text, user=user, args=["a", "-b c"])) == [user, "a|-b c|"]


def test_a_script_is_read_by_the_interpreter_of_its_first_line(tmp_path: Path) -> None:
    text = "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:], sys.flags.isolated)"
    assert acted(script(tmp_path, text, args=["a"])) == ["['a'] 1"]


@as_root
def test_a_script_cannot_be_changed_while_it_runs_not_even_by_itself(tmp_path: Path) -> None:
    text = 'echo first; echo "echo evil" >> "$0" || echo refused; chmod 777 "$0" || echo refused\n'
    printed = acted(script(tmp_path, text, user="nobody"))
    assert printed[0] == "first"
    assert "evil" not in printed
    assert printed.count("refused") == 2


def test_the_exit_code_of_a_script_is_what_counts(tmp_path: Path) -> None:
    harness = script(tmp_path, "exit 4", nothing_to_do=[4])
    assert acted(harness) == []
    assert [logged.message for logged in harness.logged] == [
        "it says that there was nothing to do",
        "it had ended",
    ]


def test_a_killed_attempt_leaves_no_file_of_its_script_and_says_that_nobody_knows(
    begin: Starting, tmp_path: Path
) -> None:
    """kill -9 of the worker, then of the keeper: what was written had no name."""
    settings = {"user": ME, "folder": str(tmp_path / "own"), "interpreters": {"sh": {"argv": ["/bin/sh"]}}}
    args = {"script": f"echo $$ > {tmp_path}/pid; exec sleep 600"}
    watched = begin("runners.command.script:Script", settings=settings, args=args)
    watched.expect(Ready)
    watched.child.ask(go())
    pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it runs"))
    assert list((tmp_path / "own").iterdir()) == []
    os.kill(watched.child.pid, signal.SIGKILL)
    assert watched.child.wait(20)
    assert watched.child.kill_all()
    assert not Path(f"/proc/{pid}/cmdline").exists() or Path(f"/proc/{pid}/cmdline").read_bytes() == b""
    assert list((tmp_path / "own").iterdir()) == []
    again = begin("runners.command.script:Script", settings=settings, args=args)
    again.child.ask(Recover(MINUTE))
    assert again.expect(RecoveredAs).answer is Recovered.UNKNOWN
    again.child.ask(Exit())


# --- binary --------------------------------------------------------------------------------------------------


class Shelf:
    """A bucket of this test."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.bucket = unique("tools")
        s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def put(self, content: bytes, key: str = "bin/tool") -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)
        return hashlib.sha256(content).hexdigest()

    def url(self, key: str = "bin/tool") -> str:
        return f"s3://{self.bucket}/{key}"


@pytest.fixture
def shelf(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """The clients that runners make are closed at the end."""
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    made: list[Any] = []
    make = boto3.client

    def client(*args: Any, **kwargs: Any) -> Any:
        made.append(make(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr("runners.objects.boto3.client", client)
    with local_cloud.client("s3") as s3:
        yield Shelf(s3)
    for each in made:
        each.close()


ECHO = b'#!/bin/sh\necho it ran as $(id -un) with "$@"\n'
Fetching = Callable[..., OnTheMachine]


@pytest.fixture
def fetching(shelf: Shelf, tmp_path: Path) -> Fetching:
    def made(
        sha256: str, url: str | None = None, rule: Mapping[str, Any] | None = None, user: str = ME, **settings: Any
    ) -> OnTheMachine:
        args = settings.pop("args", [])
        allowed = {"sha256": sha256, "more": "words", **(rule or {})}
        allowed = {name: value for name, value in allowed.items() if value is not None}
        return OnTheMachine(
            Binary,
            args={"url": url or shelf.url(), "sha256": sha256, "args": args},
            settings={"user": user, "folder": str(tmp_path / "own"), "binaries": [allowed], **settings},
        )

    return made


@pytest.mark.parametrize("user", [ME, pytest.param("nobody", marks=as_root)])
def test_a_program_is_fetched_verified_and_run(shelf: Shelf, fetching: Fetching, tmp_path: Path, user: str) -> None:
    harness = fetching(shelf.put(ECHO), user=user, args=["one", "two"])
    assert harness.pre_check() == Go()
    assert not (tmp_path / "own").exists(), "pre_check changes nothing"
    assert acted(harness) == [f"it ran as {user} with one two"]


def test_a_compiled_program_is_run_through_its_descriptor(shelf: Shelf, fetching: Fetching) -> None:
    content = Path("/usr/bin/echo").read_bytes()
    assert acted(fetching(shelf.put(content), args=["hello"])) == ["hello"]


def test_what_is_kept_needs_no_s3_and_is_verified_again_each_time(
    shelf: Shelf, fetching: Fetching, tmp_path: Path
) -> None:
    harness = fetching(shelf.put(ECHO))
    acted(harness)
    [kept] = (tmp_path / "own" / "binaries").iterdir()
    shelf.s3.delete_object(Bucket=shelf.bucket, Key="bin/tool")
    acted(harness)
    kept.write_bytes(b"#!/bin/sh\necho evil\n")
    with pytest.raises(StoreUnavailable, match="no such object"):
        harness.execute_action()
    shelf.put(ECHO)
    harness.execute_action()
    assert "evil" not in harness.lines
    assert kept.read_bytes() == ECHO


def test_another_content_than_the_task_names_is_not_run_and_not_kept(
    shelf: Shelf, fetching: Fetching, tmp_path: Path
) -> None:
    sha256 = shelf.put(ECHO)
    shelf.put(b"#!/bin/sh\necho evil\n")
    harness = fetching(sha256)
    with pytest.raises(Altered, match=rf"and the task names {sha256}"):
        harness.execute_action()
    assert harness.commands == []
    assert list((tmp_path / "own" / "binaries").iterdir()) == []
    assert harness.recover() is Recovered.NOT_DONE


def test_a_link_in_the_place_of_what_is_kept_is_not_followed(shelf: Shelf, fetching: Fetching, tmp_path: Path) -> None:
    sha256 = shelf.put(ECHO)
    folder = tmp_path / "own" / "binaries"
    folder.mkdir(parents=True, mode=0o700)
    (folder / sha256).symlink_to("/usr/bin/id")
    with pytest.raises(OSError, match="symbolic links"):
        fetching(sha256).execute_action()


@pytest.mark.parametrize("most", [1, len(ECHO) - 1])
def test_a_program_that_is_too_large_is_refused_before_it_is_fetched(
    shelf: Shelf, fetching: Fetching, tmp_path: Path, most: int
) -> None:
    harness = fetching(shelf.put(ECHO), binary_max_bytes=most)
    answer = harness.pre_check()
    assert isinstance(answer, Refuse)
    assert f"has {len(ECHO):,} bytes or more, and this node takes {most:,}" in answer.reason
    with pytest.raises(Denied, match="binary_max_bytes"):
        harness.execute_action()
    assert list((tmp_path / "own" / "binaries").iterdir()) == []


def test_what_cannot_be_fetched_is_said_before_the_action(shelf: Shelf, fetching: Fetching) -> None:
    sha256 = hashlib.sha256(b"x").hexdigest()
    for url in (shelf.url("bin/none"), "s3://no-such-bucket-anywhere/x"):
        answer = fetching(sha256, url).pre_check()
        assert isinstance(answer, Refuse)
        assert "there is no such object" in answer.reason


def test_an_s3_that_does_not_answer_is_waited_for(
    shelf: Shelf, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("runners.objects.RETRIES", {"total_max_attempts": 1, "mode": "standard"})
    assert isinstance(fetching(hashlib.sha256(ECHO).hexdigest()).pre_check(), Wait)


def test_a_program_that_no_rule_names_is_refused_with_the_rule_that_would(shelf: Shelf, fetching: Fetching) -> None:
    sha256 = shelf.put(ECHO)
    answer = fetching(sha256, rule={"sha256": "0" * 64}).pre_check()
    assert isinstance(answer, Refuse)
    assert f'[[runners.command_task.binaries]] with sha256 = "{sha256}"' in answer.reason
    answer = fetching(sha256, args=["--evil"]).pre_check()
    assert isinstance(answer, Refuse)
    assert "none lets these arguments through" in answer.reason


def test_old_programs_make_room_for_new_ones(shelf: Shelf, fetching: Fetching, tmp_path: Path) -> None:
    contents = [b"#!/bin/sh\n#" + bytes([65 + k]) * 100 for k in range(4)]
    for place, content in enumerate(contents):
        acted(fetching(shelf.put(content), cache_max_bytes=250))
        kept = tmp_path / "own" / "binaries" / hashlib.sha256(content).hexdigest()
        os.utime(kept, (1000 + place, 1000 + place))
    left = {each.name for each in (tmp_path / "own" / "binaries").iterdir()}
    assert left == {hashlib.sha256(content).hexdigest() for content in contents[1:]}


# --- signed --------------------------------------------------------------------------------------------------


def signed_by(key: Path, sha256: str) -> bytes:
    private: Any = load_pem_private_key(key.read_bytes(), password=None)
    return base64.b64encode(private.sign(signed_text(sha256)))


def test_below_a_prefix_only_what_its_signer_signed_is_run(shelf: Shelf, fetching: Fetching, tmp_path: Path) -> None:
    mine, other = tmp_path / "release.pem", tmp_path / "other.pem"
    public = generate_key(mine)
    generate_key(other)
    sha256 = shelf.put(ECHO)
    rule = {"sha256": None, "prefix": f"s3://{shelf.bucket}/bin/", "signer": str(public)}

    def refusal() -> str:
        answer = fetching(sha256, rule=rule).pre_check()
        assert isinstance(answer, Refuse)
        with pytest.raises(Denied):
            fetching(sha256, rule=rule).execute_action()
        return answer.reason

    assert "taskerman upload --sign-with" in refusal()
    for wrong in (signed_by(other, sha256), signed_by(mine, "0" * 64), b"nonsense", b""):
        shelf.put(wrong, "bin/tool.sig")
        assert "is somebody else's, or of another program" in refusal()
    shelf.put(signed_by(mine, sha256), "bin/tool.sig")
    acted(fetching(sha256, rule=rule))
    shelf.s3.delete_object(Bucket=shelf.bucket, Key="bin/tool.sig")
    acted(fetching(sha256, rule=rule))  # who vouched for it is kept beside it
    kept = tmp_path / "own" / "binaries" / f"{sha256}.sig"
    kept.write_bytes(signed_by(other, sha256))
    assert "taskerman upload --sign-with" in refusal()
    answer = fetching(sha256, shelf.url("bin2/tool"), rule=rule).pre_check()
    assert isinstance(answer, Refuse), "another prefix"
    public.chmod(0o666)
    assert "everybody may write" in refusal()
