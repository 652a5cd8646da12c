"""What every source of discovery must promise, as tests that its author runs: subclass, say how the world is changed.

    class TestInventory(DiscoveryContract):
        @pytest.fixture
        def world(self, tmp_path): return World(...)

The engine rests on each of them: percentages and limits stand on the count, and a smaller cluster is worse than none.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskerman.errors import Bug, DiscoveryFailed, TaskermanError
from taskerman.model.cluster import Fate, Node
from taskerman.ports.discovery import Discovery

__all__ = ["DiscoveryContract", "World"]


@dataclass(frozen=True)
class World:
    """A source of truth and the hands that change it.

    `start(cluster, count)`: that many more running nodes of `cluster`, in at least two zones if there are two, each
    with an address; returned by (zone, id). `also(cluster, another)`: one running node that is of both. `stop(ids)`:
    they run no more, and may again. `break_it()`: the discovery of a source that does not answer. `terminate(ids)`:
    they ended for good; None for a source that cannot tell that, and so says of nobody what became of it.
    """

    discovery: Discovery
    start: Callable[[str, int], tuple[Node, ...]]
    also: Callable[[str, str], Node]
    stop: Callable[[Sequence[str]], None]
    break_it: Callable[[], Discovery]
    terminate: Callable[[Sequence[str]], None] | None = None


class DiscoveryContract:
    """Run by pytest in a subclass that has the fixture `world`. Names of clusters are drawn anew for every test."""

    def test_a_cluster_is_its_running_nodes_with_zone_and_address_each_once(self, world: World) -> None:
        """And nobody else's."""
        cluster = _drawn("web")
        nodes = world.start(cluster, 6)
        world.start(_drawn("other"), 3)
        found = world.discovery.nodes(cluster)
        assert _by_place(found) == _of(nodes, cluster)
        assert len({node.az for node in found}) > 1
        assert all(node.address for node in found)

    def test_a_node_that_does_not_run_is_not_of_the_cluster(self, world: World) -> None:
        """Only what runs can be maintained."""
        cluster = _drawn("web")
        nodes = world.start(cluster, 3)
        world.stop([nodes[1].id])
        assert _by_place(world.discovery.nodes(cluster)) == _of((nodes[0], nodes[2]), cluster)

    def test_a_cluster_without_running_nodes_is_an_empty_answer_and_no_error(self, world: World) -> None:
        """Whoever plans refuses it."""
        cluster = _drawn("web")
        assert not world.discovery.nodes(cluster)
        nodes = world.start(cluster, 1)
        world.stop([nodes[0].id])
        assert not world.discovery.nodes(cluster)

    def test_a_cluster_without_a_name_is_refused_and_not_taken_for_any_instance(self, world: World) -> None:
        """By `Bug`: nobody may ask that."""
        world.start(_drawn("web"), 1)
        _raises(Bug, lambda: world.discovery.nodes(""))

    def test_a_name_that_begins_alike_is_another_cluster(self, world: World) -> None:
        """Names are meant to the letter."""
        name = _drawn("web")
        world.start(name + "-2", 1)
        assert not world.discovery.nodes(name)

    def test_a_node_of_several_clusters_is_found_in_each_and_names_them_all(self, world: World) -> None:
        """It takes a slot in each of them."""
        a, b, c = (_drawn(name) for name in "abc")
        both = world.also(a, b)
        (alone,) = world.start(a, 1)
        assert _by_place(world.discovery.nodes(a)) == _by_place([*_of([both], a, b), *_of([alone], a)])
        assert _by_place(world.discovery.nodes(b)) == _of([both], a, b)
        assert not world.discovery.nodes(c)

    def test_known_nodes_are_those_that_run_whatever_their_cluster(self, world: World) -> None:
        """And ids that nobody ever heard of are left out, not refused."""
        web, db = _drawn("web"), _drawn("db")
        first, second = _of(world.start(web, 2), web), _of(world.start(db, 1), db)
        world.stop([first[0].id])
        asked = [first[0].id, first[1].id, second[0].id, "i-0123456789abcdef0", "never-heard-of"]
        assert _by_place(world.discovery.known(asked)) == _by_place([first[1], second[0]])

    def test_nobody_asked_for_is_nobody_known(self, world: World) -> None:
        """An empty question is not the question for all."""
        world.start(_drawn("web"), 1)
        assert not world.discovery.known([])

    def test_a_source_that_does_not_answer_is_an_error_and_never_an_empty_cluster(self, world: World) -> None:
        """`DiscoveryFailed`, with what was asked for in its text."""
        broken = world.break_it()
        cluster = _drawn("web")
        assert cluster in str(_raises(DiscoveryFailed, lambda: broken.nodes(cluster)))
        _raises(DiscoveryFailed, lambda: broken.known(["i-1"]))
        if world.terminate is not None:
            _raises(DiscoveryFailed, lambda: broken.fates(["i-1"], control=["i-2"]))

    def test_a_node_that_ended_for_good_is_told_from_one_that_is_stopped_and_from_one_that_runs(
        self, world: World
    ) -> None:
        """What a terminated machine held is freed on this word."""
        runs, stopped, ended = world.start(_drawn("web"), 3)
        world.stop([stopped.id])
        if world.terminate is None:
            assert world.discovery.fates([stopped.id], control=[runs.id]) == {}
            return
        world.terminate([ended.id])
        asked = [runs.id, stopped.id, ended.id]
        expected = {runs.id: Fate.THERE, stopped.id: Fate.THERE, ended.id: Fate.TERMINATED}
        assert world.discovery.fates(asked, control=[]) == expected

    def test_who_is_unknown_is_absent_only_where_a_node_that_runs_is_seen_beside_it(self, world: World) -> None:
        """A source that has lost sight of everything proves nothing."""
        runs, stopped = world.start(_drawn("web"), 2)
        world.stop([stopped.id])
        unknown = "i-0123456789abcdef0"
        seen = {unknown: Fate.ABSENT} if world.terminate is not None else {}
        assert world.discovery.fates([unknown], control=[runs.id]) == seen
        assert world.discovery.fates([unknown], control=[stopped.id, runs.id]) == seen
        for nothing_seen in ([], [stopped.id], ["i-0123456789abcdef1"]):
            assert world.discovery.fates([unknown], control=nothing_seen) == {}

    def test_many_nodes_are_asked_for_in_several_questions_each_with_its_control(self, world: World) -> None:
        """Where a question has a limit."""
        (runs,) = world.start(_drawn("web"), 1)
        unknown = [f"i-{n:017x}" for n in range(450)]
        seen = dict.fromkeys(unknown, Fate.ABSENT) if world.terminate is not None else {}
        assert world.discovery.fates(unknown, control=[runs.id]) == seen
        assert world.discovery.fates([], control=[runs.id]) == {}


def _drawn(name: str) -> str:
    return f"demo:{name}-{uuid.uuid4().hex[:8]}"


def _by_place(nodes: Sequence[Node]) -> tuple[Node, ...]:
    return tuple(sorted(nodes, key=lambda node: (node.az, node.id)))


def _of(nodes: Sequence[Node], *clusters: str) -> tuple[Node, ...]:
    """The same nodes, with the clusters that they are of."""
    return tuple(node.model_copy(update={"clusters": tuple(sorted(clusters))}) for node in nodes)


def _raises(kind: type[TaskermanError], ask: Callable[[], object]) -> TaskermanError:
    try:
        answer = ask()
    except kind as error:
        return error
    raise AssertionError(f"it answered {answer!r} where it must raise {kind.__name__}")
