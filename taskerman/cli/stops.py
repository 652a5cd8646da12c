"""Verbs that stop things and let them go on: hold, unhold, cancel, resume, approve, slots."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from taskerman.cli.printing import Json, Why, check_timeout, desk, live, print_value, print_values

__all__ = ["approve", "cancel", "hold", "resume", "slots", "unhold"]


def hold(
    on: Annotated[str, typer.Argument(metavar="ON", help="cluster:<kind>:<name>, owner:<owner>, or everything.")],
    why: Why,
    lasts: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="The janitor lifts it after 90s, 30m, 2h or 1d30m. Absent: never."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Stop new attempts until a person, or its time, lifts it. What runs goes on, and is named."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        done = control.hold(at, _target(on), why, lasts=None if lasts is None else control.time_span(lasts))
        print_value(done, as_json, views.held(done, at.now()))


def unhold(
    hold_id: Annotated[str, typer.Argument(metavar="HOLD", help="Its id, or what it stands on.")],
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Lift a hold. What waited for it goes on by itself."""
    from taskerman import control  # noqa: PLC0415

    with desk() as at:
        done = control.unhold(at, _target(hold_id), why)
        left = ", ".join(f"{one.id} on {one.target}" for one in done.left)
        said = f"Hold {done.hold.id} on {done.hold.target} is lifted."
        print_value(done, as_json, [said, f"Still standing: {left}." if left else "No hold stands."])


def _target(on: str) -> str:
    """Everything is `*` in the record, which a shell would take for a list of files."""
    return "*" if on == "everything" else on


def cancel(
    task: Annotated[str, typer.Argument(help="A task.")],
    why: Why,
    wait: Annotated[bool, typer.Option("--wait", help="Until every node of it has an end.")] = False,
    timeout: Annotated[
        float | None, typer.Option(help="With --wait: stop waiting after so many seconds (exit code 13).")
    ] = None,
    as_json: Json = False,
) -> int:
    """End a task. Nothing of it starts any more, and what runs is asked to stop."""
    from datetime import timedelta  # noqa: PLC0415

    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    check_timeout(timeout, wait)
    with desk() as at:
        done = control.cancel(at, task, why)
        if not wait:
            print_value(done, as_json, views.cancelled(done, at.now()))
            return 0
        patience = None if timeout is None else timedelta(seconds=timeout)
        with live() as screen:
            for done in control.follow_cancel(at, task, patience=patience, pause=time.sleep):
                if as_json:
                    print(done.model_dump_json(), flush=True)
                else:
                    screen.show(views.cancelled(done, at.now()))
        return 0 if done.ended == done.nodes else 13


def resume(task: Annotated[str, typer.Argument(help="A halted task.")], why: Why = "", as_json: Json = False) -> None:
    """Let a halted task go on. What failed so far is excused, every node without an end is rung."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        done = control.resume(at, task, why)
        print_value(done, as_json, views.resumed(done))


def approve(task: Annotated[str, typer.Argument(help="A parked task.")], why: Why, as_json: Json = False) -> None:
    """Let a parked task begin. You have looked at its nodes; the size of its cluster is believed from now on."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        done = control.approve(at, task, why)
        print_value(done, as_json, views.approved(done))


slots = typer.Typer(
    rich_markup_mode=None,
    help="Who holds which slot, and giving slots back. taskerman slots [CLUSTER] lists.",
)


@slots.command("list")
def _list(
    cluster: Annotated[str | None, typer.Argument(help="A cluster. Absent: all of them.")] = None,
    as_json: Json = False,
) -> None:
    """Every slot that is held. A slot that is held means that the node may be unhealthy."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        found = control.slots_of(at, cluster)
        print_values(found, as_json, views.places(found, at.now()))


@slots.command("release")
def _release(
    node: Annotated[str, typer.Argument(help="The node that holds it.")],
    why: Why,
    node_is_off: Annotated[
        bool,
        typer.Option(
            "--node-is-off",
            help="Your word that the machine is off: its slots are freed at once, its attempt counts as lost.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Give back what a node holds. An acting one is asked to stop; a kept slot of an idle one is freed."""
    from taskerman import control  # noqa: PLC0415
    from taskerman.cli import views  # noqa: PLC0415

    with desk() as at:
        done = control.release(at, node, why, is_off=node_is_off)
        print_value(done, as_json, views.released(done))
