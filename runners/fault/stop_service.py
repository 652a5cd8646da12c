"""`fault_task:stop_service`: a service is stopped, and started again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field, JsonValue

from runners.fault import rules
from runners.fault.config import FaultService
from runners.fault.operation import Fault, FaultArgs
from taskerman import Check, CommandFailed, Go, Refuse

__all__ = ["StopService", "StopServiceArgs"]

ASK_TIMEOUT = timedelta(seconds=20)


class StopServiceArgs(FaultArgs):
    """Which service."""

    service: str = Field(description="A name under `services` of the node's configuration.")


class StopService(Fault):
    """Stops what runs; what does not run is refused, because starting it afterwards would undo nothing of ours."""

    Args = StopServiceArgs
    args: StopServiceArgs
    description = "stops a service for a time, then starts it again"
    kind = "stop_service"

    def fits(self) -> Check:
        """Whether the service is named, can be started again, and runs."""
        answer = rules.named("services", self.args.service, self.config.services)
        if not isinstance(answer, Go):
            return answer
        for verb in ("stop", "start", "running"):
            program = self._service.verb(verb)[0]
            if shutil.which(program) is None:
                return Refuse(f"no such program: {program} ({verb} of {self.args.service!r})")
        try:
            self.ctx.command(self._service.verb("running"), timeout=ASK_TIMEOUT)
        except CommandFailed as failed:
            return Refuse(f"the service {self.args.service!r} does not run, so there is nothing to stop: {failed}")
        return Go()

    def prepare(self, fault: str) -> Mapping[str, JsonValue]:
        """How it is started, and how one sees that it runs."""
        return {"start": list(self._service.verb("start")), "running": list(self._service.verb("running"))}

    def inject(self, undo: Mapping[str, JsonValue]) -> None:
        """Stop it."""
        self.ctx.command(self._service.verb("stop"))

    @property
    def _service(self) -> FaultService:
        return self.config.services[self.args.service]
