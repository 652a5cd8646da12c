"""`cassandra_task:backup` with recorded answers of `nodetool`, and files and S3 that are there: what is uploaded, what
is kept, and what a kill leaves."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runners.backups import Damaged
from runners.cassandra.pool import FILES, Gone, Pool
from runners.objects import ObjectStore
from taskerman import CommandFailed, Go, Recovered, Refuse, Wait
from tests.recorded.cassandra import ME, RecordedCassandra
from tests.recorded.cassandra_states import recorded
from tests.recorded.killing import Killed, Killing
from tests.support.aws import LocalCloud, unique

TABLE = "shop/orders-2207c2a9f5983971986b2926e09e239d"
LATER = timedelta(days=10)


class House:
    """A node's data folder, a bucket, and a Cassandra that is recorded."""

    def __init__(self, folder: Path, bucket: str) -> None:
        self.folder, self.bucket = folder, bucket
        self.cluster = RecordedCassandra()
        self.cluster.on_snapshot = self.snapshot
        self.cluster.on_clear = self.clear
        self.store = ObjectStore(f"s3://{bucket}/cassandra")
        self.pool = Pool(self.store, "node-1")
        (folder / "hints").mkdir()
        self.write("nb-1-big-Data.db", b"one" * 1000)
        self.write("nb-1-big-Statistics.db", b"statistics of one")

    def write(self, name: str, content: bytes, table: str = TABLE) -> None:
        """A file of a table."""
        path = self.folder / "data" / table / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # as Cassandra does it: a new file, and the old one lives on in snapshots
        path.write_bytes(content)

    def remove(self, name: str) -> None:
        """Compacted away."""
        (self.folder / "data" / TABLE / name).unlink()

    def snapshot(self, tag: str) -> None:
        """What `nodetool snapshot` does: hard links, and the table's schema."""
        for table in (self.folder / "data").glob("*/*"):
            place = table / "snapshots" / tag
            place.mkdir(parents=True)
            for file in table.iterdir():
                if file.is_file():
                    (place / file.name).hardlink_to(file)
            (place / "schema.cql").write_text("CREATE TABLE IF NOT EXISTS ...")

    def clear(self, tag: str) -> None:
        """What `nodetool clearsnapshot` does."""
        for place in (self.folder / "data").glob(f"*/*/snapshots/{tag}"):
            shutil.rmtree(place)

    def task(self, number: int = 1, **args: Any) -> Killing[Any]:
        """An attempt. `number`: its own; the task's id tells them apart."""
        settings = {
            "backup_to": self.store.address,
            "data_folders": [str(self.folder / "data")],
            "hints_folder": str(self.folder / "hints"),
        }
        harness = recorded("backup", self.cluster, settings=settings, args=args)
        make = harness.runner

        def runner(phase: str = "") -> Any:
            made = make(phase)
            made.ctx.attempt_id = f"t-harness.node-1.{number}"
            return made

        harness.runner = runner  # type: ignore[method-assign]
        return harness

    def contents(self) -> dict[str, int]:
        """What is kept, by checksum."""
        return {each.key.rpartition("/")[2]: each.size for each in self.store.list("data/node-1/")}


@pytest.fixture
def house(tmp_path: Path, local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> House:
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    bucket = unique("backups")
    with local_cloud.client("s3") as s3:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return House(tmp_path, bucket)


def restored(pool: Pool) -> dict[str, bytes]:
    """The newest backup, read as whoever restores would."""
    newest = pool.backups.newest()
    assert newest is not None
    return {one.path.partition("/")[2]: b"".join(pool.read(one)) for one in pool.files(newest)}


def test_what_was_backed_up_is_what_was_there(house: House) -> None:
    harness = house.task()
    assert harness.pre_check() == Go()
    harness.execute_action()
    assert restored(house.pool) == {
        f"{TABLE}/nb-1-big-Data.db": b"one" * 1000,
        f"{TABLE}/nb-1-big-Statistics.db": b"statistics of one",
        f"{TABLE}/schema.cql": b"CREATE TABLE IF NOT EXISTS ...",
    }
    newest = house.pool.backups.newest()
    assert newest is not None
    assert newest.facts["tokens"] == list(house.cluster.me.tokens)
    assert b"CREATE KEYSPACE shop" in b"".join(house.pool.backups.read(newest, "schema.cql"))
    assert house.cluster.me.snapshots == set(), "the snapshot is gone"
    assert harness.recover() is Recovered.DONE


def test_only_what_is_new_is_uploaded(house: House) -> None:
    """Content that was renamed is not new; a small file that was replaced under its old name is."""
    house.task(1).execute_action()
    before = house.contents()
    house.write("nb-2-big-Data.db", b"two" * 2000)
    house.write("nb-7-big-Data.db", b"one" * 1000)
    house.remove("nb-1-big-Data.db")
    house.write("nb-1-big-Statistics.db", b"statistics, later")
    harness = house.task(2)
    harness.execute_action()
    assert sorted(size for digest, size in house.contents().items() if digest not in before) == [17, 6000]
    newest = house.pool.backups.newest()
    assert newest is not None
    assert newest.facts["uploaded_bytes"] == 6017
    assert restored(house.pool)[f"{TABLE}/nb-1-big-Statistics.db"] == b"statistics, later"
    assert restored(house.pool)[f"{TABLE}/nb-7-big-Data.db"] == b"one" * 1000


def test_removing_old_backups_leaves_what_kept_ones_name(house: House) -> None:
    house.task(1).execute_action()
    house.write("nb-2-big-Data.db", b"two" * 2000)
    house.remove("nb-1-big-Data.db")
    house.task(2).execute_action()
    gone, contents = house.pool.prune(datetime.now(UTC) + LATER, keep=1, keep_for=timedelta(0))
    assert (len(gone), contents) == (1, 1)
    assert sorted(house.contents().values()) == [17, 30, 6000]
    assert set(restored(house.pool)) == {
        f"{TABLE}/nb-1-big-Statistics.db",
        f"{TABLE}/nb-2-big-Data.db",
        f"{TABLE}/schema.cql",
    }


def test_young_content_that_nobody_names_stays(house: House) -> None:
    """It may be of a backup whose manifest is not written yet."""
    house.task(1).execute_action()
    house.store.put("data/node-1/" + "0" * 64, [b"on its way"])
    assert house.pool.prune(datetime.now(UTC) + timedelta(days=1), keep=1, keep_for=timedelta(0)) == ([], 0)
    assert house.pool.prune(datetime.now(UTC) + LATER, keep=1, keep_for=timedelta(0)) == ([], 1)


def test_nothing_is_removed_when_a_kept_backup_cannot_be_read(house: House) -> None:
    house.task(1).execute_action()
    newest = house.pool.backups.newest()
    assert newest is not None
    house.store.put(f"{newest.name}/{FILES}", [b"[]"])
    house.store.put("data/node-1/" + "0" * 64, [b"old"])
    with pytest.raises(Damaged):
        house.pool.prune(datetime.now(UTC) + LATER, keep=1, keep_for=timedelta(0))
    assert len(house.contents()) == 4


def test_other_nodes_content_is_not_touched(house: House) -> None:
    house.task(1).execute_action()
    house.store.put("data/node-10/" + "0" * 64, [b"another's"])
    assert house.pool.prune(datetime.now(UTC) + LATER, keep=1, keep_for=timedelta(0)) == ([], 0)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_wherever_it_is_killed_there_is_a_whole_backup_or_none_and_no_snapshot(
    house: House, number: int, when: str
) -> None:
    """1: the snapshot is taken. 2: it is removed, which comes after the manifest."""
    harness = house.task()
    harness.kill_at = (number, when)
    with pytest.raises(Killed):
        harness.execute_action()
    harness.revive()
    harness.abort()
    assert house.cluster.me.snapshots == set()
    whole = house.pool.backups.whole()
    assert (harness.recover() is Recovered.DONE) == bool(whole) == (number == 2)
    if not whole:
        harness.execute_action()
        assert len(restored(house.pool)) == 3


def test_a_snapshot_that_a_dead_attempt_left_is_removed_by_the_next_and_no_other_is(house: House) -> None:
    house.cluster.me.snapshots = {"taskerman-t-old-node-1-9", "before-upgrade"}
    harness = house.task()
    harness.execute_action()
    assert house.cluster.me.snapshots == {"before-upgrade"}


def test_an_attempt_that_nobody_saw_die_goes_on_over_its_own_snapshot(house: House) -> None:
    """A new agent that finds nothing but what was saved calls no abort."""
    harness = house.task()
    harness.kill_at = (1, "after")
    with pytest.raises(Killed):
        harness.execute_action()
    harness.revive()
    assert len(house.cluster.me.snapshots) == 1
    assert harness.recover() is Recovered.NOT_DONE
    harness.execute_action()
    assert len(restored(house.pool)) == 3
    assert house.cluster.me.snapshots == set()


def test_a_snapshot_that_stays_is_not_called_well(house: House) -> None:
    harness = house.task()
    harness.execute_action()
    house.cluster.me.snapshots = {"taskerman-left"}
    assert harness.post_check() == Wait(
        "the snapshot taskerman-left is still there: nodetool clearsnapshot -t taskerman-left"
    )


def test_an_upload_that_fails_leaves_neither_a_backup_nor_a_snapshot(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = house.task()
    monkeypatch.setattr(ObjectStore, "put", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        harness.execute_action()
    monkeypatch.undo()
    assert house.cluster.me.snapshots == set()


def test_content_that_went_from_the_store_meanwhile_is_not_vouched_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.task(1).execute_action()
    add = Pool.add

    def emptied(self: Pool, files: Any) -> Any:
        kept = add(self, files)
        house.store.delete([f"data/node-1/{kept[0][0].sha256}"])
        return kept

    monkeypatch.setattr(Pool, "add", emptied)
    with pytest.raises(Exception, match="not in the store any more"):
        house.task(2).execute_action()
    assert len(house.pool.backups.whole()) == 1


def test_a_file_that_changes_while_it_is_read_never_stands_under_the_checksum_of_another(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for a moment either: whoever is killed in it would leave content that the next backup vouches for."""
    file = house.folder / "data" / TABLE / "nb-1-big-Data.db"
    put, seen = house.store.put, list[str]()

    def putting(key: str, chunks: Any) -> Any:
        file.write_bytes(b"two" * 1000)
        made = put(key, chunks)
        seen.extend(each.key for each in house.store.list())
        return made

    monkeypatch.setattr(house.store, "put", putting)
    with pytest.raises(Gone, match="changed while it was read"):
        house.pool.add([("0/shop/orders/nb-1-big-Data.db", file)])
    assert (seen, house.store.list()) == ([], [])


def test_damage_is_found_by_whoever_restores(house: House) -> None:
    house.task().execute_action()
    (digest,) = (digest for digest, size in house.contents().items() if size == 3000)
    house.store.put(f"data/node-1/{digest}", [b"x" * 3000])
    with pytest.raises(Damaged, match="is not what was kept"):
        restored(house.pool)


def test_a_bucket_that_is_not_there_is_refused_before_anything_is_done(house: House) -> None:
    house.store = ObjectStore("s3://nobodys-bucket-at-all/cassandra")
    answer = house.task().pre_check()
    assert isinstance(answer, Refuse)
    assert "nobodys-bucket-at-all is not there" in answer.reason


def test_a_schema_that_is_not_printed_is_no_backup_and_no_snapshot(house: House) -> None:
    harness = house.task()
    answered = harness._answer
    harness._answer = lambda words: (1, "Connection error\n") if words[0] == "cqlsh" else answered(words)
    with pytest.raises(Exception, match="correct describe_schema"):
        harness.execute_action()
    assert ("snapshot",) not in [words[1:2] for words in harness.commands]


def test_data_folders_that_are_somebody_elses_make_no_empty_backup(house: House) -> None:
    house.cluster.on_snapshot = lambda tag: None
    with pytest.raises(Exception, match="has no file: correct data_folders"):
        house.task().execute_action()
    assert house.pool.backups.whole() == []


def test_a_snapshot_that_cannot_be_taken_fails_the_action(house: House) -> None:
    house.cluster.says[(ME, "snapshot")] = (1, "error: Snapshot already exists\n")
    with pytest.raises(CommandFailed, match="already exists"):
        house.task().execute_action()


def test_a_list_of_files_is_json_of_paths_sizes_and_checksums(house: House) -> None:
    """So that it can be restored by hand, without any of this code."""
    house.task().execute_action()
    newest = house.pool.backups.newest()
    assert newest is not None
    listed = json.loads(house.store.read_all(f"{newest.name}/{FILES}"))
    assert [f"0/{TABLE}/nb-1-big-Data.db", 3000] == listed[0][:2]
    assert house.store.read_all(f"data/node-1/{listed[0][2]}") == b"one" * 1000
