"""Each state of a Cassandra cluster in which a runner is asked, and what a careful operator would say: the data of
tests/unit/test_runner_cassandra.py, and of docs/reference/states-cassandra.md (`make docs`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from runners.cassandra.backup import Backup
from runners.cassandra.cleanup import Cleanup
from runners.cassandra.rebuild_check import RebuildCheck
from runners.cassandra.repair import Repair
from runners.cassandra.restart import Restart
from runners.cassandra.view import Disk
from taskerman import Check, Go, Refuse, Skip, TaskRunner, Wait
from tests.recorded.cassandra import ME, OTHER_SCHEMA, RecordedCassandra
from tests.recorded.killing import Answer, Killing
from tests.recorded.table import Line, markdown

__all__ = ["LINES", "RESTART_COMMAND", "decide", "page", "recorded"]

RESTART_COMMAND = ("/usr/bin/env", "restart-cassandra")
SETTINGS = {"address": ME, "peers": ["10.0.0.2", "10.0.0.3"], "restart": list(RESTART_COMMAND)}
RUNNERS: dict[str, type[TaskRunner]] = {
    "restart": Restart,
    "repair": Repair,
    "cleanup": Cleanup,
    "backup": Backup,
    "rebuild_check": RebuildCheck,
}
CHANGING = (
    "disablebinary", "disablegossip", "enablebinary", "enablegossip", "drain", "repair", "cleanup", "snapshot",
    "clearsnapshot", "stop",
)  # fmt: skip


def recorded(operation: str, cluster: RecordedCassandra, **kept: Any) -> Killing[Any]:
    """The runner of an operation on this node of `cluster`."""

    def answer(words: tuple[str, ...]) -> Answer:
        if words == RESTART_COMMAND:
            cluster.restart()
            return 0, ""
        if words[0] == "cqlsh":
            return 0, "CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'};\n"
        assert words[0] == "nodetool", words
        host, rest = (words[2], words[3:]) if words[1] == "-h" else (ME, words[1:])
        if rest[0] in cluster.hangs:
            return None, "took longer than 60 s and was ended"
        return cluster.answer(host, rest)

    def changes(words: tuple[str, ...]) -> bool:
        return words == RESTART_COMMAND or any(word in CHANGING for word in words[1:4:2])

    settings = {**SETTINGS, **kept.pop("settings", {})}
    harness = Killing(RUNNERS[operation], answer, changes, settings=settings, **kept)
    harness.world = cluster
    return harness


def decide(line: Line[RecordedCassandra]) -> Check:
    """What the runner answers in that state."""
    cluster = RecordedCassandra()
    line.arrange(cluster)
    harness = recorded(
        line.operation, cluster, args=line.args, settings=line.settings, cap=line.cap, saved={"generation": 1}
    )
    with (
        patch("runners.cassandra.view._disk", lambda _: Disk(10**11, cluster.free_percent, cluster.hints_bytes)),
        patch("runners.cassandra.backup.ObjectStore.check", lambda _: None),
        patch("runners.cassandra.operation.steadily", lambda ctx, answer, **kept: answer),
        patch("runners.cassandra.restart.steadily", lambda ctx, answer, **kept: answer),
    ):
        if line.operation == "rebuild_check" and line.phase == "execute_action":
            try:
                harness.execute_action()
            except Exception as unfit:
                return Refuse(str(unfit))
            return Go()
        return harness.post_check() if line.phase == "post_check" else harness.pre_check()


# --- ways to change a cluster that is well ---------------------------------------------------------------


def be(address: str, **changes: object) -> Callable[[RecordedCassandra], None]:
    """A node is otherwise."""

    def arrange(cluster: RecordedCassandra) -> None:
        for name, value in changes.items():
            setattr(cluster.nodes[address], name, value)

    return arrange


def down(*addresses: str) -> Callable[[RecordedCassandra], None]:
    """Nodes are down."""

    def arrange(cluster: RecordedCassandra) -> None:
        for address in addresses:
            cluster.drop(address)

    return arrange


def says(command: str, text: str | tuple[int, str] | Callable[[str], str], host: str = ME) -> Callable[..., None]:
    """A command answers otherwise."""
    return lambda cluster: cluster.says.update({(host, command): text})


def all_of(*changes: Callable[[RecordedCassandra], object]) -> Callable[[RecordedCassandra], None]:
    """Several."""

    def arrange(cluster: RecordedCassandra) -> None:
        for change in changes:
            change(cluster)

    return arrange


def keyspace(name: str, how: str) -> Callable[[RecordedCassandra], None]:
    """A keyspace is replicated otherwise."""
    return lambda cluster: cluster.keyspaces.update({name: how})


def two_centres(first: int) -> Callable[[RecordedCassandra], None]:
    """The first so many nodes are in dc1, the others in dc2; three copies in each, and where the strategy is simple."""

    def arrange(cluster: RecordedCassandra) -> None:
        for node in list(cluster.nodes.values())[first:]:
            node.dc = "dc2"
        cluster.keyspaces["shop"] = "NetworkTopologyStrategy {dc1=3, dc2=3}"
        if first >= 3:
            cluster.keyspaces["system_auth"] = "NetworkTopologyStrategy {dc1=3, dc2=3}"
        else:
            cluster.keyspaces["system_auth"] = "SimpleStrategy {replication_factor=3}"

    return arrange


def as_is(cluster: RecordedCassandra) -> None:
    """All is well."""


def silent(*hosts: str) -> Callable[[RecordedCassandra], None]:
    """JMX does not answer, and the nodes are up."""
    return lambda cluster: cluster.silent.update(hosts)


def out_of_service(cluster: RecordedCassandra) -> None:
    cluster.me.native = False


def silent_as_peer(cluster: RecordedCassandra) -> None:
    """A peer that is down does not answer, and the other does."""
    cluster.silent.add("10.0.0.2")


def without_me(status: str) -> str:
    return "".join(line for line in status.splitlines(keepends=True) if f" {ME} " not in line)


def not_joined(info: str) -> str:
    kept = [line for line in info.splitlines() if not line.startswith("Token")]
    return "\n".join([*kept, f"{'Token':<23}: (node is not joined to the cluster)"]) + "\n"


def sees_schemas(cluster: RecordedCassandra) -> None:
    """A peer knows the schemas of all, however it sees them."""
    cluster.says[("10.0.0.2", "describecluster")] = cluster.describecluster(cluster.nodes["10.0.0.3"])


def schema_unknown(cluster: str) -> str:
    return cluster.replace(", 10.0.0.5, ", ", ").replace("\nStats", "\n\t\tUNREACHABLE: [10.0.0.5]\n\nStats")


def drained(cluster: RecordedCassandra) -> None:
    cluster.me.mode, cluster.me.gossip, cluster.me.native = "DRAINED", False, False


def before(text: str) -> Callable[[str], str]:
    return lambda answer: text + answer


def half(answer: str) -> str:
    return answer[: len(answer) // 2]


def without_last_lines(answer: str) -> str:
    return "\n".join(answer.splitlines()[:-3]) + "\n"


STREAM = ("Repair",)
ALONE = "SimpleStrategy {replication_factor=1}"
JAVA = "Picked up JAVA_TOOL_OPTIONS: -Djava.net.preferIPv4Stack=true\n"
FIVE = "Cluster Information:\n\tName: recorded\n\tCMS Epoch: 12\n"
GERMAN = "Rechenzentrum: dc1\n==================\nStatus=Oben/Unten\n"
DENIED = (
    1,
    "nodetool: Failed to connect to '127.0.0.1:7199' - SecurityException: 'Authentication failed! Invalid username or "
    "password'.\n",
)

_UNREADABLE: list[tuple[str, str, Any]] = [
    ("a warning of Java stands before `status`", "status", before(JAVA)),
    ("a warning of Java stands before `info`", "info", before(JAVA)),
    ("a warning of Java stands before `describecluster`", "describecluster", before(JAVA)),
    ("a warning of Java stands before `netstats`", "netstats", before(JAVA)),
    ("a warning of Java stands before `compactionstats`", "compactionstats", before(JAVA)),
    ("half of `status`", "status", half),
    ("`status` without its last lines", "status", without_last_lines),
    ("half of `info`", "info", half),
    ("half of `describecluster`", "describecluster", half),
    ("half of `netstats`", "netstats", half),
    ("nothing for `status`", "status", ""),
    ("nothing for `info`", "info", ""),
    ("nothing for `describecluster`", "describecluster", ""),
    ("nothing for `netstats`", "netstats", ""),
    ("nothing for `compactionstats`", "compactionstats", ""),
    ("nothing for `repair_admin list`", "repair_admin", ""),
    ("`status` in another language", "status", GERMAN),
    ("`describecluster` of a newer version", "describecluster", FIVE),
    ("garbage for `netstats`", "netstats", "Mode: \x00\x00\ufffd\n"),
    ("a state that is not known in `status`", "status", lambda text: text.replace("UN", "UX", 1)),
]  # fmt: skip


def _about_restart() -> list[Line[RecordedCassandra]]:
    def line(
        state: str, arrange: Any, decision: type[Check], because: str = "", **kept: Any
    ) -> Line[RecordedCassandra]:
        return Line("restart", state, arrange, decision, because, **kept)

    rack: dict[str, Any] = {"args": {"rack": "rack1"}, "cap": 2}
    return [
        line("all six nodes are up and at rest", as_is, Go),
        line("another node is down", down("10.0.0.4"), Wait, "down: 10.0.0.4"),
        line("two others are down", down("10.0.0.4", "10.0.0.5"), Wait, "10.0.0.4, 10.0.0.5"),
        line("the state of another is not known (`?N`)", be(ME, sees={"10.0.0.4": "?N"}), Wait, "down: 10.0.0.4"),
        line("only a peer sees another node down", be("10.0.0.2", sees={"10.0.0.5": "DN"}), Wait, "down: 10.0.0.5"),
        line("only this node sees another down", be(ME, sees={"10.0.0.5": "DN"}), Wait, "down: 10.0.0.5"),
        line("a node joins", be("10.0.0.6", state="J"), Wait, "10.0.0.6 joins"),
        line("a node leaves", be("10.0.0.6", state="L"), Wait, "10.0.0.6 leaves"),
        line("a node moves", be("10.0.0.6", state="M"), Wait, "10.0.0.6 moves"),
        line("a node that is down was leaving", all_of(be("10.0.0.6", state="L"), down("10.0.0.6")), Wait, "leaves"),
        line("only a peer sees a node leave", be("10.0.0.3", sees={"10.0.0.6": "UL"}), Wait, "as 10.0.0.3 sees it"),
        line("this node joins", be(ME, state="J", mode="JOINING"), Wait, "10.0.0.1 joins"),
        line("this node leaves", be(ME, state="L", mode="LEAVING"), Wait, "10.0.0.1 leaves"),
        line("two versions of the schema", be("10.0.0.5", schema=OTHER_SCHEMA), Wait, "2 versions of the schema"),
        line("this node streams for a repair", be(ME, streams=STREAM), Wait, "streams: Repair with 10.0.0.4"),
        line("this node streams for a bootstrap", be(ME, streams=("Bootstrap",)), Wait, "streams: Bootstrap"),
        line("this node validates", be(ME, active=("Validation",)), Wait, "at work: Validation"),
        line("this node cleans up", be(ME, active=("Cleanup",)), Wait, "at work: Cleanup"),
        line("this node builds an index", be(ME, active=("Secondary index build",)), Wait, "index"),
        line("this node only compacts", be(ME, active=("Compaction",), pending=12), Go),
        line("an incremental repair session is open", be(ME, sessions={"s": "10.0.0.3"}), Wait, "10.0.0.3 coordinates"),
        line("somebody disabled the native transport", out_of_service, Wait, "native transport is off"),
        line("somebody disabled gossip", be(ME, gossip=False), Wait, "took this node out of service: gossip is off"),
        line("a peer does not see this node up", be("10.0.0.2", sees={ME: "DN"}), Wait, "10.0.0.2 does not see"),
        line("many hints wait here", lambda c: setattr(c, "hints_bytes", 3 * 2**30), Wait, "hints wait here"),
        line("a data disk is nearly full", lambda c: setattr(c, "free_percent", 4.2), Refuse, "only 4.2 %"),
        line("a keyspace has two copies", keyspace("shop", "NetworkTopologyStrategy {dc1=2}"), Refuse, "no quorum"),
        line("a keyspace has one copy", keyspace("system_auth", ALONE), Refuse, "system_auth"),
        line("... which the task accepts", keyspace("system_auth", ALONE), Go,
             args={"accept_unavailable": ["system_auth", "system_traces"]}),
        line("a keyspace is only in another data centre", keyspace("far", "NetworkTopologyStrategy {dc2=1}"), Go),
        line("two data centres, three copies in each", two_centres(3), Go),
        line("... and a node of the other is down", all_of(two_centres(3), down("10.0.0.5")), Wait, "down: 10.0.0.5"),
        line("... and one of them has two copies", all_of(two_centres(3), keyspace(
            "shop", "NetworkTopologyStrategy {dc1=2, dc2=3}")), Refuse, "no quorum is left of shop"),
        line("... and the other has two copies", all_of(two_centres(3), keyspace(
            "shop", "NetworkTopologyStrategy {dc1=3, dc2=2}")), Go),
        line("this data centre has fewer nodes than copies", two_centres(2), Refuse, "no quorum is left of shop"),
        line("the strategy of a keyspace is not known", keyspace("odd", "OurStrategy {x=1}"), Refuse, "OurStrategy"),
        line("this node is down, and its peers see it down", down(ME), Go),
        line("JMX of this node does not answer, and its peers see it up", silent(ME), Wait,
             "seen up by 10.0.0.2, 10.0.0.3"),
        line("this node is down, and one peer sees it up", all_of(down(ME), be("10.0.0.3", sees={ME: "UN"})), Wait,
             "seen up by 10.0.0.3"),
        line("this node is drained", drained, Go),
        line("this node starts", be(ME, mode="STARTING"), Wait, "STARTING"),
        line("neither this node nor a peer answers", silent(ME, "10.0.0.2", "10.0.0.3"), Wait, "none of 2 peers"),
        line("one of two peers does not answer", silent("10.0.0.2"), Go),
        line("no peer answers", silent("10.0.0.2", "10.0.0.3"), Wait, "most of the configured peers"),
        line("no peer is configured", as_is, Refuse, "no peer is configured", settings={"peers": []}),
        line("the configured address is nobody's", as_is, Refuse, "no node of the cluster is called 10.9.9.9",
             settings={"address": "10.9.9.9"}),
        line("a peer sees fewer nodes", says("status", lambda t: "\n".join(
            row for row in t.split("\n") if "10.0.0.6 " not in row), "10.0.0.2"), Wait, "sees other nodes"),
        line("a peer knows a keyspace more", says("describecluster", lambda t: t + "\tnew -> Replication class: "
             "SimpleStrategy {replication_factor=1}\n", "10.0.0.3"), Wait, "10.0.0.3 knows other keyspaces"),
        line("`describecluster` lost its last keyspace", says("describecluster", lambda t: t[:t.index("\tshop")]), Wait,
             "knows other keyspaces"),
        line("a peer sees two versions of the schema", says("describecluster", lambda t: t.replace(
             "Stats", f"\t\t{OTHER_SCHEMA}: [10.0.0.6]\n\nStats"), "10.0.0.2"), Wait, "2 versions"),
        line("nodes are left out of `status`", says("status", lambda t: "\n".join(
            row for row in t.split("\n") if "10.0.0.6 " not in row)), Wait, "differ in which nodes there are"),
        line("the cluster runs 5.0", lambda c: setattr(c, "version", "5.0.2"), Refuse, "5.0.2 is not known"),
        line("nodetool's password is wrong", says("info", DENIED), Refuse, "refuses to be asked"),
        line("nodetool hangs", lambda c: c.hangs.add("netstats"), Wait, "took longer"),
        line("two at once, and no rack is named", as_is, Refuse, "only within one rack", cap=2),
        line("two at once in rack1, where this node is", as_is, Go, **rack),
        line("two at once in another rack", as_is, Skip, "is in rack rack1", args={"rack": "rack2"}, cap=2),
        line("two at once, the other of this rack is down", down("10.0.0.4"), Go, **rack),
        line("two at once, and two others of this rack are down",
             all_of(be("10.0.0.2", rack="rack1"), down("10.0.0.2", "10.0.0.4"), silent_as_peer), Wait,
             "2 nodes are down, 1 may be", **rack),
        line("the schema of a node is not known, and it is up", says("describecluster", schema_unknown), Wait,
             "the schema of 10.0.0.5 is not known"),
        line("two at once, one of another rack is down", down("10.0.0.5"), Wait, "down: 10.0.0.5", **rack),
        line("two at once, and two of this rack keep the same range",
             be("10.0.0.2", rack="rack1"), Refuse, "no quorum", **rack),
        *(line(state, says(command, text), Refuse, "not understood") for state, command, text in _UNREADABLE),
    ]  # fmt: skip


def _about_the_end_of_a_restart() -> list[Line[RecordedCassandra]]:
    def line(state: str, arrange: Any, decision: type[Check], because: str = "") -> Line[RecordedCassandra]:
        return Line("restart", state, arrange, decision, because, phase="post_check")

    return [
        line("it serves, and its peers have heard of this start", as_is, Go),
        line("it does not answer", down(ME), Wait, "Connection refused"),
        line("it starts", be(ME, mode="STARTING", gossip=False, native=False), Wait, "STARTING"),
        line("it serves no clients yet", out_of_service, Wait, "native transport is off"),
        line("its gossip is off", be(ME, gossip=False, sees={ME: "UN"}), Wait, "gossip is off"),
        line("it has not joined", says("info", not_joined), Wait, "has not joined"),
        line("it sees itself down", be(ME, sees={ME: "DN"}), Wait, "see itself up and normal (DN)"),
        line("it sees itself leave", be(ME, sees={ME: "UL"}), Wait, "see itself up and normal (UL)"),
        line("it does not see itself", says("status", without_me), Wait, "see itself up and normal (not at all)"),
        line(
            "the schema of a node is not known, and it is up",
            says("describecluster", schema_unknown),
            Wait,
            "the schema of 10.0.0.5 is not known",
        ),
        line("a peer sees it leave", be("10.0.0.2", sees={ME: "UL"}), Wait, "10.0.0.2 sees it UL"),
        line("a peer does not see it", says("status", without_me, "10.0.0.2"), Wait, "10.0.0.2 sees it not at all"),
        line(
            "a peer knows it to shut down",
            says("gossipinfo", lambda text: text.replace("NORMAL,", "shutdown,"), "10.0.0.2"),
            Wait,
            "10.0.0.2 knows it as shutdown",
        ),
        line(
            "a peer does not know it to serve clients",
            says("gossipinfo", lambda text: text.replace("RPC_READY:57:true", "RPC_READY:57:false"), "10.0.0.2"),
            Wait,
            "10.0.0.2 does not know it to serve clients",
        ),
        line(
            "a peer still sees it down",
            all_of(be("10.0.0.2", sees={ME: "DN"}), sees_schemas),
            Wait,
            "10.0.0.2 sees it DN",
        ),
        line("a peer sees it down, and does not know its schema", be("10.0.0.2", sees={ME: "DN"}), Wait, "10.0.0.1"),
        line("a peer has heard only of the start before", be("10.0.0.3", heard={ME: 17}), Wait, "has not heard"),
        line("its schema differs", be(ME, schema=OTHER_SCHEMA), Wait, "2 versions"),
        line("it still streams", be(ME, streams=STREAM), Wait, "still streams"),
        line("no peer answers", silent("10.0.0.2", "10.0.0.3"), Wait, "too few peers"),
        line("one of two peers does not answer", silent("10.0.0.2"), Wait, "too few peers"),
        line("another node is down meanwhile", down("10.0.0.6"), Go),
        *(line(state, says(command, text), Wait, "not understood") for state, command, text in _UNREADABLE),
    ]


def _about_repair() -> list[Line[RecordedCassandra]]:
    def line(
        state: str, arrange: Any, decision: type[Check], because: str = "", **kept: Any
    ) -> Line[RecordedCassandra]:
        return Line("repair", state, arrange, decision, because, **kept)

    alone = "NetworkTopologyStrategy {dc1=1}"
    return [
        line("all six nodes are up and at rest", as_is, Go),
        line("a node is down", down("10.0.0.5"), Wait, "down"),
        line("a node joins", be("10.0.0.6", state="J"), Wait, "joins"),
        line("a node leaves", be("10.0.0.6", state="L"), Wait, "leaves"),
        line("two versions of the schema", be("10.0.0.5", schema=OTHER_SCHEMA), Wait, "schema"),
        line("this node validates for somebody", be(ME, active=("Validation",)), Wait, "at work: Validation"),
        line("a peer validates", be("10.0.0.2", active=("Validation",)), Wait, "10.0.0.2 takes part in a repair"),
        line("a peer has an open session", be("10.0.0.3", sessions={"x": "10.0.0.6"}), Wait, "10.0.0.6 coordinates"),
        line("this node streams", be(ME, streams=("Rebuild",)), Wait, "streams: Rebuild"),
        line("many compactions wait", be(ME, pending=312), Wait, "312 compactions"),
        line("this node is down", down(ME), Wait, "Connection refused"),
        line("this node is drained", drained, Wait, "DRAINED"),
        line("the keyspace has one copy", keyspace("shop", alone), Refuse, "one copy", args={"keyspaces": ["shop"]}),
        line("no keyspace has more than one copy", keyspace("shop", alone), Skip, "no range"),
        line("there is no such keyspace", as_is, Refuse, "no keyspace hop", args={"keyspaces": ["hop"]}),
        line("the configured address is nobody's", as_is, Refuse, "is called 10.9.9.9",
             settings={"address": "10.9.9.9"}),
        line("other tokens", says("describecluster", lambda t: t.replace("Murmur3", "Random")), Refuse, "tokens"),
        line("a range is missing in `describering`",
             says("describering", lambda t: t.replace(t.splitlines()[4] + "\n", "")), Refuse, "do not close to a ring"),
        line("half of `describering`", says("describering", half), Refuse, "not understood"),
        line("a warning before `describering`", says("describering", before(JAVA)), Refuse, "not understood"),
        *(line(state, says(command, text), Refuse, "not understood") for state, command, text in _UNREADABLE),
    ]  # fmt: skip


def _about_the_others() -> list[Line[RecordedCassandra]]:
    def small(cluster: RecordedCassandra) -> None:
        cluster.me.load = "1.02 GiB"

    check = "rebuild_check"
    to = {"backup_to": "s3://b/p"}
    return [
        Line("cleanup", "all six nodes are up and at rest", as_is, Go),
        Line("cleanup", "a node joins", be("10.0.0.6", state="J"), Wait, "joins"),
        Line("cleanup", "a node leaves", be("10.0.0.6", state="L"), Wait, "leaves"),
        Line("cleanup", "a node is down", down("10.0.0.4"), Wait, "down"),
        Line("cleanup", "a cleanup runs already", be(ME, active=("Cleanup",)), Wait, "at work: Cleanup"),
        Line("cleanup", "this node streams", be(ME, streams=STREAM), Wait, "streams"),
        Line("cleanup", "many compactions wait", be(ME, pending=99), Wait, "99 compactions"),
        Line("cleanup", "a disk has little room", lambda c: setattr(c, "free_percent", 18.0), Refuse, "only 18.0 %"),
        Line("cleanup", "there is no such keyspace", as_is, Refuse, "no keyspace hop", args={"keyspaces": ["hop"]}),
        *(Line("cleanup", state, says(command, text), Refuse, "not understood")
          for state, command, text in _UNREADABLE),
        Line("backup", "the node is at rest", as_is, Go, settings=to),
        Line("backup", "another node is down", down("10.0.0.4"), Go, settings=to),
        Line("backup", "no address is configured", as_is, Refuse, "it is not set"),
        Line("backup", "the node joins", be(ME, state="J", mode="JOINING"), Wait, "JOINING", settings=to),
        Line("backup", "the node is down", down(ME), Wait, "Connection refused", settings=to),
        Line("backup", "a disk is nearly full", lambda c: setattr(c, "free_percent", 5.0), Refuse, "only 5.0 %",
             settings=to),
        Line("backup", "the cluster runs 5.0", lambda c: setattr(c, "version", "5.0.2"), Refuse, "5.0.2",
             settings=to),
        Line(check, "the node owns, holds and serves what it should", as_is, Go, phase="execute_action"),
        Line(check, "it still streams", be(ME, streams=("Rebuild",)), Refuse, "still streams", phase="execute_action"),
        Line(check, "it joins", be(ME, state="J", mode="JOINING"), Refuse, "JOINING", phase="execute_action"),
        Line(check, "another node leaves", be("10.0.0.6", state="L"), Refuse, "leaves", phase="execute_action"),
        Line(check, "it holds next to nothing", small, Refuse, "not rebuilt", phase="execute_action"),
        Line(check, "its load is not known", be(ME, load="?"), Refuse, "load is not known", phase="execute_action"),
        Line(check, "it builds a view", be(ME, active=("View build",)), Refuse, "still builds", phase="execute_action"),
        Line(check, "it has fewer tokens than it must", as_is, Refuse, "2 tokens, not 16", args={"tokens": 16},
             phase="execute_action"),
        Line(check, "a peer does not see it", be("10.0.0.2", sees={ME: "DN"}), Refuse, "10.0.0.1",
             phase="execute_action"),
        Line(check, "its schema differs", be(ME, schema=OTHER_SCHEMA), Refuse, "2 versions", phase="execute_action"),
        Line(check, "its server does not answer", down(ME), Refuse, "Connection refused", phase="execute_action"),
        *(Line(check, state, says(command, text), Refuse, "not understood", phase="execute_action")
          for state, command, text in _UNREADABLE),
    ]  # fmt: skip


LINES = [*_about_restart(), *_about_the_end_of_a_restart(), *_about_repair(), *_about_the_others()]

_HEAD = """# States of a Cassandra cluster, and what is decided

<!-- Made of tests/recorded/cassandra_states.py by `make docs`. Do not edit. -->

What `cassandra_task` answers in each recorded state. **No real Cassandra was asked**: what `nodetool`
4.1 prints was written down by hand from its source, for six nodes in three racks, of which 10.0.0.1 is this node, and
10.0.0.2 and 10.0.0.3 are its configured peers. Every line is a test. After an action, what cannot be known is waited
for, and the node ends unsafe when it stays so; `rebuild_check` gives its reasons as the failure of its action.
"""


def page() -> str:
    """The whole page, as Markdown."""
    return _HEAD + markdown(LINES, decide)
