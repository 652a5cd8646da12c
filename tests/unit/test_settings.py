"""Settings: the environment wins over the file, the file over the default, and every mistake is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskerman import settings as settings_module
from taskerman.errors import UsageError
from taskerman.settings import Settings, load


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("TASKERMAN_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(settings_module, "DEFAULT_FILE", tmp_path / "etc" / "taskerman.toml")


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    monkeypatch.setenv("TASKERMAN_SETTINGS_FILE", str(path))
    return path


def origin(variable: str) -> str:
    return next(setting.origin for setting in load().listing() if setting.variable == variable)


def test_without_anything_every_value_is_the_default_and_says_so() -> None:
    listing = load().listing()
    assert {setting.origin for setting in listing} == {"default"}
    assert all(setting.about for setting in listing)
    assert load().settings.zookeeper_hosts == "127.0.0.1:2181"


def test_the_environment_wins_over_the_file_and_each_value_knows_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    file.write_text('queue_prefix = "fromfile"\nzookeeper_hosts = "zk:1"\nclusters = ["demo:web"]\n')
    monkeypatch.setenv("TASKERMAN_QUEUE_PREFIX", "fromenv")
    found = load().settings
    assert (found.queue_prefix, found.zookeeper_hosts, found.clusters) == ("fromenv", "zk:1", ("demo:web",))
    assert origin("TASKERMAN_QUEUE_PREFIX") == "environment"
    assert origin("TASKERMAN_ZOOKEEPER_HOSTS") == str(file)
    assert origin("TASKERMAN_STATE_DIR") == "default"


def test_the_default_file_is_read_when_it_is_there() -> None:
    path = settings_module.DEFAULT_FILE
    path.parent.mkdir()
    path.write_text('log_format = "json"\n')
    assert load().settings.log_format == "json"


def test_a_runners_table_reaches_it_as_it_was_written(file: Path) -> None:
    file.write_text('[runners.redis_task]\nrestart_command = ["systemctl", "restart", "redis"]\nport = 6379\n')
    runner = load().settings.runners["redis_task"]
    assert runner == {"restart_command": ["systemctl", "restart", "redis"], "port": 6379}


def test_lists_are_comma_separated_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKERMAN_CLUSTERS", "redis:a, redis:b")
    monkeypatch.setenv("TASKERMAN_ACTIONS", "redis_task:*")
    found = load().settings
    assert found.clusters == ("redis:a", "redis:b")
    assert found.actions == ("redis_task:*",)


def test_nothing_is_allowed_on_a_node_that_names_no_action() -> None:
    assert Settings().actions == ()


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("TASKERMAN_QUEUE_PREFIX", "much-too-long-a-prefix", "pattern"),
        ("TASKERMAN_ZOOKEEPER_SESSION_S", "soon", "number"),
        ("TASKERMAN_LOG_FORMAT", "xml", "human"),
        ("TASKERMAN_CLUSTERS", "no-kind", "pattern"),
        ("TASKERMAN_ACTIONS", "*:*", "pattern"),
        ("TASKERMAN_NODE_ID", "a/b", "pattern"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError) as caught:
        load()
    assert variable in caught.value.what
    assert repr(value) in caught.value.what
    assert reason in caught.value.what


def test_a_table_in_the_environment_that_is_not_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKERMAN_RUNNERS", "{no")
    with pytest.raises(UsageError, match="runners"):
        load()


def test_an_unknown_name_in_the_file_is_an_error_and_in_the_environment_a_warning(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    """A file is ours alone; an environment may carry names of a newer build."""
    file.write_text("")
    monkeypatch.setenv("TASKERMAN_QEUE_PREFIX", "x")
    assert load().unknown == ("TASKERMAN_QEUE_PREFIX",)
    file.write_text('qeue_prefix = "x"\n')
    with pytest.raises(UsageError, match=r"qeue_prefix.*not a setting"):
        load()


@pytest.mark.parametrize("content", ["not toml", None])
def test_a_named_file_that_cannot_be_read_is_an_error(file: Path, content: str | None) -> None:
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=r"mine\.toml"):
        load()


def test_an_empty_variable_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKERMAN_NODE_ID", "")
    assert load().settings.node_id is None


def test_whoever_uses_sudo_is_named_by_their_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    assert load().settings.operator.startswith("ada@")


# --- a password in a setting -----------------------------------------------------------------------------

SECRET = "h\u00fcsh/of@it:all"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ada:{SECRET}@db:5432/history?sslmode=verify-full",
        f"postgresql://ada@db/history?password={SECRET}",
        f"postgresql://db/history?sslmode=require&sslpassword={SECRET}",
    ],
)
def test_a_password_is_never_listed(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TASKERMAN_HISTORY_URL", url)
    loaded = load()
    assert loaded.settings.history == url
    shown = next(one.value for one in loaded.listing() if one.variable == "TASKERMAN_HISTORY_URL")
    assert str(shown).startswith("postgresql://")
    assert "***" in str(shown)
    for text in (str(shown), repr(loaded), str(loaded.settings), loaded.settings.model_dump_json()):
        assert not any(part in text for part in ("h\u00fcsh", "of@it", "it:all"))


@pytest.mark.parametrize(
    "url", [f"mysql://ada:{SECRET}@db/x", f"{SECRET}", f"postgres:ada:{SECRET}@db", f"sqlite:///{SECRET}.db"]
)
def test_a_wrong_address_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TASKERMAN_HISTORY_URL", url)
    with pytest.raises(UsageError, match=r"TASKERMAN_HISTORY_URL is .*neither sqlite") as caught:
        load()
    if not url.startswith("sqlite"):  # a path is no secret
        assert "h\u00fcsh" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_address_of_a_wrong_type_in_the_file_is_refused_without_its_password(file: Path) -> None:
    file.write_text(f'[history_url]\npassword = "{SECRET}"\n')
    with pytest.raises(UsageError) as caught:
        load()
    assert "h\u00fcsh" not in str(caught.value)


def test_without_an_address_the_past_is_in_a_file_of_the_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKERMAN_STATE_DIR", "/srv/taskerman")
    assert load().settings.history == "sqlite:////srv/taskerman/history.db"


def test_a_wrong_part_of_an_object_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a setting that is right is said to be none."""
    monkeypatch.setenv("TASKERMAN_JANITOR", '{"turn": 3}')
    with pytest.raises(UsageError, match=r"sets janitor\.turn, which is not a setting"):
        load()


@pytest.mark.parametrize(
    "place", ["", "/etc/taskerman/tasks", "s3://bucket/prefix", "s3://bucket", "s3://b.u-k3t/a/b/"]
)
def test_schedules_are_in_a_folder_or_a_bucket_or_nowhere(place: str) -> None:
    assert Settings(schedules=place).schedules == place


@pytest.mark.parametrize("place", ["configs/tasks", "s3://", "s3:///prefix", "s3://B/x", "https://bucket/x", "~/tasks"])
def test_another_place_of_schedules_is_named(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("TASKERMAN_SCHEDULES", place)
    with pytest.raises(UsageError, match=r"TASKERMAN_SCHEDULES.*absolute path of a folder nor s3://bucket/prefix"):
        load()
