"""What a task is told by options, in the same words for every verb that takes them."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "Action",
    "Arg",
    "Cluster",
    "Concurrency",
    "Limit",
    "MaxFailures",
    "OnNode",
    "Owner",
    "Priority",
    "Retries",
    "Scope",
    "Window",
]

Action = Annotated[str | None, typer.Option(help="<runner>:<operation>, instead of --file.")]
Cluster = Annotated[str | None, typer.Option(help="<kind>:<name>.")]
Owner = Annotated[str | None, typer.Option(help="Whose task it is. Default: yours.")]
Limit = Annotated[int | None, typer.Option(help="On how many nodes in all. Default: all of them.")]
Concurrency = Annotated[str | None, typer.Option(help="How many at once: 2, or 10%. Default: 1.")]
OnNode = Annotated[list[str] | None, typer.Option(help="On this node; repeat it for several.")]
Arg = Annotated[
    list[str] | None, typer.Option(help="An argument of the action: name=value, the value as JSON or text.")
]
Retries = Annotated[int | None, typer.Option(help="Attempts after the first. Default: 3.")]
MaxFailures = Annotated[int | None, typer.Option(help="Nodes that may fail before it halts. Default: 0.")]
Scope = Annotated[
    str | None, typer.Option(help="A named scope in which each node takes a slot, too: `taskerman scopes list`.")
]
Priority = Annotated[
    int | None, typer.Option(help="0 to 9: of the cluster's tasks the highest goes first. Default: 5.")
]
Window = Annotated[
    list[str] | None,
    typer.Option(
        help="Nodes start only then: 22:00-04:00, or sat,sun@01:00-24:00; repeat it for several. Blackouts need --file."
    ),
]
