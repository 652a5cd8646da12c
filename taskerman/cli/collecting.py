"""`taskerman schedules collect`: the schedules that scripts carry in their comments, as one file to be reviewed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["collect"]


def collect(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the scripts, and the folders in it.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file that is written. Default: it is printed.")
    ] = None,
    installed_at: Annotated[
        str | None, typer.Option(metavar="PATH", help="The folder's path on the nodes. Default: its path here.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 4 if --out would be changed.")
    ] = False,
) -> None:
    """Write one file of the schedules that scripts carry. They are in comments, from >>> taskerman to <<< taskerman."""
    from taskerman import bootstrap  # noqa: PLC0415
    from taskerman.errors import UsageError  # noqa: PLC0415

    if check and out is None:
        raise UsageError("--check compares with a file.", next_step="Name it: --out FILE.")
    collected = bootstrap.collect_schedules(folder, out, installed_at=installed_at, check=check)
    if out is None:
        print(collected.text, end="")
        return
    what = "is as it was" if not collected.changed else "was written"
    print(f"{out} {what}: {collected.schedules} schedules of {collected.scripts} scripts.")
