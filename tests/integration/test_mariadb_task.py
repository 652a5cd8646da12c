"""`mariadb_task` on a real Galera cluster, hook by hook: what it sees, what it waits for, what it refuses."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from runners.mariadb.restart import Restart
from taskerman import Go, Recovered, Refuse, TaskRunner, Wait
from tests.support.stores.dying import Dying
from tests.support.stores.mariadb import APP, Galera
from tests.support.stores.member import Member
from tests.support.waiting import until


def task(
    store: Galera, member: Member, runner: type[TaskRunner] = Restart, *, at_once: int = 1, args: Any = None, **own: Any
) -> Dying:
    """The runner on the node of `member`. `own`: of its configuration."""
    return Dying(
        runner,
        settings={**store.settings(member), **own},
        args=args or {},
        cap=at_once,
        node=member.name,
        cluster="mariadb:test",
        nodes=[each.name for each in store.members],
    )


def settled(harness: Dying) -> None:
    """post_check says Go in time."""
    until(lambda: isinstance(harness.post_check(), Go), f"well; it said {harness.post_check()}", within_s=40)


def test_the_member_that_began_the_cluster_is_restarted_joins_the_others_and_copies_nothing(
    galera: Galera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And until the restart comes that was asked for, nobody calls it done, or not done."""
    monkeypatch.setattr("runners.mariadb.restart.RECOVER_WITHIN_S", 0.2)
    member = galera.members[0]
    forgotten = task(galera, member, restart=["true"])
    assert forgotten.recover() is Recovered.NOT_DONE
    forgotten.execute_action()
    assert forgotten.recover() is Recovered.UNKNOWN
    assert forgotten.post_check() == Wait("the server still runs as it was started before")

    harness = task(galera, member)
    before = member.pid
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert member.pid != before
    assert harness.recover() is forgotten.recover() is Recovered.DONE
    status = galera.status(member)
    assert (status["wsrep_cluster_size"], status["wsrep_local_state_comment"]) == ("3", "Synced")
    assert full_copies(galera) == []


def full_copies(store: Galera) -> list[str]:
    """What the members' logs say of a member that copied all data of another."""
    lines = [line for place in store.places for line in (place.folder / "server.log").read_text().splitlines()]
    donors = [line for line in lines if "wsrep_sst_" in line and "--role 'donor'" in line]
    assert donors, "the log does not say how members join any more"
    return [line for line in donors if "--bypass" not in line]


def reason(harness: Dying, kind: type[Wait | Refuse], part: str) -> str:
    """Why it does not act. Fails unless it says `part`, for that reason."""
    answer = harness.pre_check()
    assert isinstance(answer, kind), answer
    assert part in answer.reason
    return answer.reason


def test_members_die_one_after_another_and_a_person_begins_the_cluster_again(galera: Galera) -> None:
    """One away: no other is taken down. No majority: nobody is restarted, and nobody started. Begun again by a person:
    a dead one is started, as a redrive after a repair does."""
    first, second, last = galera.members
    first.must("kill")
    until(lambda: galera.status(last)["wsrep_cluster_size"] == "2", "one is away", within_s=20)
    reason(task(galera, last), Wait, f"127.0.0.1:{galera.place(first).sql} does not answer")
    reason(task(galera, last, at_once=2), Refuse, "1 of 3 votes are left, which is no majority")

    second.must("kill")
    until(lambda: galera.status(last)["wsrep_cluster_status"] == "non-Primary", "it sees that it is alone", within_s=20)
    assert "pc.bootstrap" in reason(task(galera, last), Refuse, "no Primary component"), "the next step"
    for dead in (first, second):
        reason(task(galera, dead), Refuse, "might begin a second cluster")
    assert isinstance(task(galera, last).post_check(), Wait), "not well"

    galera.sql(last, "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
    until(lambda: galera.status(last)["wsrep_cluster_status"] == "Primary", "a person has decided", within_s=20)
    reason(task(galera, first), Wait, "besides this server 1 of 3 members are away")
    second.must("start")
    until(lambda: galera.status(second)["wsrep_local_state_comment"] == "Synced", "it is back", within_s=20)
    harness = task(galera, first)
    assert harness.pre_check() == Go()
    harness.execute_action()
    settled(harness)
    assert harness.recover() is Recovered.DONE


def test_a_member_that_is_out_of_step_for_a_backup_holds_up_every_restart(galera: Galera) -> None:
    other, member = galera.members[1], galera.members[0]
    galera.sql(other, "SET GLOBAL wsrep_desync = ON")
    try:
        reason(task(galera, member), Wait, "is Donor/Desynced")
        reason(task(galera, other), Wait, "wsrep_desync is ON")
        assert task(galera, member, at_once=2, args={"majority": False}).pre_check() == Go()
    finally:
        galera.sql(other, "SET GLOBAL wsrep_desync = OFF")


def test_a_change_of_the_schema_is_waited_for(galera: Galera) -> None:
    member = galera.members[0]
    galera.sql(member, "CREATE TABLE IF NOT EXISTS shop.long_notes (id INT PRIMARY KEY) ENGINE=InnoDB", user=APP)
    wire = galera.connect(member, APP)
    wire.query("LOCK TABLES shop.long_notes READ")
    changing = threading.Thread(
        target=lambda: galera.sql(member, "ALTER TABLE shop.long_notes ADD COLUMN v INT", user=APP), daemon=True
    )
    changing.start()
    try:
        until(lambda: not isinstance(task(galera, galera.members[2]).pre_check(), Go), "it is seen", within_s=10)
        said = reason(task(galera, galera.members[2]), Wait, "the schema is being changed")
        assert "ALTER TABLE shop.long_notes" in said
    finally:
        wire.close()
        changing.join(20)
    assert not changing.is_alive()
    galera.sql(member, "DROP TABLE shop.long_notes", user=APP)


def test_a_server_that_would_begin_a_cluster_of_its_own_is_not_restarted(galera: Galera) -> None:
    member = galera.members[0]
    settings = galera.place(member).settings
    text = settings.read_text()
    for wrong, why in (
        (text + "wsrep-new-cluster\n", "wsrep_new_cluster is set"),
        (text + "wsrep_cluster_address=gcomm://\n", "names no other member"),
    ):
        settings.write_text(wrong)
        try:
            answer = task(galera, member).pre_check()
        finally:
            settings.write_text(text)
        assert isinstance(answer, Refuse)
        assert why in answer.reason
    assert task(galera, member).pre_check() == Go()


def test_who_may_not_ask_is_told_so_before_anything_is_done(galera: Galera, tmp_path: Path) -> None:
    member = galera.members[0]
    answers = {}
    for name, options, mode in (
        ("open.cnf", "user=nobody\npassword=nothing", 0o644),
        ("wrong.cnf", "user=nobody\npassword=other", 0o600),
        ("few.cnf", "user=nobody\npassword=nothing", 0o600),
    ):
        file = tmp_path / name
        file.write_text(f"[client]\n{options}\n")
        file.chmod(mode)
        harness = task(galera, member, defaults_file=str(file))
        answer = harness.pre_check()
        assert isinstance(answer, Refuse), answer
        answers[name] = answer.reason
        assert all("nothing" not in word and "other" not in word for words in harness.commands for word in words)
    assert "can be read by others: chmod 600" in answers["open.cnf"]
    assert "Access denied for user 'nobody'" in answers["wrong.cnf"]
    assert "GRANT PROCESS" in answers["few.cnf"]
    gone = task(galera, member, defaults_file=str(tmp_path / "none.cnf")).pre_check()
    assert gone == Refuse(
        f"defaults_file {tmp_path}/none.cnf cannot be read: No such file or directory. Write it, with mode 0600"
    )


def test_a_server_that_is_well_to_itself_and_not_in_the_component_of_its_peers_is_not_called_well(
    galera: Galera,
) -> None:
    """It is cut off by its own doing, without anybody else's: two see two members, one sees itself."""
    member = galera.members[2]
    own = task(galera, member)
    galera.sql(member, "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
    try:
        until(lambda: galera.status(member)["wsrep_cluster_status"] != "Primary", "it is cut off", within_s=20)
        galera.sql(member, "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
        until(lambda: galera.status(member)["wsrep_cluster_status"] == "Primary", "it calls itself well", within_s=20)
        answer = own.post_check()
        assert isinstance(answer, Wait), answer
        assert "do not see the same members" in answer.reason
        assert own.pre_check() == Wait("the members do not agree on who is a member now", of="cluster")
    finally:
        member.must("kill")
