"""`service_task:stop_start`: stops a service, does what may only be done while it is stopped, and starts it.

What was stopped is started again also after a failure or a crash: a service that nobody starts is an outage that
nobody ordered. Not while `between` was at work: what it left half done may make a start harmful, so the service stays
down, the node unsafe, and a person looks.
"""

from __future__ import annotations

from runners.service.operation import SHOW_UP_S, NotBack, ServiceOperation
from runners.service.view import View
from taskerman import Check, CommandFailed, Go, Recovered, Wait

__all__ = ["StopStart"]

STOPPED_WITHIN_S = 30.0
MUST_START = ("stopping", "stopped", "starting")
"""After these steps the service may be down for no other reason than that we stopped it."""


class StopStart(ServiceOperation):
    """Stop, `between`, start; each step is noted before it is taken."""

    description = "stops one of the node's services, runs what needs that, and starts it again"
    verbs = ("stop", "start")

    def execute_action(self) -> None:
        """Note which start runs, then take the steps."""
        self.begin()
        with self.out_of_balance():
            try:
                self._steps()
            except Exception:
                self._start_again()
                raise

    def _steps(self) -> None:
        self.ctx.save(before=self.start_now(), asked=True, step="stopping")
        self.run("stop")
        if not self.until(lambda: self.start_now() is None, STOPPED_WITHIN_S):
            raise NotBack("the service was stopped, and still runs")
        self.ctx.save(step="stopped")
        if self.service.between is not None:
            self.ctx.save(step="between")
            self.ctx.command(self.service.between)
        self.ctx.save(step="starting")
        self.run("start")
        self.ctx.save(step="started")

    def _start_again(self) -> None:
        """Start what we stopped. Never raises: it is asked after something else went wrong."""
        step = self.ctx.saved.get("step")
        if step == "between":
            self.ctx.log("stays down: `between` did not end", next="look what it left, then start the service")
        if step in MUST_START:
            try:
                self.run("start")
            except CommandFailed as failed:
                self.ctx.log("cannot be started", why=str(failed))

    def abort(self) -> None:
        """Start what was stopped, and put the node back."""
        if not self._unknown_service():
            self._start_again()
        super().abort()

    def recover(self) -> Recovered:
        """The same after a crash; then say how far it had come."""
        if not self._unknown_service():
            self._start_again()
        return super().recover()

    def proved(self, view: View) -> Check:
        """After a start that was carried out, only another one than before counts."""
        saved = self.ctx.saved
        if saved.get("step") == "started" and view.start is not None and view.start == saved.get("before"):
            return Wait("the service still runs as it was started before")
        return Go()

    def happened(self) -> Recovered:
        """Yes, when another start runs than was noted; no, when that is so and it had not come to `between`."""
        saved = self.ctx.saved
        step = saved.get("step")
        if step is None:
            return Recovered.NOT_DONE
        if step == "between" or not self.until(lambda: self.start_now() not in (None, saved.get("before")), SHOW_UP_S):
            return Recovered.UNKNOWN
        if step in ("stopping", "stopped") and self.service.between is not None:
            return Recovered.NOT_DONE  # it was stopped, and started again without what it was stopped for
        return Recovered.DONE
