"""Verbs about keys and identities: what is made or computed here touches nothing of the installation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["keys"]

keys = typer.Typer(rich_markup_mode=None, help="Keys that sign documents, and identities for ZooKeeper.")


@keys.command("generate")
def _generate(
    file: Annotated[Path, typer.Argument(help="Where the private key goes; its public key goes beside it, as .pub.")],
) -> None:
    """Make an Ed25519 key pair for signing documents. The key's id is the file's name without its ending."""
    from taskerman.bootstrap import generate_key  # noqa: PLC0415

    public = generate_key(file)
    print(f"{file} is the private key: keep it. {public} is for routers: TASKERMAN_SIGNATURE_KEYS.")


@keys.command("digest")
def _digest(
    user: Annotated[str, typer.Argument(help="The user of the identity.")],
    password_file: Annotated[
        Path | None, typer.Option(help="The file with its password. Default: standard input.")
    ] = None,
) -> None:
    """Print what ZooKeeper knows of a password. That is what TASKERMAN_ZOOKEEPER_IDENTITIES takes."""
    from taskerman.bootstrap import identity_digest  # noqa: PLC0415
    from taskerman.errors import UsageError  # noqa: PLC0415

    try:
        password = (sys.stdin.read() if password_file is None else password_file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{password_file} cannot be read.", next_step="Check its path and rights.") from None
    if not password or ":" in user or not user:
        raise UsageError("A user without a colon and a password are wanted.", next_step="Draw a long random one.")
    print(identity_digest(user, password))
