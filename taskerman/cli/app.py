"""The verbs, put together: the parser of one command line.

Only the verb that is asked for gets its options; of the others their first line is all that help shows, and to take
their options apart costs a third of what help may take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from taskerman.cli import (
    actions,
    brackets,
    breakers,
    collecting,
    daemons,
    exclusive,
    history,
    installation,
    keys,
    letters,
    new_runner,
    planning,
    schedule_edits,
    schedules,
    scopes,
    stops,
    tasks,
    uploading,
    validating,
)

__all__ = ["VERBS", "parser_for"]

schedules.schedules.command("add", help="Declare a new one, of options or of a file (--file).")(schedule_edits.declare)
schedules.schedules.command("edit", help="Declare it otherwise: what options name, or by a file.")(
    schedule_edits.declare
)
schedules.schedules.command("remove")(schedule_edits.remove)
schedules.schedules.command("collect")(collecting.collect)

VERBS: dict[str, Callable[..., Any] | typer.Typer] = {
    "submit": tasks.submit,
    "status": tasks.status,
    "explain": tasks.explain,
    "cancel": stops.cancel,
    "resume": stops.resume,
    "approve": stops.approve,
    "hold": stops.hold,
    "unhold": stops.unhold,
    "slots": stops.slots,
    "scopes": scopes.scopes,
    "exclusive": exclusive.exclusive,
    "groups": exclusive.groups,
    "breaker": breakers.breaker,
    "brackets": brackets.brackets,
    "dlq": letters.dlq,
    "history": history.history,
    "schedules": schedules.schedules,
    "validate": validating.validate,
    "plan": planning.plan,
    "diff": planning.diff,
    "upload": uploading.upload,
    "actions": actions.actions,
    "new-runner": new_runner.new_runner,
    "router": daemons.router,
    "agent": daemons.agent,
    "janitor": daemons.janitor,
    "scheduler": daemons.scheduler,
    "init": installation.init,
    "doctor": installation.doctor,
    "settings": installation.settings,
    "keys": keys.keys,
    "schema": installation.schema,
    "demo": daemons.demo,
}
"""In the order in which help lists them."""


def parser_for(word: str) -> typer.Typer:
    """The parser of a command line that begins with `word`; any other word than a verb gives help, or its error."""
    app = typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit codes: 0 done, 1 a bug, 2 bad input, 3 no such thing, 4 refused by its state, 5 cannot reach, 6 "
        "not permitted; submit --wait: 10 dead letters, 11 halted, 12 cancelled or expired, 13 the wait ran out.",
    )
    app.callback()(_everything)
    for name, verb in VERBS.items():
        if isinstance(verb, typer.Typer):
            if name == word:
                app.add_typer(verb, name=name)
            else:
                app.command(name, help=verb.info.help)(_nothing)
        elif name == word:
            app.command(name)(verb)
        else:
            app.command(name, help=verb.__doc__)(_nothing)
    return app


def _nothing() -> None:
    """Stands for a verb that was not asked for."""


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(version("taskerman"))
        raise typer.Exit


def _everything(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Maintains clusters of datastores: declared tasks, done node by node, safely."""
