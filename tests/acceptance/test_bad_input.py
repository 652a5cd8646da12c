"""Bad input, at both doors: on the command line at once, and through the queue as a dead letter with the same words.

Nothing is lost and no daemon stops: one router gets everything bad there is, and a good document at the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from taskerman.cli import invoke
from tests.acceptance.conftest import OpenScriptedHouse
from tests.acceptance.scripted_house import ScriptedHouse

pytestmark = pytest.mark.timeout(240)

KIB = 1024


@dataclass(frozen=True)
class Bad:
    """One case. `body`: from a good document. `names`: what its error has to name. `both`: the command line refuses it
    too (it draws an id where one is missing, for instance)."""

    what: str
    body: Callable[[dict[str, Any]], str]
    code: str
    names: tuple[str, ...]
    both: bool = True


def changed(**fields: Any) -> Callable[[dict[str, Any]], str]:
    return lambda good: json.dumps({**good, **fields})


def padded(size: int) -> Callable[[dict[str, Any]], str]:
    """A good document of exactly `size` bytes, the rest of it an argument."""

    def body(good: dict[str, Any]) -> str:
        empty = json.dumps({**good, "taskerman_params": {"action_args": {"note": ""}}})
        return json.dumps({**good, "taskerman_params": {"action_args": {"note": "x" * (size - len(empty))}}})

    return body


CASES = (
    Bad("an unknown field", changed(lmit=2), "E-DOC-FIELD", ("lmit", "unknown field", "schema task")),
    Bad("a wrong type", changed(limit="two"), "E-DOC-FIELD", ("limit",)),
    Bad("an unknown action", changed(action="nosuch_task:restart"), "E-ACTION-UNKNOWN", ("nosuch_task:restart",)),
    Bad("an unsafe id", changed(task_id="../../control"), "E-DOC-ID", ("task_id", "../../control")),
    Bad("an empty cluster", changed(cluster_name="demo:nobody"), "E-CLUSTER-EMPTY", ("demo:nobody",)),
    Bad("an unknown node", changed(nodes=["i-0nobody"]), "E-NODE-UNKNOWN", ("i-0nobody",)),
    Bad("65 KiB", padded(65 * KIB), "E-DOC-SIZE", ("66,560 bytes", "65,536")),
    Bad("1 MiB", padded(1024 * KIB), "E-DOC-SIZE", ("1,048,576 bytes",)),
    Bad("not JSON", lambda good: "restart it, please", "E-DOC-JSON", ("JSON",)),
    Bad("a duplicate key", lambda good: '{"owner": "me", ' + json.dumps(good)[1:], "E-DOC-JSON", ("owner",)),
    Bad("no task_id", lambda good: json.dumps({k: v for k, v in good.items() if k != "task_id"}), "E-DOC-ID",
        ("task_id",), both=False),
    Bad("wrong arguments", changed(taskerman_params={"action_args": {"forse": 1}}), "E-ACTION-ARGS", ("forse",)),
)  # fmt: skip


@dataclass
class Desk:
    """The command line of this house, in this process: what it says, without a process for each of twelve."""

    house: ScriptedHouse
    capture: pytest.CaptureFixture[str]
    seen: list[str] = field(default_factory=list)

    def submit(self, body: str) -> tuple[int, Mapping[str, Any]]:
        """`taskerman submit --file F --json`: the exit code and the error."""
        file = self.house.folder / "bad.json"
        file.write_text(body)
        self.capture.readouterr()
        code = invoke(["submit", "--file", str(file), "--json"])
        said = self.capture.readouterr()
        return code, json.loads(said.err)["error"] if code else json.loads(said.out)


@pytest.fixture
def house(scripted_house: OpenScriptedHouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedHouse:
    """Two nodes, a router, no agent; and this process has the environment of its verbs."""
    made = scripted_house(2)
    made.installation.start_router()
    for name, value in made.installation.env.items():
        if name.startswith(("TASKERMAN_", "AWS_")):
            monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(tmp_path / "plugin"))
    return made


def letters(house: ScriptedHouse) -> dict[str, dict[str, Any]]:
    """The records of refused documents, by the sha256 of what was sent."""
    return {name: house.records.get(f"/refused/{name}") for name in house.records.names("/refused")}


def sha256(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def test_every_bad_document_is_refused_in_the_same_words_at_both_doors(
    house: ScriptedHouse, capsys: pytest.CaptureFixture[str]
) -> None:
    at, desk = house.installation, Desk(house, capsys)
    bodies: dict[str, str] = {}
    for number, case in enumerate(CASES):
        body = case.body(house.document(f"bad-{number}"))
        bodies[case.what] = body
        house.put(body)
        code, said = desk.submit(body)
        if not case.both:
            assert code == 0, case.what
            continue
        assert (said["code"], code) == (case.code, said["exit_code"]), case.what
        assert said["next_step"], case.what
    at.until(lambda: len(letters(house)) == len(CASES), "every one is a dead letter")

    records = letters(house)
    for case in CASES:
        letter = records[sha256(bodies[case.what])]
        assert letter["code"] == case.code, case.what
        for name in case.names:
            assert name in letter["reason"], f"{case.what}: {letter['reason']}"
        assert letter["body"] == bodies[case.what][: len(letter["body"])]
        assert letter["body_bytes"] == len(bodies[case.what])
        if case.both:
            _, said = desk.submit(bodies[case.what])
            assert letter["reason"].startswith(said["what"]), case.what

    at.until(lambda: all(each["dead_letter"] == "sent" for each in letters(house).values()), "all are announced")
    assert house.depth(f"{at.prefix}-dead-letter") == len(CASES)
    listed = at.must("dlq", "list", "--json").json
    assert {line["key"] for line in listed} == set(records)
    shown = at.must("dlq", "show", sha256(bodies["an unknown field"]))
    assert "lmit: unknown field" in shown.out
    still_routes(house)


def test_another_document_under_the_same_id_is_refused_loudly_and_the_first_one_goes_on(
    house: ScriptedHouse, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = house.document("same-id"), {**house.document("same-id"), "limit": 1}
    house.put(json.dumps(first))
    house.installation.until(lambda: house.records.planned("same-id"), "the first is planned")
    plan = house.records.raw("/tasks/same-id")
    house.put(json.dumps(second))
    refused = house.installation.until(lambda: letters(house), "the second is a dead letter")
    (letter,) = refused.values()
    code, said = Desk(house, capsys).submit(json.dumps(second))
    assert (code, said["code"], letter["code"]) == (4, "E-TASK-EXISTS", "E-TASK-EXISTS")
    assert letter["reason"].startswith(said["what"])
    assert "same-id" in letter["reason"]
    assert house.records.raw("/tasks/same-id") == plan
    code, _ = Desk(house, capsys).submit(json.dumps(first))
    assert code == 0, "the same document again is harmless"
    still_routes(house)


def test_an_api_error_in_discovery_is_waited_for_and_is_never_an_empty_cluster(
    house: ScriptedHouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the document waits; when EC2 does not come back for an hour, it is a dead letter with that reason."""
    at = house.installation
    at.daemons[-1].kill()
    nowhere = "http://127.0.0.1:1"
    blind = at.start_router(AWS_ENDPOINT_URL_EC2=nowhere)
    body = json.dumps(house.document("blind"))
    house.put(body)
    at.until(lambda: blind.events("document_waits"), "it waits")
    assert letters(house) == {}
    assert not house.records.planned("blind")

    at.cloud.end_loans(f"{at.prefix}-tasks", sent_earlier_s=3600)

    def given_up() -> dict[str, dict[str, Any]]:
        at.cloud.end_loans(f"{at.prefix}-tasks")
        return letters(house)

    (letter,) = at.until(given_up, "after an hour it is a dead letter").values()
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", nowhere)
    code, said = Desk(house, capsys).submit(body)
    assert (code, said["code"], letter["code"]) == (5, letter["code"], said["code"])
    assert letter["reason"].startswith(said["what"][:40])
    assert blind.exit_code is None


def still_routes(house: ScriptedHouse) -> None:
    """Nobody stopped: a good document is planned."""
    house.put(json.dumps(house.document("good")))
    house.installation.until(lambda: house.records.planned("good"), "a good document is planned")
    assert house.installation.daemons[-1].exit_code is None
