"""Who hands over and who backs up, by role; on drawn-up views of a cluster of six."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runners.redis import backup, failover, handover
from runners.redis.backup import Backup
from runners.redis.failover import Failover
from runners.redis.resp import ErrorReply
from runners.redis.roles import handed_over, may_back_up, may_hand_over, shard_name
from runners.redis.saving import Persistence
from runners.redis.view import Server, View, parse_lines
from taskerman import Check, Go, Recovered, Refuse, Skip, Wait
from taskerman.testing.harness import RunnerHarness
from tests.unit.test_redis_runner import A, B, C, D, E, nodes_of, server, view

LAG = 1000
EMPTY = "myself,master - 0 0 1 connected"
ALONE = Server(("h", 1), "run", clustered=False)
MOVED = {"a": f"slave {D} 0 0 2 connected", "d": "master - 0 0 2 connected 0-5460"}


def gone(seen: View) -> View:
    return replace(seen, own=None)


HAND_OVER: dict[str, tuple[Callable[[], View], type[Check], str]] = {
    "a master of a cluster that is well": (lambda: view(A), Go, ""),
    "a replica": (lambda: view(D), Skip, "is a replica"),
    "a master without slots": (lambda: view(A, own=server(A, nodes=nodes_of(A, a=EMPTY))), Skip, "without slots"),
    "a master outside a cluster": (lambda: View("", ALONE), Refuse, "outside a cluster"),
    "a replica outside a cluster": (lambda: View("", replace(ALONE, replica=True)), Skip, "is a replica"),
    "one that is down": (lambda: gone(view(A)), Wait, "does not answer"),
    "one that loads": (lambda: view(A, own=server(A, loading=True, lines={})), Wait, "loading"),
    "its replica is silent": (lambda: view(A, without="d"), Wait, "does not answer"),
    "its replica is behind": (lambda: view(A, d=server(D, offset=100)), Wait, "behind its master"),
    "another is silent": (lambda: view(A, without="b"), Wait, "does not answer"),
    "somebody acts in the shard": (lambda: view(A, d=server(D, claims=frozenset([D]))), Wait, "is being restarted"),
}


@pytest.mark.parametrize("state", HAND_OVER)
def test_a_handover_begins_exactly_where_a_careful_person_would(state: str) -> None:
    drawn, kind, part = HAND_OVER[state]
    answer = may_hand_over(drawn(), max_lag_bytes=LAG, others_at_once=0)
    assert isinstance(answer, kind), answer
    assert part in getattr(answer, "reason", "")


BACK_UP: dict[str, tuple[Callable[[], View], type[Check], str]] = {
    "a replica in step": (lambda: view(D), Go, ""),
    "a replica without a link": (lambda: view(D, own=server(D, linked=False)), Wait, "no link"),
    "a replica that is behind": (lambda: view(D, own=server(D, offset=1)), Wait, "behind its master"),
    "a master with a replica in step": (lambda: view(A), Skip, "its replica 10.0.0.4:7003"),
    "a master whose replica is away": (lambda: view(A, without="d"), Go, ""),
    "a master whose replica is behind": (lambda: view(A, d=server(D, offset=1)), Go, ""),
    "a master without slots": (lambda: view(A, own=server(A, nodes=nodes_of(A, a=EMPTY))), Skip, "has no data"),
    "one that is down": (lambda: gone(view(D)), Wait, "does not answer"),
    "one that loads": (lambda: view(D, own=server(D, loading=True, replica=False, lines={})), Wait, "loading"),
    "a cluster that is not whole": (lambda: view(D, b=server(B, state="fail")), Wait, "cluster_state"),
    "slots that move": (
        lambda: view(D, b=server(B, nodes=nodes_of(B, b=f"myself,master - 0 0 1 connected 5461-10922 [9->-{C}]"))),
        Wait,
        "slots are being migrated",
    ),
    "a single server": (lambda: View("", ALONE), Go, ""),
    "a single master with a replica": (lambda: View("", replace(ALONE, replicas_online=1)), Skip, "a replica online"),
}


@pytest.mark.parametrize("state", BACK_UP)
def test_a_replica_in_step_makes_the_backup_and_else_the_master(state: str) -> None:
    drawn, kind, part = BACK_UP[state]
    answer = may_back_up(drawn(), max_lag_bytes=LAG, from_master=False)
    assert isinstance(answer, kind), answer
    assert part in getattr(answer, "reason", "")


def test_a_master_makes_one_when_it_is_told_to() -> None:
    assert may_back_up(view(A), max_lag_bytes=LAG, from_master=True) == Go()
    assert may_back_up(View("", replace(ALONE, replicas_online=1)), max_lag_bytes=LAG, from_master=True) == Go()


def test_a_shard_is_called_the_same_by_its_master_and_its_replica_and_after_a_failover() -> None:
    assert shard_name(view(A)) == shard_name(view(D)) == "slots-0-5460"
    swapped = view(D, own=server(D, nodes=nodes_of(D, **MOVED | {"d": "myself,master - 0 0 2 connected 0-5460"})))
    assert shard_name(swapped) == "slots-0-5460"
    assert shard_name(View("", ALONE)) == "all"
    scattered = " ".join(f"{n}-{n + 1}" for n in range(0, 300, 3))
    long = view(A, own=server(A, nodes=nodes_of(A, a=f"myself,master - 0 0 1 connected {scattered}")))
    assert len(shard_name(long)) < 40
    assert shard_name(long) != shard_name(view(A))


def test_roles_and_epochs_say_whether_it_was_handed_over() -> None:
    assert handed_over(view(A), D, 1) is False
    assert handed_over(view(A, own=server(A, nodes=nodes_of(A, **MOVED), replica=True)), D, 1) is True
    peers = {letter: server(name, nodes=nodes_of(name, **MOVED)) for letter, name in (("b", B), ("e", E))}
    assert handed_over(gone(view(A, without="cdf", **peers)), D, 1) is True, "it is down, and its heir has the slots"
    assert handed_over(gone(view(A, without="cdf", **peers)), D, 2) is None, "that claim is an older one"
    assert handed_over(gone(view(A)), D, 1) is None, "it is down, and its heir has nothing"
    assert handed_over(gone(view(A, without="bcdef")), D, 1) is None


def test_lines_tell_which_slots_and_of_which_epoch() -> None:
    line = parse_lines(f"{A} 10.0.0.1:7000@17000 master - 0 1700 12 connected 0-5460 7000 [8-<-{B}]\n")[A]
    assert (line.ranges, line.epoch) == ("0-5460,7000", 12)


# --- the hooks -------------------------------------------------------------------------------------------


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[[View | ErrorReply], None]:
    """What is seen from now on."""
    monkeypatch.setattr(failover, "FORGOTTEN_AFTER_S", 0.0)

    def see(what: View | ErrorReply) -> None:
        def look(*_: Any, **__: Any) -> View:
            if isinstance(what, ErrorReply):
                raise what
            return what

        monkeypatch.setattr(handover, "look", look)

    return see


def test_a_handover_that_nobody_ended_is_told_by_what_was_noted(seen: Callable[[View], None]) -> None:
    harness = RunnerHarness(Failover)
    seen(view(A))
    assert harness.recover() is Recovered.NOT_DONE, "nothing was noted"
    harness.saved.update(epoch=1, handed=False)
    assert harness.recover() is Recovered.NOT_DONE, "nobody was asked"
    harness.saved.update(heir=D)
    assert harness.recover() is Recovered.NOT_DONE, "it was forgotten"
    seen(gone(view(A)))
    assert harness.recover() is Recovered.UNKNOWN
    seen(view(A, own=server(A, nodes=nodes_of(A, **MOVED), replica=True)))
    assert harness.recover() is Recovered.DONE
    harness.abort()
    harness.abort()


def test_after_a_handover_only_a_replica_is_called_well(seen: Callable[[View], None]) -> None:
    harness = RunnerHarness(Failover, saved={"handed": True})
    seen(view(A))
    assert harness.post_check() == Wait("the server is a master again")
    harness.saved = {}
    answer = harness.post_check()
    assert isinstance(answer, Wait)
    assert "well for" in answer.reason, "a handover that failed leaves a master that is well"


def test_a_server_that_refuses_to_be_asked_is_told(seen: Callable[[View | ErrorReply], None]) -> None:
    seen(ErrorReply("NOAUTH Authentication required."))
    for runner in (Failover, Backup):
        harness = RunnerHarness(runner, settings={"backups": "s3://b/p"})
        assert harness.pre_check() == Refuse("the server refuses to be asked: NOAUTH Authentication required.")
        assert isinstance(harness.post_check(), Wait)


class NoStore:
    def check(self) -> None:
        return


def test_a_server_that_saves_by_itself_is_waited_for(
    seen: Callable[[View], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen(view(D))
    found = Persistence(None, keeps=True, busy=True, saves=1, last_ok=True, used_bytes=10, run_id="r")
    monkeypatch.setattr(backup, "look_at_disk", lambda config: found)
    monkeypatch.setattr(Backup, "_store", lambda self: NoStore())
    monkeypatch.setattr(Backup, "_made_for_task", lambda self, shard: None)
    harness = RunnerHarness(Backup, settings={"backups": "s3://b/p"})
    answer = harness.pre_check()
    assert isinstance(answer, Wait)
    assert "by itself" in answer.reason
    assert harness.recover() is Recovered.NOT_DONE
    assert harness.saved == {}
