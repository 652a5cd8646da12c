"""What control groups this machine has, for tests of them: each way of keeping attempts apart, and cleaning up."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskerman.agent.isolation import Isolation, detect

__all__ = ["MOUNTS", "isolation", "needs_groups", "remove_groups", "without_v2"]

DYING_S = 20.0
MOUNTS = Path("/proc/self/mountinfo")


def _mounts() -> list[Path]:
    lines = [line.partition(" - ") for line in MOUNTS.read_text().splitlines()]
    return [Path(before.split()[4]) for before, _, after in lines if after.startswith("cgroup")]


def remove_groups(folder: str) -> None:
    """Remove `folder` and all groups below it, in every hierarchy; what was killed in them may still be dying."""
    give_up_at = time.monotonic() + DYING_S
    for mount in _mounts():
        for directory, _, _ in os.walk(mount / folder.strip("/"), topdown=False):
            _remove(directory, give_up_at)


def _remove(directory: str, give_up_at: float) -> None:
    while True:
        try:
            os.rmdir(directory)
        except FileNotFoundError:  # an agent that ends removes its own
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() >= give_up_at:
                raise
            time.sleep(0.01)
        else:
            return


def without_v2(folder: Path) -> Path:
    """The mounts of this machine as they would be without the unified hierarchy."""
    file = folder / "mountinfo"
    file.write_text("".join(line for line in MOUNTS.read_text().splitlines(keepends=True) if " - cgroup2 " not in line))
    return file


@pytest.fixture(params=["groups", "groups without v2", "session"])
def isolation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Isolation]:
    """Each way in which this machine can keep attempts apart. One that it has not is skipped, and fails in CI."""
    if request.param == "session":
        yield detect("none", "")
        return
    name = f"/taskerman-test-{uuid.uuid4().hex[:12]}"
    where = {"mounts": without_v2(tmp_path)} if request.param == "groups without v2" else {}
    found = detect(name, uuid.uuid4().hex, **where)
    try:
        needs_groups(found)
        yield found
    finally:
        remove_groups(name)


def needs_groups(found: Isolation) -> None:
    """Skip where there are no groups; fail in CI, which is to have them."""
    if not found.hierarchies:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(found))
