"""Setting the scene and playing the acts, above what the stage has started already."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from taskerman.control import initialise
from taskerman.demo.acts import one_that_goes_well, one_that_stops
from taskerman.demo.cloud import AZS, Cloud
from taskerman.demo.crew import Crew
from taskerman.demo.facts import Facts
from taskerman.demo.installation import AsProcesses, Embedded, Installation
from taskerman.demo.scene import Scene, wait_for
from taskerman.demo.screen import Screen
from taskerman.demo.web_cluster import CLUSTER, WebCluster
from taskerman.errors import CoordinationUnavailable
from taskerman.model.cluster import Node
from taskerman.testing.zookeeper_server import ZookeeperServer

__all__ = ["Ground", "play"]

PROBER = Path(__file__).with_name("prober.py")
IN_EACH_AZ = 2


@dataclass(frozen=True, slots=True)
class Ground:
    """What is there before the demo begins. `zookeeper`: launched; None: `why_embedded` says why there is none."""

    folder: Path
    crew: Crew
    screen: Screen
    zookeeper: ZookeeperServer | None
    why_embedded: str = ""


def play(ground: Ground) -> str:
    """Everything, to the end; returns what it was that was shown. Raises `NotSo`, `TaskermanError`."""
    with ground.screen.busy("starting everything"):
        scene, why_embedded = _set(ground)
    one_that_goes_well(scene)
    one_that_stops(scene)
    return _what_it_was(why_embedded)


def _set(ground: Ground) -> tuple[Scene, str]:
    """Start whatever is missing; the scene, and why its coordination is embedded, or nothing."""
    folder, crew, screen = ground.folder, ground.crew, ground.screen
    cloud = Cloud(crew)
    nodes = cloud.start_instances(CLUSTER, IN_EACH_AZ)
    screen.fact("cloud", "a local AWS (moto's SQS and EC2) on loopback")
    cluster = WebCluster(crew, folder / "web", nodes)
    zones = f"{IN_EACH_AZ} in each of {len(AZS)} zones"
    screen.fact(CLUSTER, f"{len(nodes)} processes that serve HTTP, tagged in EC2, {zones}")
    witness = folder / "prober.jsonl"
    ports = [f"{node}={port}" for node, port in cluster.ports.items()]
    crew.start("prober", [sys.executable, "-I", "-S", str(PROBER), str(witness), *ports])
    screen.fact("prober", "asks all six every 20 ms from now on, and knows nothing of Taskerman")
    installation, why_embedded = _installation(ground)
    screen.fact("coordination", installation.coordination)
    initialise(installation.desk)
    installation.start({node.id: cluster.configuration(node.id) for node in nodes})
    _wait_for_everybody(installation, nodes, witness)
    screen.fact("taskerman", installation.daemons)
    return Scene(installation, cluster, witness, screen), why_embedded


def _installation(ground: Ground) -> tuple[Installation, str]:
    """The better one that can be had; and why it is not the other, or nothing."""
    if ground.zookeeper is None:
        return Embedded(ground.crew, ground.folder), ground.why_embedded
    try:
        ground.zookeeper.wait_until_serving()
    except CoordinationUnavailable as error:
        why = f"ZooKeeper did not start: {' '.join(str(error).split())[:200]}"
        return Embedded(ground.crew, ground.folder), why
    return AsProcesses(ground.crew, ground.folder, ground.zookeeper.hosts), ""


def _wait_for_everybody(installation: Installation, nodes: Sequence[Node], witness: Path) -> None:
    desk = installation.desk
    queues = [desk.names.node(node.id) for node in nodes]
    wait_for(lambda: all(map(desk.queues.exists, queues)), "every agent listens to its queue", installation.check)
    everybody = {node.id for node in nodes}
    wait_for(lambda: Facts.read(witness).known() == everybody, "the prober finds all six well", installation.check)


def _what_it_was(why_embedded: str) -> str:
    if not why_embedded:
        return (
            "All of this was so. Coordination was a real ZooKeeper (one server, thrown away now); router, agents, "
            "attempts and nodes were processes. Only the cloud was not real: SQS and EC2 were moto's."
        )
    return (
        f"All of this was so. Coordination was embedded in memory ({why_embedded}); nodes and attempts were processes. "
        "Not shown: a real ZooKeeper, and router and agents as processes of their own."
    )
