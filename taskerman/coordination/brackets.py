"""The moves on brackets: of an attempt that goes in, of whoever ends one, of a janitor that finds one left over.

Each is one commit at the version of the bracket's record; those of an agent also check that it is still its node's
one incarnation, in the attempt that it believes to be in. Any of them may be repeated after an error: what a lost
answer has done is seen in the record.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from taskerman.coordination import layout
from taskerman.coordination.answers import as_record
from taskerman.coordination.incarnation import Incarnation
from taskerman.coordination.known import Known
from taskerman.coordination.reading import get_each
from taskerman.coordination.verbs import Verbs
from taskerman.errors import Fenced, NotFound, RefusedByState
from taskerman.model.attempt import Attempt, NodeRecord
from taskerman.model.bracket import Bracket, BracketClaim, BracketState
from taskerman.model.ids import ActionName, BracketName, ClusterName, TaskId
from taskerman.model.task import TaskControl, TaskState
from taskerman.policy import brackets as policy
from taskerman.policy.brackets import Begin, Entrant, NotNow, SeenBracket, Stands
from taskerman.ports.tree import Check, Committed, Create, Get, Op, Set, Tree

__all__ = [
    "BracketAt",
    "BracketVerbs",
    "Entered",
    "begun",
    "change",
    "claim_end",
    "end_called",
    "enter",
    "going_on",
    "read_bracket",
    "read_brackets",
    "see",
    "standing_in",
]


@dataclass(frozen=True, slots=True)
class BracketAt:
    """A bracket as it was read. `version` None: it has no record yet. `changed_ms`: by the tree's clock."""

    bracket: Bracket
    version: int | None
    changed_ms: int = 0

    @property
    def path(self) -> str:
        """Of its record."""
        return layout.bracket(self.bracket.cluster, self.bracket.name)


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of an attempt at the bracket's door. `stands`: it is inside, and the bracket is begun. `begins`: it
    is inside, and calls cluster_begin now. Neither: not now, because of `why`."""

    stands: bool = False
    begins: bool = False
    why: str = ""


# --- reading -----------------------------------------------------------------------------------------------


def read_bracket(tree: Tree, cluster: ClusterName, name: BracketName, now: datetime) -> BracketAt:
    """The bracket, or a closed one where there is no record yet."""
    path = layout.bracket(cluster, name)
    record = tree.get(path)
    if record is None:
        return BracketAt(Bracket(cluster=cluster, name=name, since=now), None)
    return BracketAt(layout.decode(Bracket, record, path), record.stat.version, record.stat.changed_ms)


def read_brackets(tree: Tree) -> Sequence[BracketAt]:
    """Every bracket that was ever begun."""
    listing = tree.children(layout.BRACKETS)
    paths = [f"{layout.BRACKETS}/{name}" for name in (listing.names if listing else ())]
    return [
        BracketAt(layout.decode(Bracket, record, path), record.stat.version, record.stat.changed_ms)
        for path, record in zip(paths, get_each(tree, paths), strict=True)
        if record is not None
    ]


def standing_in(tree: Tree) -> frozenset[TaskId]:
    """The tasks that stand in a bracket which is not closed: none of them is put away."""
    found = (at.bracket for at in read_brackets(tree))
    return frozenset(task for one in found if one.state is not BracketState.CLOSED for task in one.tasks)


def see(tree: Tree, at: BracketAt, now: datetime) -> SeenBracket:
    """The bracket with the records of the nodes that it names, read after it."""
    bracket = at.bracket
    names = sorted({*bracket.inside, *((bracket.claim.node,) if bracket.claim else ())})
    paths = [layout.node(name) for name in names]
    nodes = {
        name: None if record is None else layout.decode(NodeRecord, record, path)
        for name, path, record in zip(names, paths, get_each(tree, paths), strict=True)
    }
    age_s = max(now.timestamp() - at.changed_ms / 1000, 0.0)
    return SeenBracket(bracket, nodes, age_s)


def going_on(tree: Tree, cluster: ClusterName, tasks: Collection[TaskId]) -> frozenset[TaskId]:
    """Those of `tasks` of which an attempt may still be taken: open, and not every node has ended. A hint."""
    if not tasks:
        return frozenset()
    parent = layout.open_tasks(cluster)
    listing = tree.children(parent)
    headers = Known().read_headers(tree, parent, listing.names if listing else ())
    wanted = sorted({header.task for header in headers.values()} & set(tasks))
    records = get_each(tree, [layout.control(task) for task in wanted])
    return frozenset(
        task
        for task, record in zip(wanted, records, strict=True)
        if record is not None and layout.decode(TaskControl, record, layout.control(task)).state is TaskState.OPEN
    )


# --- an agent's moves --------------------------------------------------------------------------------------


def enter(moves: Incarnation, attempt: Attempt, name: BracketName, action: ActionName, now: datetime) -> Entered:
    """Go in before the action. When it returns `stands`, the record says that the bracket is begun and that this
    attempt stands in it, so that nobody ends it before the attempt has ended.

    Raises `CoordinationUnavailable` (call again), `Fenced` (the attempt is not this agent's any more).
    """
    who = _entrant(moves, attempt, action)
    while True:
        at = read_bracket(moves.tree, attempt.cluster, name, now)
        seen = see(moves.tree, at, now)
        others = set(at.bracket.tasks) - {attempt.task}
        answer = policy.enter(seen, who, going_on(moves.tree, attempt.cluster, others), now)
        match answer:
            case Stands(None):
                return Entered(stands=True)
            case Stands(after) | Begin(after):
                assert after is not None
                if _write(moves, at, after, attempt):
                    return Entered(stands=isinstance(answer, Stands), begins=isinstance(answer, Begin))
            case NotNow():
                claim = seen.claim()
                node = claim.node if claim else "another node"
                doing = "opened" if answer is NotNow.BEING_OPENED else "closed"
                return Entered(why=f"the bracket {name} of {attempt.cluster} is being {doing} by {node}")


def begun(moves: Incarnation, attempt: Attempt, name: BracketName, action: ActionName, now: datetime) -> Entered:
    """cluster_begin has returned: say so. Answers and raises as `enter`, which it is where a person was faster."""
    who = _entrant(moves, attempt, action)
    while True:
        at = read_bracket(moves.tree, attempt.cluster, name, now)
        after = policy.after_begin(at.bracket, who, now)
        if after is None:
            return enter(moves, attempt, name, action, now)
        if _write(moves, at, after, attempt):
            return Entered(stands=True)


def claim_end(
    moves: Incarnation,
    cluster: ClusterName,
    name: BracketName,
    attempt: Attempt | None,
    now: datetime,
    *,
    over: TaskId | None = None,
) -> Bracket | None:
    """Claim the call of cluster_end, if it is to be called now: the bracket as it then is; None: it is not.

    `attempt`: under whose slots; None: under none. `over`: the task that is over with that attempt; only a bracket in
    which it stands is looked at. Raises as `enter`.
    """
    me = BracketClaim(node=moves.node, epoch=moves.epoch, attempt=attempt.id if attempt else None)
    while True:
        at = read_bracket(moves.tree, cluster, name, now)
        bracket = at.bracket
        if bracket.state is BracketState.CLOSED or (over is not None and over not in bracket.tasks):
            return None
        goes_on = going_on(moves.tree, cluster, set(bracket.tasks) - {over})
        if not policy.may_end(see(moves.tree, at, now), me, goes_on):
            return None
        if bracket.state is BracketState.CLOSING and bracket.claim == me:
            return bracket  # claimed by a call whose answer was lost, or before this agent began
        after = policy.claimed(bracket, me, now)
        if _write(moves, at, after, attempt):
            return after


def end_called(
    moves: Incarnation,
    claimed: Bracket,
    attempt: Attempt | None,
    now: datetime,
    failed: str | None,
    *,
    stopped: bool = True,
) -> Bracket | None:
    """cluster_end was called: say what came of it. None: the bracket is not this agent's to close any more.

    Arguments as of `policy.brackets.after_end`. Raises as `enter`.
    """
    me = BracketClaim(node=moves.node, epoch=moves.epoch, attempt=attempt.id if attempt else None)
    while True:
        at = read_bracket(moves.tree, claimed.cluster, claimed.name, now)
        after = policy.after_end(at.bracket, me, now, failed, stopped=stopped)
        if after is None or _write(moves, at, after, attempt):
            return after


def _entrant(moves: Incarnation, attempt: Attempt, action: ActionName) -> Entrant:
    claim = BracketClaim(node=moves.node, epoch=moves.epoch, attempt=attempt.id)
    return Entrant(claim=claim, attempt=attempt.id, task=attempt.task, action=action)


def _write(moves: Incarnation, at: BracketAt, after: Bracket, attempt: Attempt | None) -> bool:
    """Write it, if nothing has changed since and the node is still ours. False: look again."""
    done = moves.tree.commit([Check(layout.node(moves.node), moves.version), _op(at, after)])
    if isinstance(done, Committed):
        return True
    if done.path == layout.node(moves.node):
        record = moves.refresh()
        if attempt is not None and (record.attempt is None or record.attempt.id != attempt.id):
            raise Fenced(f"Attempt {attempt.id} is not this agent's any more.")
    elif at.version is None:
        moves.tree.ensure(layout.BRACKETS)  # where `init` ran before there were any
    return False


def _op(at: BracketAt, after: Bracket) -> Op:
    if at.version is None:
        return Create(at.path, after.to_json())
    return Set(at.path, after.to_json(), at.version)


# --- a janitor's, and a person's ---------------------------------------------------------------------------


def change(tree: Tree, at: BracketAt, after: Bracket) -> bool:
    """Write `after`, if the bracket is still as it was read. Raises `AnswerUnknown`."""
    return isinstance(tree.commit([_op(at, after)]), Committed)


class BracketVerbs(Verbs):
    """The verb on a bracket."""

    def close_bracket(self, cluster: ClusterName, name: BracketName, why: str) -> Bracket:
        """A person's word that it was undone by hand: nobody calls cluster_end any more. The bracket as it was.

        Raises `NotFound`, `RefusedByState`: it is closed; or an attempt stands inside, and what it relies on is not
        undone; or a node is at it, and would undo it later, perhaps under the next.
        """
        path = layout.bracket(cluster, name)

        def build() -> tuple[list[Op], Bracket]:
            record = as_record(self._tree.read(Get(path))[0])
            if record is None:
                raise NotFound(
                    f"There never was a bracket {name} of {cluster}.", next_step="`taskerman brackets list`."
                )
            now = self._clock()
            at = BracketAt(layout.decode(Bracket, record, path), record.stat.version, record.stat.changed_ms)
            if at.bracket.state is BracketState.CLOSED:
                raise RefusedByState(
                    f"The bracket {name} of {cluster} is closed.", next_step="`taskerman brackets list`."
                )
            seen = see(self._tree, at, now)
            inside, claim = seen.inside(), seen.claim()
            if inside:
                raise RefusedByState(
                    f"In the bracket {name} of {cluster} {_who(sorted(inside))}.",
                    next_step=f"See who acts: `taskerman slots {cluster}`. It is closed after the last of them.",
                )
            if claim is not None:
                raise RefusedByState(
                    f"{claim.node} calls cluster_end of the bracket {name} of {cluster} now.",
                    next_step="Wait until it has: `taskerman brackets list` says so, or why it has not.",
                )
            after = policy.release(at.bracket, now, f"{self._by}: {why}")
            return [Set(path, after.to_json(), record.stat.version)], at.bracket

        return self._commit(build, "brackets close", f"{cluster} {name}", why)


def _who(nodes: Sequence[str]) -> str:
    return f"{nodes[0]} acts" if len(nodes) == 1 else f"{len(nodes)} nodes act: {', '.join(nodes[:5])}"
