"""`python -m tests.chaos --seed 7 --minutes 10`: a run, its figures, and 0 only if every promise was kept."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tests.chaos.cell import IN_A_CELL, can_make_cells, open_cell


def main() -> int:
    """Parse, go into a cell, run, judge, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long things go wrong")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two faults, on average")
    parser.add_argument(
        "--clusters", default="alpha=4,beta=4,alpha+beta=1", help="name=nodes,...; of two: name+name=nodes"
    )
    parser.add_argument("--plan", type=Path, help="replay this plan instead of drawing one")
    parser.add_argument("--folder", type=Path, help="keep everything there; else it is kept when a promise was broken")
    parser.add_argument("--breakage", default="", choices=["", "cap", "holds", "letters"], help="to see the judge cry")
    asked = parser.parse_args()
    if IN_A_CELL not in os.environ and can_make_cells():
        return open_cell([sys.executable, "-m", "tests.chaos", *sys.argv[1:]])
    return _run(asked)


def _run(asked: argparse.Namespace) -> int:
    from tests.chaos.director import CAN_PUT_AWAY, Director  # noqa: PLC0415  (not before --help)
    from tests.chaos.judge import judge  # noqa: PLC0415
    from tests.chaos.report import figures, show  # noqa: PLC0415
    from tests.chaos.schedule import draw, read, write  # noqa: PLC0415

    logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # that connections break is what we are here for
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="taskerman-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    can_reclaim = find_spec("taskerman.janitor.reclaiming") is not None
    length_s = asked.minutes * 60
    in_a_cell = IN_A_CELL in os.environ
    plan = (
        read(asked.plan)
        if asked.plan
        else draw(asked.seed, length_s, every_s=asked.every, has_cell=in_a_cell, can_reclaim=can_reclaim)
    )
    write(folder / "plan.jsonl", plan)
    clusters = {
        " ".join(f"chaos:{name}" for name in names.split("+")): int(size)
        for names, size in (part.split("=") for part in asked.clusters.split(","))
    }
    print(f"seed {asked.seed}, {asked.minutes:g} minutes, {len(plan)} things planned: {folder}/plan.jsonl", flush=True)
    if not in_a_cell:
        print("not checked here: partitions and full disks (they need root and namespaces)", flush=True)
    if not can_reclaim:
        print("not checked here: instances that are terminated (the janitor does not reclaim yet)", flush=True)
    if not CAN_PUT_AWAY:
        print("not checked here: what is left in ZooKeeper when tasks are put away (not built yet)", flush=True)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)

    director = Director(
        folder,
        seed=asked.seed,
        length_s=length_s,
        plan=plan,
        clusters=clusters,
        breakage=asked.breakage,
        say=say,
    )
    history = director.run()
    say("judging")
    violations = judge(history)
    found = figures(
        folder, history, violations, seed=asked.seed, minutes=asked.minutes, nodes=sum(clusters.values()),
        queue_faults=director.harmed,
    )  # fmt: skip
    (folder / "figures.json").write_text(json.dumps(found, indent=2))
    print(show(found, violations), flush=True)
    if violations:
        print(f"everything is kept in {folder}; again: --seed {asked.seed} --minutes {asked.minutes:g}")
        return 1
    if asked.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
