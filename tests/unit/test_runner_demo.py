"""The demo runner, and with it the harness: what an author's own tests look like."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runners.demo import Restart
from taskerman import ActionInterrupted, CommandFailed, Go, Recovered, Refuse, Wait
from taskerman.errors import ActionArgsInvalid
from taskerman.testing import RunnerHarness, deaths

DOWN = "http://127.0.0.1:1/health"  # nobody listens there


class Service:
    """A service that says what the test tells it to say."""

    def __init__(self) -> None:
        service = self
        self.status, self.started = 200, 1

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(service.status)
                self.end_headers()
                self.wfile.write(json.dumps({"started": service.started}).encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/health"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.close()


def harness(service: Service, *, peers: dict[str, str] | None = None, **more: Any) -> RunnerHarness[Restart]:
    settings: dict[str, Any] = {"restart": ["svc", "restart", "web"], "health_url": service.url, "peers": peers or {}}
    return RunnerHarness(Restart, settings=settings, **more)


def test_it_goes_when_its_peers_are_well(service: Service) -> None:
    assert harness(service, peers={"node-2": service.url, "node-1": DOWN}).pre_check() == Go()


def test_a_peer_that_is_down_makes_the_whole_cluster_wait(service: Service) -> None:
    run = harness(service, peers={"node-2": service.url, "node-3": DOWN})
    assert run.pre_check() == Wait("not well: node-3", of="cluster")


def test_a_peer_that_answers_badly_counts_as_down(service: Service) -> None:
    service.status = 503
    assert isinstance(harness(service, peers={"node-2": service.url}).pre_check(), Wait)


def test_force_goes_all_the_same(service: Service) -> None:
    assert harness(service, peers={"node-3": DOWN}, args={"force": True}).pre_check() == Go()


@pytest.mark.parametrize(("cap", "down", "goes"), [(2, 1, True), (2, 2, False), (1, 1, False), (3, 2, True)])
def test_as_many_may_be_down_as_the_task_itself_may_take_down(
    service: Service, cap: int, down: int, goes: bool
) -> None:
    run = harness(service, peers={f"node-{2 + k}": DOWN for k in range(down)}, cap=cap)
    assert isinstance(run.pre_check(), Go if goes else Wait)


def test_a_node_without_a_restart_command_refuses_and_says_what_is_missing() -> None:
    answer = RunnerHarness(Restart).pre_check()
    assert isinstance(answer, Refuse)
    assert "restart: required, and missing; health_url: required, and missing" in answer.reason


def test_it_restarts_by_the_nodes_own_command_and_is_well_with_a_new_start(service: Service) -> None:
    run = harness(service)
    run.execute_action()
    assert run.commands == [("svc", "restart", "web")]
    assert run.post_check() == Wait("the service still runs as it was started before")
    service.started = 2
    assert run.post_check() == Go()
    assert run.recover() is Recovered.DONE


def test_it_is_not_well_while_the_service_is_ill_or_silent(service: Service) -> None:
    run = harness(service)
    run.execute_action()
    service.status, service.started = 503, 2
    assert run.post_check() == Wait("the service answers 503")
    run = RunnerHarness(Restart, settings={"restart": ["x"], "health_url": DOWN})
    assert run.post_check() == Wait("the service does not answer")


def test_a_failed_restart_raises_and_leaves_a_node_that_is_well(service: Service) -> None:
    run = harness(service)
    run.answer("svc", "restart", exit=5, output="unit web not found")
    with pytest.raises(CommandFailed, match="exit 5; last output: unit web not found"):
        run.execute_action()
    assert run.post_check() == Go()


def test_recovering_tells_done_from_not_done_and_from_unknown(service: Service) -> None:
    run = harness(service)
    assert run.recover() is Recovered.NOT_DONE
    run.interrupt("svc")
    with pytest.raises(ActionInterrupted):
        run.execute_action()
    assert run.recover() is Recovered.UNKNOWN, "the service manager may go on with it"
    run.execute_action()
    assert run.recover() is Recovered.UNKNOWN
    service.started = 2
    assert run.recover() is Recovered.DONE
    service.status = 503
    assert run.recover() is Recovered.UNKNOWN


@pytest.mark.parametrize(("args", "named"), [({"seconds": -1}, "seconds"), ({"force": 1}, "force"), ({"x": 1}, "x")])
def test_arguments_that_do_not_fit_are_named(service: Service, args: dict[str, Any], named: str) -> None:
    with pytest.raises(ActionArgsInvalid, match=f"{named}: "):
        harness(service, args=args).pre_check()


def test_whatever_kills_it_a_restart_that_may_still_come_is_not_called_undone(service: Service) -> None:
    def node() -> RunnerHarness[Restart]:
        service.started = 1
        run = harness(service)
        run.answer("svc", "restart", by=lambda words: setattr(service, "started", 2))
        return run

    for death in deaths(node):
        noted, restarted = "started_before" in death.harness.saved, service.started == 2
        right = "done" if restarted else "unknown" if noted else "not_done"
        assert death.resume().recovered == right, death
