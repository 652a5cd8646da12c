"""A fault, end to end, whose agent and action are both killed while it is in force."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import OpenStoreHouse
from tests.acceptance.store_house import StoreHouse
from tests.support.stores.service import WebService

pytestmark = [pytest.mark.real, pytest.mark.timeout(200)]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebService]:
    service = WebService(tmp_path / "web", count=1)
    yield service
    service.close()


def section(house: StoreHouse, web: WebService) -> dict[str, Any]:
    """Of the node: its service may be stopped, and nothing but ours would start it again."""
    (member,) = web.members
    connect = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 1).close()"
    return {
        "clusters": [house.installation.cluster],
        "hosts": ["i-*"],
        "state_folder": str(member.folder / "faults"),
        "checks": [{"http": web.url(member.name)}],
        "unguarded": True,
        "services": {
            "web": {
                "stop": member.command_line("stop"),
                "start": member.command_line("start"),
                "running": [sys.executable, "-I", "-S", "-c", connect, str(web.ports[member.name])],
            }
        },
    }


def test_a_service_that_was_stopped_on_purpose_is_started_by_the_next_agent_when_agent_and_action_were_killed(
    store_house: OpenStoreHouse, web: WebService
) -> None:
    """Called lost, because it did not last its time and nobody repeats harm; the slot is free, because it is well."""
    house = store_house(web)
    at = house.installation
    at.start_router()
    (first,), (member,) = house.nodes, web.members
    agent = at.start_agent(first, {"fault_task": section(house, web)})
    task = at.submit(
        {
            "action": "fault_task:stop_service",
            "version": 1.2,
            "cluster_name": at.cluster,
            "discovery": "aws_tags",
            "owner": "gsi",
            "taskerman_params": {
                "action_args": {"service": "web", "duration_s": 200.0},
                "timeout_args": {"soft_s": 300, "settle_s": 30},
            },
        }
    )
    at.until(lambda: house.records.line(task), "somebody stands in line", within_s=80)
    at.lift_first_hold()
    at.until(lambda: member.pid is None, "it is stopped")

    daemons = {daemon.pid for daemon in at.daemons}
    agent.kill()
    for pid in set(at._left()) - daemons:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert member.pid is None, "nobody is left who would start it"

    at.start_agent(first, {"fault_task": section(house, web)})
    at.until(lambda: first in house.records.ended(task), "it ends", within_s=60)
    assert member.pid is not None
    end = house.records.end(task, first)
    assert end["outcome"] == "lost", end
    assert "the node is well" in end["reason"]
    assert house.records.slots() == ()
    assert list((member.folder / "faults").iterdir()) == []
