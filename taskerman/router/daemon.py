"""The router: resolves the cluster, fixes the plan, rings the nodes. It keeps no state and any number may run.

A crash anywhere is repeated with the same plan: receive, validate, plan (create-if-absent), ring every node without an
end, delete. A document that can never be accepted is recorded, announced and deleted, in that order; one that cannot
be judged now is given back to the queue. It never drops anything and never stops for a document.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from taskerman.coordination.router_moves import Published, RouterMoves
from taskerman.errors import (
    Bug,
    DiscoveryFailed,
    DocumentError,
    DocumentFieldInvalid,
    InstallationRefused,
    NotFound,
    QueuesUnavailable,
    RefusedByState,
    SignatureRefused,
    StopNow,
    TaskEnded,
    TaskermanError,
    TaskExists,
    TransientError,
)
from taskerman.model.base import content_hash
from taskerman.model.cluster import Node
from taskerman.model.event import Event, Listener
from taskerman.model.ids import QueueNames
from taskerman.model.plan import Plan, Tombstone, filled_in
from taskerman.model.task import TaskDocument, parse_task_document
from taskerman.policy.guards import SizeGuard
from taskerman.policy.routing import deadline, make_plan
from taskerman.ports.catalog import Catalog
from taskerman.ports.clock import Clock
from taskerman.ports.discovery import Discovery
from taskerman.ports.queue import Delivery, Queues
from taskerman.ports.signatures import Signatures
from taskerman.pulse import Pulse
from taskerman.ringing import ring
from taskerman.router.refusing import Refusals, task_of
from taskerman.stopping import StopSign

__all__ = ["Router", "RouterLimits"]

_PATIENT_RECEIVES = 5


@dataclass(frozen=True, slots=True)
class RouterLimits:
    """`discovery_patience`: how long after it was sent a document waits for a discovery that fails; and it is asked at
    least five times, however long the document lay there. `again`: how soon a document that could not be judged is
    looked at again, at first. `sweep`: how often ended tasks are closed. `refused`: how often
    it looks whether a person has accepted ZooKeeper's installation."""

    loan: timedelta = timedelta(minutes=15)
    poll: timedelta = timedelta(seconds=20)
    again: timedelta = timedelta(seconds=30)
    discovery_patience: timedelta = timedelta(hours=1)
    sweep: timedelta = timedelta(seconds=60)
    refused: timedelta = timedelta(seconds=10)


class Router:
    """One router. `run` returns when it was asked to stop; raises `StopNow` when it must not go on."""

    def __init__(
        self,
        moves: RouterMoves,
        *,
        queues: Queues,
        names: QueueNames,
        discoveries: Mapping[str, Discovery],
        catalog: Catalog,
        clock: Clock,
        emit: Listener,
        limits: RouterLimits | None = None,
        signatures: Signatures | None = None,
        guard: SizeGuard | None = None,
        throw: Callable[[], float] = random.random,
        pulse: Pulse | None = None,
    ) -> None:
        """`discoveries`: by the name that a document's `discovery` gives; a new kind is added there. `guard`: how far
        a cluster may have moved from its last known size before a person must look. `pulse`: beaten by the loop."""
        self._moves = moves
        self._signatures = signatures
        self._queues = queues
        self._names = names
        self._discoveries = discoveries
        self._catalog = catalog
        self._clock = clock
        self._emit = emit
        self._limits = limits or RouterLimits()
        self._guard = guard
        self._throw = throw
        self._pulse = pulse or Pulse()
        self._refusals = Refusals(moves, queues, names, clock, emit)
        self._stop = StopSign()
        self._swept_at: float | None = None

    def stop(self) -> None:
        """Ask it to finish the document in hand and return. From any thread, and from a signal handler."""
        self._stop.ask()

    def run(self) -> None:
        """Route until `stop`."""
        self._emit(Event("router_started", {"queue": self._names.tasks}))
        refused = ""
        while not self._stop.asked:
            self._pulse.beat()
            try:
                self._moves.open()  # an outage at the start is an outage: it delays, and no more
                self.turn()
                self._pulse.rest(0)
                refused = ""
            except InstallationRefused as error:  # a person must look; until then nothing is planned
                if refused != str(error):
                    refused = str(error)
                    self._emit(Event("installation_refused", {"why": refused}, "error"))
                again = self._limits.refused.total_seconds() * (0.75 + 0.5 * self._throw())
                self._pulse.rest(again, well=False)
                self._stop.wait(again)
            except StopNow:
                raise
            except TaskermanError as error:  # whatever it is, other documents and other records are not to blame
                self._emit(Event("router_waits", {"why": str(error), "code": error.code}, "warning"))
                wait = 0.5 + self._throw()
                self._pulse.rest(wait, well=False)
                self._stop.wait(wait)
        self._emit(Event("router_stopped", {}))

    def turn(self) -> int:
        """One poll of the global queue, and what came of it; the number of documents received.

        Raises `InstallationRefused` when nothing may be planned now.
        """
        self._moves.check_installation(self._clock.now())
        self._sweep()
        self._pulse.pause(self._limits.poll.total_seconds())
        try:
            arrived = self._queues.receive(self._names.tasks, wait=self._limits.poll, loan=self._limits.loan)
        except NotFound:
            self._queues.ensure(self._names.tasks)
            self._queues.ensure(self._names.dead_letter)
            return 0
        for delivery in arrived:
            self._pulse.beat()
            age = (self._clock.now() - delivery.sent_at).total_seconds()
            self._emit(Event("document_received", {"queue": delivery.queue, "age_s": max(age, 0.0)}, "debug"))
            if self._stop.asked:
                self._give_back(delivery, timedelta())
            else:
                self.route(delivery)
        return len(arrived)

    def route(self, delivery: Delivery) -> None:
        """Do what one document asks for. Raises only `StopNow`; whatever else happens, the message is not lost."""
        try:
            if not self._refusals.settled(delivery):
                self._route(delivery)
        except InstallationRefused as error:
            self._not_now(delivery, error)
            raise
        except StopNow:
            raise
        except DiscoveryFailed as error:
            late = self._clock.now() >= delivery.sent_at + self._limits.discovery_patience
            if late and delivery.receive_count >= _PATIENT_RECEIVES:
                self._refuse(delivery, error)
            else:
                self._not_now(delivery, error)
        except (DocumentError, RefusedByState) as error:
            self._refuse(delivery, error)
        except TaskermanError as error:
            # An outage, a missing right of this router, or a bug of ours: the document is not to blame.
            self._not_now(delivery, error)
        except Exception as error:  # what nobody foresaw stops one document, not the daemon, and is told
            self._not_now(delivery, Bug(f"{type(error).__name__}: {error}"))

    def _route(self, delivery: Delivery) -> None:
        document, received = parse_task_document(delivery.body)
        digest = content_hash(received)
        plan = self._moves.plan(document.task_id)
        if plan is None:
            self._check_signature(document, received)
            plan = self._plan(document, received, digest, delivery.sent_at)
        elif plan.hash != digest:
            raise TaskExists(
                f"Task {document.task_id} exists with other content ({plan.hash[:19]} there, {digest[:19]} here).",
                next_step="Give the new task an id of its own.",
            )
        if isinstance(plan, Tombstone):
            # A late copy of a task that ended and was put away: it must not run again.
            fields = {"task": document.task_id, "cluster": document.cluster_name}
            self._emit(Event("document_of_ended_task", fields))
            delivery.ack()
            return
        if (why := self._moves.parked(document.task_id)) is not None:
            # Nobody is rung, perhaps they are not the cluster's at all: who approves it rings them.
            fields = {"task": document.task_id, "cluster": document.cluster_name, "why": why}
            self._emit(Event("task_parked", fields, "warning"))
            delivery.ack()
            return
        unreached = ring(self._queues, self._names, plan, self._moves.unended(plan), beat=self._pulse.beat)
        if unreached:
            raise QueuesUnavailable(f"{len(unreached)} of {len(plan.nodes)} nodes could not be rung: {unreached[:5]}.")
        self._emit(Event("task_routed", {"task": document.task_id, "cluster": document.cluster_name}))
        delivery.ack()

    def _check_signature(self, document: TaskDocument, received: Mapping[str, object]) -> None:
        """Before anything is asked or written for it. What was planned was checked then."""
        if self._signatures is not None:
            self._signatures.check(document, received)
        elif document.signature is not None:
            raise SignatureRefused(
                f"Task {document.task_id} is signed, and this router knows no keys.",
                next_step="Name them in TASKERMAN_SIGNATURE_KEYS: what is not honoured is refused.",
            )

    def _plan(
        self, document: TaskDocument, received: Mapping[str, object], digest: str, sent_at: datetime
    ) -> Plan | Tombstone:
        now = self._clock.now()
        if now >= deadline(document, sent_at):
            raise TaskEnded(
                f"not_after ({deadline(document, sent_at):%Y-%m-%dT%H:%M:%SZ}) passed before {document.task_id} was "
                "planned.",
                next_step="Submit it again if it is still wanted.",
            )
        self._catalog.check_args(document.action, document.taskerman_params.action_args)
        traits = self._catalog.traits(document.action)
        if filled := traits.fill(document):
            document = filled_in(received, filled)
        if (own := traits.own_scope(document)) is not None:
            self._moves.declare_own_scope(own)
        self._moves.check_scope(document)
        discovery, discovered = self._discover(document)
        strangers = set(document.nodes) - {node.id for node in discovered}
        plan = make_plan(
            document,
            received,
            digest,
            discovered,
            registered=self._moves.registered(strangers) if strangers else (),
            elsewhere=discovery.known(strangers) if strangers else (),
            sent_at=sent_at,
            now=now,
            filled=filled,
            replaces=traits.replaces,
        )
        if self._moves.publish(plan, self._guard) is not Published.THERE:
            self._emit(
                Event(
                    "task_planned",
                    {
                        "task": document.task_id,
                        "cluster": document.cluster_name,
                        "action": document.action,
                        "nodes": len(plan.nodes),
                        "cap": plan.cap,
                    },
                )
            )
            return plan
        there = self._moves.plan(document.task_id)  # another router was first: its plan is the one
        assert there is not None
        return there

    def _discover(self, document: TaskDocument) -> tuple[Discovery, Sequence[Node]]:
        """Who was asked, and the running nodes of the document's cluster."""
        discovery = self._discoveries.get(document.discovery)
        if discovery is None:
            raise DocumentFieldInvalid(
                f"discovery: {document.discovery!r} is not known to this router.",
                next_step=f"Known: {', '.join(sorted(self._discoveries))}.",
            )
        asked = self._clock.monotonic()
        discovered = discovery.nodes(document.cluster_name)
        self._pulse.beat()
        fields = {
            "task": document.task_id,
            "cluster": document.cluster_name,
            "discovery": document.discovery,
            "nodes": len(discovered),
            "s": round(self._clock.monotonic() - asked, 6),
        }
        self._emit(Event("cluster_discovered", fields))
        return discovery, discovered

    def _not_now(self, delivery: Delivery, error: TaskermanError) -> None:
        tries = max(min(delivery.receive_count, 6), 1)
        doublings: int = 2 ** (tries - 1)
        wait = min(self._limits.again * doublings * (0.5 + self._throw() / 2), timedelta(minutes=10))
        level = "warning" if isinstance(error, TransientError) else "error"
        fields = {**task_of(delivery.body), "why": str(error), "code": error.code, "s": wait.seconds}
        self._emit(Event("document_waits", fields, level))
        self._give_back(delivery, wait)

    def _give_back(self, delivery: Delivery, wait: timedelta) -> None:
        try:
            delivery.requeue(wait)
        except TaskermanError as failed:
            self._emit(Event("requeue_failed", {"why": str(failed)}, "warning"))  # its loan runs out by itself

    def _refuse(self, delivery: Delivery, error: TaskermanError) -> None:
        try:
            self._refusals.refuse(delivery, error)
        except StopNow:
            raise
        except TaskermanError as failed:
            self._not_now(delivery, failed)

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        if self._swept_at is None or now - self._swept_at >= self._limits.sweep.total_seconds():
            self._swept_at = now
            try:
                closed = self._moves.close_ended()
            except Bug as error:  # a record that cannot be read; the next sweep tells of it again
                self._emit(Event("sweep_failed", {"why": str(error)}, "error"))
                return
            for task in closed:
                self._emit(Event("task_closed", {"task": task}))
