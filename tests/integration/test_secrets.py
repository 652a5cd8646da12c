"""No secret is ever printed: a marker in every setting that is one, and everything that daemons and verbs say."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from taskerman import cli
from taskerman.adapters.zookeeper import Credential, ZookeeperTree
from taskerman.agent.process import _environment
from taskerman.settings import Settings
from taskerman.testing.zookeeper_server import ZookeeperServer, free_port
from tests.support.waiting import until
from tests.support.zookeeper import OpenTree

pytestmark = pytest.mark.real

MARK = "s3cr3t-marker"
SECRETS = {
    "TASKERMAN_ZOOKEEPER_PASSWORD": f"{MARK}-1",
    "TASKERMAN_ZOOKEEPER_NODE_PASSWORD": f"{MARK}-2",
    "TASKERMAN_ZOOKEEPER_TLS_KEY_PASSWORD": f"{MARK}-3",
    "TASKERMAN_HISTORY_URL": f"postgresql://taskerman:{MARK}-4@127.0.0.1:1/history",
}


def test_every_secret_setting_is_marked_here() -> None:
    """A new one belongs into this test."""
    secret = {
        f"TASKERMAN_{name.upper()}"
        for name, field in Settings.model_fields.items()
        if "SecretStr" in repr(field.annotation) or "SecretStr" in repr(field.metadata)
    }
    assert secret == set(SECRETS)
    assert SecretStr(MARK).get_secret_value() not in repr(Settings(zookeeper_password=SecretStr(MARK)))


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TASKERMAN_", "AWS_"))}
    return {
        **kept,
        **SECRETS,
        "TASKERMAN_ZOOKEEPER_HOSTS": f"127.0.0.1:{free_port()}",
        "TASKERMAN_ZOOKEEPER_USER": "control",
        "TASKERMAN_STATE_DIR": str(folder / "state"),
        "TASKERMAN_NODE_ID": "i-1",
        "TASKERMAN_CLUSTERS": "demo:web",
        "TASKERMAN_LOG_LEVEL": "debug",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": f"{MARK}-5",
        "AWS_ENDPOINT_URL": f"http://user:{MARK}-6@127.0.0.1:{free_port()}",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_MAX_ATTEMPTS": "1",
        **more,
    }


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (["settings"], {}),
        (["settings", "--json"], {}),
        (["doctor"], {}),
        (["status", "--json"], {}),
        (["history"], {}),
        (["init"], {"TASKERMAN_ZOOKEEPER_TLS": "true", "TASKERMAN_ZOOKEEPER_TLS_KEY": "/nowhere"}),
        (["status"], {"TASKERMAN_ZOOKEEPER_PASSWORD_FILE": "/nowhere"}),
        (["status"], {"TASKERMAN_HISTORY_URL": f"mysql://u:{MARK}-7@h/d"}),
        (["status"], {"TASKERMAN_ZOOKEEPER_SESSION_S": "never"}),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else ",".join(value),
)
def test_what_verbs_print_has_no_secret_in_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    more: dict[str, str],
) -> None:
    """With nothing that they need in reach, so that every error of theirs is printed."""
    for name, value in environment(tmp_path, **more).items():
        monkeypatch.setenv(name, value)
    cli.invoke(words)
    out, err = capfd.readouterr()
    assert out + err
    assert MARK not in out + err


@pytest.mark.parametrize("daemon", ["router", "janitor", "agent"])
def test_what_daemons_print_has_no_secret_in_it(tmp_path: Path, daemon: str) -> None:
    """At debug level, until each has said why it cannot go on."""
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", "from taskerman.cli import main; main()", daemon],
            env=environment(tmp_path),
            stdout=out,
            stderr=out,
        )
        try:
            until(lambda: "why=" in said.read_text(), "it says why it cannot go on", within_s=100)
        finally:
            process.kill()
            process.wait()
    assert MARK not in said.read_text()


def test_the_library_does_not_log_a_password_at_any_level(
    open_tree: OpenTree, zookeeper: ZookeeperServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It writes every request at debug level, and the one that shows who it is has the password."""
    with caplog.at_level(1):
        logging.getLogger("kazoo.client").setLevel(1)
        try:
            tree = open_tree(credential=Credential("control", f"{MARK}-1"))
            tree.ensure("/a")
            wrong = ZookeeperTree(
                f"127.0.0.1:{free_port()}", credential=Credential("u", MARK), open_timeout=timedelta(seconds=0.2)
            )
            with pytest.raises(Exception, match="gave a session") as refused:
                wrong.open()
        finally:
            logging.getLogger("kazoo.client").setLevel(logging.NOTSET)
    assert "Sending request" in caplog.text
    assert MARK not in caplog.text
    assert MARK not in repr(refused.value) + repr(vars(tree)) + repr(Credential("u", MARK))


def test_an_attempt_does_not_get_the_settings_of_its_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runners are told what they need; what AWS needs is theirs too."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "theirs")
    found = _environment("t.n.1")
    assert MARK not in str(found)
    assert [name for name in found if name.startswith("TASKERMAN_")] == ["TASKERMAN_ATTEMPT"]
    assert found["AWS_SECRET_ACCESS_KEY"] == "theirs"
