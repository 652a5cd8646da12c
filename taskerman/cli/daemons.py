"""Verbs that start a daemon: router, agent, janitor, scheduler; and the demo."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from taskerman.settings import Settings
    from taskerman.telemetry.declarations import Role
    from taskerman.telemetry.telling import Told

__all__ = ["agent", "demo", "janitor", "router", "scheduler"]


def router() -> None:
    """Route tasks: resolve the cluster, fix the plan, ring nodes. Any number may run; SIGTERM ends it."""
    from taskerman import bootstrap  # noqa: PLC0415

    settings = bootstrap.read_settings().settings
    with _telling("router", settings) as told, bootstrap.open_router(settings, told.emit, told=told) as daemon:
        _stop_on_signals(daemon.stop)
        daemon.run()


def agent(
    once: Annotated[bool, typer.Option("--once", help="Do what there is to do, and end: for cron.")] = False,
    max_wait: Annotated[float, typer.Option(help="With --once: end after so many seconds of waiting.", min=0)] = 600,
) -> None:
    """Do this node's tasks, each in its turn. One a node; SIGTERM lets a running action go on and ends the agent."""
    from datetime import timedelta  # noqa: PLC0415

    from taskerman import bootstrap  # noqa: PLC0415
    from taskerman.errors import LockedByAnother  # noqa: PLC0415

    settings = bootstrap.read_settings().settings
    try:
        with (
            _telling("agent", settings, once=once) as told,
            bootstrap.open_agent(settings, told.emit, told=told) as daemon,
        ):
            _stop_on_signals(daemon.stop)
            daemon.run(once=once, max_wait=timedelta(seconds=max_wait))
    except LockedByAnother as error:
        if not once:
            raise
        print(error.what)  # a resident agent does the node's work: nothing is left for cron


def janitor(
    once: Annotated[bool, typer.Option("--once", help="Do everything once, if no other leads, and end.")] = False,
) -> None:
    """Keep house: expiries, terminated machines, the past. One leads, others stand by; SIGTERM ends it."""
    from taskerman import bootstrap  # noqa: PLC0415

    settings = bootstrap.read_settings().settings
    with (
        _telling("janitor", settings, once=once) as told,
        bootstrap.open_janitor(settings, told.emit, told=told) as daemon,
    ):
        if not once:
            _stop_on_signals(daemon.stop)
            daemon.run()
        elif not daemon.run_once():
            print("Another janitor leads: nothing was left to do.")


def scheduler(
    once: Annotated[
        bool, typer.Option("--once", help="Emit what is due, if no other leads, and end: for cron, a timer, a Lambda.")
    ] = False,
) -> None:
    """Make tasks of schedules, each on time. One leads, others stand by; SIGTERM ends it."""
    from taskerman import bootstrap  # noqa: PLC0415

    settings = bootstrap.read_settings().settings
    with (
        _telling("scheduler", settings, once=once) as told,
        bootstrap.open_scheduler(settings, told.emit, told=told) as daemon,
    ):
        if not once:
            _stop_on_signals(daemon.stop)
            daemon.run()
        elif not daemon.run_once():
            print("Another scheduler leads: nothing was left to do.")


def demo(
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Coordinate in memory, even where a ZooKeeper could be started.")
    ] = False,
) -> int:
    """A rolling restart on this machine, and one that stops itself. Everything is thrown away afterwards."""
    from taskerman.demo import main  # noqa: PLC0415

    return main(embedded=embedded)


@contextmanager
def _telling(role: Role, settings: Settings, *, once: bool = False) -> Iterator[Told]:
    """Log, metrics and watchdog of this process. With `once` metrics are left in a file: nobody could ask in time."""
    from datetime import timedelta  # noqa: PLC0415

    from taskerman.telemetry.telling import telling  # noqa: PLC0415

    with telling(
        role,
        form=settings.log_format,
        level=settings.log_level,
        address=None if once else settings.metrics_at,
        file=settings.metrics_file if once else None,
        watchdog=timedelta(seconds=settings.watchdog_s),
    ) as told:
        yield told


def _stop_on_signals(stop: Callable[[], None]) -> None:
    def asked(number: int, frame: FrameType | None) -> None:
        stop()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
