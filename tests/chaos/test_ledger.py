"""What ZooKeeper committed is read from its own logs: all of it, in order, and nothing that it refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from kazoo.client import KazooClient

from taskerman.testing.zookeeper_server import ZookeeperServer
from tests.chaos.ledger import Change, Step, read_ledger
from tests.support.services import require, zookeeper_classpath


@pytest.mark.real
def test_what_was_committed_is_what_is_read() -> None:
    require("zookeeper")
    with ZookeeperServer(classpath=zookeeper_classpath()) as server:
        client = KazooClient(hosts=server.hosts)
        client.start()
        try:
            client.create("/r")
            client.create("/other", b"not ours")
            client.create("/r/a", b"1")
            client.create("/r/e", b"", ephemeral=True)
            both = client.transaction()
            both.check("/r/a", 0)
            both.set_data("/r/a", b"2")
            both.create("/r/s-", b"3", sequence=True)
            both.commit()
            refused = client.transaction()
            refused.set_data("/r/a", b"never")
            refused.check("/r/a", 77)
            refused.commit()
            client.delete("/r/a")
        finally:
            client.stop()
            client.close()
        logs = tuple(Path(server._folder.name, "version-2").glob("log.*"))
        found = read_ledger([logs], "/r")
    assert [change.steps for change in found] == [
        (Step("create", "/a", b"1"),),
        (Step("create", "/e", b"", ephemeral=True),),
        (Step("set", "/a", b"2"), Step("create", "/s-0000000002", b"3")),
        (Step("delete", "/a"),),
    ]
    assert sorted(change.zxid for change in found) == [change.zxid for change in found]
    assert all(change.at_ms > 1_600_000_000_000 for change in found)


def test_what_one_member_of_three_alone_has_was_never_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    both, alone = (Change(zxid, 0, (Step("set", f"/r/{zxid}"),)) for zxid in (1, 2))
    logs = {Path("a"): [both, alone], Path("b"): [both], Path("c"): []}
    monkeypatch.setattr("tests.chaos.ledger.transactions", lambda file: iter(logs[file]))
    assert [change.zxid for change in read_ledger([[file] for file in logs], "/r")] == [1]
