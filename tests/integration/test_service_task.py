"""`service_task` on real processes: three HTTP services, each under a supervisor that plays systemd."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runners.service.operation import NotBack, ServiceOperation
from runners.service.reload import Reload
from runners.service.restart import Restart
from runners.service.stop_start import StopStart
from taskerman import Go, Recovered, Refuse, Wait
from tests.support.dying import OnTheMachine
from tests.support.stores.service import HANG_UP, WebService
from tests.support.waiting import until

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def well_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Well once will do here: that it is not enough is a unit test's."""
    monkeypatch.setattr("runners.service.operation.steadily", lambda ctx, answer: answer)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebService]:
    service = WebService(tmp_path / "web")
    yield service
    service.close()


def task(
    web: WebService, operation: type[ServiceOperation], *, args: dict[str, Any] | None = None, **service: Any
) -> OnTheMachine:
    """One attempt on the first of them. `service`: of its configuration."""
    return OnTheMachine(
        operation,
        settings=web.settings(web.members[0], **service),
        args={"service": "web", **(args or {})},
        node="web-0",
        nodes=[member.name for member in web.members],
    )


def settled(harness: OnTheMachine) -> None:
    until(lambda: isinstance(harness.post_check(), Go), f"well; it said {harness.post_check()}", within_s=30)


def in_balance(web: WebService) -> set[str]:
    return {path.name for path in web.balancer.iterdir()}


def test_a_restart_is_believed_when_another_process_serves_and_the_peers_see_it(web: WebService) -> None:
    member = web.members[0]
    before = member.pid
    harness = task(web, Restart)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert member.pid not in (None, before)
    assert in_balance(web) == set(web.ports)
    assert harness.recover() is Recovered.DONE
    (web.members[1].folder / "blind-to-web-0").touch()
    answer = harness.post_check()
    assert isinstance(answer, Wait)
    assert "its peers do not see this node well: web-1" in answer.reason


def test_a_peer_that_is_down_and_one_that_is_ill_are_waited_for(web: WebService) -> None:
    (web.members[2].folder / "ill").touch()
    answer = task(web, Restart).pre_check()
    assert isinstance(answer, Wait)
    assert "answers 503" in answer.reason
    (web.members[2].folder / "ill").unlink()
    web.members[1].must("stop")
    answer = task(web, Restart).pre_check()
    assert isinstance(answer, Wait)
    assert "web-1" in answer.reason


def test_a_reload_is_proved_by_the_same_process_and_refused_by_its_death(web: WebService) -> None:
    member = web.members[0]
    before = member.pid
    harness = task(web, Reload)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert member.pid == before
    assert (member.folder / "generation").read_text() == "1"
    assert harness.recover() is Recovered.DONE

    (member.folder / "fragile").touch()
    kill = "; import os, time\nwhile os.path.exists(f'/proc/{open(sys.argv[1]).read()}'): time.sleep(0.01)"
    fatal = task(web, Reload, reload=[sys.executable, "-I", "-S", "-c", HANG_UP + kill, str(member.folder / "pid")])
    assert fatal.pre_check() == Go()
    with pytest.raises(NotBack, match="did not survive"):
        fatal.execute_action()
    assert fatal.post_check() == Wait("the service does not run")
    assert isinstance(task(web, Reload).pre_check(), Refuse)


def test_a_service_is_stopped_while_what_needs_that_runs(web: WebService) -> None:
    member = web.members[0]
    witness = ["sh", "-c", f"{' '.join(member.command_line('status'))} > {member.folder / 'seen'}"]
    harness = task(web, StopStart, between=witness)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert (member.folder / "seen").read_text() == "ok down\n"


def test_a_page_that_trickles_has_the_time_of_one_answer(web: WebService) -> None:
    check = {"http": web.url("web-0", "/trickle"), "body": "never", "timeout_s": 0.3}
    answer = task(web, Restart, checks=[check]).post_check()
    assert isinstance(answer, Wait)
    assert "took too long" in answer.reason or "timed out" in answer.reason


@pytest.mark.parametrize("operation", [Restart, StopStart, Reload])
def test_killed_at_any_point_the_node_comes_back_and_recover_tells_the_truth(
    web: WebService, operation: type[ServiceOperation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 at every point of the action, one after another, until one comes through alive."""
    monkeypatch.setattr("runners.service.operation.SHOW_UP_S", 0.3)
    for module in ("restart", "stop_start", "reload"):
        monkeypatch.setattr(f"runners.service.{module}.SHOW_UP_S", 0.3)
    member = web.members[0]
    asked_by = {Restart: '"asked": true', StopStart: '"step"', Reload: '"asked": true'}[operation]
    seen: set[Recovered] = set()
    for point in range(1, 30):
        before, mark = member.pid, _generation(member.folder)
        harness = task(web, operation)
        assert harness.pre_check() == Go()
        if not harness.killed_at(point, tmp_path / "diary"):
            break
        asked = any(asked_by in each for each in harness.points)
        answer = harness.recover()
        happened = member.pid != before if operation is not Reload else _generation(member.folder) != mark
        said = f"{answer} at point {point} of {harness.points}, and happened is {happened}"
        if answer is not Recovered.UNKNOWN:
            assert (answer is Recovered.DONE) is happened, said
        else:
            assert asked, said
        seen.add(answer)
        settled(harness)
        assert in_balance(web) == set(web.ports), said
    else:
        raise AssertionError("it was always killed")
    assert {Recovered.DONE, Recovered.NOT_DONE} <= seen


def _generation(folder: Path) -> str:
    return (folder / "generation").read_text()
