"""`service_task`: what it refuses, what it waits for, and what it says after each crash."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runners.service.operation import ServiceOperation
from runners.service.reload import Reload
from runners.service.restart import Restart
from runners.service.stop_start import StopStart
from taskerman import ActionInterrupted, CommandFailed, Go, Recovered, Refuse, Wait
from taskerman.testing.harness import RunnerHarness

OPERATIONS = (Restart, Reload, StopStart)
PEERS = {f"node-{number}": {"command": ["true", f"node-{number}"]} for number in (1, 2, 3)}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here changes by itself, so waiting for it is over at once."""
    for name in ("SHOW_UP_S", "COME_BACK_S", "LAST_PAUSE_S", "FIRST_PAUSE_S"):
        for module in ("operation", "restart", "reload", "stop_start"):
            monkeypatch.setattr(f"runners.service.{module}.{name}", 0.01, raising=False)
    monkeypatch.setattr("runners.service.stop_start.STOPPED_WITHIN_S", 0.01)


class Machine:
    """A node with the service `web`, and one attempt at it."""

    def __init__(self, folder: Path, operation: type[ServiceOperation] = Restart, **settings: Any) -> None:
        given: dict[str, Any] = {
            "unit": "web.service",
            "checks": [{"command": ["true", "self"]}],
            "peers": PEERS,
            **{verb: ["true", verb] for verb in ("restart", "reload", "stop", "start")},
            **settings,
        }
        self.note = folder / "notes" / "web.drained"
        args: dict[str, Any] = {"service": "web", "healthy_within_s": 0.01}
        at_once = given.pop("at_once", 1)
        self.nodes = given.pop("nodes", ("node-1", "node-2", "node-3"))
        args |= given.pop("args", {})
        self.harness = RunnerHarness(
            operation,
            settings={"services": {"web": given}, "state_folder": str(folder / "notes")},
            args=args,
            cap=at_once,
            nodes=self.nodes,
        )
        self.starts("one")

    def starts(self, name: str, *, state: str = "active", load: str = "loaded", times: int | None = None) -> None:
        """What systemd says from now on: which start runs."""
        output = (
            f"LoadState={load}\nActiveState={state}\nMainPID=7\nExecMainStartTimestampMonotonic=5\nInvocationID={name}"
        )
        self.harness.answer("systemctl", "show", output=output, times=times)

    def dies(self) -> None:
        self.starts("none", state="inactive")

    @property
    def done(self) -> list[str]:
        """What was done to the service, in order; what was asked of it is left out."""
        verbs = [words[1] for words in self.harness.commands if words[0] == "true"]
        return [verb for verb in verbs if verb != "self" and not verb.startswith("node-")]

    def settled(self) -> object:
        """The answer of post_check that counts, with time passing between the questions."""
        for _ in range(3):
            answer = self.harness.post_check()
            saved = self.harness.saved.get("steady")
            if isinstance(saved, dict):
                saved["since"] = float(str(saved["since"])) - 1.5
        return answer


# --- before ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_service_that_does_not_exist_is_refused_before_anything_is_done(
    tmp_path: Path, operation: type[ServiceOperation]
) -> None:
    unknown = Machine(tmp_path, operation, args={"service": "wbe"})
    answer = unknown.harness.pre_check()
    assert isinstance(answer, Refuse)
    assert "'wbe'" in answer.reason
    assert "it has: web" in answer.reason
    assert unknown.harness.commands == []
    unloaded = Machine(tmp_path, operation)
    unloaded.starts("", load="not-found", state="inactive")
    answer = unloaded.harness.pre_check()
    assert isinstance(answer, Refuse)
    assert "no unit web.service" in answer.reason
    assert "not-found" in answer.reason
    assert unloaded.done == []


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"unit": None, "identity": ["true"], "restart": None, "reload": None, "stop": None}, "neither a unit nor"),
        ({"restart": ["/no/such"], "reload": ["/no/such"], "stop": ["/no/such"]}, "no such program: /no/such"),
        ({"checks": [{"command": ["/no/such"]}]}, "no such program"),
        ({"checks": []}, "checks"),
        ({"checks": [{"http": "http://x", "tcp": "x:1"}]}, "one of http, tcp and command"),
        ({"checks": [{"http": "ftp://x"}]}, "no http://"),
        ({"checks": [{"http": "http://x", "body": "("}]}, "no regular expression"),
        ({"checks": [{"tcp": "x"}]}, "not host:port"),
        ({"drain": ["true"]}, "drain and undrain go together"),
        ({"unit": None}, "which start of it runs"),
        ({"unit": "--now"}, "unit"),
        ({"identity": ["true"], "pid_file": "/x"}, "only one of them"),
        ({"restrat": ["true"]}, "restrat"),
        ({"restart": []}, "a command needs a program"),
        ({"peers": {"node-2": {"tcp": "x:1", "about": "/x"}}}, "there is no http"),
        ({"peers": {}}, "names no peers"),
        ({"at_least": 3}, "at_least is 3"),
    ],
)
def test_what_is_wrong_with_a_node_is_refused_by_name(
    tmp_path: Path, operation: type[ServiceOperation], settings: dict[str, Any], said: str
) -> None:
    machine = Machine(tmp_path, operation, **settings)
    answer = machine.harness.pre_check()
    assert isinstance(answer, Refuse)
    assert said in answer.reason
    assert machine.done == []


def test_a_folder_that_cannot_be_written_is_refused_where_a_note_will_be_needed(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    answer = Machine(tmp_path, **BALANCER).harness.pre_check()
    assert isinstance(answer, Refuse)
    assert "cannot be written" in answer.reason
    assert Machine(tmp_path).harness.pre_check() == Go(), "no drain, no note"


@pytest.mark.parametrize(("at_once", "down", "goes"), [(1, 0, True), (1, 1, False), (2, 1, True), (2, 2, False)])
def test_it_waits_while_more_peers_are_unwell_than_the_task_may_have_taken_down(
    tmp_path: Path, at_once: int, down: int, goes: bool
) -> None:
    machine = Machine(tmp_path, at_once=at_once)
    for number in range(down):
        machine.harness.answer("true", f"node-{number + 2}", exit=1)
    answer = machine.harness.pre_check()
    assert isinstance(answer, Go) is goes
    if isinstance(answer, Wait):
        assert answer.of == "cluster"
        assert "node-2" in answer.reason
    forced = Machine(tmp_path, at_once=at_once, args={"force": True})
    forced.harness.answer("true", "node-2", exit=1)
    assert forced.harness.pre_check() == Go()


def test_a_node_of_the_task_that_is_no_peer_here_counts_as_unwell(tmp_path: Path) -> None:
    machine = Machine(tmp_path, nodes=("node-1", "node-2", "node-3", "node-4"))
    answer = machine.harness.pre_check()
    assert isinstance(answer, Wait)
    assert "1 nodes of the task are not among" in answer.reason
    assert Machine(tmp_path, at_once=2, nodes=("node-1", "node-2", "node-3", "node-4")).harness.pre_check() == Go()


@pytest.mark.parametrize(("at_once", "down", "goes"), [(1, 0, True), (1, 1, False), (2, 0, False)])
def test_so_many_must_stay_well_even_if_everybody_whom_the_task_may_act_on_goes_down_now(
    tmp_path: Path, at_once: int, down: int, goes: bool
) -> None:
    """Two that look in the same moment see each other well."""
    machine = Machine(tmp_path, at_once=at_once, at_least=2)
    for number in range(down):
        machine.harness.answer("true", f"node-{number + 2}", exit=1)
    assert isinstance(machine.harness.pre_check(), Go) is goes


def test_a_service_that_is_down_may_be_restarted_and_not_reloaded(tmp_path: Path) -> None:
    restart, reload = Machine(tmp_path), Machine(tmp_path, Reload)
    restart.dies()
    reload.dies()
    assert restart.harness.pre_check() == Go()
    answer = reload.harness.pre_check()
    assert isinstance(answer, Refuse)
    assert "nothing to reload" in answer.reason
    forced = Machine(tmp_path, Reload, args={"force": True})
    forced.dies()
    assert isinstance(forced.harness.pre_check(), Refuse)


def test_a_service_that_is_ill_is_not_reloaded_either(tmp_path: Path) -> None:
    machine = Machine(tmp_path, Reload)
    machine.harness.answer("true", "self", exit=1)
    assert isinstance(machine.harness.pre_check(), Wait)


# --- a restart ---------------------------------------------------------------------------------------------


def test_a_restart_is_well_only_as_another_start_and_several_times_in_a_row(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.harness.execute_action()
    assert machine.done == ["restart"]
    assert machine.settled() == Wait("the service still runs as it was started before")
    machine.starts("two")
    assert isinstance(machine.harness.post_check(), Wait), "well once is luck"
    assert machine.settled() == Go()
    machine.harness.answer("true", "self", exit=1)
    answer = machine.harness.post_check()
    assert isinstance(answer, Wait)
    assert "is not well" in answer.reason


def test_after_it_too_the_peers_are_asked(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.harness.execute_action()
    machine.starts("two")
    machine.harness.answer("true", "node-3", exit=1)
    answer = machine.settled()
    assert isinstance(answer, Wait)
    assert "node-3" in answer.reason
    forced = Machine(tmp_path, args={"force": True})
    forced.harness.answer("true", "node-3", exit=1)
    forced.harness.execute_action()
    forced.starts("two")
    assert forced.settled() == Go(), "no worse than it was when a person said not to look"
    forced.harness.answer("true", "node-2", exit=1)
    assert isinstance(forced.settled(), Wait)


def test_recover_tells_a_restart_that_happened_from_one_that_did_not_and_one_that_may_still_come(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path)
    assert machine.harness.recover() is Recovered.NOT_DONE
    machine.harness.answer("true", "restart", exit=None)
    with pytest.raises(CommandFailed):
        machine.harness.execute_action()
    assert machine.harness.recover() is Recovered.UNKNOWN
    machine.dies()
    assert machine.harness.recover() is Recovered.UNKNOWN, "down is no other start"
    machine.starts("two", state="activating")
    assert machine.harness.recover() is Recovered.UNKNOWN
    machine.starts("two")
    assert machine.harness.recover() is Recovered.DONE


def test_a_service_that_was_down_may_have_been_started_by_anybody(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.dies()
    machine.harness.answer("true", "restart", exit=None)
    with pytest.raises(CommandFailed):
        machine.harness.execute_action()
    machine.starts("two")
    assert machine.harness.recover() is Recovered.UNKNOWN
    asked = Machine(tmp_path)
    asked.dies()
    asked.harness.execute_action()
    asked.starts("two")
    assert asked.harness.recover() is Recovered.DONE, "the command came back"


def test_a_start_while_the_node_was_drained_is_not_taken_for_the_restart(tmp_path: Path) -> None:
    machine = Machine(tmp_path, **BALANCER)
    machine.starts("two")
    machine.starts("one", times=1)
    machine.harness.answer("true", "restart", exit=None)
    with pytest.raises(CommandFailed):
        machine.harness.execute_action()
    assert machine.harness.recover() is Recovered.UNKNOWN


def test_a_start_before_it_was_asked_for_is_not_ours(tmp_path: Path) -> None:
    machine = Machine(tmp_path, drain=["true", "drain"], undrain=["true", "undrain"])
    machine.harness.answer("true", "drain", exit=1)
    with pytest.raises(CommandFailed):
        machine.harness.execute_action()
    machine.starts("two")
    assert machine.harness.recover() is Recovered.NOT_DONE


# --- out of the load balancer ------------------------------------------------------------------------------

BALANCER: dict[str, Any] = {"drain": ["true", "drain"], "undrain": ["true", "undrain"]}


def test_a_node_is_out_of_its_load_balancer_from_before_the_restart_until_it_is_well(tmp_path: Path) -> None:
    machine = Machine(tmp_path, **BALANCER)
    machine.harness.execute_action()
    assert machine.done == ["drain", "restart", "undrain"]
    assert not machine.note.exists()


def test_a_service_that_does_not_come_back_stays_out_and_is_not_forgotten(tmp_path: Path) -> None:
    machine = Machine(tmp_path, **BALANCER)
    machine.harness.answer("true", "self", exit=1)
    with pytest.raises(Exception, match="true self: exit 1"):
        machine.harness.execute_action()
    assert machine.done == ["drain", "restart"]
    assert machine.note.exists()
    machine.harness.answer("true", "self")
    machine.starts("two")
    answer = machine.settled()
    assert isinstance(answer, Wait)
    assert f"true undrain; then rm {machine.note}" in answer.reason
    again = Machine(tmp_path, **BALANCER)
    again.harness.execute_action()
    assert again.done[-1] == "undrain"
    assert not again.note.exists()


def test_a_load_balancer_that_looks_for_itself_gets_the_node_back_in_any_case(tmp_path: Path) -> None:
    machine = Machine(tmp_path, undrain_unwell=True, **BALANCER)
    machine.harness.answer("true", "restart", exit=1)
    machine.harness.answer("true", "self", exit=1)
    with pytest.raises(CommandFailed):
        machine.harness.execute_action()
    assert machine.done == ["drain", "restart", "undrain"]


@pytest.mark.parametrize("at", ["drain", "restart"])
@pytest.mark.parametrize("hook", ["interrupt", "abort", "recover"])
def test_a_node_is_put_back_after_every_way_of_dying(tmp_path: Path, at: str, hook: str) -> None:
    """Interrupted; killed with its keeper alive (abort); killed together with its agent (recover)."""
    machine = Machine(tmp_path, **BALANCER)
    if hook == "interrupt":
        machine.harness.interrupt("true", at)
        with pytest.raises(ActionInterrupted):
            machine.harness.execute_action()
    else:
        died = KeyboardInterrupt()
        runner = machine.harness.runner("execute_action")
        run = runner.ctx.command

        def dying(argv: Any, **more: Any) -> Any:
            if list(argv) == ["true", at]:
                raise died
            return run(argv, **more)

        runner.ctx.command = dying  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            runner.execute_action()
        assert machine.note.exists()
        getattr(machine.harness, hook)()
    assert machine.done[-1] == "undrain"
    assert not machine.note.exists()


def test_an_undrain_that_fails_once_is_tried_again_and_one_that_goes_on_failing_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, args={"healthy_within_s": 5.0}, **BALANCER)
    machine.harness.answer("true", "undrain", exit=1, times=1)
    machine.harness.execute_action()
    assert machine.done == ["drain", "restart", "undrain", "undrain"]
    broken = Machine(tmp_path, **BALANCER)
    broken.harness.answer("true", "undrain", exit=1)
    with pytest.raises(Exception, match="true undrain: exit 1"):
        broken.harness.execute_action()
    assert broken.note.exists()


def test_the_next_node_begins_when_the_load_balancer_sends_clients_here(tmp_path: Path) -> None:
    machine = Machine(tmp_path, balanced=["true", "balanced"], **BALANCER)
    machine.harness.execute_action()
    machine.starts("two")
    machine.harness.answer("true", "balanced", exit=1)
    answer = machine.settled()
    assert isinstance(answer, Wait)
    assert "the load balancer sends nobody here yet" in answer.reason
    machine.harness.answer("true", "balanced")
    assert machine.settled() == Go()


# --- a reload ----------------------------------------------------------------------------------------------


def test_a_reload_that_ends_the_process_has_failed_and_one_that_it_survives_has_not(tmp_path: Path) -> None:
    good = Machine(tmp_path, Reload)
    good.harness.execute_action()
    assert good.done == ["reload"]
    assert good.settled() == Go()
    bad = Machine(tmp_path, Reload)
    bad.starts("two")
    bad.starts("one", times=1)
    with pytest.raises(Exception, match="did not survive"):
        bad.harness.execute_action()
    assert bad.settled() == Go(), "the node is well; it is the action that failed"


def test_a_process_that_dies_of_its_reload_later_is_not_called_well(tmp_path: Path) -> None:
    machine = Machine(tmp_path, Reload)
    machine.harness.execute_action()
    machine.starts("two")
    answer = machine.harness.post_check()
    assert isinstance(answer, Refuse)
    assert "did not survive" in answer.reason
    machine.dies()
    assert isinstance(machine.harness.post_check(), Refuse)


def test_recover_of_a_reload_believes_only_its_mark(tmp_path: Path) -> None:
    silent = Machine(tmp_path, Reload)
    assert silent.harness.recover() is Recovered.NOT_DONE
    silent.harness.execute_action()
    assert silent.harness.recover() is Recovered.UNKNOWN
    marked = Machine(tmp_path, Reload, reload_mark=["cat", "generation"])
    marked.harness.answer("cat", output="1")
    marked.harness.execute_action()
    assert marked.harness.recover() is Recovered.UNKNOWN
    marked.harness.answer("cat", output="2")
    assert marked.harness.recover() is Recovered.DONE
    marked.harness.answer("cat", exit=1)
    assert marked.harness.recover() is Recovered.UNKNOWN
    silent = Machine(tmp_path, Reload, reload_mark=["cat", "generation"])
    silent.harness.answer("cat", exit=1)
    answer = silent.harness.pre_check()
    assert isinstance(answer, Refuse)
    assert "reload_mark does not tell" in answer.reason
    with pytest.raises(Exception, match="does not tell any more"):
        silent.harness.execute_action()
    assert silent.done == []


# --- stop, between, start ----------------------------------------------------------------------------------


def stopping(folder: Path, **settings: Any) -> Machine:
    machine = Machine(folder, StopStart, between=["true", "between"], **settings)
    machine.starts("none", state="inactive")
    machine.starts("one", times=1)
    return machine


def test_what_needs_a_stopped_service_runs_only_when_it_has_stopped(tmp_path: Path) -> None:
    machine = stopping(tmp_path)
    machine.harness.execute_action()
    assert machine.done == ["stop", "between", "start"]
    runs_on = Machine(tmp_path, StopStart, between=["true", "between"])
    with pytest.raises(Exception, match="still runs"):
        runs_on.harness.execute_action()
    assert runs_on.done == ["stop", "start"]


@pytest.mark.parametrize(("fails", "done"), [("stop", ["stop", "start"]), ("between", ["stop", "between"])])
def test_after_a_failure_it_is_started_again_but_not_when_between_was_at_work(
    tmp_path: Path, fails: str, done: list[str]
) -> None:
    machine = stopping(tmp_path)
    machine.harness.answer("true", fails, exit=1)
    with pytest.raises(CommandFailed):
        machine.harness.execute_action()
    assert machine.done == done
    interrupted = stopping(tmp_path)
    interrupted.harness.interrupt("true", fails)
    with pytest.raises(ActionInterrupted):
        interrupted.harness.execute_action()
    assert interrupted.done == done


@pytest.mark.parametrize(
    ("step", "start", "answer", "started"),
    [
        (None, "one", Recovered.NOT_DONE, False),
        ("stopping", "one", Recovered.UNKNOWN, True),
        ("stopping", "two", Recovered.NOT_DONE, True),
        ("stopped", "two", Recovered.NOT_DONE, True),
        ("between", None, Recovered.UNKNOWN, False),
        ("between", "two", Recovered.UNKNOWN, False),
        ("starting", None, Recovered.UNKNOWN, True),
        ("starting", "two", Recovered.DONE, True),
        ("started", "two", Recovered.DONE, False),
    ],
)
def test_recover_of_a_stop_start_says_how_far_it_came_and_leaves_nothing_stopped_for_no_reason(
    tmp_path: Path, step: str | None, start: str | None, answer: Recovered, started: bool
) -> None:
    machine = Machine(tmp_path, StopStart, between=["true", "between"])
    machine.harness.saved.update({"before": machine.harness.runner().start_now(), "step": step})
    if start is None:
        machine.dies()
    else:
        machine.starts(start)
    assert machine.harness.recover() is answer
    assert machine.done == (["start"] if started else [])


def test_without_between_a_stop_that_was_followed_by_our_start_is_all_of_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path, StopStart)
    machine.harness.saved.update({"before": machine.harness.runner().start_now(), "step": "stopped"})
    machine.starts("two")
    assert machine.harness.recover() is Recovered.DONE


# --- the questions -----------------------------------------------------------------------------------------


class Page(http.server.BaseHTTPRequestHandler):
    """Answers what its path says: /STATUS/BODY; "secret" only to whoever knows it."""

    def do_GET(self) -> None:
        status, _, text = self.path.strip("/").partition("/")
        if text == "secret" and self.headers.get("X-Key") != "k":
            status = "403"
        self.send_response(int(status))
        self.send_header("Location", "/200/ok")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words: object) -> None:
        return


@pytest.fixture
def page() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"http": "/200/ok", "body": "^ok$"}, ""),
        ({"http": "/200/no", "body": "^ok$"}, "answers without"),
        ({"http": "/302/ok"}, "answers 302, not 200"),
        ({"http": "/302/ok", "status": 302}, ""),
        ({"http": "/503/ok"}, "answers 503"),
        ({"http": "/200/secret"}, "answers 403"),
        ({"http": "/200/secret", "headers": {"X-Key": "k"}}, ""),
    ],
)
def test_an_http_check_is_status_body_and_headers_and_follows_nothing(
    tmp_path: Path, page: str, check: dict[str, Any], said: str
) -> None:
    machine = Machine(tmp_path, checks=[{**check, "http": page + check["http"]}])
    machine.harness.execute_action()
    machine.starts("two")
    answer = machine.harness.post_check()
    assert isinstance(answer, Wait)
    assert ("the service is not well" in answer.reason) is bool(said)
    assert said in answer.reason


def test_what_nobody_listens_to_is_not_well(tmp_path: Path) -> None:
    for check in ({"http": "http://127.0.0.1:1/"}, {"tcp": "127.0.0.1:1"}):
        answer = Machine(tmp_path, checks=[check]).harness.post_check()
        assert isinstance(answer, Wait)
        assert "refused" in answer.reason


def test_each_peer_must_say_of_this_node_what_it_should(tmp_path: Path, page: str) -> None:
    def peers(text: str) -> dict[str, Any]:
        return {
            f"node-{number}": {"http": f"{page}/200/x", "about": f"/200/{text}", "about_body": "^web%2F1-is-up$"}
            for number in (2, 3)
        }

    for text, well in (("{node}-is-up", True), ("{node}-is-down", False)):
        machine = Machine(tmp_path, peers=peers(text), called="web/1")
        machine.harness.execute_action()
        machine.starts("two")
        answer = machine.settled()
        assert isinstance(answer, Go) is well, answer


def test_a_process_is_known_by_its_start_and_a_dead_one_does_not_run(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    machine = Machine(tmp_path, unit=None, pid_file=str(pid_file))
    assert machine.harness.runner().start_now() is None
    pid_file.write_text(str(os.getpid()))
    mine = machine.harness.runner().start_now()
    assert mine is not None
    assert mine.startswith(f"{os.getpid()}/")
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        pid_file.write_text(str(child.pid))
        assert machine.harness.runner().start_now() is None, "a zombie serves nobody"
    content = Machine(tmp_path, unit=None, identity_file=str(tmp_path / "run-id"))
    assert content.harness.runner().start_now() is None
    (tmp_path / "run-id").write_text("a\n")
    assert content.harness.runner().start_now() == "a"
    told = Machine(tmp_path, unit=None, identity=["true", "id"])
    told.harness.answer("true", "id", output=" run 1 \n", times=1)
    assert told.harness.runner().start_now() == "run 1"
    told.harness.answer("true", "id", output="run 1", exit=3)
    assert told.harness.runner().start_now() is None
