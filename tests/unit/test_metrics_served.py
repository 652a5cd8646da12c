"""Metrics can be read over HTTP and from a file, and nothing that goes wrong with that stops a daemon."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from taskerman.model.event import Event
from taskerman.telemetry.serving import serving, write
from taskerman.telemetry.telling import telling


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("taskerman_things_total", "Things.", registry=made).inc(3)
    return made


@contextmanager
def served(registry: CollectorRegistry, host: str = "127.0.0.1") -> Iterator[str]:
    events: list[Event] = []
    with serving(registry, (host, 0), events.append):
        assert [event.name for event in events] == ["metrics_served"]
        yield f"http://{events[0].fields['address']}"


def get(url: str) -> tuple[int, str, str]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_metrics_are_at_metrics_in_the_text_format_on_the_port_that_the_event_names(
    registry: CollectorRegistry, host: str
) -> None:
    if host == "::1" and not ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    with served(registry, host) as url:
        status, kind, body = get(f"{url}/metrics")
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    family = next(iter(text_string_to_metric_families(body)))
    assert family.samples[0].value == 3


def test_nothing_else_is_there(registry: CollectorRegistry) -> None:
    with served(registry) as url, pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{url}/")
    assert refused.value.code == 404
    refused.value.close()


def test_a_reader_that_says_nothing_keeps_neither_others_waiting_nor_the_daemon_from_ending(
    registry: CollectorRegistry,
) -> None:
    with served(registry) as url:
        host, port = url.removeprefix("http://").split(":")
        silent = socket.create_connection((host, int(port)))
        assert get(f"{url}/metrics")[0] == 200
    silent.close()


def test_an_address_that_is_taken_is_told_and_the_daemon_goes_on(registry: CollectorRegistry) -> None:
    events: list[Event] = []
    with socket.create_server(("127.0.0.1", 0)) as taken, serving(registry, taken.getsockname(), events.append):
        went_on = True
    assert went_on
    assert [(event.name, event.level) for event in events] == [("metrics_not_served", "error")]


def test_the_file_is_replaced_whole_and_leaves_nothing_beside_it(registry: CollectorRegistry, tmp_path: Path) -> None:
    path = tmp_path / "taskerman.prom"
    path.write_text("what an earlier call left\n")
    with path.open() as reader:
        write(registry, path, lambda event: pytest.fail(f"{event}"))
        assert reader.read() == "what an earlier call left\n"  # the old file was not written into
    assert "taskerman_things_total 3.0" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_told_and_the_daemon_goes_on(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    events: list[Event] = []
    write(registry, tmp_path / "nowhere" / "taskerman.prom", events.append)
    assert [(event.name, event.level) for event in events] == [("metrics_not_written", "error")]


def test_a_call_that_ends_by_an_error_leaves_its_metrics_all_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "taskerman.prom"

    def call() -> None:
        with telling("agent", form="json", level="info", file=path, watchdog=timedelta(minutes=5)) as told:
            told.emit(Event("agent_started", {"node": "i-1"}))
            told.pulse.beat()
            told.pulse.rest(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call()
    written = path.read_text()
    assert 'taskerman_events_total{level="info"} 1.0' in written
    assert 'taskerman_last_success_timestamp_seconds{role="agent"}' in written
    assert "process_resident_memory_bytes" in written
    assert json.loads(capfd.readouterr().err)["event"] == "agent_started"


def ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
