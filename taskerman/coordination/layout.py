"""Where everything stands in the tree, and how records are read. The only module that knows a path."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pydantic import ValidationError

from taskerman.errors import Bug, InstallationRefused, LayoutUnsupported
from taskerman.model.base import Noun
from taskerman.model.hold import LAYOUT, Control
from taskerman.model.ids import BracketName, ClusterName, NodeId, TaskId
from taskerman.model.installation import Strangers
from taskerman.model.schedule import ScheduleName
from taskerman.model.slot import ScopeRecord, Slot
from taskerman.ports.tree import Record

__all__ = [
    "AUDIT",
    "BRACKETS",
    "CLUSTERS",
    "COMMANDS",
    "COMMAND_WAITS",
    "CONTROL",
    "DOCTOR",
    "GROUPS",
    "JANITOR",
    "LEADERS",
    "NODES",
    "REFUSED",
    "RESTORED",
    "RIGHTS",
    "SCHEDULES",
    "SCOPES",
    "SCOPE_DATA",
    "STRANGERS",
    "TASKS",
    "WAITS",
    "bracket",
    "check_layout",
    "clock_off",
    "cluster",
    "command",
    "command_waits",
    "control",
    "decode",
    "end",
    "ends",
    "entry_data",
    "entry_name",
    "entry_node",
    "entry_time",
    "group",
    "leader",
    "line",
    "lines",
    "node",
    "open_task",
    "open_tasks",
    "own_end",
    "priority_of",
    "progress",
    "progresses",
    "refused",
    "schedule",
    "scope",
    "slot",
    "slots",
    "stranger",
    "strangers",
    "task",
    "waits",
]

CONTROL = "/control"
CLUSTERS = "/clusters"
SCOPES = "/scopes"
NODES = "/nodes"
TASKS = "/tasks"
REFUSED = "/refused"
AUDIT = "/audit"
WAITS = "/waits"
LEADERS = "/leaders"
JANITOR = "/janitor"
STRANGERS = "/strangers"
RIGHTS = "/rights"
DOCTOR = "/doctor"
SCHEDULES = "/schedules"
COMMANDS = "/commands"
COMMAND_WAITS = "/commandwaits"
GROUPS = "/groups"
BRACKETS = "/brackets"

RESTORED = "restored"
"""The id of the stop that a node puts which knows a later state. It is shown among the holds; it is not lifted so."""

SCOPE_DATA = ScopeRecord().to_json()

N = TypeVar("N", bound=Noun)


def cluster(name: ClusterName) -> str:
    """The cluster's record."""
    return f"{CLUSTERS}/{name}"


def open_tasks(name: ClusterName) -> str:
    """The parent of the cluster's open tasks; its children sort oldest first."""
    return f"{CLUSTERS}/{name}/open"


def open_task(name: ClusterName, priority: int) -> str:
    """What a new open task is created under, as a sequence: the order of tasks. Lower names go first."""
    return f"{open_tasks(name)}/{9 - priority}."


def priority_of(entry: str) -> int:
    """The priority of the open task of that name."""
    return 9 - int(entry.partition(".")[0])


def scope(name: str) -> str:
    """A scope; its children are slots only."""
    return f"{SCOPES}/{name}"


def slot(scope_name: str, held: Slot) -> str:
    """One slot."""
    return f"{SCOPES}/{scope_name}/{held.name}"


def waits(scope_name: str) -> str:
    """The queue of a named scope; its children sort in the order in which lanes go there."""
    return f"{WAITS}/{scope_name}"


def command(holder: NodeId) -> str:
    """The record of a command that runs, or ran, under a slot."""
    return f"{COMMANDS}/{holder}"


def command_waits(scope_name: str) -> str:
    """The queue of the commands that wait for a named scope; its children sort in the order in which they go."""
    return f"{COMMAND_WAITS}/{scope_name}"


def group(name: str) -> str:
    """The hosts on which a group's commands may run."""
    return f"{GROUPS}/{name}"


def bracket(cluster_name: ClusterName, name: BracketName) -> str:
    """What must be so in a cluster while some tasks work, and how far that is."""
    return f"{BRACKETS}/{cluster_name}~{name}"


def slots(names: tuple[str, ...]) -> tuple[Slot, ...]:
    """The slots that the children of a scope are."""
    return tuple(Slot.parse(name) for name in names)


def node(name: NodeId) -> str:
    """The node's record."""
    return f"{NODES}/{name}"


def task(name: TaskId) -> str:
    """The plan."""
    return f"{TASKS}/{name}"


def control(name: TaskId) -> str:
    """The task's control record."""
    return f"{TASKS}/{name}/ctl"


def lines(name: TaskId) -> str:
    """The parent of the task's lanes."""
    return f"{TASKS}/{name}/line"


def line(name: TaskId, lane: str) -> str:
    """One lane's line; its children sort in the order in which they go."""
    return f"{TASKS}/{name}/line/{lane}"


def entry_name(*, keeps_slot: bool, failed: bool, deferrals: int, rank: int) -> str:
    """`<f><dd>.<rrrrr>`: f, then by deferrals, then by rank. Its end is the node's own in every lane.

    f is 0 for a node with a kept slot: while it keeps it, nobody else may go, so nobody may stand before it. It is 1
    for one that the budget counts: fresh nodes (2) wait until it has ended.
    """
    f = 0 if keeps_slot else 1 if failed else 2
    return f"{f}{min(deferrals, 99):02d}.{own_end(rank)}"


def entry_data(node_id: NodeId, at: datetime | None) -> bytes:
    """What an entry of a line holds: whose it is, and, where a window depends on it, the time on that node's clock."""
    return node_id.encode() if at is None else f"{node_id}~{int(at.timestamp() * 1000)}".encode()


def entry_node(record: Record) -> NodeId:
    """Whose entry it is."""
    return record.data.decode().partition("~")[0]


def entry_time(record: Record) -> datetime | None:
    """The time on the node's clock when it joined, if it wrote it."""
    at = record.data.decode().partition("~")[2]
    return datetime.fromtimestamp(int(at) / 1000, UTC) if at else None


def clock_off(record: Record) -> timedelta | None:
    """How far the clock of the entry's node was ahead of the tree's when it joined."""
    at = entry_time(record)
    return None if at is None else at - datetime.fromtimestamp(record.stat.created_ms / 1000, UTC)


def own_end(rank: int) -> str:
    """What the names of all entries of the node of that rank end in, after the dot; nobody else's do."""
    return f"{rank:05d}"


def progresses(name: TaskId) -> str:
    """The parent of what is known of assignments without an end."""
    return f"{TASKS}/{name}/progress"


def progress(name: TaskId, node_id: NodeId) -> str:
    """How far one assignment is."""
    return f"{TASKS}/{name}/progress/{node_id}"


def ends(name: TaskId) -> str:
    """The parent of the recorded outcomes."""
    return f"{TASKS}/{name}/end"


def end(name: TaskId, node_id: NodeId) -> str:
    """The recorded outcome of one assignment."""
    return f"{TASKS}/{name}/end/{node_id}"


def refused(sha256: str) -> str:
    """The record of a document that was not accepted."""
    return f"{REFUSED}/{sha256}"


def schedule(name: ScheduleName) -> str:
    """What is in force of a schedule, and how far it has been decided."""
    return f"{SCHEDULES}/{name}"


def leader(role: str) -> str:
    """The ephemeral record of whoever leads in a role, such as `janitor`."""
    return f"{LEADERS}/{role}"


def stranger(name: NodeId) -> str:
    """What a node reports that knows another installation, or a later state of this one."""
    return f"{STRANGERS}/{name}"


def strangers(record: Record | None) -> Strangers:
    """The record above those reports; a tree without it has none."""
    return decode(Strangers, record, STRANGERS) if record is not None and record.data else Strangers()


def decode(kind: type[N], record: Record, path: str) -> N:
    """The noun in `record`. What cannot be read stops this process: guessing would break a promise."""
    try:
        return kind.model_validate_json(record.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["loc"] == ("v",):
            raise LayoutUnsupported(
                f"{path} was written by another version of Taskerman.", next_step="Upgrade this one."
            ) from None
        raise Bug(f"{path} does not hold a {kind.__name__}: {first['loc']} {first['msg']}") from error


def check_layout(record: Record | None) -> Control:
    """The installation's control record. Raises `InstallationRefused` when there is none, `LayoutUnsupported`."""
    if record is None:
        raise InstallationRefused(
            "ZooKeeper holds no Taskerman installation.",
            next_step="Create it: `taskerman init`. If there was one: is TASKERMAN_ZOOKEEPER_ROOT right? Who "
            "emptied ZooKeeper?",
        )
    found = decode(Control, record, CONTROL)
    if found.layout != LAYOUT:
        raise LayoutUnsupported(
            f"The tree has layout {found.layout}; this build speaks {LAYOUT}.", next_step="Upgrade this build."
        )
    return found
