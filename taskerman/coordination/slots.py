"""RELEASE: giving back what a node holds, by its own agent or by a person's word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskerman.coordination import layout
from taskerman.coordination.breakers import without_probe
from taskerman.coordination.commands import KnownCommand, command_slot, end_ops
from taskerman.coordination.snapshot import as_names
from taskerman.coordination.verbs import Verbs
from taskerman.errors import NodeActing, RefusedByState
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.command import CommandEnd, CommandHow, CommandRecord
from taskerman.model.ids import AttemptId, NodeId, TaskId
from taskerman.model.outcome import DeadLetterState, End, Outcome
from taskerman.model.task import FailureMark, TaskState
from taskerman.ports.tree import Children, Create, Delete, Op, Set

__all__ = ["Released", "SlotVerbs"]


@dataclass(frozen=True, slots=True)
class Released:
    """What a release did. `asked`: the attempt that its agent was asked to end. `freed`: slots that are gone now."""

    node: NodeId
    asked: AttemptId | None
    freed: tuple[str, ...]
    ended: TaskId | None = None


class SlotVerbs(Verbs):
    """Verbs on what a node holds."""

    def release(self, node: NodeId, why: str) -> Released:
        """Give back what the node holds: ask an acting agent to end its attempt, or free the kept slots of an idle one.

        A slot of an acting node is never taken away from it: its agent aborts, post_check decides. Raises
        `NotFound`, `RefusedByState` (nothing to release).
        """

        def build() -> tuple[list[Op], Released]:
            if self._command(node) is not None:
                raise RefusedByState(
                    f"{node} is a command, not a node: its slot goes when it has ended.",
                    next_step="Stop it on its host. If that is off: `taskerman slots release "
                    f'{node} --node-is-off --why "..."`.',
                )
            record, version = self._node(node)
            if record.attempt is not None:
                after = record.model_copy(update={"revoke": record.attempt.id})
                asked = Released(node, asked=record.attempt.id, freed=())
                return [Set(layout.node(node), after.to_json(), version)], asked
            slots = self._slots_of(node)
            if not slots:
                raise RefusedByState(f"{node} holds no slot.", next_step="`taskerman slots` lists who does.")
            idle = record.model_copy(update={"kept": ()})
            return [Set(layout.node(node), idle.to_json(), version), *self._delete_slots(slots, record)], Released(
                node, asked=None, freed=tuple(slots)
            )

        return self._commit(build, "release", node, why)

    def node_is_off(self, node: NodeId, why: str) -> Released:
        """A person's word that the machine is off: its slots are freed at once, its attempt ends lost.

        An agent that lives after all is fenced by the next epoch. `node` may be the holder of a command: its slot is
        freed, and a command that runs after all is stopped by nobody. Raises `NotFound`, `RefusedByState`.
        """

        def build() -> tuple[list[Op], Released]:
            command = self._command(node)
            if command is not None:
                return self._release_command(command, why)
            record, version = self._node(node)
            slots = self._slots_of(node)
            attempt = record.attempt
            if attempt is None and not slots:
                raise RefusedByState(f"{node} holds no slot.", next_step="`taskerman slots` lists who does.")
            off = record.model_copy(update={"epoch": record.epoch + 1, "attempt": None, "revoke": None, "kept": ()})
            ops: list[Op] = [Set(layout.node(node), off.to_json(), version), *self._delete_slots(slots, record)]
            if attempt is not None:
                ops += self._lose(attempt, node, why)
            return ops, Released(node, None, tuple(slots), ended=attempt.task if attempt else None)

        return self._commit(build, "release --node-is-off", node, why)

    def _command(self, holder: NodeId) -> KnownCommand | None:
        found = self._tree.get(layout.command(holder))
        if found is None:
            return None
        return KnownCommand(layout.decode(CommandRecord, found, layout.command(holder)), found.stat.version)

    def _release_command(self, command: KnownCommand, why: str) -> tuple[list[Op], Released]:
        holder = command.record.holder
        if command.record.end is not None:
            raise RefusedByState(
                f"The command of {holder} has ended and holds no slot.", next_step="`taskerman slots` lists who does."
            )
        said = f"{self._by} said that its machine is off: {why}"
        end = CommandEnd(at=self._clock(), how=CommandHow.RELEASED, why=said)
        return end_ops(command, end), Released(holder, None, (command_slot(command.record),))

    def _lose(self, attempt: Attempt, node: NodeId, why: str) -> list[Op]:
        task = attempt.task
        control, version = self._control(task)
        failed = {**control.failed, node: FailureMark.FINAL}
        excused = tuple(n for n in control.excused if n != node)
        after = control.model_copy(update={"failed": failed, "excused": excused})
        budget = self.plan(task).task.taskerman_params.failure_args.max_failures
        if after.state is TaskState.OPEN and len(after.final()) > budget:
            after = after.model_copy(update={"state": TaskState.HALTED, "why": f"{node} was declared off: {why}"})
        end = End(
            outcome=Outcome.LOST,
            attempt=attempt.id,
            attempts=attempt.k,
            reason=f"{self._by} said that the node is off: {why}",
            at=self._clock(),
            dead_letter=DeadLetterState.OWED,
        )
        ops: list[Op] = [
            Create(layout.end(task, node), end.to_json()),
            Set(layout.control(task), after.to_json(), version),
            *without_probe(self._tree, attempt),
        ]
        progress = self._tree.get(layout.progress(task, node))
        if progress is not None:
            ops.append(Delete(layout.progress(task, node), progress.stat.version))
        return ops

    def _slots_of(self, node: NodeId) -> list[str]:
        scopes = as_names(self._tree.read(Children(layout.SCOPES))[0])
        names = scopes.names if scopes else ()
        answers = self._tree.read(*(Children(layout.scope(scope)) for scope in names))
        return [
            f"{layout.scope(scope)}/{name}"
            for scope, answer in zip(names, answers, strict=True)
            if (found := as_names(answer))
            for name in found.names
            if name.startswith(f"{node}~")
        ]

    def _delete_slots(self, paths: Sequence[str], record: NodeRecord) -> list[Op]:
        expected = len(record.attempt.scopes) if record.attempt else 0
        if len(paths) < expected:
            raise NodeActing("The node's slots changed while they were read.", next_step="Try again.")
        return [Delete(path) for path in paths]
