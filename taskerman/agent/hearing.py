"""What a child's reports mean to the lifecycle: translation, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_never

from taskerman.agent.child_talk import (
    Checked,
    ChildGone,
    Died,
    Done,
    Ended,
    Errored,
    Failed,
    Ready,
    RecoveredAs,
    Report,
    TimedOut,
)
from taskerman.model.attempt import Result
from taskerman.policy.signals import ActionEnded, CheckFailed, CheckGiven, ChildFailed, HookReturned, Recovered, Signal
from taskerman.runner import Go, Refuse, Skip, Wait

__all__ = ["result_signal", "signal_of"]


def signal_of(report: Report, now: float, timeout: timedelta) -> Signal | None:  # noqa: PLR0911  one return a report
    """The signal that `report` is; None for what changes nothing by itself. `timeout`: of what was asked."""
    match report:
        case Ready() | ChildGone():
            return None
        case Done():
            return HookReturned(now) if report.phase == "cluster_begin" else None
        case Checked():
            return _check_signal(report, now)
        case Failed():
            return ChildFailed(f"the runner cannot work ({report.phase}): {report.error}", now)
        case Errored():
            return CheckFailed(f"{report.phase} raised {report.error}", now)
        case TimedOut():
            return CheckFailed(f"{report.phase} took more than {timeout.total_seconds():.0f} s", now)
        case Died():
            return CheckFailed(f"the process of {report.phase} died ({report.how})", now)
        case RecoveredAs():
            return Recovered(report.answer.value, now)
        case Ended():
            return result_signal(report.result, now, child_gone=False)
        case _ as never:
            assert_never(never)


def result_signal(result: Result, now: float, *, child_gone: bool) -> ActionEnded:
    """The action's result. `child_gone`: there is no child any more that could be asked to check."""
    if result.status == "ok":
        why = ""
    else:
        met = "".join(f"; it met its {limit}" for limit in result.limits)
        said, newline, traceback = str(result.error or result.exit).partition("\n")
        why = f"the action ended with {result.status}: {said}{met}{newline}{traceback}"  # what tells most comes first
    return ActionEnded(ok=result.status == "ok", now=now, why=why, tail=result.tail, child_gone=child_gone)


def _check_signal(checked: Checked, now: float) -> CheckGiven:
    match checked.check:
        case Go():
            return CheckGiven("go", now)
        case Wait():
            return CheckGiven(
                "wait",
                now,
                reason=checked.check.reason,
                until=checked.check.until,
                whole_cluster=checked.check.of == "cluster",
            )
        case Refuse():
            return CheckGiven("refuse", now, reason=checked.check.reason)
        case Skip():
            return CheckGiven("skip", now, reason=checked.check.reason)
        case _ as never:
            assert_never(never)
