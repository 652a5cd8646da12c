"""Two schedulers as processes, and what happens to them: nothing is missed, nothing is done twice, nothing is early."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskerman.model.schedule import Schedule, firing_of
from taskerman.policy.firing import firings
from tests.acceptance.conftest import OpenScriptedHouse
from tests.acceptance.scripted_house import ScriptedHouse
from tests.support.aws import LocalCloud
from tests.support.daemons import SESSION_S, Daemon

pytestmark = pytest.mark.timeout(600)

SECONDS = float(os.environ.get("SCHEDULER_FAULT_SECONDS", "30"))
"""How long they are harmed."""


def task(house: ScriptedHouse) -> dict[str, Any]:
    return {"action": "scripted_task:restart", "cluster_name": house.installation.cluster, "owner": "gsi"}


def declare(folder: Path, *schedules: Mapping[str, Any]) -> None:
    """As a checkout does: beside the old one, then in its place. JSON is YAML."""
    folder.mkdir(exist_ok=True)
    new = folder / "all.new"
    new.write_text(json.dumps({"schedules": list(schedules)}, indent=2))
    new.replace(folder / "all.yaml")


class Queue(threading.Thread):
    """Whoever reads the global queue in place of a router: every document that came, and when."""

    def __init__(self, cloud: LocalCloud, queue: str) -> None:
        super().__init__(daemon=True)
        self.cloud, self.queue = cloud, queue
        self.came: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
        self.over = threading.Event()

    def run(self) -> None:
        with self.cloud.client("sqs") as sqs:
            url = sqs.get_queue_url(QueueName=self.queue)["QueueUrl"]
            while True:
                found = sqs.receive_message(
                    QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, AttributeNames=["SentTimestamp"]
                ).get("Messages", [])
                for message in found:
                    sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
                    self.came[json.loads(message["Body"])["task_id"]].append((message["Body"], sent))
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                if not found and self.over.is_set():
                    return


@contextmanager
def listening(house: ScriptedHouse) -> Iterator[Queue]:
    queue = Queue(house.installation.cloud, f"{house.installation.prefix}-tasks")
    queue.start()
    try:
        yield queue
    finally:
        queue.over.set()
        queue.join(30)


def leader(daemons: list[Daemon]) -> Daemon | None:
    """Whoever said last that it leads."""
    led = [(event["at"], daemon) for daemon in daemons for event in daemon.events("scheduler_leads")]
    return max(led, key=lambda one: one[0])[1] if led else None


def test_nothing_is_missed_and_nothing_comes_twice_while_leaders_are_killed_and_frozen(
    scripted_house: OpenScriptedHouse,
) -> None:
    """Each time of a schedule that makes up for all is emitted, none before it was due, and every copy is the same."""
    house = scripted_house(1)
    installation = house.installation
    installation.must("init")
    files = house.folder / "schedules"
    every = {"catch_up": "all", "catch_up_horizon": "1d", "overlap": "queue"}
    declared = [
        {"name": "often", "every": "2s", "jitter": "1s", "task": task(house), **every},
        *({"name": f"other-{n}", "every": f"{n}s", "task": task(house), **every} for n in (3, 5, 7)),
    ]
    declare(files, *declared)
    dice = random.Random(20260131)
    names = ["scheduler-1", "scheduler-2"]
    current = {name: installation.start_scheduler(name, files) for name in names}
    harmed = 0
    with listening(house) as queue:
        installation.until(lambda: leader(list(current.values())), "one leads")
        began = time.monotonic()
        while time.monotonic() - began < SECONDS:
            seen = len(queue.came)
            installation.until(lambda seen=seen: len(queue.came) > seen, "it goes on")  # type: ignore[misc]
            victim = leader(list(current.values())) or current[dice.choice(names)]
            harmed += 1
            match dice.choice(("kill", "kill", "freeze", "stop")):
                case "kill":
                    victim.kill()
                case "stop":
                    victim.stop()
                case _:
                    victim.freeze()
                    time.sleep(dice.uniform(0.5, 2.0) * SESSION_S)  # the fault itself
                    victim.thaw()
            if victim.exit_code is not None:
                current[victim.name] = installation.start_scheduler(victim.name, files)
        for daemon in current.values():
            daemon.stop()
        until = datetime.now(UTC)
        assert (
            installation.run(
                "scheduler", "--once", TASKERMAN_SCHEDULES=str(files), TASKERMAN_STATE_DIR=str(house.folder)
            ).code
            == 0
        )
    assert harmed >= 5
    documents = sum(len(some) for some in queue.came.values())
    print(f"{harmed} times harmed in {SECONDS:.0f} s; {len(queue.came)} tasks, {documents} documents")
    for each in declared:
        schedule = Schedule.model_validate_json(json.dumps(each))
        record = house.records.get(f"/schedules/{schedule.name}")  # as it stands, not as a verb tells it
        since, through = (datetime.fromisoformat(record[key]) for key in ("since", "through"))
        wanted = {f.nominal for f in firings(schedule, since, through + schedule.offset)}
        came = {found[1]: key for key in queue.came if (found := firing_of(key)) and found[0] == schedule.name}
        assert came.keys() == wanted, f"{schedule.name}: {came.keys() ^ wanted}"
        assert through + schedule.every >= until - timedelta(seconds=1)  # type: ignore[operator]
        assert (record["sent"], record["missed"], record["skipped"]) == (len(wanted), 0, 0)
    for key, copies in queue.came.items():
        assert len({body for body, _ in copies}) == 1, key
        due = datetime.fromisoformat(json.loads(copies[0][0])["scheduled_for"])
        assert min(sent for _, sent in copies) >= due - timedelta(milliseconds=1), key


def test_a_stand_by_takes_over_within_the_session_of_a_leader_that_was_killed(
    scripted_house: OpenScriptedHouse,
) -> None:
    house = scripted_house(1)
    installation = house.installation
    installation.must("init")
    files = house.folder / "schedules"
    declare(files, {"name": "often", "every": "1s", "overlap": "queue", "task": task(house)})
    first = installation.start_scheduler("first", files)
    installation.until(lambda: first.events("schedule_fired"), "it fires")
    second = installation.start_scheduler("second", files)
    installation.until(lambda: second.events("scheduler_started"), "the other stands by")
    assert not second.events("scheduler_leads")
    first.kill()
    installation.until(lambda: second.events("schedule_fired"), "the other fires")
    last = first.events("schedule_fired")[-1]["at"]
    next_one = second.events("schedule_fired")[0]["at"]
    gap = datetime.fromisoformat(next_one) - datetime.fromisoformat(last)
    print(f"nothing fired for {gap.total_seconds():.1f} s; the session is {SESSION_S} s")


def test_a_declared_schedule_is_done_by_the_nodes_and_a_broken_version_and_a_pause_are_told(
    scripted_house: OpenScriptedHouse,
) -> None:
    """The whole way: file, scheduler, router, agent, outcome; and what a person sees of it."""
    house = scripted_house(1)
    installation = house.installation
    house.start()
    installation.lift_first_hold()
    files = house.folder / "schedules"
    declare(files, {"name": "often", "every": "2s", "not_after": "1h", "task": task(house)})
    scheduler = installation.start_scheduler("scheduler", files)

    def line() -> dict[str, Any]:
        found = installation.must("schedules", "--json").json["schedules"]
        return found[0] if found else {}

    installation.until(lambda: (line().get("last") or {}).get("outcome") == "good", "one came out well")
    installation.until(lambda: house.did("end") >= 2, "the next one too")
    (files / "all.yaml").write_text("schedules:\n  - name: often\n    evry: 2s\n")
    installation.until(lambda: scheduler.events("schedules_refused"), "the fault is told")
    assert "all.yaml:" in scheduler.events("schedules_refused")[0]["faults"][0]
    ends = house.did("end")
    installation.until(lambda: house.did("end") > ends, "the last good version stays in force")
    installation.must("schedules", "pause", "often", "--why", "an incident")
    fired = len(scheduler.events("schedule_fired"))
    looked = len(scheduler.events("schedules_counted"))
    installation.until(lambda: len(scheduler.events("schedules_counted")) > looked, "it looks again")
    assert len(scheduler.events("schedule_fired")) == fired
    triggered = installation.must("schedules", "trigger", "often", "--why", "by hand", "--json").json["task_id"]
    house.wait_for(triggered, ends=1)
    audit = [house.records.get(f"/audit/{name}")["verb"] for name in house.records.names("/audit")]
    assert [verb for verb in audit if verb.startswith("schedule")] == ["schedule pause", "schedule trigger"]


def test_what_a_person_adds_is_in_force_within_seconds_and_what_is_removed_fires_no_more(
    scripted_house: OpenScriptedHouse,
) -> None:
    """Beside the files, in the database of the history; and the audit of it is there too."""
    house = scripted_house(1)
    installation = house.installation
    installation.must("init")
    files = house.folder / "schedules"
    declare(files, {"name": "filed", "every": "1d", "task": task(house)})
    scheduler = installation.start_scheduler("scheduler", files)
    here = {"TASKERMAN_STATE_DIR": str(house.folder)}
    what = ("--action", "scripted_task:restart", "--cluster", installation.cluster, "--overlap", "queue")
    installation.must("schedules", "add", "typed", "--every", "1s", *what, "--why", "by hand", "--unchecked", **here)

    def fired() -> int:
        return sum(event["schedule"] == "typed" for event in scheduler.events("schedule_fired"))

    installation.until(lambda: fired() >= 2, "it fires")
    taken = installation.run("schedules", "add", "filed", "--every", "1h", *what, "--why", "x", "--unchecked", **here)
    assert (taken.code, "all.yaml" in taken.err) == (4, True)
    installation.must("schedules", "remove", "typed", "--why", "enough", **here)
    installation.until(lambda: house.records.get("/schedules/typed")["retired_at"], "the scheduler has read it")
    before = fired()
    turns = len(scheduler.events("schedules_counted"))
    installation.until(lambda: len(scheduler.events("schedules_counted")) > turns, "it goes on")
    assert fired() == before
    audit = installation.must("history", "audit", "--target", "typed", "--json", **here).json
    assert [(entry["verb"], entry["why"]) for entry in audit] == [
        ("schedule remove", "enough"),
        ("schedule add", "by hand"),
    ]
