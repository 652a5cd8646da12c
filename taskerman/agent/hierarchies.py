"""Which control-group hierarchies this machine lets us use: read from its mounts, and tried, not guessed.

The groups are made below one folder of ours at the root of each hierarchy, not below the agent's own group: so an
attempt outlives its agent also where a service manager ends a service by killing its group.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CONTROLLERS", "Hierarchy", "usable"]

CONTROLLERS = {"memory": "memory_mb", "cpu": "cpu_percent", "pids": "processes"}
"""What each controller binds, by the names of the document."""

_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """`base`: our folder in it. `controllers`: which of `CONTROLLERS` work below `base`. `v2`: the unified one."""

    base: Path
    controllers: frozenset[str]
    v2: bool


def usable(folder: str, mounts: Path = _MOUNTS) -> tuple[tuple[Hierarchy, ...], str]:
    """The hierarchies in which groups can be made below `folder` ("/taskerman"), and why not in others.

    Makes `folder` where it is absent, and lets v2 controllers through to it. `mounts`: as `/proc/self/mountinfo`.
    Idempotent. Never raises: what cannot be used is left out.
    """
    found: list[Hierarchy] = []
    reasons: list[str] = []
    for mount, v2, names in _mounted(mounts):
        if not v2 and not names & CONTROLLERS.keys():
            continue
        base = mount / folder.strip("/")
        try:
            base.mkdir(parents=True, exist_ok=True)
            _try(base)
        except OSError as error:
            reasons.append(f"{mount}: {error.strerror}")
            continue
        controllers = _let_through(mount, base) if v2 else names & CONTROLLERS.keys()
        found.append(Hierarchy(base, frozenset(controllers), v2))
    why = "; ".join(reasons) if found or reasons else "no control groups are mounted"
    return tuple(found), why


def _mounted(mounts: Path) -> Iterable[tuple[Path, bool, set[str]]]:
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        before, _, after = line.partition(" - ")
        kind, *_, options = after.split() or [""]
        if kind in ("cgroup", "cgroup2"):
            where = before.split()[4].replace("\\040", " ")
            yield Path(where), kind == "cgroup2", set(options.split(","))


def _try(base: Path) -> None:
    probe = base / f"probe-{os.getpid()}"
    probe.mkdir(exist_ok=True)
    probe.rmdir()


def _let_through(mount: Path, base: Path) -> set[str]:
    """Let v2's controllers work in groups below `base`. Those that cannot be let through are not in the answer."""
    chain = [mount, *(mount / part for part in _prefixes(base.relative_to(mount)))]
    for folder in chain:
        for name in sorted(CONTROLLERS.keys() & _words(folder / "cgroup.controllers")):
            if name not in _words(folder / "cgroup.subtree_control"):
                # Busy when processes stand in that group themselves, as in a container's; or it may be forbidden.
                with suppress(OSError):
                    (folder / "cgroup.subtree_control").write_text(f"+{name}", encoding="ascii")
    return CONTROLLERS.keys() & _words(base / "cgroup.subtree_control")


def _prefixes(path: Path) -> list[Path]:
    return [Path(*path.parts[: count + 1]) for count in range(len(path.parts))]


def _words(file: Path) -> set[str]:
    try:
        return set(file.read_text(encoding="ascii").split())
    except OSError:
        return set()
