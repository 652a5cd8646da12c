"""HOLD: a person's stop sign, and the installation that begins with one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from taskerman.coordination import layout
from taskerman.coordination.verbs import Verbs
from taskerman.errors import NotFound, RefusedByState
from taskerman.model.hold import MAX_HOLDS, Control, Hold
from taskerman.ports.tree import Create, Op, Set

__all__ = ["HoldVerbs"]


class HoldVerbs(Verbs):
    """Verbs on everything, on a cluster, on an owner."""

    def install(self, why: str) -> Control:
        """Create the installation, with a hold on everything: nothing runs before a person lifts it. Idempotent."""
        self._tree.ensure(
            layout.CLUSTERS,
            layout.SCOPES,
            layout.NODES,
            layout.TASKS,
            layout.REFUSED,
            layout.AUDIT,
            layout.WAITS,
            layout.STRANGERS,
            layout.DOCTOR,
            layout.COMMANDS,
            layout.COMMAND_WAITS,
            layout.GROUPS,
            layout.BRACKETS,
        )
        hold = Hold(id="new-installation", on="*", why=why, by=self._by, at=self._clock())
        fresh = Control(installation=str(uuid.uuid4()), holds=(hold,))
        self._tree.commit([Create(layout.CONTROL, fresh.to_json()), self._audit("init", "installation", why)])
        return layout.check_layout(self._tree.get(layout.CONTROL))

    def hold(self, on: str, why: str, until: datetime | None = None) -> Hold:
        """Stop new attempts on `*`, `cluster:<c>` or `owner:<o>`. Those that run go on. Raises `RefusedByState`."""

        def put(control: Control) -> tuple[Control, Hold]:
            same = next((h for h in control.holds if h.on == on), None)
            if same is not None:
                raise RefusedByState(
                    f"Hold {same.id} stands on {'everything' if on == '*' else on} already, by {same.by}: {same.why}.",
                    next_step=f"Remove it first: `taskerman unhold {same.id}`.",
                )
            if len(control.holds) >= MAX_HOLDS:
                raise RefusedByState(f"There are {MAX_HOLDS} holds already.", next_step="Remove some: `unhold`.")
            hold = Hold(id=f"h{uuid.uuid4().hex[:6]}", on=on, why=why, by=self._by, at=self._clock(), until=until)
            return control.model_copy(update={"holds": (*control.holds, hold)}), hold

        return self._change_control(put, "hold", on, why)

    def unhold(self, hold_id: str, why: str) -> Hold:
        """Remove a hold, by its id or by what it stands on; what waits goes on by itself. Raises `NotFound`."""

        def remove(control: Control) -> tuple[Control, Hold]:
            found = next((h for h in control.holds if hold_id in (h.id, h.on)), None)
            if found is None and hold_id == layout.RESTORED:
                raise RefusedByState(
                    "This stop is not a hold: a node knows a later state than ZooKeeper has.",
                    next_step="When you have looked why: `taskerman init --accept-installation`.",
                )
            if found is None:
                wanted = "on everything" if hold_id == "*" else hold_id
                raise NotFound(f"There is no hold {wanted}.", next_step="`taskerman status` lists the holds.")
            return control.model_copy(update={"holds": tuple(h for h in control.holds if h is not found)}), found

        return self._change_control(remove, "unhold", hold_id, why)

    def lift_expired(self) -> Sequence[Hold]:
        """Remove every hold whose time is over, each in a commit and with an audit entry of its own. Idempotent.

        A hold is a fact, not a time: until it is removed it stands, whatever the clocks of the nodes say.
        """
        now = self._clock()
        over = [h for h in layout.check_layout(self._tree.get(layout.CONTROL)).holds if h.until and h.until <= now]
        lifted = []
        for hold in over:
            with suppress(NotFound):  # a person was first
                lifted.append(self._lift(hold))
        return lifted

    def _lift(self, hold: Hold) -> Hold:
        def remove(control: Control) -> tuple[Control, Hold]:
            if hold not in control.holds:
                raise NotFound(f"Hold {hold.id} does not stand any more.")
            return control.model_copy(update={"holds": tuple(h for h in control.holds if h != hold)}), hold

        return self._change_control(
            remove, "unhold", hold.on, f"hold {hold.id} of {hold.by} ended at {hold.until:%Y-%m-%dT%H:%M:%SZ}"
        )

    def _change_control(
        self, change: Callable[[Control], tuple[Control, Hold]], verb: str, target: str, why: str
    ) -> Hold:
        def build() -> tuple[list[Op], Hold]:
            record = self._tree.get(layout.CONTROL)
            after, hold = change(layout.check_layout(record))
            assert record is not None
            return [Set(layout.CONTROL, after.to_json(), record.stat.version)], hold

        return self._commit(build, verb, target, why)
