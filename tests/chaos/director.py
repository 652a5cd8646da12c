"""A run from its first order to its last question: things go wrong by the plan, then everything is mended, and what
does not come to rest by itself, or does not end when a person helps, is told to the judge.

The director keeps no opinion. Deadlines here are for the machine's sake: they are long, and what is past them is an
accident that a person must look at.
"""

from __future__ import annotations

import heapq
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from tests.chaos.cloud import separate_cloud
from tests.chaos.ensemble import Ensemble
from tests.chaos.fault import World
from tests.chaos.ground import Ground
from tests.chaos.history import History, read_history
from tests.chaos.ledger import read_ledger
from tests.chaos.look import Look
from tests.chaos.people import People
from tests.chaos.postman import Postman
from tests.chaos.schedule import Act, Planned
from tests.chaos.town import Town
from tests.chaos.witness import Coroner, Line, write_line
from tests.chaos.work import Orders
from tests.support.sqs_proxy import running_proxy

__all__ = ["CAN_PUT_AWAY", "Director"]

CAN_PUT_AWAY = find_spec("taskerman.janitor.putting_away") is not None

_REST_S = 400.0
_CARE_S = 3.0
_A_PERSONS = frozenset({"hold", "kept_slot", "not_open", "node_gone", "parked"})
"""Reasons of `explain` that a person can mend."""
_BEHIND = frozenset(
    {
        "older_task",
        "budget",
        "cluster_waits",
        "not_in_line",
        "place",
        "exclusive",
        "no_room",
        "scope_turn",
        "scope_full",
    }
)
"""Reasons that are good while anybody waits for a person: clusters here share nodes and a scope."""


class Director:
    """One run in `folder`. After `run`, `town` and the files are there for whoever reports."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        length_s: float,
        plan: Sequence[Planned],
        clusters: dict[str, int],
        breakage: str = "",
        say: Callable[[str], None] = print,
    ) -> None:
        self.folder, self._seed, self._length_s, self._plan = folder, seed, length_s, plan
        self._clusters, self._breakage, self._say = clusters, breakage, say
        self._threads: list[threading.Thread] = []
        self.harmed: dict[str, int] = {}

    def tell(self, what: str, **known: object) -> Line:
        """An event of the run, into its file."""
        return write_line(self.folder / "events.jsonl", what, **known)

    def run(self) -> History:
        """All of it; what it leaves is `folder`."""
        with ExitStack() as closing:
            ground = Ground()
            ensemble = Ensemble(ground, self.folder)
            closing.callback(ensemble.close)
            ensemble.start()
            cloud = closing.enter_context(separate_cloud())
            proxy = closing.enter_context(running_proxy(cloud.local.url, ground.address))
            proxy.harm.dice = random.Random(f"proxy {self._seed}")
            self.town = town = Town(
                self.folder,
                ground,
                ensemble,
                cloud,
                proxy,
                clusters=self._clusters,
                seed=self._seed,
                tell=self.tell,
                breakage=self._breakage,
            )
            closing.callback(town.close)
            town.start()
            root = f"/{town.installation.prefix}"
            self._look = look = Look(ensemble.hosts, root)
            closing.callback(look.close)
            look.open()
            self._people = People(town, look)
            coroner = Coroner(town.witness)
            coroner.start()
            closing.callback(coroner.close)
            self._postman = Postman(cloud.local, town.installation.prefix, self.tell)
            self._postman.start()
            self._orders = Orders(town, self._seed)
            world = World(town, coroner)
            self._say("everything runs; the plan begins")
            self._orders.start()
            self._perform(world)
            self._orders.stop()
            self._say("everything is mended; it should come to rest by itself")
            self._mend(world)
            self._rest()
            self._say("a person ends what waits for one")
            self._end()
            self._empty()
            if CAN_PUT_AWAY:
                self._say("what has ended is put away")
                self._put_away()
            self._postman.close()
            self.harmed = dict(proxy.harmed)
            coroner.close()
            town.close()
            look.close()
            ensemble.close()
            ledger = read_ledger(ensemble.logs(), root)
            self._bugs()
            return read_history(self.folder, ledger, coroner.seen)

    # --- while it lasts ----------------------------------------------------------------------------------

    def _perform(self, world: World) -> None:
        began, order = time.monotonic(), count()
        dice = random.Random(f"care {self._seed}")
        agenda: list[tuple[float, int, Callable[[], None]]] = []

        def at(when_s: float, do: Callable[[], None]) -> None:
            heapq.heappush(agenda, (when_s, next(order), do))

        for planned in self._plan:
            at(planned.at_s, lambda planned=planned: self._happen(world, planned, at))  # type: ignore[misc]
        cares, caring = _CARE_S, threading.Lock()
        while cares < self._length_s:
            at(cares, lambda: self._aside(lambda: self._care(dice), alone=caring))
            cares += _CARE_S
        at(self._length_s, lambda: None)
        while agenda and (now := time.monotonic() - began) < self._length_s:
            when_s, _, do = agenda[0]
            if when_s > now:
                time.sleep(min(when_s - now, 0.2))
                continue
            heapq.heappop(agenda)
            do()

    def _happen(self, world: World, planned: Planned, at: Callable[[float, Callable[[], None]], None]) -> None:
        what = planned.what
        if isinstance(what, Act):
            self._aside(lambda: self._people.do(what))
            return
        kind = type(what).__name__

        def inject() -> None:
            hit = what.inject(world)
            self.tell("fault", kind=kind, hit=hit, plan=planned.at_s, lasts_s=what.lasts_s, text=str(what))

        self._aside(inject)
        if what.lasts_s:
            at(planned.at_s + what.lasts_s, lambda: self._aside(lambda: what.heal(world)))

    def _aside(self, do: Callable[[], None], alone: threading.Lock | None = None) -> None:
        """On a thread of its own: nothing that happens waits for anything else. `alone`: not while it is held."""

        def told() -> None:
            try:
                with ExitStack() as holding:
                    if alone is not None:
                        if not alone.acquire(blocking=False):
                            return
                        holding.callback(alone.release)
                    do()
            except queue.Empty:
                self.tell("gave_up", why="everybody is typing")
            except Exception as error:  # a fault or an act of ours that broke: the run must not look green
                self.tell("accident", text=f"the run itself: {type(error).__name__}: {error}")

        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=told, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _care(self, dice: random.Random) -> None:
        """Somebody looks after the clusters, so that they are not stopped for most of the run."""
        look, people = self._look, self._people
        if (counts := look.open_by_cluster()) is not None:
            self._orders.backlog = counts
        keepers = [node for node in look.keepers() if dice.random() < 0.5]
        for node in keepers[:1]:
            letters = [letter for letter in look.letters() if letter[1] == node]
            if letters and dice.random() < 0.5:
                people.redrive(*dice.choice(letters))
            else:
                people.release(node)
        halted = [task for task in look.tasks(*people.STOPPED) if dice.random() < 0.5]
        for task in halted[:1]:
            if dice.random() < 0.7:
                people.resume(task)
            else:
                people.cancel(task)

    # --- afterwards --------------------------------------------------------------------------------------

    def _mend(self, world: World) -> None:
        for thread in self._threads:
            thread.join(60)
        for planned in self._plan:
            if not isinstance(planned.what, Act):
                planned.what.heal(world)
        for service in self.town.services():
            service.down_until = 0.0
        self._until(
            lambda: all(service.alive() for service in self.town.services()) and self.town.ensemble.whole(),
            "every daemon and every ZooKeeper is back",
        )

    def _rest(self) -> None:
        """Until whatever has not ended waits for a person, and explain says so."""
        reasons: dict[tuple[str, str], str | None] = {}

        def rests() -> bool:
            reasons.clear()
            self.town.cloud.end_loans(self.town.installation.prefix)  # those whom the dead borrowed from wait no more
            if self._look.acting():
                return False
            reasons.update(self._reasons())
            return None not in reasons.values()

        if not self._until(rests, "everything has ended or waits for a person", every_s=2.0):
            reasons = self._reasons()
        for (task, node), reason in reasons.items():
            self.tell("waited", task=task, node=node, reason=reason)
            if reason is None:
                self.tell("waits", task=task, node=node, reason=None)

    def _reasons(self) -> dict[tuple[str, str], str | None]:
        """By task and node: why a person is needed; None where explain names no reason that a person could mend."""
        found: dict[tuple[str, str], str | None] = {}
        unended = self._look.unended()
        for task in sorted({task for task, _ in unended}):
            answer = self.town.type("explain", task, "--json")
            by_node = {one["node"]: one["reason"] for one in answer.json["nodes"]} if answer.code == 0 else {}
            found |= {(task, node): by_node.get(node) for other, node in unended if other == task}
        stopped = any(reason in _A_PERSONS for reason in found.values())
        return {
            key: reason if reason in _A_PERSONS or (reason in _BEHIND and stopped) else None
            for key, reason in found.items()
        }

    def _end(self) -> None:
        """A person helps until every assignment has an end, and every dead letter is on its way."""

        def ended() -> bool:
            self._people.tidy()
            self.town.cloud.end_loans(self.town.installation.prefix)
            return not self._look.unended() and not self._look.keepers() and not self._look.owed()

        if self._until(ended, "every assignment has an end, with a person's help", every_s=1.0):
            return
        for task, node in self._look.unended():
            self.tell("waits", task=task, node=node, reason=None)

    def _empty(self) -> None:
        """Until no message is left in any queue."""

        def empty() -> bool:
            self.town.cloud.end_loans(self.town.installation.prefix)
            return not any(self._depths().values())

        if not self._until(empty, "every queue is empty", every_s=2.0):
            for queue, depth in self._depths().items():
                if depth:
                    self.tell("left", text=f"{depth} messages in {queue}")
        for scope in self._look.names("/scopes"):
            for slot in self._look.names(f"/scopes/{scope}"):
                self.tell("left", text=f"the slot {slot} in {scope}")

    def _put_away(self) -> None:
        """Until nothing is left in ZooKeeper but tombstones, and what stands for people to read."""

        def away() -> bool:
            self._look.settle_letters()
            return not self._look.not_put_away()

        if not self._until(away, "every task is put away", every_s=1.0):
            for text in self._look.not_put_away():
                self.tell("left", text=text)

    def _depths(self) -> dict[str, int]:
        """Of the queues that somebody reads: a node that is gone reads no more."""
        prefix = self.town.installation.prefix
        living = {f"{prefix}-node-{seat.instance}" for seat in self.town.seats} | {
            f"{prefix}-tasks",
            f"{prefix}-dead-letter",
        }
        return {queue: depth for queue, depth in self.town.cloud.depths(prefix).items() if queue in living}

    def _bugs(self) -> None:
        """What daemons said of themselves."""
        for log in sorted(self.folder.glob("*.log")):
            for line in log.read_text(errors="replace").splitlines():
                # A runner's traceback stands inside the line of its attempt; one of the daemon's own begins a line.
                if line.startswith("Traceback (most recent call last)") or '"E-BUG"' in line:
                    self.tell("accident", text=f"{log.name}: {line[:300]}")
                    break

    def _until(self, condition: Callable[[], bool], what: str, *, every_s: float = 0.2) -> bool:
        deadline = time.monotonic() + _REST_S
        while time.monotonic() < deadline:
            try:
                if condition():
                    return True
            except Exception as error:  # what is asked may be away for a moment; for ever, it is told below
                self.tell("asked_again", condition=what, why=f"{type(error).__name__}: {error}")
            time.sleep(every_s)
        self.tell("accident", text=f"not within {_REST_S:g} s after everything was mended: {what}")
        return False
