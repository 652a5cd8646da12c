"""Well once is luck: a node counts as well when it was found so several times in a row, over some time."""

from __future__ import annotations

import time

from taskerman.runner.checks import Go, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskerman.runner.checks import Check
    from taskerman.runner.context import Context

__all__ = ["steadily"]


def steadily(ctx: Context, answer: Check, *, times: int = 3, over_s: float = 2.0) -> Check:
    """`answer` of a `post_check`; in place of the first `Go`s, `Wait`, until the node was well long enough.

    `times`: so many good answers in a row, the first and the last at least `over_s` seconds apart. Any other answer
    begins anew, and passes as it is. Counted in what the attempt saves, so that it goes on in another process. A task
    whose time to settle is shorter than `over_s` ends unsafe.
    """
    before = ctx.saved.get("steady")
    if not isinstance(answer, Go):
        if before is not None:
            ctx.save(steady=None)
        return answer
    now = time.time()
    good, since = (int(str(before["times"])), float(str(before["since"]))) if isinstance(before, dict) else (0, now)
    if since > now:
        good, since = 0, now  # the clock went back; what was counted by it is not known to be true
    good += 1
    ctx.save(steady={"times": good, "since": since})
    if good >= times and now - since >= over_s:
        return answer
    return Wait(f"well for {now - since:.1f} s, {good} times in a row; it is believed after {times} and {over_s:g} s")
