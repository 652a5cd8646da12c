"""A child that is started before its attempt is taken: whoever is near the head of the line imports while it waits.

So a freed slot costs no imports. Until it is asked for its pre_check such a child only waits on its pipe; it ends when
the agent does, and it is never asked anything for an attempt with another id than the one it was started for.
"""

from __future__ import annotations

import threading

from taskerman.agent import process
from taskerman.agent.assigned import child_spec, directory_of
from taskerman.agent.child_talk import ChildGone, ChildSpec, Exit, Failed, OnReport, Report
from taskerman.agent.kit import Kit
from taskerman.errors import TaskermanError
from taskerman.model.ids import AttemptId, TaskId
from taskerman.model.plan import Plan

__all__ = ["Early", "EarlyChild"]

_ENDS_IN_S = 5.0
_SOON_S = 0.2


class EarlyChild:
    """One of them, and what it has reported so far."""

    def __init__(self, spec: ChildSpec, kit: Kit) -> None:
        """Start it. Raises `OSError`."""
        self.attempt = spec.attempt
        self._isolation = kit.isolation
        self._lock = threading.Lock()
        self._kept: list[Report] = []
        self._sink: OnReport | None = None
        self.process = process.start(spec, directory_of(kit, spec.attempt), self._hear)

    @property
    def usable(self) -> bool:
        """Whether it still waits, as far as was heard: a runner that failed to import is imported anew."""
        with self._lock:
            return not any(isinstance(report, ChildGone | Failed) for report in self._kept)

    def hand_over(self, sink: OnReport) -> None:
        """From now on its reports go to `sink`, those from before first."""
        with self._lock:
            for report in self._kept:
                sink(report)
            self._kept.clear()
            self._sink = sink

    def dismiss(self) -> None:
        """End it: it was not needed."""
        self.process.ask(Exit())
        self.process.close()
        if not self.process.wait(_ENDS_IN_S):
            self.process.kill_all()
        self._isolation.release(self.attempt)

    def _hear(self, report: Report) -> None:
        with self._lock:
            if self._sink is None:
                self._kept.append(report)
            else:
                self._sink(report)


class Early:
    """At most one at a time. Used on the agent's one thread; nothing here can fail an attempt."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._child: EarlyChild | None = None
        self._task: TaskId = ""
        self._wanted: tuple[Plan, AttemptId] | None = None
        self.wake_at: float | None = None
        """When `look_at_clock` has something to do, in monotonic seconds."""

    def want(self, plan: Plan, attempt: AttemptId) -> None:
        """Have a child ready for `attempt` of the task of `plan` soon, unless another task's already waits. Idempotent.

        Not at once: what brought this node near the head has just set others to work, and they go first.
        """
        if self._child is not None:
            if self._task != plan.task.task_id or (self._child.attempt == attempt and self._child.usable):
                return
            self.dismiss()
        if self._wanted is None:
            self.wake_at = self._kit.clock.monotonic() + _SOON_S * (0.5 + self._kit.throw())
        self._wanted = plan, attempt

    def look_at_clock(self) -> None:
        """Start the child that is wanted, when its time has come."""
        if self._wanted is not None and self.wake_at is not None and self._kit.clock.monotonic() >= self.wake_at:
            wanted, self._wanted, self.wake_at = self._wanted, None, None
            self._start(*wanted)

    def _start(self, plan: Plan, attempt: AttemptId) -> None:
        kit, task = self._kit, plan.task
        try:
            target = kit.catalog.target(task.action)
            spec = child_spec(kit, plan, attempt, target, fence=0)
            self._child, self._task = EarlyChild(spec, kit), task.task_id
        except (TaskermanError, OSError) as error:  # the attempt itself will meet it, and say so in its outcome
            kit.say("child_not_prepared", "warning", task=task.task_id, why=str(error))

    def take(self, attempt: AttemptId) -> EarlyChild | None:
        """The child that waits for `attempt`, if one does; any other is ended. It is the caller's from now on."""
        child = self._child
        if child is None or child.attempt != attempt or not child.usable:
            self.dismiss()
            return None
        self._child = None
        self.dismiss()
        return child

    def dismiss(self, task: TaskId | None = None) -> None:
        """End what waits for `task`; None: whatever waits. Idempotent."""
        if self._wanted is not None and task in (None, self._wanted[0].task.task_id):
            self._wanted = self.wake_at = None
        if self._child is not None and task in (None, self._task):
            child, self._child = self._child, None
            child.dismiss()
