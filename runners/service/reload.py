"""`service_task:reload`: has a service read its configuration anew, and proves that its process survived that."""

from __future__ import annotations

from runners.service import rules
from runners.service.operation import SHOW_UP_S, NotBack, ServiceOperation
from runners.service.starts import ASK_TIMEOUT
from runners.service.view import View
from taskerman import Check, Go, Recovered, Refuse

__all__ = ["Reload"]


class Reload(ServiceOperation):
    """Reloads a service that is well. A reload that ends the process has failed, also when it came back by itself."""

    description = "reloads one of the node's services, whose process must survive it"
    verbs = ("reload",)
    only_running = True

    def pre_check(self) -> Check:
        """The same as of the others; and what is to tell of the reload afterwards must tell something now."""
        answer = super().pre_check()
        if isinstance(answer, Go) and self.service.reload_mark is not None and self._mark() is None:
            return Refuse(f"reload_mark does not tell: {' '.join(self.service.reload_mark)} does not end with 0")
        return answer

    def execute_action(self) -> None:
        """Note which start runs, have it reloaded, and see that it is still that one."""
        before, mark = self.begin(), self._mark()
        if before is None:
            raise NotBack("the service does not run any more, so there is nothing to reload")
        if mark is None and self.service.reload_mark is not None:
            raise NotBack("reload_mark does not tell any more, so nobody could tell afterwards")
        self.ctx.save(mark=mark, asked=True)
        self.run("reload")
        if self.start_now() != before:
            self.ctx.save(died=True)
            raise NotBack("the process did not survive its reload")
        self.come_back(self.args.healthy_within_s)  # of an earlier attempt's

    def proved(self, view: View) -> Check:
        """The process that was reloaded must be the one that runs; what the action found dead itself has failed."""
        saved = self.ctx.saved
        if not saved.get("asked") or saved.get("died"):
            return Go()
        before = saved.get("before")
        return rules.survived(None if before is None else str(before), view.start)

    def happened(self) -> Recovered:
        """What `reload_mark` tells. Without one a reload leaves no trace."""
        saved = self.ctx.saved
        if not saved.get("asked"):
            return Recovered.NOT_DONE
        if self.service.reload_mark is None:
            return Recovered.UNKNOWN
        return Recovered.DONE if self.until(self._is_another, SHOW_UP_S) else Recovered.UNKNOWN

    def _is_another(self) -> bool:
        now = self._mark()
        return now is not None and now != self.ctx.saved.get("mark")

    def _mark(self) -> str | None:
        if self.service.reload_mark is None:
            return None
        answer = self.ctx.command(self.service.reload_mark, timeout=ASK_TIMEOUT, check=False)
        return answer.output.strip()[:1000] if answer.exit == 0 else None
