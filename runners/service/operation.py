"""What restart, reload and stop_start share: how they look before and after, and how a drained node comes back.

It does not know how the service is touched: that is each operation's own.
"""

from __future__ import annotations

import shutil
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from runners.service import rules
from runners.service.config import Command, Service, ServiceConfig
from runners.service.drain import Drained
from runners.service.starts import ASK_TIMEOUT, NoService, running_start
from runners.service.view import View, look
from taskerman import Check, CommandFailed, Go, Recovered, Refuse, TaskRunner, Wait, steadily

__all__ = ["NotBack", "ServiceArgs", "ServiceOperation"]

FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 1.0
COME_BACK_S = 20.0
"""How long whoever comes after a crash waits for the service: `abort` has 30 s, and `recover` 60."""
SHOW_UP_S = 15.0
"""How long `recover` waits for a start that was asked for."""


class NotBack(Exception):
    """The service is not as it must be for the action to go on."""


class ServiceArgs(BaseModel):
    """What every operation on a service takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str = Field(description="Which service: a name under `services` of the node's configuration.")
    force: bool = Field(default=False, description="Look at no other node before.")
    drained_for_s: float = Field(
        default=0.0, ge=0, le=3600, description="How long to wait after `drain`, for what is open to end."
    )
    healthy_within_s: float = Field(
        default=120.0, gt=0, le=3600, description="How long a drained node is waited for, to be put back."
    )


class ServiceOperation(TaskRunner):
    """The shared hooks. `verbs`: the commands of the service that an operation needs."""

    Args = ServiceArgs
    Config = ServiceConfig
    args: ServiceArgs
    config: ServiceConfig
    soft = timedelta(minutes=10)
    settle = timedelta(minutes=3)
    verbs: ClassVar[tuple[str, ...]] = ()
    only_running: ClassVar[bool] = False

    # --- the hooks ---------------------------------------------------------------------------------------

    def pre_check(self) -> Check:
        """Go when the service and all that is needed are there, and the others can do without this node."""
        if wrong := self._impossible():
            return Refuse(wrong)
        try:
            view = look(self.service, self.ctx)
        except (NoService, CommandFailed) as error:
            return Refuse(str(error))
        self.ctx.log("looked", start=view.start, ill=view.ill, unwell=list(view.unwell), unseen=view.unseen)
        answer = rules.may_reload(view) if self.only_running else Go()
        if not isinstance(answer, Go):
            return answer
        if self.args.force:
            self.ctx.log("looks at nobody else, as it was told")
            return Go()
        return rules.may_act(
            view,
            at_once=self.ctx.cap,
            at_least=self.service.at_least,
            nodes=len(self.ctx.nodes),
            without_peers=self.service.without_peers,
        )

    def post_check(self) -> Check:
        """Well when it serves, is in its load balancer, and its peers are well and see it; several times in a row."""
        if wrong := self._unknown_service():
            return Refuse(wrong)
        try:
            view = look(self.service, self.ctx, about_me=True)
        except NoService as error:
            return Refuse(str(error))
        except CommandFailed as failed:
            return steadily(self.ctx, Wait(str(failed)))
        return steadily(self.ctx, self._judged(view))

    def recover(self) -> Recovered:
        """Put the node back first, as after any crash; then compare the start that runs with the one that was noted."""
        if self._unknown_service():
            return Recovered.UNKNOWN
        self.come_back(COME_BACK_S)
        return self.happened()

    def abort(self) -> None:
        """Put the node back. What was asked of the service manager goes on, and is waited for."""
        if not self._unknown_service():
            self.come_back(COME_BACK_S)

    # --- what each operation says ------------------------------------------------------------------------

    @abstractmethod
    def happened(self) -> Recovered:
        """Whether the action happened, when the node has been put back as far as it can be."""

    @abstractmethod
    def proved(self, view: View) -> Check:
        """Whether the start that runs is the one that must run after what was done."""

    # --- parts of an action ------------------------------------------------------------------------------

    @property
    def service(self) -> Service:
        """What the node says of the service. Raises `KeyError` where it knows none of that name."""
        return self.config.services[self.args.service]

    @property
    def drained(self) -> Drained:
        """Whether this node is out of the load balancer."""
        return Drained(self.service, self.args.service, Path(self.config.state_folder), self.ctx)

    def begin(self) -> str | None:
        """Note which start runs and how the peers are, before anything is done. The start, None while it is down."""
        view = look(self.service, self.ctx)
        unwell = len(view.unwell)
        self.ctx.save(before=view.start, asked=False, unwell_before=unwell, well_before=len(view.peers) - unwell)
        return view.start

    def run(self, verb: str) -> None:
        """Have the service restarted, reloaded, stopped or started. Raises `CommandFailed`."""
        command = self.service.verb(verb)
        assert command is not None, "pre_check refuses a service without it"
        self.ctx.command(command)

    @contextmanager
    def out_of_balance(self) -> Iterator[None]:
        """Within, the node is out of its load balancer, if it has one; it is waited for, and put back, in any case.

        Raises `NotBack` when the service is not well in time: then the node stays out.
        """
        try:
            self.drained.take_out()
            if self.service.drain is not None:
                time.sleep(self.args.drained_for_s)
            yield
        except Exception:
            self.come_back(LAST_PAUSE_S)  # a service that is well all the same
            raise
        why = self.come_back(self.args.healthy_within_s)
        if why:
            raise NotBack(f"within {self.args.healthy_within_s:g} s: {why}")

    def come_back(self, within_s: float) -> str:
        """Put a drained node back as soon as the service is well; why it could not be, "" when it is in.

        Never raises: whoever comes after a crash has more to do.
        """
        if self.service.undrain is None:
            return ""
        why = ""

        def back() -> bool:
            nonlocal why
            if not self.drained.noted:
                return True
            why = self._ill()
            if why and not self.service.undrain_unwell:
                return False
            try:
                self.drained.put_back()
            except (CommandFailed, OSError) as error:
                why = str(error)
                return False
            why = ""
            return True

        if not self.until(back, within_s):
            self.ctx.log("stays out of its load balancer", why=why, way_back=self.drained.way_back)
        return why

    def start_now(self) -> str | None:
        """Which start runs; None while it does not, and while nobody can say."""
        try:
            return running_start(self.service, self.ctx)
        except (NoService, CommandFailed) as error:
            self.ctx.log("cannot say which start runs", why=str(error))
            return None

    def until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Whether it became so in time; asked at least once."""
        give_up_at, pause = time.monotonic() + within_s, FIRST_PAUSE_S
        while not condition():
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, LAST_PAUSE_S)
        return True

    # --- looking -----------------------------------------------------------------------------------------

    def _judged(self, view: View) -> Check:
        saved = self.ctx.saved
        if not isinstance(answer := self.proved(view), Go):
            return answer
        at_least, well = self.service.at_least, saved.get("well_before")
        if at_least is not None and isinstance(well, int) and self.args.force:
            at_least = min(at_least, well)  # no better than it was when a person said not to look
        unwell = saved.get("unwell_before")
        answer = rules.is_well(
            view,
            unwell_may_be=max(self.ctx.cap - 1, unwell if isinstance(unwell, int) and self.args.force else 0),
            well_must_be=at_least,
        )
        if isinstance(answer, Go) and self.drained.noted:
            return Wait(f"the service is well, and out of its load balancer: {self.drained.way_back}")
        if isinstance(answer, Go) and self.service.balanced is not None:
            try:
                self.ctx.command(self.service.balanced, timeout=ASK_TIMEOUT)
            except CommandFailed as failed:
                return Wait(f"the load balancer sends nobody here yet: {failed}")
        return answer

    def _ill(self) -> str:
        """Why the own service is not well, asking nobody else."""
        try:
            view = look(self.service.model_copy(update={"peers": {}}), self.ctx)
        except (NoService, CommandFailed) as error:
            return str(error)
        return view.ill

    # --- what can be known before ------------------------------------------------------------------------

    def _unknown_service(self) -> str:
        if self.misconfigured:
            return self.misconfigured
        if self.args.service in self.config.services:
            return ""
        known = ", ".join(sorted(self.config.services)) or "none"
        return (
            f"this node knows no service {self.args.service!r}; under [runners.service_task.services] it has: {known}"
        )

    def _impossible(self) -> str:
        """What is missing; "" when nothing is."""
        if wrong := self._unknown_service():
            return wrong
        service, needed = self.service, list[Command]()
        for verb in self.verbs:
            command = service.verb(verb)
            if command is None:
                return f"the service {self.args.service!r} has neither a unit nor a command for {verb!r}"
            needed.append(command)
        checks = [*service.checks, *service.peers.values()]
        needed += [each.command for each in checks if each.command is not None]
        needed += [
            each for each in (service.identity, service.drain, service.undrain, service.balanced) if each is not None
        ]
        for command in needed:
            if shutil.which(command[0]) is None:
                return f"no such program: {command[0]} (of {' '.join(command)[:200]})"
        return self.drained.impossible()
