"""How brackets look to people. Pure: values in, lines and tables out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from taskerman.cli.printing import Block, Table, ago, one_line
from taskerman.control.values import BracketShown
from taskerman.model.bracket import BracketState

__all__ = ["brackets", "closed", "said"]


def brackets(values: Sequence[BracketShown], now: datetime) -> list[Block]:
    """Every bracket, and what is to be known of it."""
    if not values:
        return ["No bracket was ever begun."]
    return [
        Table(
            ("CLUSTER", "BRACKET", "STATE", "FOR", "NODES INSIDE", "TASKS", "WHY"),
            tuple(
                (
                    one.cluster_name,
                    one.name,
                    one.state.value,
                    ago(one.since, now),
                    _some(one.inside),
                    _some(one.tasks),
                    one_line(_why(one)),
                )
                for one in values
            ),
        )
    ]


def closed(value: BracketShown) -> list[Block]:
    """What a person said of it."""
    return [f"The bracket {value.name} of {value.cluster_name} is closed; it was {value.state.value}."]


def said(one: BracketShown, now: datetime) -> str:
    """One line, for whoever looks at its task or its cluster."""
    line = f"The bracket {one.name} of {one.cluster_name} is {one.state.value} for {ago(one.since, now)}"
    why = one_line(_why(one))
    return f"{line}: {why}." if why else f"{line}; {_some(one.inside) or 'nobody'} acts in it."


def _why(one: BracketShown) -> str:
    if one.state is BracketState.CLOSING and one.closer is not None:
        return f"{one.closer} ends it"
    if one.tries:
        return f"ending it failed {one.tries} times: {one.why}"
    return one.why


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
