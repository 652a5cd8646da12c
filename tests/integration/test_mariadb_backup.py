"""`mariadb_task:backup` on a real Galera cluster: what it stored is restored elsewhere, and compared row by row."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runners.backups import Backups
from runners.mariadb.backup import Backup
from runners.objects import ObjectStore
from taskerman import Go, Recovered, Refuse, Skip, Wait
from tests.support.aws import LocalCloud, unique
from tests.support.load import Load
from tests.support.stores.dying import Dying
from tests.support.stores.mariadb import APP, Galera
from tests.support.stores.member import Member
from tests.support.waiting import until

ROWS = 2000
WHAT = "SELECT id, HEX(what), price, at FROM shop.orders ORDER BY id"


@pytest.fixture
def bucket(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of its own, and the environment of this process leads there."""
    name = unique("backups")
    with local_cloud.client("s3") as client:
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": client.meta.region_name})
    for key, value in local_cloud.environment().items():
        monkeypatch.setenv(key, value)
    return f"s3://{name}/maria"


@pytest.fixture
def orders(galera: Galera) -> Galera:
    """With a table of rows in which bytes are of every kind."""
    first = galera.members[0]
    galera.sql(first, "DROP TABLE IF EXISTS shop.orders", user=APP)
    galera.sql(
        first,
        "CREATE TABLE shop.orders (id INT PRIMARY KEY, what VARBINARY(300), price DECIMAL(12,2) NULL, at DATETIME(6))",
        user=APP,
    )
    galera.sql(
        first,
        "INSERT INTO shop.orders SELECT seq, UNHEX(REPEAT(LPAD(HEX(seq % 256), 2, '0'), seq % 300)), "
        f"IF(seq % 7, seq * 1.37, NULL), '2026-01-01' + INTERVAL seq MICROSECOND FROM shop.seq_1_to_{ROWS}",
        user=APP,
    )
    return galera


def task(store: Galera, member: Member, bucket: str, *, task_id: str = "t-1", **args: Any) -> Dying:
    return Dying(
        Backup,
        settings={**store.settings(member), "backups": bucket},
        args=args,
        node=member.name,
        cluster="mariadb:test",
        nodes=[each.name for each in store.members],
    )


def whole(bucket: str) -> Backups:
    return Backups(ObjectStore(bucket), "mariadb:test")


def settled(harness: Dying) -> None:
    until(lambda: isinstance(harness.post_check(), Go), f"well; it said {harness.post_check()}", within_s=30)


@contextmanager
def scratch(data: Path) -> Iterator[list[str]]:
    """A server outside every cluster on this data; the options with which its socket is asked."""
    user = "mysql" if os.getuid() == 0 else None
    if user is not None:
        subprocess.run(["chown", "-R", user, data.parent], check=True)
    socket = data.parent / "sql"
    argv = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--skip-networking"]
    ready = ["mariadb-admin", "--no-defaults", f"--socket={socket}", "--silent", "ping"]
    member = Member("scratch", data.parent, [*argv, "--skip-grant-tables"], ready, data.parent / "events", user)
    member.supervise()
    try:
        member.wait_started()
        yield ["--no-defaults", f"--socket={socket}"]
    finally:
        member.close()


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="restore-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def rows(options: list[str]) -> list[tuple[str, ...]]:
    said = subprocess.run(["mariadb", *options, "-BN", "-e", WHAT], check=True, capture_output=True, text=True).stdout
    return [tuple(line.split("\t")) for line in said.splitlines()]


def expected(store: Galera) -> list[tuple[str, ...]]:
    found = [tuple("NULL" if cell is None else cell for cell in row) for row in store.sql(store.members[2], WHAT)]
    assert len(found) == ROWS
    return found


def test_a_backup_under_load_is_restored_elsewhere_row_by_row(orders: Galera, bucket: str, room: Path) -> None:
    member = orders.members[1]
    harness = task(orders, member, bucket)
    with Load(orders.client) as load:
        assert harness.pre_check() == Go()
        harness.execute_action()
        settled(harness)
    assert load.seen.failed == 0, load.seen
    assert harness.recover() is Recovered.DONE
    assert orders.status(member)["wsrep_local_state_comment"] == "Synced"
    made = whole(bucket).newest()
    assert made is not None
    cluster, _, seqno = str(made.facts["position"]).partition(":")
    assert cluster == orders.status(member)["wsrep_cluster_state_uuid"]
    assert int(str(made.facts["committed_before"])) <= int(seqno) <= int(str(made.facts["committed_after"]))

    data = room / "data"
    data.mkdir()
    stream = b"".join(whole(bucket).read(made, "data.xbstream"))
    subprocess.run(["mbstream", "-x", "-C", data], input=stream, check=True)
    subprocess.run(["mariabackup", "--prepare", f"--target-dir={data}"], check=True, capture_output=True)
    with scratch(data) as options:
        assert rows(options) == expected(orders)


def test_a_dump_is_restored_into_an_empty_server_row_by_row(orders: Galera, bucket: str, room: Path) -> None:
    harness = task(orders, orders.members[2], bucket, method="mariadb-dump")
    assert harness.pre_check() == Go()
    harness.execute_action()
    made = whole(bucket).newest()
    assert made is not None
    data = room / "data"
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", f"--user={_user()}"],
        check=True,
        capture_output=True,
    )
    sql = gzip.decompress(b"".join(whole(bucket).read(made, "dump.sql.gz")))
    with scratch(data) as options:
        subprocess.run(["mariadb", *options], input=sql, check=True, capture_output=True)
        assert rows(options) == expected(orders)


def _user() -> str:
    return "mysql" if os.getuid() == 0 else ""


def test_killed_at_any_point_it_leaves_no_half_backup_and_recover_tells_the_truth(
    orders: Galera, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each point of the action, as kill -9 does. `recover` says done exactly when the manifest is there, and puts
    the server back into step."""
    member = orders.members[0]
    harness = task(orders, member, bucket)
    put = ObjectStore.put

    def putting(store: ObjectStore, key: str, chunks: Any) -> Any:
        def passing() -> Iterator[bytes]:
            for number, chunk in enumerate(chunks):  # how many there are, is the pipe's affair
                if number in (0, 5):
                    harness.point(f"piece {number} of {key.rpartition('/')[2]}")
                yield chunk

        made = put(store, key, passing())
        harness.point(f"wrote {key.rpartition('/')[2]}")
        return made

    monkeypatch.setattr(ObjectStore, "put", putting)
    assert not harness.killed_at(1_000_000, tmp_path / "diary"), "undisturbed, to learn its points"
    points = [number for number, name in enumerate(harness.passed, 1) if not name.startswith("begins")]
    seen: dict[str, Recovered] = {}
    desynced = 0
    for point in points:
        for backup in whole(bucket).whole():
            ObjectStore(bucket).delete([f"{backup.name}/manifest"])
        assert harness.killed_at(point, tmp_path / "diary")
        desynced += orders.sql(member, "SELECT @@wsrep_desync") == [("1",)]
        answer = harness.recover()
        assert answer is (Recovered.DONE if whole(bucket).whole() else Recovered.NOT_DONE), harness.passed
        assert orders.sql(member, "SELECT @@wsrep_desync") == [("0",)], harness.passed
        seen[harness.passed[-1]] = answer
    assert seen["piece 5 of data.xbstream"] is seen["wrote data.xbstream"] is Recovered.NOT_DONE
    assert seen["wrote manifest"] is Recovered.DONE
    assert desynced >= 3, "killed with the server out of step"
    settled(harness)


def test_what_is_missing_is_told_before_anything_is_done(
    orders: Galera, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    member = orders.members[0]

    def refused(harness: Dying) -> str:
        answer = harness.pre_check()
        assert isinstance(answer, Refuse), answer
        assert harness.saved == {}
        return answer.reason

    nowhere = unique("s3://no-such-bucket")
    assert "is not there" in refused(task(orders, member, nowhere))
    assert "does not say where backups go" in refused(task(orders, member, ""))
    assert "is no address of objects" in refused(task(orders, member, "/var/backups"))
    few = tmp_path / "few.cnf"
    few.write_text("[client]\nuser=watcher\npassword=nothing\n")
    few.chmod(0o600)
    poor = Dying(
        Backup,
        settings={**orders.settings(member), "backups": bucket, "defaults_file": str(few)},
        node=member.name,
        cluster="mariadb:test",
    )
    assert "GRANT SUPER" in refused(poor)
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("mariadb", "mariadb-dump"):
        (folder / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(folder))
    assert "install it (Debian: mariadb-backup)" in refused(task(orders, member, bucket))
    (folder / "mariabackup").write_text("#!/bin/sh\necho mariabackup based on MariaDB server 10.5.1\n")
    (folder / "mariabackup").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    assert "mariabackup 10.5 does not fit the server 10.11" in refused(task(orders, member, bucket))


def test_one_member_makes_the_tasks_backup_unless_each_is_asked(orders: Galera, bucket: str) -> None:
    first, second, _ = orders.members
    task(orders, first, bucket, method="mariadb-dump").execute_action()
    answer = task(orders, second, bucket).pre_check()
    assert isinstance(answer, Skip)
    assert "maria-0 has made this task's backup" in answer.reason
    assert task(orders, second, bucket, each_node=True).pre_check() == Go()
    assert isinstance(task(orders, first, bucket, each_node=True).pre_check(), Skip)


def test_a_server_that_nobody_put_back_into_step_is_not_well(orders: Galera, bucket: str) -> None:
    member = orders.members[0]
    harness = task(orders, member, bucket)
    orders.sql(member, "SET GLOBAL wsrep_desync = ON")
    try:
        harness.saved.update(begun=True, desync=True)
        answer = harness.post_check()
        assert isinstance(answer, Wait)
        harness.abort()
        harness.abort()
        settled(harness)
    finally:
        assert orders.sql(member, "SELECT @@wsrep_desync") == [("0",)]
