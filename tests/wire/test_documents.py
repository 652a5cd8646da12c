"""The wire formats and records, frozen: what one version wrote, every later 1.x reads, and writes the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taskerman.agent.journal import Journal
from taskerman.coordination.janitor_record import JanitorRecord
from taskerman.coordination.leading import LeaderRecord
from taskerman.errors import Bug
from taskerman.model.assignment import Doorbell, Progress
from taskerman.model.attempt import NodeRecord, Result
from taskerman.model.audit import AuditEntry
from taskerman.model.base import Noun, content_hash
from taskerman.model.breaker import ClusterRecord
from taskerman.model.command import CommandNote, CommandRecord, Group
from taskerman.model.hold import Control
from taskerman.model.installation import Stranger, Strangers
from taskerman.model.outcome import DeadLetter, End
from taskerman.model.plan import OpenTask, Plan, Tombstone
from taskerman.model.slot import ScopeRecord, Slot, SlotNote, SlotState
from taskerman.model.task import TaskControl, parse_task_document

DOCUMENTS = Path(__file__).parent / "documents"
NOUNS: dict[str, type[Noun]] = {
    "doorbell": Doorbell,
    "plan": Plan,
    "plan-filled": Plan,
    "task-control": TaskControl,
    "task-closing": TaskControl,
    "tombstone": Tombstone,
    "janitor": JanitorRecord,
    "leader": LeaderRecord,
    "progress": Progress,
    "node": NodeRecord,
    "end": End,
    "control": Control,
    "stranger": Stranger,
    "strangers": Strangers,
    "open-task": OpenTask,
    "cluster": ClusterRecord,
    "scope": ScopeRecord,
    "slot-note": SlotNote,
    "command": CommandRecord,
    "command-note": CommandNote,
    "group": Group,
    "audit": AuditEntry,
    "dead-letter": DeadLetter,
    "journal": Journal,
    "result": Result,
}


@pytest.mark.parametrize("name", NOUNS)
def test_a_record_is_read_and_written_unchanged(name: str) -> None:
    """A renamed, dropped or retyped field is a break of the format, and is seen here first."""
    golden = json.loads((DOCUMENTS / f"{name}.json").read_text(encoding="utf-8"))
    assert json.loads(NOUNS[name].model_validate_json(json.dumps(golden)).to_json()) == golden


def test_every_document_here_is_read() -> None:
    """A golden file that no test reads proves nothing."""
    assert {path.stem for path in DOCUMENTS.iterdir()} == {*NOUNS, "task"}


def test_the_document_that_is_shown_everywhere_is_accepted_to_the_letter() -> None:
    """Two nodes of geo_counter, three retries; all that it does not say has its default."""
    task, received = parse_task_document((DOCUMENTS / "task.json").read_text(encoding="utf-8"))
    assert (task.action, task.limit, task.taskerman_params.workqueue_args.retry_count) == (
        "cassandra_task:restart",
        2,
        3,
    )
    assert task.taskerman_params.lease_args.concurrency == 1
    assert task.taskerman_params.failure_args.max_failures == 0
    # What two builds must agree on, or the same document would be refused as another one.
    assert content_hash(received) == "sha256:78acb128475c393e04a0e9a5ade31247cbbbb3c115033bdb505ffafab3cccb28"


def test_a_plan_is_packed_and_unpacked_unchanged() -> None:
    """Compression is part of the record."""
    plan = Plan.model_validate_json((DOCUMENTS / "plan.json").read_text(encoding="utf-8"))
    assert Plan.unpack(plan.pack()) == plan


def test_a_slot_s_name_says_all_that_admission_needs() -> None:
    """Node, promise, state: read from the names alone."""
    assert Slot.parse("i-1~2~unsafe") == Slot(node="i-1", cap=2, state=SlotState.UNSAFE)
    assert Slot(node="i-1", cap=2, state=SlotState.ACTING).name == "i-1~2~acting"
    assert Slot.parse("i-1~2~acting~t-1") == Slot(node="i-1", cap=2, state=SlotState.ACTING, exclusive="t-1")
    assert Slot(node="i-1", cap=None, state=SlotState.ACTING).name == "i-1~-~acting"
    for garbage in ("i-1", "i-1~2", "i-1~2~acting~t-1~x", "i-1~x~acting", "i-1~2~resting"):
        with pytest.raises(Bug):
            Slot.parse(garbage)
