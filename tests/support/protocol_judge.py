"""The invariants of the protocol, asked of every commit at the instant at which it is applied.

It knows the tree before and after, and keeps its own memory of what happened: it trusts no field that it can count
itself. What it finds is a sentence; the first one fails the test.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache

from taskerman.coordination import layout
from taskerman.model.assignment import Progress, ProgressState
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.audit import AuditEntry
from taskerman.model.hold import Control
from taskerman.model.ids import attempt_id
from taskerman.model.outcome import End, Outcome
from taskerman.model.plan import OpenTask, Plan, ScopePlace
from taskerman.model.slot import ScopeRecord, Slot, SlotState
from taskerman.model.task import TaskControl, TaskState
from taskerman.policy.conclusion import Ending
from taskerman.ports.tree import Create, Op
from tests.support.protocol_gates import GateJudge

__all__ = ["Judge", "View", "Violation", "node_record"]


class Violation(AssertionError):
    """An invariant was broken."""


node_record = lru_cache(4096)(NodeRecord.model_validate_json)
end_record = lru_cache(4096)(End.model_validate_json)
progress_record = lru_cache(4096)(Progress.model_validate_json)
task_control = lru_cache(4096)(TaskControl.model_validate_json)
control_record = lru_cache(1024)(Control.model_validate_json)
plan_record = lru_cache(64)(Plan.unpack)
open_header = lru_cache(64)(OpenTask.model_validate_json)
scope_record = lru_cache(1024)(ScopeRecord.model_validate_json)
scope_place = lru_cache(1024)(ScopePlace.model_validate_json)
audit_entry = lru_cache(1024)(AuditEntry.model_validate_json)


@dataclass(frozen=True)
class View:
    """The tree at one instant: data and owner by path."""

    data: Mapping[str, bytes]
    owner: Mapping[str, int]

    def children(self, path: str) -> list[str]:
        """Names of the children, sorted."""
        return self._names.get(path, [])

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.data):
            parent, _, name = path.rpartition("/")
            names[parent].append(name)
        return names

    def node(self, name: str) -> NodeRecord:
        """The node's record; an empty one where there is none."""
        found = self.data.get(layout.node(name))
        return NodeRecord() if found is None else node_record(found)

    def end(self, task: str, node: str) -> End | None:
        """The recorded outcome."""
        found = self.data.get(layout.end(task, node))
        return None if found is None else end_record(found)

    def control(self, task: str) -> TaskControl:
        """The task's control record."""
        return task_control(self.data[layout.control(task)])

    def slots(self, scope: str) -> list[Slot]:
        """The slots of a scope."""
        return [Slot.parse(name) for name in self.children(layout.scope(scope))]

    def capacity(self, scope: str) -> int:
        """The declared capacity of a named scope."""
        return scope_record(self.data[layout.scope(scope)]).capacity or 0

    def places(self) -> list[str]:
        """The paths of all places in queues of named scopes."""
        return [
            f"{layout.waits(s)}/{name}" for s in self.children(layout.WAITS) for name in self.children(layout.waits(s))
        ]

    def place(self, path: str) -> ScopePlace:
        """One of them."""
        return scope_place(self.data[path])

    def plans(self) -> dict[str, Plan]:
        """Every plan by its task; what was put away has none."""
        found = {name: self.data[layout.task(name)] for name in self.children(layout.TASKS)}
        return {name: plan_record(data) for name, data in found.items() if not data.startswith(b"{")}

    def headers(self, cluster: str) -> Counter[str]:
        """How often each task stands among the open ones."""
        parent = layout.open_tasks(cluster)
        return Counter(open_header(self.data[f"{parent}/{name}"]).task for name in self.children(parent))


@dataclass
class Judge:
    """Judges commits. `now`: the time of day. `endings`: told by the world before it ends an attempt."""

    now: Callable[[], datetime]
    epoch_of: dict[int, tuple[str, int]] = field(default_factory=dict)
    endings: dict[str, list[Ending]] = field(default_factory=lambda: defaultdict(list))
    attempts: dict[str, Attempt] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    generation: Counter[tuple[str, str]] = field(default_factory=Counter)
    failing: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    holding: dict[tuple[str, str], Attempt] = field(default_factory=dict)
    promised: dict[tuple[str, str], tuple[int, frozenset[str]]] = field(default_factory=dict)
    """Of each node that holds a slot: how many may be away at once, and the exclusive tasks for whose sake it does, by
    every task that put it into maintenance since it was last well."""
    gates: GateJudge = field(init=False)
    takes: int = 0
    violations: list[str] = field(default_factory=list)
    on_person_freed: Callable[[str], None] = lambda node: None

    def __post_init__(self) -> None:
        self.gates = GateJudge(self.now)

    def see(self, before: View, after: View, ops: Sequence[Op], session: int) -> None:
        """A commit was applied."""
        try:
            self._see(before, after, ops, session)
        except Violation as violation:
            self.violations.append(str(violation))

    def raise_if_violated(self) -> None:
        """Fail with what was found first."""
        if self.violations:
            raise Violation(self.violations[0])

    def _see(self, before: View, after: View, ops: Sequence[Op], session: int) -> None:
        verb = self._verb(ops)
        touched = {op.path for op in ops} | (after.data.keys() ^ before.data.keys())
        self._persons(verb, before)
        for path in sorted(touched):
            area = path.split("/")[1:]
            if area[0] == "nodes" and len(area) == 2:
                self._node(area[1], before, after, session, verb)
            elif area[0] == "tasks" and len(area) == 4 and area[2] == "end":
                self._end(area[1], area[3], before, after, verb)
            elif area[0] == "tasks" and len(area) == 3 and area[2] == "ctl":
                self._ctl(area[1], before, after)
            elif area[0] == "tasks" and len(area) == 5 and area[2] == "line" and path in after.data:
                self._entry(area[1], path, before, after)
            elif area[0] == "waits" and len(area) == 3 and path in after.data:
                self._place(path, after)
            elif area[0] == "scopes" and len(area) == 3 and path in before.data and path not in after.data:
                self._slot_gone(area[1], Slot.parse(area[2]), before, after, verb)
        self._unless_none(self.gates.agree(after.data))
        self._whole(after)

    @staticmethod
    def _unless_none(wrong: str | None) -> None:
        if wrong is not None:
            raise Violation(wrong)

    @staticmethod
    def _verb(ops: Sequence[Op]) -> AuditEntry | None:
        entries = [audit_entry(op.data) for op in ops if isinstance(op, Create) and op.path == f"{layout.AUDIT}/"]
        return entries[0] if entries else None

    def _persons(self, verb: AuditEntry | None, before: View) -> None:
        if verb is None:
            return
        if verb.verb == "resume":
            self.failing[verb.target].clear()
        if verb.verb == "breaker reset":
            self.gates.reset(verb.target)
        if verb.verb == "approve":
            if before.control(verb.target).state is not TaskState.PARKED:
                raise Violation(f"S6 {verb.target} was approved, and was not parked")
            self.gates.approved(before.plans()[verb.target])
        if verb.verb == "redrive":
            task, node = verb.target.split("/")
            self.failing[task].add(node)

    # --- one record each -----------------------------------------------------------------------------------

    def _node(self, name: str, before: View, after: View, session: int, verb: AuditEntry | None) -> None:
        was, now = before.node(name), after.node(name)
        if now.epoch < was.epoch:
            raise Violation(f"epoch of {name} went back: a fenced agent wrote")
        if now.takes < was.takes:
            raise Violation(f"takes of {name} went back")
        if verb is None and session in self.epoch_of and self.epoch_of[session][0] == name:
            epoch = self.epoch_of[session][1]
            if epoch != was.epoch and now.attempt != was.attempt:
                raise Violation(f"an agent of {name} with epoch {epoch} wrote, and {was.epoch} is the node's")
        if was.attempt is not None and now.attempt is not None and now.attempt.id != was.attempt.id:
            raise Violation(f"{now.attempt.id} was taken over {was.attempt.id}")
        if was.attempt is None and now.attempt is not None:
            self._take(name, now.attempt, before, after, session)
        if was.attempt is not None and now.attempt is None:
            self._ended(name, was.attempt, before, after, verb)

    def _take(self, name: str, attempt: Attempt, before: View, after: View, session: int) -> None:
        self.takes += 1
        task = attempt.task
        plan = before.plans()[task]
        planned = plan.node(name)
        assert planned is not None
        if attempt.id in self.attempts:
            raise Violation(f"attempt id {attempt.id} repeats")
        self.attempts[attempt.id] = attempt
        if after.node(name).takes != before.node(name).takes + 1:
            raise Violation("a TAKE did not raise takes by one")
        control = before.control(task)
        holds = control_record(before.data[layout.CONTROL]).holds
        if any(hold.stops(one, plan.task.owner) for hold in holds for one in attempt.clusters):
            raise Violation("S2 TAKE under a hold")
        if control.state is not TaskState.OPEN:
            raise Violation(f"S2 TAKE in a task that is {control.state.value}")
        if control.wait_until is not None and self.now() < control.wait_until:
            raise Violation("S2 TAKE while the cluster waits")
        failing, most = self.failing[task], plan.task.taskerman_params.failure_args.max_failures
        if name not in failing and len(failing) > most and name not in control.failed:
            raise Violation(f"S2 TAKE over the budget: {sorted(failing)} of at most {most}")
        if before.end(task, name) is not None:
            raise Violation("S3 TAKE of an ended assignment")
        self._unless_none(self.gates.taken(attempt, plan))
        self._room(name, attempt, plan, before, after)
        progress = progress_record(after.data[layout.progress(task, name)])
        if progress.state is not ProgressState.ACTING or progress.attempt != attempt.id:
            raise Violation("a TAKE without a progress record that says so")
        for path, owner in after.owner.items():
            if owner == session:
                raise Violation(f"L ghost: {name} acts and its session still stands at {path}")
        for path in after.places():
            if after.place(path).of == (task, planned.lane):
                raise Violation(f"L ghost: {name} took for its lane, and its place {path} is still there")

    def _room(self, name: str, attempt: Attempt, plan: Plan, before: View, after: View) -> None:
        """Counted from what is remembered of each attempt, not from what the slots' names say."""
        planned = plan.node(name)
        if planned is None or not set(planned.scopes) <= set(attempt.scopes):
            raise Violation(f"S1 {attempt.id} has no slot in some of {planned}")
        exclusive = plan.task.taskerman_params.lease_args.exclusive
        for scope in attempt.clusters:
            others = [slot for slot in before.slots(scope) if slot.node != name]
            if any(slot.state.kept for slot in others):
                raise Violation("S2 TAKE beside a kept slot")
            theirs = [self.promised[slot.node, scope] for slot in others]
            if len(others) + 1 > min([plan.cap, *(cap for cap, _ in theirs)]):
                raise Violation(f"S1 TAKE over capacity in {scope}")
            strangers = exclusive and any(self.holder(slot.node, scope).task != attempt.task for slot in others)
            if strangers or any(alone - {attempt.task} for _, alone in theirs):
                raise Violation(f"S1 {attempt.id} acts in {scope} beside another task, and one of them is exclusive")
        for scope in [scope for scope in planned.scopes if scope not in attempt.clusters]:
            there = before.slots(scope)
            if not any(slot.node == name for slot in there) and len(there) >= before.capacity(scope):
                raise Violation(f"S1 TAKE over the capacity of {scope}")
        for scope in attempt.scopes:
            mine = [slot for slot in after.slots(scope) if slot.node == name]
            if mine != [attempt.slot(name, scope)]:
                raise Violation(f"after its TAKE {name} holds {mine} in {scope}")
            cap, alone = plan.cap, frozenset([attempt.task] if exclusive else [])
            if any(
                slot.node == name for slot in before.slots(scope)
            ):  # it was not well: what was promised for it binds
                earlier_cap, earlier_alone = self.promised[name, scope]
                cap, alone = min(cap, earlier_cap), alone | earlier_alone
            self.promised[name, scope] = cap, alone
            self.holding[name, scope] = attempt
        elsewhere = [scope for scope in after.children(layout.SCOPES) if scope not in attempt.scopes]
        if any(slot.node == name for scope in elsewhere for slot in after.slots(scope)):
            raise Violation(f"after its TAKE {name} still holds a slot elsewhere")

    def holder(self, node: str, scope: str) -> Attempt:
        """The attempt by which `node` got its slot there."""
        return self.holding[node, scope]

    def _ended(self, name: str, attempt: Attempt, before: View, after: View, verb: AuditEntry | None) -> None:
        task = attempt.task
        left = [[slot for slot in after.slots(scope) if slot.node == name] for scope in attempt.scopes]
        slots = left[0]
        if any([slot.state for slot in some] != [slot.state for slot in slots] for some in left):
            raise Violation(f"{attempt.id} left {left} in its scopes")
        end = after.end(task, name)
        if (end is None) == (layout.progress(task, name) not in after.data):
            raise Violation(f"{attempt.id} left neither an end nor a progress record, or both")
        if verb is not None:
            if slots or verb.verb != "release --node-is-off" or end is None or end.outcome is not Outcome.LOST:
                raise Violation(f"{verb.verb} ended {attempt.id} and left {slots}")
            self.failing[task].add(name)
            self.gates.ended(attempt, name, None)
            return
        given = self.endings.get(attempt.id)
        if not given:
            raise Violation(f"{attempt.id} ended, and nobody ended it")
        ending = given[-1]
        expected = _kept(ending, attempt)
        if [slot.state for slot in slots] != ([] if expected is None else [expected]):
            raise Violation(f"{ending.outcome.value} of {attempt.id} left {slots}, not {expected}")
        if end is not None and end.outcome is not ending.outcome:
            raise Violation(f"{attempt.id} ended {ending.outcome.value}, recorded as {end.outcome.value}")
        self.gates.ended(attempt, name, ending.outcome)
        if ending.outcome.uses_budget:
            self.failing[task].add(name)
        if ending.outcome.well and expected is None:
            self.failing[task].discard(name)

    def _end(self, task: str, name: str, before: View, after: View, verb: AuditEntry | None) -> None:
        was, now = before.end(task, name), after.end(task, name)
        if was is None and now is not None:
            attempt = after.node(name).attempt
            if attempt is not None and attempt.task == task:
                raise Violation(f"S3 an end of {task}/{name} beside the running {attempt.id}")
            key = now.attempt
            if key in self.keys and now.outcome is not Outcome.CANCELLED:
                raise Violation(f"S5 two dead letters under one key {key}")
            self.keys.add(key)
            if key != attempt_id(task, name, int(key.rpartition(".")[2])):
                raise Violation(f"S5 the key {key} is not of {task}/{name}")
        elif was is not None and now is None:
            if verb is None or verb.verb != "redrive":
                raise Violation(f"S3 the end of {task}/{name} vanished")
            self.generation[task, name] += 1
        elif was is not None and now is not None and was.model_copy(update={"dead_letter": now.dead_letter}) != now:
            raise Violation(f"S3 the end of {task}/{name} was rewritten")

    def _ctl(self, task: str, before: View, after: View) -> None:
        if layout.control(task) not in before.data:
            self._unless_none(self.gates.planned(after.plans()[task], after.control(task).state))
            return
        was, now = before.control(task), after.control(task)
        if was.state is TaskState.CANCELLED and now.state is not TaskState.CANCELLED:
            raise Violation(f"a cancelled task came back as {now.state.value}")

    @staticmethod
    def _entry(task: str, path: str, before: View, after: View) -> None:
        if path in before.data and before.owner[path] == after.owner[path]:
            return
        name = after.data[path].decode().partition("~")[0]
        if after.node(name).attempt is not None:
            raise Violation(f"L ghost: {name} joined a line while it acts")
        if after.end(task, name) is not None:
            raise Violation(f"L ghost: {name} joined the line of {task}, which it has ended")

    @staticmethod
    def _place(path: str, after: View) -> None:
        place = after.place(path)
        if after.node(place.node).attempt is not None:
            raise Violation(f"L ghost: {place.node} queued at {path} while it acts")
        if after.control(place.header.task).state is not TaskState.OPEN:
            raise Violation(f"L ghost: {place.node} queued at {path} for a task that is over")

    def _slot_gone(self, scope: str, slot: Slot, before: View, after: View, verb: AuditEntry | None) -> None:
        was, now = before.node(slot.node).attempt, after.node(slot.node).attempt
        if verb is not None:
            if not verb.verb.startswith("release"):
                raise Violation(f"{verb.verb} freed {slot.name}")
            self.on_person_freed(slot.node)
            return
        if slot.state is SlotState.ACTING and not (was is not None and now is None):
            raise Violation(f"{slot.name} in {scope} was freed without an end")
        if slot.state.kept and not (was is None and now is not None):
            raise Violation(f"{slot.name} in {scope} was freed by nobody")

    # --- the whole tree ------------------------------------------------------------------------------------

    @staticmethod
    def _whole(after: View) -> None:
        acting: Counter[str] = Counter()
        for name in after.children(layout.NODES):
            if after.node(name).attempt is not None:
                acting[name] += 1
        for scope in after.children(layout.SCOPES):
            seen: Counter[str] = Counter(slot.node for slot in after.slots(scope))
            if any(count > 1 for count in seen.values()):
                raise Violation(f"a node holds two slots in {scope}")
            for slot in after.slots(scope):
                if slot.state is SlotState.ACTING and not acting[slot.node]:
                    raise Violation(f"L leaked slot {slot.name}")
        for task, plan in after.plans().items():
            ended = set(after.children(layout.ends(task)))
            for name in after.children(layout.progresses(task)):
                if name in ended:
                    raise Violation(f"{task}/{name} has an end and a progress record")
            if after.control(task).state is TaskState.CLOSING:
                continue
            counts = {after.headers(cluster)[task] for cluster in plan.clusters}
            if len(counts) > 1 or max(counts) > 1 or (0 in counts and len(ended) < len(plan.nodes)):
                raise Violation(f"{task} stands {counts} times among the open ones; {len(ended)} of its nodes ended")


def _kept(ending: Ending, attempt: Attempt) -> SlotState | None:
    """The truth table of slots, written a second time."""
    if ending.outcome is Outcome.UNSAFE:
        return SlotState.UNSAFE
    if ending.post_check_passed:
        return None
    return SlotState.LOST if ending.outcome is Outcome.LOST else attempt.inherited
