"""`postgres_task`'s backups on a real cluster and an S3 on loopback: made, killed, damaged, restored, and compared."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runners.backups import Backup, Damaged
from runners.objects import ObjectStore, StoreUnavailable
from runners.postgres.backing_up import BackupRunner, backups_of
from runners.postgres.backup_base import BackupBase
from runners.postgres.backup_logical import BackupLogical, part_of
from runners.postgres.config import PostgresConfig
from runners.postgres.programs import ProgramFailed
from runners.postgres.restore_check import NotProved, RestoreCheck
from runners.postgres.scratch import Scratch, leftovers
from taskerman import Go, Recovered, Refuse, Skip
from tests.integration.postgres_harness import OnTheMachine, believe_sooner, killed, settled, task
from tests.support.aws import LocalCloud, unique
from tests.support.services import postgresql_program
from tests.support.stores.member import Member
from tests.support.stores.postgres import PASSWORD, USER, PostgresStore, running_postgres

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

CLUSTER = "postgres:test"
SHOP = "shop ümlaut/1"

DATA = """
CREATE SCHEMA "Shop";
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE "Shop"."order" (id bigserial PRIMARY KEY, "select" text, price numeric(20,6), at timestamptz, mood mood,
    tags text[], doc jsonb, raw bytea, span interval, addr inet, number positive, "a""b" float8, part tstzrange,
    net uuid, twice int GENERATED ALWAYS AS (number * 2) STORED);
INSERT INTO "Shop"."order" ("select", price, at, mood, tags, doc, raw, span, addr, number, "a""b", part, net)
SELECT 'zażółć 漢字 ' || g || E'\\n\\t\\\\', g / 7.0, 'epoch'::timestamptz + g * interval '1h',
    (ARRAY['glad','sad'])[1 + g % 2]::mood, ARRAY['a', NULL, g::text], jsonb_build_object('g', g, 'ü', ARRAY[g]),
    decode(md5(g::text), 'hex'), g * interval '1s', '10.0.0.0'::inet + g, g, g / 3.0,
    tstzrange('epoch', 'epoch'::timestamptz + g * interval '1h'), md5(g::text)::uuid FROM generate_series(1, 2000) AS g;
CREATE TABLE measured (at date, value float8) PARTITION BY RANGE (at);
CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE measured_2 PARTITION OF measured FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
INSERT INTO measured SELECT '2020-01-01'::date + g, sqrt(g) FROM generate_series(0, 700) AS g;
CREATE TABLE empty_one (); CREATE TABLE nothing (id int);
CREATE TABLE child (extra text) INHERITS (nothing); INSERT INTO child VALUES (1, NULL), (2, 'x');
CREATE UNLOGGED TABLE cache (k text); INSERT INTO cache VALUES ('gone');
CREATE VIEW glad AS SELECT id FROM "Shop"."order" WHERE mood = 'glad';
CREATE MATERIALIZED VIEW sums AS SELECT count(*) AS n FROM measured;
CREATE SEQUENCE tickets START 100; SELECT nextval('tickets'), nextval('tickets');
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE INDEX ON "Shop"."order" (twice(number)); CREATE INDEX ON "Shop"."order" USING gin (doc);
SELECT lo_from_bytea(0, decode(repeat('00ff10', 3000), 'hex')); SELECT lo_from_bytea(0, 'small');
CREATE TABLE owned (id int); ALTER TABLE owned OWNER TO shopkeeper;
"""

LOOKED_AT = (
    'SELECT * FROM "Shop"."order" ORDER BY id',
    "SELECT * FROM measured ORDER BY at",
    "SELECT * FROM ONLY nothing",
    "SELECT * FROM child ORDER BY id",
    "SELECT * FROM cache",
    "SELECT * FROM glad ORDER BY id",
    "SELECT * FROM sums",
    "SELECT last_value FROM tickets",
    'SELECT last_value FROM "Shop".order_id_seq',
    "SELECT loid, pageno, data FROM pg_largeobject ORDER BY 1, 2",
    "SELECT c.relname, c.relkind, pg_get_userbyid(c.relowner) FROM pg_class AS c JOIN pg_namespace AS n "
    "ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'Shop') ORDER BY 1",
    "SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON oid = indrelid WHERE relname = 'order' "
    "ORDER BY 1",
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = '\"Shop\"'::regnamespace "
    "ORDER BY 1",
)


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresStore]:
    with running_postgres(2) as store:
        store.execute("CREATE ROLE shopkeeper LOGIN PASSWORD 'of-the-shop'")
        store.execute(f'CREATE DATABASE "{SHOP}" TEMPLATE template0')
        for statement in DATA.split(";\n"):
            if statement.strip():
                store.execute(statement, SHOP)
        store.wait_until_well()
        yield store


@pytest.fixture
def store(running: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> PostgresStore:
    believe_sooner(monkeypatch)
    running.wait_until_well()
    return running


@pytest.fixture
def bucket(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new one, which everything here is told."""
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    name = unique("backups")
    with local_cloud.client("s3") as s3:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return f"s3://{name}/postgres"


class House:
    """One bucket, and the runners on the nodes of the store."""

    def __init__(self, store: PostgresStore, bucket: str) -> None:
        self.store, self.bucket = store, bucket
        self.primary, self.replica = store.members

    def on(self, runner: type[Any], member: Member | None = None, **more: Any) -> OnTheMachine[Any]:
        settings = {"backups": self.bucket, **more.pop("settings", {})}
        return task(runner, self.store, member or self.replica, settings=settings, cluster=CLUSTER, **more)

    def made(self, runner: type[BackupRunner] = BackupLogical, **args: Any) -> Backup:
        """A whole one, of the replica."""
        args = {"databases": [SHOP], **args} if runner is BackupLogical else {"checkpoint": "fast", **args}
        harness = self.on(runner, **args)
        assert harness.pre_check() == Go()
        harness.execute_action()
        settled(harness)
        assert harness.recover() is Recovered.DONE
        found = self.newest(runner.kind)
        assert found is not None
        return found

    def newest(self, kind: str = "logical") -> Backup | None:
        return backups_of(PostgresConfig(backups=self.bucket), CLUSTER, kind).newest()

    def stored(self) -> list[str]:
        return [each.key for each in ObjectStore(self.bucket).list()]

    def overwrite(self, key: str, content: bytes) -> None:
        ObjectStore(self.bucket).put(key, [content])

    def read(self, key: str) -> bytes:
        return ObjectStore(self.bucket).read_all(key, most=1 << 28)


@pytest.fixture
def house(store: PostgresStore, bucket: str) -> House:
    return House(store, bucket)


@pytest.fixture(scope="module")
def prepared() -> dict[str, bytes]:
    """The objects of one whole backup, once there is one."""
    return {}


@pytest.fixture
def backup(house: House, prepared: dict[str, bytes]) -> Backup:
    """A whole backup in the house's own bucket: made once, and copied."""
    if not prepared:
        house.made()
        prepared |= {key: house.read(key) for key in house.stored()}
    for key, content in prepared.items():
        house.overwrite(key, content)
    found = house.newest()
    assert found is not None
    return found


# --- a backup is what was there --------------------------------------------------------------------------


def test_a_database_is_backed_up_restored_elsewhere_and_the_same_row_by_row(house: House, tmp_path: Path) -> None:
    """Elsewhere: another server, with nothing of ours but the objects of the backup."""
    backup = house.made()
    assert backup.facts["role"] == "replica"
    assert sorted(part.key for part in backup.parts) == [
        "databases/shop%20%C3%BCmlaut%2F1.dump",
        "roles.sql",
        "tablespaces.sql",
    ]
    dump, roles = tmp_path / "dump", tmp_path / "roles.sql"
    dump.write_bytes(house.read(f"{backup.name}/{part_of(SHOP)}"))
    roles.write_bytes(house.read(f"{backup.name}/roles.sql"))
    with running_postgres(1) as other:
        env = {
            **os.environ,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(other.ports[0]),
            "PGUSER": USER,
            "PGPASSWORD": PASSWORD,
        }
        # That the superuser is there already is the one complaint that roles may have.
        said = subprocess.run(
            ["psql", "-X", "-d", "postgres", "-f", str(roles)], env=env, capture_output=True, text=True, check=True
        )
        assert [line for line in said.stderr.splitlines() if "ERROR" in line and f'"{USER}"' not in line] == []
        subprocess.run(
            [postgresql_program("pg_restore"), "-d", "postgres", "--create", "--exit-on-error", str(dump)],
            env=env,
            check=True,
        )
        with house.store.connect(house.primary, SHOP) as here, other.connect(other.members[0], SHOP) as there:
            for statement in LOOKED_AT:
                before, after = here.execute(statement).fetchall(), there.execute(statement).fetchall()
                if statement == "SELECT * FROM cache":
                    assert (len(before), len(after)) == (1, 0), "an unlogged table has no content on a replica"
                elif "last_value" in statement:
                    assert before[0][0] <= after[0][0] <= before[0][0] + 32, "a replica knows sequences ahead of time"
                else:
                    assert after == before, statement
            assert here.execute('SELECT count(*) FROM "Shop"."order"').fetchone() == (2000,)
        psycopg.connect(
            host="127.0.0.1", port=other.ports[0], user="shopkeeper", password="of-the-shop", dbname=SHOP
        ).close()


def test_what_is_noted_is_what_the_dump_has_while_rows_come_and_go(house: House) -> None:
    """Counted in the snapshot of the dump: on the primary, under writes, a restore has exactly what was noted."""
    over = threading.Event()

    def write() -> None:
        with house.store.connect(house.primary, SHOP) as connection:
            number = 0
            while not over.is_set():
                number += 1
                connection.execute("INSERT INTO nothing VALUES (%s)", (number,))
                connection.execute("DELETE FROM nothing WHERE id % 3 = 0")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while house.store.ask(house.primary, "SELECT count(*) FROM ONLY nothing", SHOP) < 20:
            pass
        harness = house.on(BackupLogical, house.primary, on="anywhere", databases=[SHOP])
        assert harness.pre_check() == Go()
        harness.execute_action()
        ended_at = house.store.ask(house.primary, "SELECT count(*) FROM ONLY nothing", SHOP)
    finally:
        over.set()
        writer.join()
        house.store.ask(house.primary, "TRUNCATE ONLY nothing", SHOP)
    backup = house.newest()
    assert backup is not None
    noted: Any = backup.facts["databases"]
    assert 20 <= noted[SHOP]["facts"]["tables"]["public.nothing"]["rows"] < ended_at, "rows came meanwhile"
    check = house.on(RestoreCheck)
    assert check.pre_check() == Go()
    check.execute_action()


def test_every_database_is_dumped_where_none_is_named(house: House) -> None:
    backup = house.made(databases=[], facts="rows", compress=0)
    assert set(backup.facts["databases"]) == {"postgres", SHOP}  # type: ignore[arg-type]
    check = house.on(RestoreCheck)
    check.execute_action()
    assert check.recover() is Recovered.DONE
    assert check.post_check() == Go()


def test_a_base_backup_is_proved_by_its_own_manifest_amcheck_and_a_start(house: House) -> None:
    backup = house.made(BackupBase)
    system = house.store.ask(house.primary, "SELECT system_identifier::text FROM pg_control_system()")
    assert (backup.facts["system"], backup.facts["timeline"]) == (system, 1)
    assert "/" in str(backup.facts["start_lsn"])
    check = house.on(RestoreCheck, kind="base")
    assert check.pre_check() == Go()
    check.execute_action()
    assert check.recover() is Recovered.DONE
    assert not [line for line in check.logged if "not here" in line.message]
    key = f"{backup.name}/base.tar"
    content = house.read(key)
    house.overwrite(key, content[:-70_000])
    with pytest.raises((Damaged, NotProved)):
        house.on(RestoreCheck, kind="base").execute_action()


# --- a backup that is none -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "runners.objects:ObjectStore._call",
        "runners.postgres.backup_logical:BackupLogical._dump",
        "runners.backups:Unfinished.finish",
    ],
)
def test_a_backup_that_is_killed_leaves_nothing_that_looks_whole_and_is_made_again(house: House, where: str) -> None:
    harness = house.on(BackupLogical, databases=[SHOP])
    assert harness.pre_check() == Go()
    killed(harness, where)
    assert house.newest() is None
    assert not any(key.endswith("manifest") for key in house.stored())
    assert harness.recover() is Recovered.NOT_DONE
    harness.abort()
    assert (
        house.store.ask(house.replica, "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'pg_dump'") == 0
    )
    harness.execute_action()
    settled(harness)
    assert harness.recover() is Recovered.DONE


def test_a_backup_that_is_killed_after_its_manifest_is_known_to_be_there(house: House) -> None:
    harness = house.on(BackupLogical, databases=[SHOP])
    killed(harness, "runners.backups:Unfinished.finish", after=True)
    assert harness.recover() is Recovered.DONE
    settled(harness)


@pytest.mark.parametrize(("runner", "program"), [(BackupLogical, "pg_dump"), (BackupBase, "pg_basebackup")])
def test_a_program_that_fails_half_way_leaves_no_object(
    house: House, tmp_path: Path, runner: type[BackupRunner], program: str
) -> None:
    """It has written a good deal, and then says by its exit code that it is not all."""
    programs = _programs_but(tmp_path, program, 'head -c 3000000 /dev/zero; echo "it broke" >&2; exit 3')
    harness = house.on(runner, settings={"programs": str(programs)})
    with pytest.raises(ProgramFailed, match=f"{program}: exit 3; it broke"):
        harness.execute_action()
    assert not any(key.endswith((".dump", ".tar", "manifest")) for key in house.stored())
    assert harness.recover() is Recovered.NOT_DONE


def _programs_but(folder: Path, name: str, does: str) -> Path:
    """PostgreSQL's programs, and in place of one a script, which still says its version."""
    for each in Path(postgresql_program("postgres")).parent.iterdir():
        if each.name != name:
            (folder / each.name).symlink_to(each)
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    for parent in folder.parents:
        if parent != Path("/") and parent.stat().st_uid == os.geteuid() and parent != Path("/tmp"):
            parent.chmod(0o755)
    script = folder / name
    version = f'if [ "$1" = --version ]; then echo "{name} (PostgreSQL) 15.1"; exit 0; fi\n'
    script.write_text(f"#!/bin/sh\n{version}{does}\n")
    script.chmod(0o755)
    return folder


# --- what restore_check catches --------------------------------------------------------------------------


def test_a_restore_check_catches_a_damaged_part(house: House, backup: Backup) -> None:
    key = f"{backup.name}/{part_of(SHOP)}"
    content = bytearray(house.read(key))
    content[len(content) // 2] ^= 1
    house.overwrite(key, bytes(content))
    check = house.on(RestoreCheck)
    with pytest.raises(Damaged, match="is not what was written"):
        check.execute_action()
    assert check.post_check() == Go(), "and leaves nothing"
    assert check.recover() is Recovered.NOT_DONE


def test_a_restore_check_catches_a_manifest_that_lies(house: House, backup: Backup) -> None:
    """A row more than there was, another content, a table that never was, and one that is not noted."""
    key = f"{backup.name}/manifest"
    document = json.loads(house.read(key))
    tables = document["facts"]["databases"][SHOP]["facts"]["tables"]
    tables['"Shop"."order"']["rows"] += 1
    tables["public.child"]["hash"] = "12"
    tables["public.never"] = {"rows": 1}
    del tables["public.empty_one"]
    house.overwrite(key, json.dumps(document).encode())
    check = house.on(RestoreCheck)
    with pytest.raises(NotProved) as caught:
        check.execute_action()
    for said in (
        'the table "Shop"."order" has 2000 rows instead of 2001',
        "the table public.child has 2 rows, as noted, with another content",
        "the table public.never is missing",
        "there is a table public.empty_one, which was not noted",
    ):
        assert said in str(caught.value)
    assert check.recover() is Recovered.NOT_DONE


def test_a_restore_check_that_is_killed_leaves_nothing_after_abort(house: House, backup: Backup) -> None:
    check = house.on(RestoreCheck)
    killed(check, "runners.postgres.restore_check:RestoreCheck._restore")
    left = list(Path(check.runner().config.scratch).glob("taskerman-restore-*"))
    assert len(left) == 1
    assert (left[0] / "data" / "postmaster.pid").exists(), "its server runs on"
    config = check.runner().config
    assert leftovers(config) == [], "a server that runs is not swept away by others"
    check.abort()
    assert not left[0].exists()
    other = Scratch(config, "another-attempt")
    other.make()
    try:
        assert leftovers(config) == [], "nor a folder in which somebody works"
        (Path(config.scratch) / "taskerman-restore-old").mkdir()
        assert [each.name for each in leftovers(config)] == ["taskerman-restore-old"]
    finally:
        other.remove()
        (Path(config.scratch) / "taskerman-restore-old").rmdir()
    assert check.post_check() == Go()
    assert check.recover() is Recovered.NOT_DONE


# --- who does it, and who does not -----------------------------------------------------------------------


def test_one_node_of_a_task_is_enough_and_the_primary_is_the_last_to_be_asked(house: House) -> None:
    """Of a backup, and of a check."""
    nodes = ["pg-0", "pg-1"]
    primary = house.on(BackupLogical, house.primary, nodes=nodes)
    assert primary.pre_check() == Skip("this is the primary; a replica of this task is backed up")
    assert house.on(BackupLogical, house.primary).pre_check() == Go(), "it is the only node of its task"
    house.made()
    for member in (house.replica, house.primary):
        again = house.on(BackupLogical, member, nodes=nodes, on="anywhere").pre_check()
        assert isinstance(again, Skip)
        assert "this task has a backup already" in again.reason
    assert isinstance(house.on(RestoreCheck, house.primary, nodes=nodes).pre_check(), Skip)
    house.on(RestoreCheck).execute_action()
    other = house.on(RestoreCheck, nodes=nodes).pre_check()
    assert isinstance(other, Skip)
    assert "this task has checked already" in other.reason


def test_what_is_too_old_goes_and_the_newest_stay(house: House, backup: Backup) -> None:
    """An older backup of another task is there; the new one is the one that is kept."""
    for key in house.stored():
        house.overwrite(key.replace("/logical/2", "/logical/1"), house.read(key))
    ObjectStore(house.bucket).delete([key for key in house.stored() if "/logical/2" in key])
    key = next(key for key in house.stored() if key.endswith("/manifest"))
    document = json.loads(house.read(key))
    document["facts"]["task"], document["at"] = "another", "20200101T000000Z"
    house.overwrite(key, json.dumps(document).encode())
    new = house.made(keep=1, keep_for_days=0)
    assert {key.rpartition(f"{new.name}/")[1] for key in house.stored() if "/logical/" in key} == {f"{new.name}/"}


@pytest.mark.parametrize(
    ("runner", "settings", "args", "said"),
    [
        (BackupLogical, {"backups": ""}, {}, "nobody said where backups are"),
        (BackupLogical, {"backups": "s3://is-not-there-at-all/x"}, {}, "the bucket is-not-there-at-all is not there"),
        (BackupLogical, {}, {"databases": ["nope"]}, "there is no database nope; there are postgres"),
        (BackupLogical, {"password": "wrong"}, {}, "password authentication failed"),
        (BackupLogical, {"programs": "/nonexistent"}, {}, "is not in /nonexistent"),
        (BackupBase, {"user": "shopkeeper", "password": "of-the-shop"}, {}, "hides its statistics"),
        (RestoreCheck, {}, {}, "there is no logical backup"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_written(
    house: House, runner: type[Any], settings: dict[str, Any], args: dict[str, Any], said: str
) -> None:
    answer = house.on(runner, settings=settings, **args).pre_check()
    assert isinstance(answer, Refuse)
    assert said in answer.reason
    assert house.stored() == []


def test_a_program_that_is_older_than_the_server_is_refused(house: House, tmp_path: Path) -> None:
    programs = _programs_but(tmp_path, "pg_dump", "exit 1")
    script = programs / "pg_dump"
    script.write_text(script.read_text().replace("15.1", "12.9"))
    answer = house.on(BackupLogical, settings={"programs": str(programs)}).pre_check()
    assert isinstance(answer, Refuse)
    assert "pg_dump is of version 12, older than the server (15)" in answer.reason


def test_tablespaces_are_refused_by_name(house: House) -> None:
    with house.store.connect(house.primary, options="-c allow_in_place_tablespaces=on") as connection:
        connection.execute("CREATE TABLESPACE fast LOCATION ''")
    house.store.wait_until_well()
    try:
        answer = house.on(BackupBase).pre_check()
        assert isinstance(answer, Refuse)
        assert "the server has tablespaces, which one stream cannot hold: fast" in answer.reason
    finally:
        house.store.execute("DROP TABLESPACE fast")


def test_a_restore_without_room_or_of_an_old_backup_is_refused(house: House, backup: Backup) -> None:
    answer = house.on(RestoreCheck, settings={"scratch_reserve_bytes": 1 << 60}).pre_check()
    assert isinstance(answer, Refuse)
    assert "and 0 are free beside the reserve" in answer.reason
    assert isinstance(house.on(RestoreCheck, settings={"scratch": "/nonexistent"}).pre_check(), Refuse)
    key = f"{backup.name}/manifest"
    document = json.loads(house.read(key))
    document["at"] = "20200101T000000Z"
    house.overwrite(key, json.dumps(document).encode())
    answer = house.on(RestoreCheck).pre_check()
    assert isinstance(answer, Refuse)
    assert "hours old" in answer.reason


def test_a_store_that_fails_in_the_midst_fails_the_backup(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = house.on(BackupLogical, databases=[SHOP])
    real = ObjectStore._call

    def fails(self: ObjectStore, operation: str, *args: Any, **named: Any) -> Any:
        if operation == "complete_multipart_upload" and ".dump" in named["Key"]:
            raise StoreUnavailable("the disk of the store is full")
        return real(self, operation, *args, **named)

    monkeypatch.setattr(ObjectStore, "_call", fails)
    with pytest.raises(StoreUnavailable, match="is full"):
        harness.execute_action()
    monkeypatch.setattr(ObjectStore, "_call", real)
    assert house.newest() is None
    assert not any(key.endswith(".dump") for key in house.stored())
