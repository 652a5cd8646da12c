"""Composition promises: who this is comes from the settings, never from a guess; and nothing is reached too early."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from taskerman import bootstrap, cli
from taskerman.adapters.instance_metadata import InstanceMetadata
from taskerman.agent import JournalFile
from taskerman.agent.journal import Journal
from taskerman.bootstrap import parts
from taskerman.bootstrap.parts import make_profile
from taskerman.errors import HistorySchema, UsageError
from taskerman.model.event import Event
from taskerman.policy.patience import A_PLACE
from taskerman.ports.history import AuditQuery
from taskerman.settings import Settings
from tests.support.schedules import names, one
from tests.support.scheduling import schedule


@pytest.fixture
def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nowhere: str) -> Callable[[str, str], None]:
    """A machine that reaches nothing; a test says what else it is."""
    for name in [name for name in os.environ if name.startswith(("TASKERMAN_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TASKERMAN_ZOOKEEPER_HOSTS", nowhere)
    monkeypatch.setenv("TASKERMAN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{nowhere}")
    return monkeypatch.setenv


class Metadata(InstanceMetadata):
    """An instance that knows its id, and shows the tag that a test gives it."""

    shown: str | None = None

    def instance_id(self) -> str:
        return "i-0123"

    def tag(self, name: str) -> str:
        if self.shown is None:
            raise UsageError(f"The instance metadata shows no tag {name!r}.")
        return self.shown


def test_an_agent_asks_the_instance_who_it_is_when_the_settings_do_not_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(parts, "InstanceMetadata", Metadata)
    with pytest.raises(UsageError, match="no tag 'taskerman:cluster'"):
        open_agent(Settings(state_dir=tmp_path))
    monkeypatch.setattr(Metadata, "shown", "redis:a")
    open_agent(Settings(state_dir=tmp_path))
    assert Journal.model_validate_json((tmp_path / "journal.json").read_bytes()).node == "i-0123"


@pytest.mark.parametrize("tag", ["redis:a redis:b", "redis:b,redis:a", "redis:a, redis:b "])
def test_an_agent_is_of_all_clusters_that_its_tag_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    monkeypatch.setattr(parts, "InstanceMetadata", Metadata)
    monkeypatch.setattr(Metadata, "shown", tag)
    assert make_profile(Settings(node_id="i-1", state_dir=tmp_path)).clusters == ("redis:a", "redis:b")


def test_a_tag_that_does_not_name_clusters_is_refused_and_not_read_as_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "InstanceMetadata", Metadata)
    monkeypatch.setattr(Metadata, "shown", "redis:a; redis:b")
    with pytest.raises(UsageError, match="redis:a;"):
        open_agent(Settings(node_id="i-1", state_dir=tmp_path))


def open_agent(settings: Settings) -> None:
    with bootstrap.open_agent(settings, lambda event: None):
        pass


def test_a_desk_reaches_nothing_before_a_verb_wants_it(nowhere: str) -> None:
    with bootstrap.open_desk(Settings(zookeeper_hosts=nowhere)) as desk:
        assert desk.catalog.names() is not None


def test_a_router_without_zookeeper_says_so_and_waits_for_it(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage at its start is an outage like every other: it delays, and no daemon ends."""
    settings = Settings(zookeeper_hosts=nowhere, zookeeper_session_s=1)
    monkeypatch.setattr(bootstrap, "_A_DAEMON_WAITS", timedelta(seconds=0.2))
    waits: list[str] = []

    def heard(event: Event) -> None:
        if event.name == "router_waits":
            waits.append(str(event.fields["why"]))
            if len(waits) == 2:
                router.stop()

    with bootstrap.open_router(settings, heard) as router:
        router.run()
    assert len(waits) == 2
    assert all(nowhere in why for why in waits)


def test_cron_beside_a_resident_agent_has_nothing_to_do_and_a_second_resident_is_refused(
    environment: Callable[[str, str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment("TASKERMAN_NODE_ID", "i-1")
    environment("TASKERMAN_CLUSTERS", "demo:web")
    with JournalFile(tmp_path / "state", "i-1"):
        assert cli.invoke(["agent", "--once"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1
        assert cli.invoke(["agent"]) == 4
        assert "E-LOCKED" in capsys.readouterr().err


def test_a_wrong_setting_is_one_line_naming_the_variable(
    environment: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    environment("TASKERMAN_QUEUE_PREFIX", "much-too-long-a-prefix")
    assert cli.invoke(["status"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error E-USAGE: TASKERMAN_QUEUE_PREFIX is 'much-too-long-a-prefix'")


def test_how_long_an_agent_lets_others_go_first_is_a_setting(tmp_path: Path) -> None:
    where = {"node_id": "i-1", "clusters": ("demo:web",), "state_dir": tmp_path}
    assert make_profile(Settings(**where)).patience == A_PLACE  # type: ignore[arg-type]
    assert make_profile(Settings(**where, patience_s=2.5)).patience == timedelta(seconds=2.5)  # type: ignore[arg-type]


def test_schedules_that_people_declare_are_kept_where_the_history_is(tmp_path: Path) -> None:
    """Without a setting in the state folder, made by the first change; and never upgraded where that is forbidden."""
    settings = Settings(state_dir=tmp_path / "state")
    with bootstrap.open_schedule_store(settings) as store:
        assert list(store.read()) == []
        assert not (tmp_path / "state").exists()
        store.add(schedule(), "ana@desk", "x")
    with bootstrap.open_schedule_store(settings) as store:
        assert [one.schedule for one in store.read()] == [schedule()]
    with bootstrap.open_history_reader(settings) as reader:
        assert [entry.verb for entry in reader.audit_entries(AuditQuery(target="nightly"))] == ["schedule add"]
    forbidden = Settings(state_dir=tmp_path / "other", history_upgrade=False)
    with bootstrap.open_schedule_store(forbidden) as store, pytest.raises(HistorySchema):
        store.add(schedule(), "ana@desk", "x")


def test_schedules_are_read_where_the_settings_say_and_nothing_is_read_before_it_is_wanted(tmp_path: Path) -> None:
    with ExitStack() as closing:
        aws = parts.make_aws(closing)
        assert parts.make_schedule_files(Settings(), aws) is None
        in_bucket = parts.make_schedule_files(Settings(schedules="s3://bucket/tasks/"), aws)
        in_folder = parts.make_schedule_files(Settings(schedules=str(tmp_path)), aws)
        assert in_bucket is not None
        assert in_folder is not None
        assert (in_bucket.place, in_folder.place) == ("s3://bucket/tasks", str(tmp_path))
        (tmp_path / "a.yaml").write_text(one("a"))
        assert names(in_folder) == ["a"]


def test_a_scheduler_reads_the_reviewed_files_first_and_then_what_people_added(tmp_path: Path) -> None:
    """Of two that declare the same name the first counts. Reading makes no database."""
    with ExitStack() as closing:
        aws = parts.make_aws(closing)
        named = Settings(state_dir=tmp_path / "state", schedules=str(tmp_path))
        origins = [source.origin.value for source in parts.make_sources(named, aws, closing)]
        assert origins == ["files", "database"]
        (store,) = parts.make_sources(Settings(state_dir=tmp_path / "state"), aws, closing)
        assert list(store.read()) == []
        assert not (tmp_path / "state").exists()
