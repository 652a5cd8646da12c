"""The handover of a primary that is built in: one order of steps in which there is never a second primary.

    stop        the old primary, cleanly: it sends all of its WAL, and pg_controldata says that it was shut down, and
                where its last checkpoint stands
    fence       standby.signal: from now on, whoever starts it starts a replica
    promote     the heir, when it has replayed that checkpoint: so it lacks nothing, and nothing can have diverged
    start       the old primary, which follows

Which step was reached is saved before it is begun. Cut off anywhere, `settle` brings it to one of its two ends:
forward when the heir was asked to promote itself; back when it was not, and every peer says that it is no primary.
Where neither is certain the fence stays, and nobody is the primary: that is an outage, and better than two.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runners.postgres.config import PostgresConfig, address_of, shown
from runners.postgres.programs import ProgramFailed
from runners.postgres.psql import Access, Denied, QueryFailed, Unreachable, nobody_listens
from runners.postgres.view import Server, View, look, look_at
from taskerman import CommandFailed, Context

__all__ = ["NotReady", "Shutdown", "Switchover", "TookOver", "checkpoint", "read_shutdown", "wrong_folder"]

LOOK_EVERY_S = 0.05
SETTLE_S = 22.0
_SIGNAL = "standby.signal"


class NotReady(Exception):
    """It could not be done, and what was begun was taken back as far as that is safe. The text says how it stands."""


class TookOver(NotReady):
    """The heir was seen as the primary, and nobody of ours had asked it to be."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """What the control file of a stopped server says. `checkpoint`: its last one, in bytes of WAL."""

    clean: bool
    checkpoint: int
    timeline: int


@dataclass(frozen=True, slots=True)
class Switchover:
    """Of the own server, which is the primary, to `heir`."""

    ctx: Context
    config: PostgresConfig
    access: Access
    within_s: float

    def hand_over(self, heir: str) -> None:
        """All of it. Raises `NotReady` with the own server as the primary again, or, when that is not certain,
        fenced."""
        self.ctx.save(step="stopping", heir=heir)
        try:
            checkpoint(self.access, self.config, self.within_s)  # so that stopping is short
            self.ctx.command(self.config.stop)
            self._stopped()
            self.ctx.save(step="fenced")
            self.fence()
            self._wait_in_step(heir, self._stopped())  # again: somebody may have started it before it was fenced
        except Exception as error:
            how = self._back(taken=isinstance(error, TookOver))
            raise NotReady(f"the handover to {heir} failed: {error}; {how}") from error
        self.ctx.save(step="promoting")
        self._promote(heir, self.within_s)
        self.ctx.save(step="promoted")
        self._start()

    def settle(self) -> str:
        """Bring to an end what was cut off; how, in words, "" when there was nothing. Idempotent."""
        if not (step := str(self.ctx.saved.get("step") or "")) or step == "done":
            return ""
        try:
            return self._settle(step, str(self.ctx.saved.get("heir") or ""))
        except (CommandFailed, NotReady) as error:
            return f"it could not be brought to its end: {error}"

    def _settle(self, step: str, heir: str) -> str:
        view = self._look_until_sure()
        if view.own is not None and (view.primaries or not view.own.replica):
            if not view.own.replica and step != "stopping":
                self._unfence()
            return "the server runs"
        if view.own is None and not view.own_refuses:
            return f"the server neither answers nor is down: {view.why}"
        if view.primaries:
            return self._follow(view)
        if step in ("promoting", "promoted"):
            self.fence()  # a person may have taken it away a moment ago, and be about to start the server
            if not self._is_down():
                raise NotReady(f"somebody starts the server now, so {heir} is not asked to be the primary")
            self._promote(heir, SETTLE_S / 2)
            self._start()
            return f"{heir} was promoted, and the server is its replica"
        if view.own is not None:
            return "the server runs as a replica, and nobody is the primary: promote one"
        if view.silent or view.denied:
            self.fence()
            names = ", ".join(sorted({*view.silent, *view.denied}))
            raise NotReady(
                f"the server stays down and fenced ({_SIGNAL}), because nobody knows whether {names} is the primary "
                "now. If none is: remove the file and start the server"
            )
        return self._back()

    # --- the steps -----------------------------------------------------------------------------------------

    def fence(self) -> None:
        """Whoever starts the own server from now on starts a replica. Durable on return."""
        place = Path(self.config.data)
        owner = place.stat()
        handle = os.open(place / _SIGNAL, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if os.geteuid() == 0:
                os.fchown(handle, owner.st_uid, owner.st_gid)
            os.fsync(handle)
        finally:
            os.close(handle)
        _sync_folder(place)

    def _unfence(self) -> None:
        """Whoever starts it, starts a primary; so does one that is the primary already, when it is started again."""
        place = Path(self.config.data)
        (place / _SIGNAL).unlink(missing_ok=True)
        _sync_folder(place)

    def _is_down(self) -> bool:
        return nobody_listens(self.config.own) and not (Path(self.config.data) / "postmaster.pid").exists()

    def _stopped(self) -> Shutdown:
        """Raises `NotReady` unless the server is down, and was shut down as one that had nothing left to send."""
        give_up_at = time.monotonic() + self.within_s
        while not self._is_down():
            if time.monotonic() >= give_up_at:
                raise NotReady("the stop command ended well, and the server still runs: is it the right command?")
            time.sleep(LOOK_EVERY_S)
        found = self.control()
        if not found.clean:
            raise NotReady("the server did not shut down cleanly, so it may not have sent everything")
        return found

    def control(self) -> Shutdown:
        """What the control file says."""
        return read_shutdown(self.access.programs.run("pg_controldata", [self.config.data], timeout_s=20))

    def _wait_in_step(self, heir: str, stopped: Shutdown) -> None:
        self.ctx.log("waits for the heir", heir=heir, checkpoint=stopped.checkpoint)

        def replayed(server: Server) -> bool:
            if not server.replica:
                raise TookOver(f"{heir} became the primary without us")
            return server.replayed > stopped.checkpoint

        self._until(heir, replayed, f"{heir} has not replayed the last checkpoint of this server", self.within_s)

    def _promote(self, heir: str, within_s: float) -> None:
        """Also when it was asked before. Raises `NotReady`."""
        self.ctx.log("promotes", heir=heir)
        give_up_at = time.monotonic() + within_s
        with suppress(Unreachable, Denied, QueryFailed):  # it may be the primary already; that is looked at now
            seconds = max(1, int(min(within_s, self.access.timeout_s)))
            self.access.ask(address_of(heir), f"SELECT to_json(pg_promote(true, {seconds}))")
        left = max(0.0, give_up_at - time.monotonic())
        why = (
            f"{heir} was told to become the primary and is none. Promote it, and start this server; or, once it is "
            f"certain that it never will be: remove {_SIGNAL} here and start this server"
        )
        self._until(heir, lambda server: not server.replica, why, left)

    def _start(self) -> None:
        self.ctx.command(self.config.start)
        self.ctx.save(step="done")

    def _back(self, *, taken: bool = False) -> str:
        """The own server becomes the primary again, because nobody was asked to be it; how it went, in words.

        Unless somebody is all the same: then it follows. `taken`: somebody was seen to be; if that one is silent by
        now, the server stays down.
        """
        view = self._look_until_sure()
        if view.own is not None:
            if not view.own.replica:
                self._unfence()
            return "the server runs on"
        if not view.own_refuses:
            return f"the server neither answers nor is down: {view.why}"
        if view.primaries:
            return self._follow(view)
        if taken:
            return f"the server stays down and fenced ({_SIGNAL}): start it when the new primary answers"
        self._unfence()
        self._start()
        return "the server was started as the primary again"

    def _follow(self, view: View) -> str:
        self.fence()
        self._start()
        return f"{shown(view.primaries[0].address)} is the primary, and the server was started as its replica"

    def _look_until_sure(self) -> View:
        """A view in which the own server answers, or nobody listens in its place: one that stops does neither."""
        give_up_at = time.monotonic() + SETTLE_S / 3
        while True:
            view = look(self.config, self.access)
            if view.own is not None or view.own_refuses or time.monotonic() >= give_up_at:
                return view
            time.sleep(LOOK_EVERY_S)

    def _until(self, name: str, so: Callable[[Server], bool], else_: str, within_s: float) -> None:
        give_up_at = time.monotonic() + within_s
        why = ""
        while True:
            try:
                if so(look_at(address_of(name), self.access)):
                    return
            except (Unreachable, Denied, QueryFailed) as error:
                why = f" ({error})"
            if time.monotonic() >= give_up_at:
                raise NotReady(else_ + why)
            time.sleep(LOOK_EVERY_S)


def checkpoint(access: Access, config: PostgresConfig, within_s: float) -> None:
    """Have one done before a stop, which is the shorter for it; where that is not allowed, it is merely longer."""
    with suppress(Denied, QueryFailed):
        access.tell(config.own, ["CHECKPOINT"], timeout_s=within_s)


def wrong_folder(config: PostgresConfig, access: Access, own: Server) -> str:
    """Why the data folder of the configuration is not the running server's, or cannot be used; "" when it is."""
    place = Path(config.data)
    try:
        said = access.programs.run("pg_controldata", [config.data], timeout_s=20)
        port = (place / "postmaster.pid").read_text().splitlines()[3]
    except (OSError, IndexError, ProgramFailed) as error:
        return f"the data folder {config.data} cannot be read as a running server's: {error}"
    system = re.search(r"^Database system identifier:\s*(\d+)$", said, re.MULTILINE)
    if system is None or system[1] != own.system or port != str(config.port):
        return (
            f"the data folder {config.data} is another server's (port {port}, {system[1] if system else 'no'} system)"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        return f"the data folder {config.data} cannot be written by this agent's user"
    return ""


def read_shutdown(text: str) -> Shutdown:
    """The output of pg_controldata. Raises `NotReady` when it says something else than it should."""
    found = dict(re.findall(r"^([^:\n]+):\s*(.*)$", text, re.MULTILINE))
    try:
        high, low = found["Latest checkpoint location"].split("/")
        return Shutdown(
            clean=found["Database cluster state"].strip() == "shut down",
            checkpoint=(int(high, 16) << 32) + int(low, 16),
            timeline=int(found["Latest checkpoint's TimeLineID"]),
        )
    except (KeyError, ValueError) as error:
        raise NotReady(f"pg_controldata says something else than expected: {error}") from None


def _sync_folder(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
