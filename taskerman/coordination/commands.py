"""Commands under a slot: looking whether one may go, taking its slot, recording its end.

The version of the scope's record is the lock, as for tasks: a take carries the version at which it has read who is
there, so of two that have read the same one takes. A take without an answer is settled by writing that record
unchanged at the version that the take carried: afterwards it has happened, which the command's record tells, or never
will. A scope that nobody declared gets the same record without a capacity; like every scope it is never deleted,
because its versions must not begin anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from taskerman.coordination import layout
from taskerman.coordination.answers import as_names, as_record
from taskerman.coordination.known import Known
from taskerman.coordination.reading import get_each
from taskerman.coordination.scopes import NOT_THERE, ScopeRead, read_scopes
from taskerman.errors import GroupUnknown, NotPermitted
from taskerman.model.command import CommandEnd, CommandNote, CommandRecord, Group, GroupName
from taskerman.model.ids import NodeId, ScopeName, TaskId
from taskerman.model.slot import Slot, SlotNote, SlotState
from taskerman.policy.sharing import most_beside, room_for
from taskerman.ports.tree import Check, Children, Committed, Create, Delete, Get, Op, Refusal, Refused, Set, Tree, Wake

__all__ = [
    "CommandMoves",
    "Ending",
    "KnownCommand",
    "Ready",
    "Shut",
    "ShutBy",
    "Wish",
    "command_slot",
    "end_ops",
    "take_ops",
]

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """What a command wants: a place in `scope` in which at most `promise` are at once, on `host`, as `holder`."""

    holder: NodeId
    host: NodeId
    scope: ScopeName
    promise: int
    group: GroupName | None = None


class ShutBy(Enum):
    """What a command waits for."""

    STOPPED = "stopped"  # a hold on everything, or an installation that was emptied or restored
    TURN = "turn"  # other commands came before
    TASKS = "tasks"  # lanes of tasks go first, as long as patience lasts
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Shut:
    """Not now. `text`: one sentence. `ahead`: the lanes that are let go first; `moves`: changes when anything does."""

    by: ShutBy
    text: str
    ahead: tuple[tuple[TaskId, str], ...] = ()
    moves: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """It may go, by what was read at these versions."""

    wish: Wish
    scope_version: int
    scope_data: bytes
    control_version: int
    strangers_version: int | None
    group_version: int | None


@dataclass(frozen=True, slots=True)
class KnownCommand:
    """A record and its version."""

    record: CommandRecord
    version: int


class Ending(Enum):
    """What became of recording an end. `ALREADY`: somebody had ended it. `GONE`: there is no such record any more."""

    DONE = "done"
    ALREADY = "already"
    GONE = "gone"


class CommandMoves:
    """What a host does for its commands. Keeps nothing but what it has read of the tasks' queues."""

    def __init__(self, tree: Tree) -> None:
        """`tree`: open."""
        self._tree = tree
        self._known = Known()

    def prepare(self) -> None:
        """What must be there before anybody looks, and later reads see all that was acknowledged. Repeatable.

        Raises `CoordinationUnavailable`, `NotPermitted`, `InstallationRefused` (there is no installation).
        """
        layout.check_layout(self._tree.get(layout.CONTROL))
        self._tree.ensure(layout.SCOPES, layout.COMMANDS, layout.COMMAND_WAITS)
        self._tree.sync(layout.CONTROL)

    def look(
        self, wish: Wish, *, place: bool = False, courtesy: bool = True, wake: Wake | None = None
    ) -> Ready | Shut | None:
        """Whether `wish` may be taken. None: it moved while it was read, or its scope is there only now; look again.

        `place`: it stands in the queue of commands; without one it goes only where nobody stands. `courtesy`: lanes of
        tasks that wait go first. `wake`: called when the scope changes, if it is its turn. Raises `GroupUnknown`,
        `NotPermitted` (the host is not in the group), `InstallationRefused`, `CoordinationUnavailable`.
        """
        stopped = self._stopped(wish)
        if isinstance(stopped, Shut):
            return stopped
        control_version, strangers_version, group_version = stopped
        turn = self._turn(wish, place)
        if turn is not None:
            return turn
        read = read_scopes(self._tree, [wish.scope], self._known, wake)[wish.scope]
        if read.version == NOT_THERE:
            if not read.data:
                self._tree.commit([Create(layout.scope(wish.scope), layout.SCOPE_DATA)])
            return None
        if courtesy and read.seen.waiting:
            first = read.seen.waiting[0][0]
            text = f"Task {first} waits for scope {wish.scope} and goes first."
            return Shut(ShutBy.TASKS, text, ahead=read.seen.waiting, moves=read.children_version)
        if not room_for(read.seen, wish.promise):
            return Shut(ShutBy.FULL, self._full(read, wish.promise), moves=read.children_version)
        return Ready(wish, read.version, read.data, control_version, strangers_version, group_version)

    def take(self, ready: Ready, record: CommandRecord) -> bool:
        """Take the slot and record the command, in one commit. False: something moved; look again.

        Raises `AnswerUnknown`: it may have happened, or may still: `settle`.
        """
        return isinstance(self._tree.commit(take_ops(ready, record)), Committed)

    def settle(self, ready: Ready) -> bool:
        """After a take without an answer: whether it happened; if not, it never will.

        Raises `CoordinationUnavailable`, `AnswerUnknown`: nobody knows yet; ask again.
        """
        path = layout.scope(ready.wish.scope)
        if isinstance(self._tree.commit([Set(path, ready.scope_data, ready.scope_version)]), Committed):
            return False
        self._tree.sync(layout.COMMANDS)
        return self._tree.get(layout.command(ready.wish.holder)) is not None

    def queue_up(self, wish: Wish) -> None:
        """Stand in the queue of commands, once, for as long as this session lives. Repeatable."""
        parent = layout.command_waits(wish.scope)
        self._tree.ensure(parent)
        names = self._tree.children(parent)
        places = get_each(self._tree, [f"{parent}/{name}" for name in (names.names if names else ())])
        if not any(one.data.decode() == wish.holder and one.stat.owner == self._tree.session for one in places if one):
            self._tree.commit([Create(f"{parent}/", wish.holder.encode(), ephemeral=True, sequence=True)])

    def end(self, holder: NodeId, end: CommandEnd) -> Ending:
        """Record how it ended and free its slot, in one commit. Repeatable: what was recorded first stays.

        Raises `CoordinationUnavailable`, `AnswerUnknown`: repeat it.
        """
        while True:
            found = self._tree.get(layout.command(holder))
            if found is None:
                self._tree.sync(layout.COMMANDS)
                found = self._tree.get(layout.command(holder))
            if found is None:
                return Ending.GONE
            known = KnownCommand(layout.decode(CommandRecord, found, layout.command(holder)), found.stat.version)
            if known.record.end is not None:
                return Ending.DONE if known.record.end == end else Ending.ALREADY
            ops = end_ops(known, end)
            done = self._tree.commit(ops)
            if isinstance(done, Refused) and done.why is Refusal.NO_NODE and done.index > 0:
                done = self._tree.commit(ops[:1])  # somebody took the slot away by hand: the end is recorded anyhow
            if isinstance(done, Committed):
                return Ending.DONE

    def running(self, host: NodeId, scope: ScopeName | None = None) -> Sequence[KnownCommand]:
        """The commands of `host` without an end, in one scope or in all."""
        listing = self._tree.children(layout.COMMANDS) if scope is None else self._tree.children(layout.scope(scope))
        names: Iterable[str] = listing.names if listing else ()
        if scope is not None:
            names = [slot.node for slot in layout.slots(tuple(names)) if slot.of_command(scope)]
        holders = [name for name in names if name.rpartition("-x")[0] == host]
        records = get_each(self._tree, [layout.command(holder) for holder in holders])
        known = [
            KnownCommand(layout.decode(CommandRecord, record, layout.command(holder)), record.stat.version)
            for holder, record in zip(holders, records, strict=True)
            if record is not None
        ]
        return [one for one in known if one.record.end is None and one.record.host == host]

    # --- looking -----------------------------------------------------------------------------------------

    def _stopped(self, wish: Wish) -> Shut | tuple[int, int | None, int | None]:
        """What keeps everything from starting; else the versions of the records that say that nothing does."""
        reads = [Get(layout.CONTROL), Get(layout.STRANGERS)]
        if wish.group is not None:
            reads.append(Get(layout.group(wish.group)))
        control, strangers, *group = map(as_record, self._tree.read(*reads))
        hold = next((hold for hold in layout.check_layout(control).holds if hold.on == "*"), None)
        assert control is not None
        stop = hold or layout.strangers(strangers).stopped
        if stop is not None:
            return Shut(ShutBy.STOPPED, f"Hold {stop.id} stands on everything, by {stop.by}: {stop.why.rstrip('.')}.")
        if wish.group is None:
            version = None
        elif group[0] is None:
            raise GroupUnknown(
                f"There is no group {wish.group}.",
                next_step=f'Make it: `taskerman groups set {wish.group} {wish.host} --why "..."`.',
            )
        else:
            hosts = layout.decode(Group, group[0], layout.group(wish.group)).hosts
            if wish.host not in hosts:
                raise NotPermitted(
                    f"{wish.host} is not in group {wish.group}.",
                    next_step="`taskerman groups list` shows who is; `taskerman groups set` changes it.",
                )
            version = group[0].stat.version
        return control.stat.version, None if strangers is None else strangers.stat.version, version

    def _turn(self, wish: Wish, place: bool) -> Shut | None:
        parent = layout.command_waits(wish.scope)
        listing = as_names(self._tree.read(Children(parent))[0])
        names = listing.names if listing else ()
        if not names:
            return None
        first = self._tree.get(f"{parent}/{names[0]}")
        holder = first.data.decode() if first is not None else ""
        if place and holder == wish.holder:
            return None
        return Shut(
            ShutBy.TURN,
            f"{'Another command' if len(names) - place <= 1 else 'Other commands'} waited for scope {wish.scope} "
            f"before{f': {holder} goes first' if holder else ''}.",
        )

    def _full(self, read: ScopeRead, promise: int) -> str:
        slots, scope = read.seen.slots, read.name
        if not slots:
            return f"The capacity of scope {scope} is 0: nothing starts in it."
        named = [self._held(scope, slot) for slot in slots[:_NAMED]]
        more = f", and {len(slots) - _NAMED} more" if len(slots) > _NAMED else ""
        most = most_beside(read.seen, promise)
        places = f"{len(slots)} of {most} {'place' if most == 1 else 'places'} in scope {scope}"
        return f"{places} {'is' if len(slots) == 1 else 'are'} taken: {'; '.join(named)}{more}."

    def _held(self, scope: ScopeName, slot: Slot) -> str:
        path = layout.slot(scope, slot)
        found = self._tree.get(path)
        if found is None:
            return slot.node
        if slot.of_command(scope):
            note = layout.decode(CommandNote, found, path)
            return f"{slot.node} since {note.at:%Y-%m-%dT%H:%M:%SZ} ({note.command})"
        task = layout.decode(SlotNote, found, path)
        return f"{slot.node} since {task.at:%Y-%m-%dT%H:%M:%SZ} (task {task.task})"


def command_slot(record: CommandRecord) -> str:
    """The path of a command's slot."""
    slot = Slot(node=record.holder, cap=record.promise, state=SlotState.ACTING)
    return layout.slot(record.scope, slot)


def take_ops(ready: Ready, record: CommandRecord) -> list[Op]:
    """What a take is."""
    note = CommandNote(host=record.host, command=record.command, at=record.began)
    ops: list[Op] = [Check(layout.CONTROL, ready.control_version)]
    if ready.strangers_version is not None:
        ops.append(Check(layout.STRANGERS, ready.strangers_version))
    if ready.wish.group is not None:
        ops.append(Check(layout.group(ready.wish.group), ready.group_version))
    return [
        *ops,
        Set(layout.scope(record.scope), ready.scope_data, ready.scope_version),
        Create(command_slot(record), note.to_json()),
        Create(layout.command(record.holder), record.to_json()),
    ]


def end_ops(known: KnownCommand, end: CommandEnd) -> list[Op]:
    """What an end is, whoever records it."""
    ended = known.record.model_copy(update={"end": end})
    return [
        Set(layout.command(known.record.holder), ended.to_json(), known.version),
        Delete(command_slot(known.record)),
    ]
