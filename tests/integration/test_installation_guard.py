"""A ZooKeeper that was emptied or restored: noticed by the nodes, stopped, and accepted by a person for all of them.

Once in memory, once on a real ZooKeeper whose data folder is emptied, or put back as it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from taskerman.adapters.zookeeper import ZookeeperTree
from taskerman.coordination.operator_moves import OperatorMoves
from taskerman.errors import InstallationRefused, NotPermitted, RefusedByState
from taskerman.model.assignment import Doorbell
from taskerman.ports.tree import Delete, Set, Tree
from taskerman.testing.tree import MemoryTree
from taskerman.testing.zookeeper_server import ZookeeperServer
from tests.support.agents import fleet, outcome, quick
from tests.support.installation import CLUSTER, NAMES, Installation
from tests.support.services import require, zookeeper_classpath

__all__ = ["fleet"]

SOON = timedelta(milliseconds=100)


def wipe(tree: Tree, path: str = "/") -> None:
    """Delete everything below."""
    names = tree.children(path)
    for name in names.names if names else ():
        child = f"{path.rstrip('/')}/{name}"
        wipe(tree, child)
        tree.commit([Delete(child)])


def picture(tree: Tree, path: str = "/") -> dict[str, bytes]:
    """What is below, to be put back by `restore`."""
    names, found = tree.children(path), {}
    for name in names.names if names else ():
        child = f"{path.rstrip('/')}/{name}"
        record = tree.get(child)
        if record is not None and record.stat.owner == 0:
            found[child] = record.data
            found |= picture(tree, child)
    return found


def restore(tree: Tree, before: dict[str, bytes]) -> None:
    """As a restored backup: what was made since is gone, what was changed is as it was."""
    now = picture(tree)
    for path in sorted(now, reverse=True):
        if path not in before:
            tree.commit([Delete(path)])
    for path, data in sorted(before.items()):
        if path not in now:
            tree.ensure(path)
        tree.commit([Set(path, data, None)])


def accept(fleet: Installation, of: str | None = None, *, unhold: bool = True) -> Any:
    """What `taskerman init --accept-installation` does; and, when the person has looked, the hold goes."""
    accepted = fleet.operator.accept_installation("looked at it", of)
    if unhold:
        fleet.operator.unhold("*", "looked at it")
    return accepted


def strangers(fleet: Installation) -> tuple[str, ...]:
    names = fleet.tree.children("/strangers")
    return names.names if names else ()


def installation_of(fleet: Installation) -> str:
    record = fleet.tree.get("/control")
    return "" if record is None else str(json.loads(record.data)["installation"])


def knock(fleet: Installation) -> None:
    """A doorbell of nothing: a node without work does not look at ZooKeeper."""
    fleet.queues.send(NAMES.node("i-0"), Doorbell(task_id="none", destnode="i-0", hash="sha256:0").to_json().decode())


def one_task_done(fleet: Installation, **changes: Any) -> None:
    fleet.start_agent("i-0", refused=SOON, idle_session=timedelta(milliseconds=50), **changes)
    assert outcome(fleet, fleet.submit(params=quick())) == "succeeded"
    fleet.until(lambda: fleet.journal()["takes"] == 1, "the journal knows of it")
    # What it is told from now on it hears in a new session, in which it looks where it is.
    fleet.until(lambda: all(tree.inner.session is None for tree in fleet.members["i-0"].trees), "its session is over")


def test_an_emptied_zookeeper_is_noticed_and_the_agent_goes_on_by_itself_once_it_is_accepted(
    fleet: Installation,
) -> None:
    """It stays up meanwhile, says so once, and is reported; the number of no attempt is used again."""
    one_task_done(fleet)
    was = installation_of(fleet)
    wipe(fleet.tree)
    fleet.operator.install("made anew")
    fleet.operator.unhold("*", "nobody looked")
    second = fleet.submit(params=quick())
    knock(fleet)
    fleet.until(lambda: "i-0" in strangers(fleet), "it is reported")
    assert fleet.did("begin") == 1, "it started something in a foreign installation"
    looks = len(fleet.members["i-0"].trees)
    fleet.until(lambda: len(fleet.members["i-0"].trees) > looks + 2, "it looks again and again")
    said = [str(event.fields) for event in fleet.said("installation_refused")]
    assert len(said) == len(set(said)), "it was said more than once"
    assert fleet.did("begin") == 1

    control, accepted = accept(fleet)

    assert accepted == (was,)
    assert control.installation == installation_of(fleet)
    assert outcome(fleet, second) == "succeeded"
    assert fleet.end(second)["attempt"].endswith(".2")
    assert fleet.journal()["installation"] == control.installation
    fleet.until(lambda: strangers(fleet) == (), "it is no stranger any more")


def test_a_restored_backup_stops_everything_although_it_is_the_same_installation(fleet: Installation) -> None:
    """The first node that knows better stops all: a slot that somebody holds may be missing from the backup."""
    before = picture(fleet.tree)
    one_task_done(fleet)
    restore(fleet.tree, before)
    second = fleet.submit(params=quick())
    knock(fleet)
    fleet.until(lambda: "i-0" in strangers(fleet), "it is reported")
    stopped = json.loads(fleet.tree.get("/strangers").data)["stopped"]  # type: ignore[union-attr]
    assert "restored" in stopped["why"]
    fleet.start_agent("i-9", refused=SOON)  # a node that knows nothing: it is stopped as well
    fleet.until(lambda: bool(fleet.node("i-9")), "it is there")
    third = fleet.submit(params=quick(), nodes=["i-9"])
    fleet.until(lambda: bool(fleet.said("installation_refused")), "a router or agent says so")
    with pytest.raises(RefusedByState, match="knows a later state"):
        fleet.operator.unhold("restored", "")
    was = installation_of(fleet)

    accept(fleet)

    assert installation_of(fleet) != was, "what was restored is told apart from what was there before"
    assert {outcome(fleet, second), outcome(fleet, third, "i-9")} == {"succeeded"}
    assert fleet.end(second)["attempt"].endswith(".2"), "the number of an attempt was used twice"
    assert fleet.journal()["installation"] == installation_of(fleet)


def test_an_action_under_way_when_zookeeper_was_restored_ends_and_its_node_keeps_a_slot(
    fleet: Installation,
) -> None:
    """It is not cut off; its slot is put back, as lost, before anybody is let go on; nothing starts beside it."""
    before = picture(fleet.tree)
    fleet.behave("i-0", action="until")
    fleet.start_agent("i-0", refused=SOON)
    first = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    fleet.tree.ensure(f"/clusters/{CLUSTER}/open")
    lost = picture(fleet.tree)
    keep = {path: data for path, data in lost.items() if path.startswith("/clusters/") and "/open/" not in path}
    keep[f"/scopes/{CLUSTER}"] = lost[f"/scopes/{CLUSTER}"]
    restore(fleet.tree, {**before, **keep})
    knock(fleet)
    fleet.until(lambda: "i-0" in strangers(fleet), "it is reported")
    assert [name.split("~")[0::2] for name in fleet.slots()] == [["i-0", "lost"]]
    report = json.loads(fleet.tree.get("/strangers/i-0").data)  # type: ignore[union-attr]
    assert report["acting"] == f"{first}.i-0.1"
    accept(fleet)
    fleet.until(
        lambda: any("still runs here" in str(event.fields) for event in fleet.said("installation_refused")),
        "it waits for its action",
    )
    assert fleet.did("begin") == 1
    fleet.go("i-0")
    fleet.until(lambda: fleet.did("end") == 1, "the action came to its end")
    fleet.until(lambda: strangers(fleet) == (), "it goes on")
    assert [name.split("~")[0::2] for name in fleet.slots()] == [["i-0", "lost"]], "what it did, nobody has checked"
    fleet.behave("i-0")
    second = fleet.submit(params=quick())  # the broken node itself may be tried again, and inherits its slot
    assert outcome(fleet, second) == "succeeded"
    assert fleet.slots() == ()


def test_an_attempt_of_the_backup_that_the_journal_is_ahead_of_is_lost_and_keeps_its_slot(fleet: Installation) -> None:
    """The backup says that an attempt is under way; the node has gone on since. Nobody can say what is so now."""
    fleet.behave("i-0", action="until")
    fleet.start_agent("i-0", refused=SOON, idle_session=timedelta(milliseconds=50))
    first = fleet.submit(params=quick())
    fleet.until(lambda: fleet.did("begin") == 1, "it acts")
    before = picture(fleet.tree)
    fleet.go("i-0")
    assert outcome(fleet, first) == "succeeded"
    fleet.behave("i-0")
    assert outcome(fleet, fleet.submit(params=quick())) == "succeeded"
    fleet.until(lambda: fleet.journal()["takes"] == 2, "the journal knows")
    restore(fleet.tree, before)
    fleet.submit(params=quick())
    knock(fleet)
    fleet.until(lambda: "i-0" in strangers(fleet), "it is reported")
    accept(fleet, unhold=False)
    assert outcome(fleet, first) == "lost"
    assert [name.split("~")[0::2] for name in fleet.slots()] == [["i-0", "lost"]]
    assert fleet.did("begin") == 2, "it was done again"


def test_agents_and_routers_wait_for_an_installation_that_is_not_there(fleet: Installation) -> None:
    """No crash loop: a ZooKeeper without an installation is waited for, and a person is told."""
    one_task_done(fleet)
    wipe(fleet.tree)
    fleet.submit(params=quick())
    knock(fleet)
    fleet.until(lambda: len(fleet.said("installation_refused")) >= 2, "the agent and the router say so")
    assert "taskerman init" in str(fleet.said("installation_refused")[0].fields["why"])
    assert strangers(fleet) == ()


def test_cron_is_told_and_does_not_wait(fleet: Installation) -> None:
    """`--once` ends with the error."""
    one_task_done(fleet)
    fleet.stop_agent("i-0")
    wipe(fleet.tree)
    fleet.operator.install("made anew")
    fleet.start_agent("i-0", once=True)
    assert isinstance(fleet.failed("i-0"), InstallationRefused)


def test_a_router_that_lives_through_a_restore_stops_everything(fleet: Installation) -> None:
    """It keeps nothing, but it remembers while it lives how far the installation's record was."""
    for number in range(3):
        fleet.operator.unhold(fleet.operator.hold(f"owner:o{number}", "x").id, "x")
    fleet.until(lambda: bool(fleet.said("router_started")), "the router is there")
    assert outcome_of_nothing(fleet)
    record = fleet.tree.get("/control")
    assert record is not None
    fleet.tree.commit([Delete("/control")])
    fleet.tree.ensure("/control")
    fleet.tree.commit([Set("/control", record.data, 0)])  # the same content, and an older version
    fleet.until(lambda: b"a router" in (fleet.tree.get("/strangers") or record).data, "it stopped everything")
    assert strangers(fleet) == ("router",)
    accept(fleet)
    fleet.start_agent("i-0", refused=SOON)
    assert outcome(fleet, fleet.submit(params=quick())) == "succeeded"


def outcome_of_nothing(fleet: Installation) -> bool:
    """A refused document shows that the router has made a turn."""
    fleet.queues.send("t-tasks", "{}")
    fleet.until(lambda: bool(fleet.said("document_refused")), "the router has looked")
    return True


def test_there_must_be_something_to_accept(fleet: Installation) -> None:
    """A verb that does nothing says so, and how to accept a restore that nobody has reported."""
    with pytest.raises(RefusedByState, match="Every node that has reported") as refused:
        fleet.operator.accept_installation("why not")
    was = installation_of(fleet)
    assert was in refused.value.next_step
    control, accepted = fleet.operator.accept_installation("a backup was restored", was)
    assert accepted == (was,)
    assert control.installation not in (was, "")
    assert [hold.on for hold in control.holds] == ["*"]
    audit = [
        json.loads(record.data)
        for path in picture(fleet.tree)
        if path.startswith("/audit/") and (record := fleet.tree.get(path))
    ]
    assert audit[-1]["verb"] == "init --accept-installation"
    assert audit[-1]["by"] == "tester"


def test_a_node_that_may_not_report_still_starts_nothing(fleet: Installation) -> None:
    """In an installation of others its rights may end before the report."""
    one_task_done(fleet)
    fleet.stop_agent("i-0")
    wipe(fleet.tree)
    fleet.operator.install("made anew")

    class Denied(MemoryTree):
        def commit(self, ops: Any) -> Any:
            if any("/strangers" in op.path for op in ops):
                raise NotPermitted("ZooKeeper does not permit this: /strangers/i-0.")
            return super().commit(ops)

    fleet.connect = lambda: Denied(fleet.server)
    fleet.start_agent("i-0", refused=SOON)
    fleet.until(lambda: any("could not be reported" in str(e.fields) for e in fleet.said("installation_refused")), "")


# --- a real ZooKeeper ------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Installation, ZookeeperServer]]:
    """An installation of one node on a ZooKeeper of its own, whose data is the test's to harm."""
    require("zookeeper")
    with ZookeeperServer(classpath=zookeeper_classpath()) as server:
        made = Installation(
            tmp_path, 1, connect=lambda: ZookeeperTree(server.hosts, session_timeout=timedelta(seconds=2))
        )
        made.start_router()
        yield made, server
        made.stop()


def reopen(fleet: Installation) -> None:
    """A person's new command after the servers came back."""
    fleet.tree.close()
    fleet.tree = fleet.connect()
    fleet.tree.open()
    fleet.operator = OperatorMoves(fleet.tree, "tester", fleet.clock.now)


@pytest.mark.real
def test_a_zookeeper_whose_data_was_deleted_is_another_installation(
    house: tuple[Installation, ZookeeperServer],
) -> None:
    """Processes that live through it come back by themselves, although the server is behind all they have seen."""
    fleet, server = house
    one_task_done(fleet)
    was = installation_of(fleet)
    server.stop()
    shutil.rmtree(server.data / "version-2")
    server.start()
    reopen(fleet)
    fleet.operator.install("made anew")
    fleet.operator.unhold("*", "nobody looked")
    second = fleet.submit(params=quick())
    knock(fleet)
    fleet.until(lambda: "i-0" in strangers(fleet), "it is reported")
    assert fleet.did("begin") == 1
    assert accept(fleet)[1] == (was,)
    assert outcome(fleet, second) == "succeeded"
    assert fleet.end(second)["attempt"].endswith(".2")


@pytest.mark.real
def test_a_zookeeper_restored_from_a_backup_is_noticed_by_the_nodes_that_know_better(
    house: tuple[Installation, ZookeeperServer], tmp_path: Path
) -> None:
    """The data folder as it was before the node's first attempt, put back while agent and router live."""
    fleet, server = house
    server.stop()
    shutil.copytree(server.data / "version-2", tmp_path / "backup")
    server.start()
    fleet.start_agent("i-0", refused=SOON)
    first = fleet.submit(params=quick())
    assert outcome(fleet, first) == "succeeded"
    was = installation_of(fleet)
    server.stop()
    shutil.rmtree(server.data / "version-2")
    shutil.copytree(tmp_path / "backup", server.data / "version-2")
    server.start()
    reopen(fleet)
    assert installation_of(fleet) == was, "a backup has the same id"
    second = fleet.submit(params=quick())
    knock(fleet)
    fleet.until(lambda: "i-0" in strangers(fleet), "it is reported")
    assert fleet.did("begin") == 1
    accept(fleet)
    assert outcome(fleet, second) == "succeeded"
    assert fleet.end(second)["attempt"].endswith(".2")
    assert fleet.outcomes(first) == {}, "what a backup does not have is not remembered"
