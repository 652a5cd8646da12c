"""`taskerman new-runner`: the beginning of a runner of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from taskerman.cli.printing import Json

__all__ = ["new_runner"]


def new_runner(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the runner: web, or web_task.")],
    into: Annotated[Path, typer.Option(help="The folder in which its own folder is made.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write the skeleton of a runner, with tests that pass. Overwrites nothing."""
    from taskerman.testing.skeleton import write_runner  # noqa: PLC0415

    folder, written = write_runner(name, into)
    if as_json:
        print(json.dumps({"folder": str(folder), "files": written}))
        return
    print(f"Made {folder}:")
    for file in written:
        print(f"  {file}")
    print(f"Next: cd {folder} && pip install -e . && pytest; its README.md says what to change.")
