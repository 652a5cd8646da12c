"""What an author of a runner tests with: a whole attempt in no time, each death of its action, each failure."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from taskerman import ActionInterrupted, Check, Go, Recovered, Refuse, Skip, TaskRunner, Wait, steadily
from taskerman.testing import Played, RunnerHarness, deaths, failures


class World:
    """A service with a number for each of its starts."""

    def __init__(self) -> None:
        self.start = 1
        self.well = True
        self.touched: list[str] = []

    def restart(self, words: tuple[str, ...]) -> None:
        self.start += 1

    def asked(self, words: tuple[str, ...]) -> str | int:
        return str(self.start) if self.well else 1


class Restart(TaskRunner):
    """As a good one is."""

    def pre_check(self) -> Check:
        return Go() if self._start() else Wait("it does not answer")

    def execute_action(self) -> None:
        self.ctx.save(before=self._start(), asked=False)
        self.ctx.save(asked=True)
        self.ctx.command(["svc", "restart"], timeout=timedelta(seconds=9))
        self.ctx.log("restarted")

    def post_check(self) -> Check:
        now = self._start()
        return steadily(self.ctx, Go() if now else Wait("it does not answer"))

    def recover(self) -> Recovered:
        if not self.ctx.saved.get("asked"):
            return Recovered.NOT_DONE
        return Recovered.DONE if self._start() != self.ctx.saved["before"] else Recovered.UNKNOWN

    def _start(self) -> str:
        answer = self.ctx.command(["svc", "start-of"], check=False)
        return answer.output if answer.exit == 0 else ""


def node(runner: type[TaskRunner] = Restart, **more: Any) -> RunnerHarness[Any]:
    world = World()
    harness: RunnerHarness[Any] = RunnerHarness(runner, settings={}, **more)
    harness.answer("svc", "restart", by=world.restart)
    harness.answer("svc", "start-of", by=world.asked)
    harness.world = world  # type: ignore[attr-defined]
    return harness


# --- run ---------------------------------------------------------------------------------------------------


def test_a_whole_attempt_is_played_and_nothing_is_waited_for() -> None:
    began = time.monotonic()
    played = node().run()
    assert played.outcome == "succeeded"
    assert played.hooks[:3] == ("pre_check", "execute_action", "post_check")
    assert played.settled_s >= 2, "as long as `steadily` wants"
    assert time.monotonic() - began < played.settled_s


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (Wait("a peer is down"), "deferred", "a peer is down"),
        (Skip("nothing to do"), "skipped", "nothing to do"),
        (Refuse("no replica"), "failed", "pre_check refused: no replica"),
    ],
)
def test_what_pre_check_says_ends_the_attempt_as_the_engine_would(answer: Check, outcome: str, reason: str) -> None:
    class Says(Restart):
        def pre_check(self) -> Check:
            return answer

    played = node(Says).run()
    assert (played.outcome, played.reason, played.again) == (outcome, reason, False)
    assert played.hooks == ("pre_check",)


def test_a_node_that_does_not_become_well_is_unsafe_when_its_time_to_settle_is_over() -> None:
    harness = node()
    harness.answer("svc", "restart", by=lambda words: setattr(harness.world, "well", False))  # type: ignore[attr-defined]
    played = harness.run(settle_s=30)
    assert (played.outcome, played.reason) == ("unsafe", "post_check waits: it does not answer (settle time over)")
    assert 30 <= played.settled_s < 40


def test_an_action_that_fails_on_a_node_that_is_well_is_failed_and_tried_again() -> None:
    harness = node()
    harness.answer("svc", "restart", exit=3, output="no such unit")
    played = harness.run()
    assert (played.outcome, played.again) == ("failed", True)
    assert "no such unit" in played.reason
    assert "CommandFailed" in type(played.error).__name__


def test_the_soft_timeout_comes_while_it_sleeps_and_it_may_clean_up() -> None:
    class Sleeps(Restart):
        soft = timedelta(seconds=90)

        def execute_action(self) -> None:
            try:
                while True:
                    time.sleep(7)
            except ActionInterrupted:
                self.ctx.save(cleaned=time.monotonic())
                raise

    harness = node(Sleeps)
    before = time.monotonic()
    played = harness.run()
    assert (played.outcome, played.hooks[2]) == ("failed", "abort")
    assert 90 <= float(str(harness.saved["cleaned"])) - before < 100


@pytest.mark.parametrize("swallows", [False, True])
def test_an_action_that_was_interrupted_has_not_succeeded_whatever_it_says(swallows: bool) -> None:
    class Stubborn(Restart):
        def execute_action(self) -> None:
            try:
                self.ctx.command(["svc", "restart"])
            except ActionInterrupted:
                if not swallows:
                    raise

    harness = node(Stubborn)
    harness.interrupt("svc", "restart")
    assert harness.run().outcome == "failed"


def test_an_action_that_outlives_its_interruption_is_killed() -> None:
    class Deaf(Restart):
        def execute_action(self) -> None:
            while True:
                try:
                    time.sleep(10)
                except ActionInterrupted:
                    continue

    played = node(Deaf).run()
    assert played.outcome == "failed"
    assert "hard timeout" in played.reason


def test_a_check_that_sleeps_too_long_has_failed() -> None:
    class Slow(Restart):
        def pre_check(self) -> Check:
            time.sleep(3600)
            return Go()

    played = node(Slow).run()
    assert (played.outcome, played.reason) == ("failed", "pre_check failed: pre_check took more than 60 s")


@pytest.mark.parametrize(("reboots", "outcome"), [(True, "succeeded"), (False, "lost")])
def test_a_machine_that_goes_down_is_found_in_another_boot(reboots: bool, outcome: str) -> None:
    class Reboots(Restart):
        def execute_action(self) -> None:
            self.ctx.save(asked=True, before="1")
            self.ctx.command(["reboot"])
            raise AssertionError("nothing of it goes on")

    Reboots.reboots = reboots
    harness = node(Reboots)
    harness.reboot("reboot")
    assert harness.run().outcome == outcome
    assert harness.boot_id != "boot-1"


def test_the_time_of_others_does_not_pass() -> None:
    """A server that a test runs beside it must not see its sleeps end at once."""
    seen: list[float] = []
    go, done = threading.Event(), threading.Event()

    def other() -> None:
        go.wait()
        began = time.monotonic()
        time.sleep(0.01)
        seen.append(time.monotonic() - began)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()

    class Sleeps(Restart):
        def execute_action(self) -> None:
            time.sleep(1000)
            go.set()
            done.wait()

    assert node(Sleeps).run().outcome == "succeeded"
    thread.join()
    assert 0.01 <= seen[0] < 500
    assert time.sleep.__module__ == "time", "and afterwards all is as before"


# --- deaths ------------------------------------------------------------------------------------------------


def test_each_point_of_an_action_is_died_at_once() -> None:
    found = [death.where for death in deaths(node)]
    assert found == [
        "as the action begins",
        "before the command svc start-of",
        "during the command svc start-of, before its effect",
        "after the command svc start-of",
        "before it saved before, asked",
        "after it saved before, asked",
        "before it saved asked",
        "after it saved asked",
        "before the command svc restart",
        "during the command svc restart, before its effect",
        "after the command svc restart",
        "as it logged 'restarted'",
        "as the action ends, before its end was kept",
    ]


def test_what_comes_of_a_death_is_what_the_engine_makes_of_recover_and_post_check() -> None:
    for death in deaths(node):
        world: Any = death.harness.world  # type: ignore[attr-defined]
        restarted, asked = world.start == 2, death.harness.saved.get("asked")
        played = death.resume()
        if restarted:
            assert (played.outcome, played.recovered) == ("succeeded", "done"), death
        else:
            assert (played.outcome, played.recovered) == (("lost", "unknown") if asked else ("failed", "not_done"))
        assert played.hooks[0] == "recover"


def test_what_was_asked_for_may_come_after_its_asker_has_died() -> None:
    """A runner that believes what it sees, and not that it has asked, is found out."""

    class Hasty(Restart):
        def recover(self) -> Recovered:
            return Recovered.DONE if self._start() != self.ctx.saved.get("before", "1") else Recovered.NOT_DONE

    lies = []
    for death in deaths(lambda: node(Hasty)):
        played = death.resume()
        if played.recovered == "not_done" and death.harness.world.start == 2:  # type: ignore[attr-defined]
            lies.append(death.where)
    assert lies == ["during the command svc restart, before its effect"]


def test_when_lost_decides_what_is_asked() -> None:
    class Repeats(Restart):
        when_lost = "retry"

    class Gives(Restart):
        when_lost = "never"

    again = [death.resume() for death in deaths(lambda: node(Repeats))]
    assert all(played.outcome == "succeeded" for played in again[:4]), "what did not happen is done now"
    given = [death.resume() for death in deaths(lambda: node(Gives))]
    assert {played.outcome for played in given} == {"lost"}
    assert {played.hooks[0] for played in given} == {"post_check"}


def test_a_death_that_its_keeper_saw_is_a_failure_after_abort() -> None:
    class Aborts(Restart):
        def abort(self) -> None:
            self.ctx.save(aborted=True)

    for death in deaths(lambda: node(Aborts)):
        played = death.resume(noticed=True)
        assert (played.outcome, played.hooks[0]) == ("failed", "abort")
        assert death.harness.saved["aborted"] is True


def test_a_dead_process_does_not_clean_up() -> None:
    """No `finally`, no `except` before the test has looked; and what it would save then is not saved."""

    class Tidy(Restart):
        def execute_action(self) -> None:
            world: Any = self.ctx._harness.world  # type: ignore[attr-defined]
            try:
                super().execute_action()
            except BaseException:
                world.touched.append("except")
                raise
            finally:
                world.touched.append("finally")
                self.ctx.save(tidy=True)

    count = 0
    for death in deaths(lambda: node(Tidy)):
        if "tidy" in death.where or "ends" in death.where:
            continue
        count += 1
        world: Any = death.harness.world  # type: ignore[attr-defined]
        assert world.touched == [], death
        death.resume()
        assert world.touched == [], death
        assert "tidy" not in death.harness.saved
    assert count == 12


def test_the_threads_of_the_dead_end_when_nobody_looks_any_more() -> None:
    before = threading.active_count()
    for death in deaths(node):
        death.resume()
    del death
    assert threading.active_count() == before


def test_a_lie_of_recover_is_found() -> None:
    """That is what all of it is for: a runner that says done because the node is well."""

    class Liar(Restart):
        def recover(self) -> Recovered:
            return Recovered.DONE if self._start() else Recovered.UNKNOWN

    lies = 0
    for death in deaths(lambda: node(Liar)):
        restarted = death.harness.world.start == 2  # type: ignore[attr-defined]
        lies += death.resume().recovered == "done" and not restarted
    assert lies == 10


def test_there_is_nothing_to_die_in_where_pre_check_does_not_say_go() -> None:
    class Waits(Restart):
        def pre_check(self) -> Check:
            return Wait("a peer is down")

    with pytest.raises(AssertionError, match=r"pre_check said wait \(a peer is down\)"):
        next(deaths(lambda: node(Waits)))


# --- failures ----------------------------------------------------------------------------------------------


def test_each_command_fails_in_each_way_and_the_others_do_not() -> None:
    found = {failure.where: failure.run() for failure in failures(node)}
    restarts = {where: played for where, played in found.items() if where.startswith("command 3, svc restart")}
    assert [where.partition(": ")[2] for where in restarts] == [
        "exit 1",
        "cannot be started",
        "took too long",
        "took too long, and has had its effect",
        "interrupted",
        "interrupted, and has had its effect",
    ]
    assert {played.outcome for played in restarts.values()} == {"failed"}
    in_checks = [where for where in found if "of pre_check" in where or "of post_check" in where]
    assert in_checks
    assert not any("interrupted" in where for where in in_checks)
    assert not any("took too long" in where for where in in_checks), "they have no timeout"
    assert found["command 1, svc start-of, of pre_check: exit 1"].outcome == "deferred"
    later = [played for where, played in found.items() if "of post_check: exit 1" in where]
    assert {played.outcome for played in later} == {"succeeded"}, "it is asked again"


def test_a_failure_with_its_effect_has_it() -> None:
    for failure in failures(node):
        failure.run()
        if "svc restart" in failure.where:
            world: Any = failure.harness.world  # type: ignore[attr-defined]
            assert world.start == (2 if failure.where.endswith("has had its effect") else 1), failure


def test_the_names_are_found_at_the_top_and_nothing_is_imported_for_them() -> None:
    assert Played.__module__ == "taskerman.testing.playing"
    import taskerman.testing  # noqa: PLC0415

    assert set(taskerman.testing.__all__) <= set(dir(taskerman.testing))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = taskerman.testing.nothing  # type: ignore[attr-defined]
