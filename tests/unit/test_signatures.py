"""Who may sign what: refused by routers when it is wrong, missing and wanted, or when nobody could check it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from taskerman import bootstrap, cli
from taskerman.adapters.signatures import KeySource, SignatureKeys, generate_key, sign
from taskerman.control import list_letters
from taskerman.errors import NotFound, SignatureRefused, TaskUnknown, UsageError
from taskerman.model.task import parse_task_document
from taskerman.router import Router
from taskerman.scheduler.writing import writer
from taskerman.settings import Settings
from taskerman.testing.tree import MemoryServer
from tests.support.command_line import CommandLine
from tests.support.fleet import Fleet, document
from tests.support.scheduling import schedule


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key whose id is `oncall`; its public key is beside it."""
    generate_key(tmp_path / "oncall.key")
    return tmp_path / "oncall.key"


def keys(key: Path, *, owners: tuple[str, ...] = (), required: bool = False) -> SignatureKeys:
    return SignatureKeys({"oncall": KeySource(key.with_suffix(".pub"), owners)}, required=required)


def check(accepted: SignatureKeys, received: dict[str, Any]) -> None:
    parsed, as_received = parse_task_document(json.dumps(received))
    accepted.check(parsed, as_received)


def plain(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document("t-1", **fields))
    return found


def test_what_was_signed_is_accepted_in_whatever_order_its_fields_come(key: Path) -> None:
    """The canonical form is signed, not the text."""
    signed = sign(plain(), key)
    check(keys(key, required=True), dict(reversed(signed.items())))
    check(keys(key), sign(signed, key))


def test_what_a_scheduler_signs_is_taken_where_everything_must_be_signed_and_is_the_same_text_each_time(
    key: Path,
) -> None:
    """The composition's own writer: the key as it is named in the settings."""
    settings = Settings(scheduler_key_file=key, state_dir=key.parent)
    server = MemoryServer()
    with bootstrap.open_scheduler(settings, lambda event: None, connect=server.client) as scheduler:
        write = scheduler._kit.body_of
        one = schedule()
        firing = one.firing(datetime(2026, 1, 1, 13, tzinfo=UTC))
        body = write(one, firing)
        assert body == write(one, firing)
    check(keys(key, required=True), json.loads(body))
    with pytest.raises(SignatureRefused):
        check(keys(key, required=True), json.loads(writer()(one, firing)))


def test_a_scheduler_whose_key_cannot_be_read_says_so_when_it_starts(tmp_path: Path) -> None:
    settings = Settings(scheduler_key_file=tmp_path / "none.key", state_dir=tmp_path)
    with (
        pytest.raises(UsageError, match=r"none\.key"),
        bootstrap.open_scheduler(settings, lambda event: None, connect=MemoryServer().client),
    ):
        pass


@pytest.mark.parametrize(
    "change",
    [
        {"task_id": "t-2"},
        {"limit": 5},
        {"cluster_name": "demo:other"},
        {"not_after": "2099-01-01T00:00:00Z"},
        {"version": 1.3},
    ],
    ids=str,
)
def test_a_document_that_was_changed_after_it_was_signed_is_refused(key: Path, change: dict[str, Any]) -> None:
    """The task id too: a signature is good for one task."""
    with pytest.raises(SignatureRefused, match="does not fit"):
        check(keys(key), {**sign(plain(), key), **change})


def test_a_key_signs_for_its_owners_only(key: Path) -> None:
    check(keys(key, owners=("gsi",)), sign(plain(owner="gsi"), key))
    with pytest.raises(SignatureRefused, match="does not sign for other"):
        check(keys(key, owners=("gsi",)), sign(plain(owner="other"), key))


def test_an_unknown_key_and_another_key_under_a_known_name_are_refused(key: Path, tmp_path: Path) -> None:
    generate_key(tmp_path / "mallory.key")
    with pytest.raises(SignatureRefused, match="mallory"):
        check(keys(key), sign(plain(), tmp_path / "mallory.key"))
    with pytest.raises(SignatureRefused, match="does not fit"):
        check(keys(key), sign(plain(), tmp_path / "mallory.key", "oncall"))


def test_unsigned_is_accepted_unless_signatures_are_required(key: Path) -> None:
    check(keys(key), plain())
    with pytest.raises(SignatureRefused, match="not signed"):
        check(keys(key, required=True), plain())


def test_signatures_that_nobody_could_give_are_a_mistake_in_the_settings(tmp_path: Path, key: Path) -> None:
    with pytest.raises(UsageError, match="every document would be refused"):
        SignatureKeys({}, required=True)
    with pytest.raises(UsageError, match="cannot be read"):
        SignatureKeys({"k": KeySource(tmp_path / "none.pub")})
    with pytest.raises(UsageError, match="no Ed25519 public key"):
        SignatureKeys({"k": KeySource(key)})
    with pytest.raises(UsageError, match="no Ed25519 private key"):
        sign(plain(), key.with_suffix(".pub"))


def test_a_key_pair_is_made_once_and_its_private_half_is_for_its_owner_alone(key: Path) -> None:
    assert key.stat().st_mode & 0o077 == 0
    with pytest.raises(UsageError, match="there already"):
        generate_key(key)


def routed(fleet: Fleet, signatures: SignatureKeys | None, body: dict[str, Any]) -> str | None:
    """What a router makes of it: the code of its refusal, or None."""
    router: Router = fleet.router
    router._signatures = signatures
    fleet.queues.send(fleet.names.tasks, json.dumps(body))
    fleet.route()
    try:
        fleet.plan(body["task_id"])
    except (TaskUnknown, NotFound, AssertionError):
        return list_letters(fleet.desk)[-1].code
    return None


def test_a_router_makes_a_dead_letter_of_what_it_refuses_and_a_plan_of_the_rest(key: Path) -> None:
    """Also of a signed document where no key is known: what is not honoured is refused."""
    fleet = Fleet()
    fleet.install()
    assert routed(fleet, keys(key, required=True), plain(task_id="unsigned")) == "E-SIGNATURE"
    assert routed(fleet, None, sign(plain(task_id="nobody-checks"), key)) == "E-SIGNATURE"
    assert routed(fleet, keys(key, required=True), sign(plain(task_id="good"), key)) is None


def test_submit_signs_what_it_sends(
    key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the id that it drew."""
    fleet = Fleet()
    fleet.install()
    fleet.router._signatures = keys(key, required=True)
    line = CommandLine(fleet, monkeypatch, capsys)
    sent = line("submit", "--action", "demo_task:restart", "--cluster", "demo:web", "--sign-with", str(key), "--json")
    assert sent.code == 0, sent.err
    fleet.route()
    assert fleet.plan(sent.json["task_id"]).task.signature is not None


def test_keys_are_made_and_identities_computed_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The digest is ZooKeeper's own example: it is not ours to choose."""
    assert cli.invoke(["keys", "generate", str(tmp_path / "mine.key")]) == 0
    assert (tmp_path / "mine.pub").exists()
    (tmp_path / "password").write_text("super_secret\n")
    capsys.readouterr()
    assert cli.invoke(["keys", "digest", "super", "--password-file", str(tmp_path / "password")]) == 0
    assert capsys.readouterr().out.strip().startswith("super:")


def test_a_redrive_as_a_new_task_drops_a_signature_that_was_for_another(key: Path) -> None:
    """And says so."""
    from taskerman.control.dead_letters import _again  # noqa: PLC0415

    fleet = Fleet()
    fleet.install()
    assert routed(fleet, keys(key), sign(plain(), key)) is None
    again, dropped = _again(fleet.plan("t-1"), "n1", takes=1, over=False)
    assert "signature" not in again
    assert "signature" in dropped
