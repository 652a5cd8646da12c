"""What the end of an attempt means: the truth table of outcomes, and the failure budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskerman.model.assignment import Progress, ProgressState
from taskerman.model.attempt import Attempt
from taskerman.model.outcome import DeadLetterState, Outcome
from taskerman.model.slot import SlotState
from taskerman.model.task import FailureMark, TaskControl, TaskState
from taskerman.policy.conclusion import Conclusion, Ending, conclude, give_up
from taskerman.policy.retry import backoff, deferral

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RETRYING, FINAL = FailureMark.RETRYING, FailureMark.FINAL
END_OF_ATTEMPTS = (
    Outcome.SUCCEEDED,
    Outcome.SKIPPED,
    Outcome.DEFERRED,
    Outcome.FAILED,
    Outcome.UNSAFE,
    Outcome.LOST,
    Outcome.CANCELLED,
)


def ended(
    ending: Ending,
    *,
    k: int = 1,
    control: TaskControl | None = None,
    retry_count: int = 0,
    max_failures: int = 0,
    inherited: SlotState | None = None,
) -> Conclusion:
    """What it means for n0's attempt `k`."""
    attempt = Attempt(
        id=f"t.n0.{k}", task="t", cluster="demo:web", k=k, cap=2, scopes=("demo:web",), inherited=inherited
    )
    return conclude(
        ending,
        attempt=attempt,
        node="n0",
        progress=Progress(k=k, state=ProgressState.ACTING, attempt=attempt.id, adopts=2),
        control=control or TaskControl(),
        retry_count=retry_count,
        max_failures=max_failures,
        now=NOW,
        dice=0.5,
    )


TABLE = {
    # outcome, post_check passed: slot kept as, dead letter, mark in the budget
    (Outcome.SUCCEEDED, True): (None, DeadLetterState.NONE, None),
    (Outcome.SKIPPED, False): (None, DeadLetterState.NONE, None),
    (Outcome.FAILED, True): (None, DeadLetterState.OWED, FINAL),
    (Outcome.FAILED, False): (None, DeadLetterState.OWED, FINAL),
    (Outcome.UNSAFE, False): (SlotState.UNSAFE, DeadLetterState.OWED, FINAL),
    (Outcome.LOST, False): (SlotState.LOST, DeadLetterState.OWED, FINAL),
    (Outcome.LOST, True): (None, DeadLetterState.OWED, FINAL),
    (Outcome.CANCELLED, True): (None, DeadLetterState.NONE, None),
    (Outcome.CANCELLED, False): (None, DeadLetterState.NONE, None),
}


@pytest.mark.parametrize(("case", "means"), TABLE.items(), ids=[f"{o.value}-{p}" for o, p in TABLE])
def test_the_truth_table(
    case: tuple[Outcome, bool], means: tuple[SlotState | None, DeadLetterState, FailureMark | None]
) -> None:
    outcome, passed = case
    keep, letter, mark = means
    what = ended(Ending(outcome, "r", post_check_passed=passed))
    assert what.keep is keep
    assert what.end is not None
    assert (what.end.outcome, what.end.dead_letter) == (outcome, letter)
    assert what.end.kept == (("demo:web",) if keep else ())
    if mark is None:
        assert what.control is None
    else:
        assert what.control is not None
        assert what.control.failed == {"n0": mark}
        assert what.control.state is TaskState.HALTED


@pytest.mark.parametrize("was", [SlotState.UNSAFE, SlotState.LOST])
@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.DEFERRED, Outcome.FAILED, Outcome.CANCELLED])
def test_an_inherited_slot_is_freed_by_a_passed_post_check_alone(outcome: Outcome, was: SlotState) -> None:
    assert ended(Ending(outcome, "r"), inherited=was).keep is was
    assert ended(Ending(outcome, "r", post_check_passed=True), inherited=was).keep is None


def test_a_node_that_keeps_its_slot_gives_no_budget_back_and_is_tried_no_more() -> None:
    """Skipped says that there is nothing to do, not that the node is well; a person is asked."""
    control = TaskControl(failed={"n0": RETRYING})
    after = ended(Ending(Outcome.SKIPPED, ""), control=control, inherited=SlotState.UNSAFE).control
    assert after is not None
    assert (after.state, after.failed) == (TaskState.HALTED, {"n0": FailureMark.FINAL})


def test_a_failure_is_tried_again_so_often_and_then_ends() -> None:
    for k in (1, 2, 3):
        what = ended(Ending(Outcome.FAILED, "exit 1", post_check_passed=True), k=k, retry_count=2)
        assert (what.end is None) is (k <= 2)
    again = ended(Ending(Outcome.FAILED, "exit 1"), retry_count=2)
    assert again.progress is not None
    assert (again.progress.state, again.progress.k, again.progress.adopts) == (ProgressState.RETRYING, 1, 0)
    assert again.control is not None
    assert (again.control.failed, again.control.state) == ({"n0": RETRYING}, TaskState.OPEN)


def test_a_refusal_is_not_tried_again() -> None:
    assert ended(Ending(Outcome.FAILED, "refused", retry=False), retry_count=9).end is not None


@pytest.mark.parametrize("state", [TaskState.CANCELLED, TaskState.EXPIRED])
def test_nothing_is_tried_again_in_a_task_that_is_over(state: TaskState) -> None:
    assert ended(Ending(Outcome.FAILED, "exit 1"), retry_count=9, control=TaskControl(state=state)).end is not None


def test_a_deferral_costs_no_attempt_and_moves_the_node_back() -> None:
    until = NOW + timedelta(minutes=3)
    what = ended(Ending(Outcome.DEFERRED, "a repair runs", until=until))
    assert what.end is None
    assert what.progress is not None
    assert (what.progress.k, what.progress.deferrals, what.progress.next_at) == (0, 1, until)
    assert what.control is None


def test_a_deferral_of_the_cluster_stops_the_task_and_does_not_hide_why_it_was_halted() -> None:
    ending = Ending(Outcome.DEFERRED, "a failover runs", until=NOW, whole_cluster=True)
    what = ended(ending)
    assert what.control is not None
    assert (what.control.wait_until, what.control.why) == (NOW, "a failover runs")
    halted = ended(ending, control=TaskControl(state=TaskState.HALTED, why="n1 ended unsafe"))
    assert halted.control is not None
    assert halted.control.why == "n1 ended unsafe"


@pytest.mark.parametrize("most", [0, 1, 2])
def test_the_task_halts_when_more_than_max_failures_have_failed_for_good(most: int) -> None:
    failed = {f"n{i}": FINAL for i in range(1, most + 1)}
    what = ended(Ending(Outcome.FAILED, "r"), control=TaskControl(failed=failed), max_failures=most)
    assert what.control is not None
    assert what.control.state is TaskState.HALTED
    fewer = ended(Ending(Outcome.FAILED, "r"), control=TaskControl(failed=failed), max_failures=most + 1)
    assert fewer.control is not None
    assert fewer.control.state is TaskState.OPEN


def test_a_retry_that_succeeds_gives_the_budget_back() -> None:
    control = TaskControl(failed={"n0": RETRYING, "n1": RETRYING}, excused=("n0",))
    what = ended(Ending(Outcome.SUCCEEDED, "", post_check_passed=True), control=control)
    assert what.control is not None
    assert (what.control.failed, what.control.excused) == ({"n1": RETRYING}, ())


def test_an_excused_node_that_fails_again_counts_again() -> None:
    control = TaskControl(failed={"n0": FINAL}, excused=("n0",))
    what = ended(Ending(Outcome.UNSAFE, "r"), control=control)
    assert what.control is not None
    assert what.control.counted() == {"n0"}


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.REJECTED, Outcome.EXPIRED, Outcome.GONE])
def test_whoever_is_given_up_in_its_retries_has_failed_for_good(outcome: Outcome) -> None:
    """Else fresh nodes wait behind a retry that never comes, in a task that asks no person for anything."""
    control = TaskControl(failed={"n0": RETRYING})
    after = give_up(outcome, node="n0", control=control, max_failures=0)
    assert after is not None
    assert (after.failed, after.state) == ({"n0": FINAL}, TaskState.HALTED)
    assert give_up(outcome, node="n1", control=control, max_failures=0) is None


@given(
    outcome=st.sampled_from(END_OF_ATTEMPTS),
    passed=st.booleans(),
    k=st.integers(1, 5),
    retry_count=st.integers(0, 4),
    marks=st.dictionaries(st.sampled_from(["n0", "n1", "n2"]), st.sampled_from(FailureMark)),
    excused=st.sets(st.sampled_from(["n0", "n1", "n2"])),
    state=st.sampled_from(TaskState),
    most=st.integers(0, 2),
)
def test_there_is_an_end_or_a_progress_and_an_open_task_is_within_its_budget(
    outcome: Outcome,
    passed: bool,
    k: int,
    retry_count: int,
    marks: dict[str, FailureMark],
    excused: set[str],
    state: TaskState,
    most: int,
) -> None:
    control = TaskControl(state=state, failed=marks, excused=tuple(sorted(excused)))
    ending = Ending(outcome, "r", post_check_passed=passed)
    what = ended(ending, k=k, control=control, retry_count=retry_count, max_failures=most)
    assert (what.end is None) != (what.progress is None)
    after = what.control or control
    if what.control is not None and after.state is TaskState.OPEN:
        assert len(after.final()) <= most
    if state is not TaskState.OPEN:
        assert after.state is state, "an end opens nothing, and closes nothing that was decided by a person"
    if what.end is not None:
        assert after.failed.get("n0") is not RETRYING or outcome in (Outcome.SUCCEEDED, Outcome.SKIPPED)


@given(attempts=st.integers(1, 10_000), dice=st.floats(0, 1, exclude_max=True))
def test_backoff_is_jittered_in_full_and_bounded(attempts: int, dice: float) -> None:
    waits = backoff(attempts, dice)
    assert timedelta() <= waits <= timedelta(minutes=15)
    assert waits <= timedelta(seconds=30) * 2 ** min(attempts - 1, 30)


def test_backoff_doubles_and_counts_from_one() -> None:
    assert [backoff(k, 0.5).total_seconds() for k in (1, 2, 3)] == [15, 30, 60]
    with pytest.raises(ValueError, match="counted from 1"):
        backoff(0, 0.5)


@given(dice=st.floats(0, 1, exclude_max=True))
def test_a_deferral_without_a_time_waits_half_to_all_of_its_base(dice: float) -> None:
    assert timedelta(seconds=15) <= deferral(dice) <= timedelta(seconds=30)
