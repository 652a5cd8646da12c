"""Doctor on the history's database and the keys of signatures: each where it is configured, with the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskerman import bootstrap, control
from taskerman.control.stores import history_here, keys_here
from taskerman.control.subject import HistorySeen, Subject
from taskerman.control.values import Finding
from taskerman.errors import HistoryUnavailable
from taskerman.settings import Loaded, Settings
from tests.support.fleet import Fleet


def seen(there: str | None, *, behind: bool = False, denied: str = "", upgrades: bool = True) -> Finding:
    looked = HistorySeen("postgresql://db/h", there, "0002", behind, denied)
    (finding,) = history_here(Subject(history=lambda: looked, history_upgrade=upgrades))
    return finding


def test_what_is_not_configured_is_no_finding() -> None:
    assert history_here(Subject()) == []
    assert keys_here(Subject()) == []


def test_a_history_that_fits_is_well_and_one_that_cannot_be_written_is_a_warning_that_says_why() -> None:
    assert seen("0002").level == "ok"
    denied = seen("0002", denied="Not permitted to write the history: permission denied for table task.")
    assert denied.level == "warn"
    assert "permission denied for table task" in denied.text
    assert "grant" in denied.next_step


@pytest.mark.parametrize("there", [None, "0001"])
def test_tables_that_are_absent_or_old_are_a_failure_only_where_nobody_upgrades_them(there: str | None) -> None:
    assert seen(there, behind=True).level == "warn"
    failed = seen(there, behind=True, upgrades=False)
    assert (failed.level, failed.exit_code) == ("fail", 4)
    assert "taskerman history upgrade" in failed.next_step


def test_tables_of_a_newer_build_are_a_failure() -> None:
    failed = seen("0003")
    assert (failed.level, failed.next_step) == ("fail", "Upgrade this build.")


def test_a_database_that_does_not_answer_is_one_finding_among_the_others() -> None:
    fleet = Fleet()
    fleet.install()

    def away() -> HistorySeen:
        raise HistoryUnavailable("Cannot look at the history: connection refused.", next_step="It may work later.")

    found = control.examine(fleet.desk, Subject(history=away))
    assert found.exit_code == 5
    assert [one.what for one in found.findings if one.level == "fail"] == ["history"]


def subject_of(**settings: object) -> Subject:
    return bootstrap.subject_of(Loaded(Settings(operator="ada@laptop", **settings), {}))  # type: ignore[arg-type]


def test_a_history_that_nobody_named_and_nobody_made_is_not_looked_at(tmp_path: Path) -> None:
    assert subject_of(state_dir=tmp_path).history is None
    named = subject_of(state_dir=tmp_path, history_url=f"sqlite:///{tmp_path / 'h.db'}")
    (finding,) = history_here(named)
    assert (finding.level, "no tables yet" in finding.text) == ("warn", True)
    assert not (tmp_path / "h.db").exists()
    (tmp_path / "history.db").touch()
    assert subject_of(state_dir=tmp_path).history is not None


def test_keys_are_named_with_whose_tasks_they_sign_and_one_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    public = bootstrap.generate_key(tmp_path / "oncall.key")
    missing = tmp_path / "absent.pub"
    keys = {"oncall": {"file": str(public), "owners": ("gsi",)}, "other": {"file": str(missing)}}
    failed, well = keys_here(subject_of(signature_keys=keys, signatures_required=True))
    assert (failed.what, failed.level) == ("signature key other", "fail")
    assert str(missing) in failed.text
    assert well.level == "ok"
    assert "oncall (for gsi)" in well.text
    assert "is refused" in well.text
    (lenient,) = keys_here(subject_of(signature_keys={"oncall": {"file": str(public)}}))
    assert "anybody" in lenient.text
    assert "TASKERMAN_SIGNATURES_REQUIRED" in lenient.text


def test_a_private_key_where_a_public_one_belongs_is_no_key(tmp_path: Path) -> None:
    bootstrap.generate_key(tmp_path / "oncall.key")
    (failed,) = keys_here(subject_of(signature_keys={"oncall": {"file": str(tmp_path / "oncall.key")}}))
    assert (failed.level, failed.exit_code) == ("fail", 2)


def test_signatures_that_are_required_by_nobodys_key_are_a_failure() -> None:
    (failed,) = keys_here(Subject(signed_only=True))
    assert (failed.what, failed.level) == ("signatures", "fail")
