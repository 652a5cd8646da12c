"""`taskerman upload`: a program for `command_task:binary` goes into S3, and what a schedule says of it is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskerman.cli.printing import Json, print_value

if TYPE_CHECKING:
    from taskerman.adapters.uploads import Uploaded

__all__ = ["upload"]


def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The program.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="PLACE", help="s3://bucket/prefix. Default: TASKERMAN_UPLOADS.")
    ] = None,
    called: Annotated[str, typer.Option("--name", help="What people call it. Default: the file's name.")] = "",
    sign_with: Annotated[
        Path | None, typer.Option("--sign-with", help="Vouch for it with the Ed25519 private key in this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put a program into S3, under the hash of its content. What a schedule and a node say of it is printed."""
    from taskerman import bootstrap  # noqa: PLC0415

    done = bootstrap.upload_program(bootstrap.read_settings().settings, file, to, name=called, key=sign_with)
    print_value(done, as_json, [_shown(done)])


def _shown(done: Uploaded) -> str:
    said = "was uploaded" if done.new else "was there already"
    vouched = f", signed at {done.url}.sig" if done.signed else ""
    return f"""{done.name} {said}: {done.size:,} bytes at {done.url}{vouched}

In a schedule:

    binary:  # {done.name}
      url: {done.url}
      sha256: {done.sha256}
      args: []

In the settings file of each node that is to run it:

    [[runners.command_task.binaries]]  # {done.name}
    sha256 = "{done.sha256}"
"""
