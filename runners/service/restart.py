"""`service_task:restart`: has a service restarted, and believes only another start of it."""

from __future__ import annotations

from runners.service.operation import SHOW_UP_S, ServiceOperation
from runners.service.view import View
from taskerman import Check, Go, Recovered, Wait

__all__ = ["Restart"]


class Restart(ServiceOperation):
    """Takes the node out of its load balancer, has the service restarted, and puts the node back once it is well."""

    description = "restarts one of the node's services, out of its load balancer meanwhile"
    verbs = ("restart",)

    def execute_action(self) -> None:
        """Note which start runs, then have the service restarted."""
        self.begin()
        with self.out_of_balance():
            # Before it is asked: who cannot say whether it was must take it that it was. And which start it is now: it
            # may have been started anew while the node was waited for to be out.
            self.ctx.save(before=self.start_now(), asked=True)
            self.run("restart")
            self.ctx.save(restarted=True)

    def proved(self, view: View) -> Check:
        """After a restart that was carried out, only another start counts."""
        saved = self.ctx.saved
        if saved.get("restarted") and view.start is not None and view.start == saved.get("before"):
            return Wait("the service still runs as it was started before")
        return Go()

    def happened(self) -> Recovered:
        """Another start than the one that was noted; one that was asked for is given some time to show."""
        saved = self.ctx.saved
        if not saved.get("asked"):
            return Recovered.NOT_DONE
        if not self.until(lambda: self.start_now() not in (None, saved.get("before")), SHOW_UP_S):
            return Recovered.UNKNOWN  # it may still be on its way
        # What was down when it was asked may have been started by anybody, unless the command came back.
        known = saved.get("before") is not None or saved.get("restarted")
        return Recovered.DONE if known else Recovered.UNKNOWN
