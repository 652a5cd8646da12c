"""The verbs, put together. One module for each group of them."""

from __future__ import annotations

from typing import Annotated

import typer

from taskerman.cli import daemons, installation, letters, stops, tasks

__all__ = ["app"]

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Maintains clusters of datastores: declared tasks, done node by node, safely.",
    epilog="Exit codes: 0 done, 2 bad input, 3 no such thing, 4 refused by its state, 5 cannot reach, 6 not permitted; "
    "with --wait: 10 dead letters, 11 halted, 12 cancelled or expired, 13 the wait ran out.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(version("taskerman"))
        raise typer.Exit


@app.callback()
def _everything(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Maintains clusters of datastores: declared tasks, done node by node, safely."""


app.command("submit")(tasks.submit)
app.command("status")(tasks.status)
app.command("explain")(tasks.explain)
app.command("cancel")(stops.cancel)
app.command("resume")(stops.resume)
app.command("hold")(stops.hold)
app.command("unhold")(stops.unhold)
app.add_typer(stops.slots, name="slots")
app.add_typer(letters.dlq, name="dlq")
app.command("router")(daemons.router)
app.command("agent")(daemons.agent)
app.command("init")(installation.init)
app.command("doctor")(installation.doctor)
app.command("settings")(installation.settings)
app.command("schema")(installation.schema)
app.command("demo")(daemons.demo)
