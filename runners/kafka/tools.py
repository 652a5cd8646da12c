"""Asking a Kafka cluster with its own admin tools. One that cannot be asked now is told apart from tools that cannot be
used at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from runners.kafka.answers import (
    Broker,
    NotUnderstood,
    Partition,
    Quorum,
    Setting,
    parse_brokers,
    parse_controller,
    parse_names,
    parse_quorum,
    parse_reassignments,
    parse_settings,
    parse_topics,
    printable,
)
from runners.kafka.config import Config
from taskerman import CommandFailed, CommandResult, Context

__all__ = ["CannotAsk", "MayNotAsk", "Tools"]

T = TypeVar("T")
_CHANGE = timedelta(minutes=3)
_DENIED = ("AuthorizationException", "AuthenticationException", "Not authorized", "SslHandshakeException")


class CannotAsk(Exception):
    """The cluster does not answer now."""


class MayNotAsk(Exception):
    """Asking again will not help: a tool is not there, or its user may not ask."""


class Tools:
    """Kafka's admin tools, as this node is configured."""

    def __init__(self, ctx: Context, config: Config) -> None:
        self._ctx, self._config = ctx, config

    def brokers(self) -> dict[int, Broker]:
        """Who is registered, and who answers."""
        return self._read("broker-api-versions", [], parse_brokers)

    def partitions(self) -> list[Partition]:
        """All of them. Raises `CannotAsk` when the list of topics has others, as while one is made."""
        found = self._read("topics", ["--describe"], parse_topics)
        names = self._read("topics", ["--list"], parse_names)
        if names != {one.topic for one in found}:
            odd = sorted(names ^ {one.topic for one in found})
            raise CannotAsk(f"the list of topics and their description differ: {odd[0]}")
        return found

    def moving(self) -> list[str]:
        """The partitions that are being reassigned."""
        return self._read("reassign-partitions", ["--list"], parse_reassignments)

    def quorum(self) -> Quorum:
        """The controllers of KRaft."""
        status = self._read("metadata-quorum", ["describe", "--status"], str)
        return parse_quorum(status, self._read("metadata-quorum", ["describe", "--replication"], str))

    def controller(self) -> int:
        """The active controller, in ZooKeeper mode."""
        words = [self._path("zookeeper-shell"), self._config.zookeeper, "get", "/controller"]
        return parse_controller(self._ask(words))

    def settings(self) -> dict[str, Setting]:
        """All settings of this node's broker."""
        node = str(self._config.node_id)
        words = ["--describe", "--all", "--entity-type", "brokers", "--entity-name", node]
        return self._read("configs", words, lambda text: parse_settings(text, self._config.node_id))

    def do(self, tool: str, *words: str) -> CommandResult:
        """A command that changes something: its output is in the attempt's log. Raises `CommandFailed`."""
        return self._ctx.command(self._words(tool, list(words)), timeout=_CHANGE)

    def started(self) -> str:
        """Something that differs after each start of this node's service; "" while it does not run.

        Raises `CannotAsk`, `MayNotAsk`.
        """
        said = self._ask(list(self._config.started)).strip()
        return "" if not said or "MainPID=0" in said.splitlines() else said

    def peer_started(self, broker: Broker) -> float | None:
        """When the service of another broker was started, seconds since 1970; None when that is not known."""
        if not self._config.peer_started:
            return None
        host = broker.address.rpartition(":")[0]
        try:
            return float(self._ask([word.replace("{host}", host) for word in self._config.peer_started]))
        except (CannotAsk, MayNotAsk, ValueError) as error:
            self._ctx.log("does not know when a peer was started", broker=broker.id, why=str(error))
            return None

    # --- one answer --------------------------------------------------------------------------------------

    def _read(self, tool: str, words: list[str], parse: Callable[[str], T]) -> T:
        """Raises `CannotAsk`, `MayNotAsk`, `NotUnderstood`."""
        text = self._ask(self._words(tool, words))
        if not text.strip():
            raise NotUnderstood(f"kafka-{tool}", "nothing")
        if not text.endswith("\n"):
            raise NotUnderstood(f"kafka-{tool}", f"it ends within a line: {text[-60:]}")
        return parse(text)

    def _ask(self, words: list[str]) -> str:
        name = Path(words[0]).name
        try:
            answer = self._ctx.ask(words, timeout=timedelta(seconds=self._config.answer_s))
        except CommandFailed as failed:
            if "cannot be started" in failed.why:
                raise MayNotAsk(f"{words[0]} {failed.why}; correct tools and suffix of this node") from None
            raise CannotAsk(f"{name} does not answer: {failed.why}") from None
        if answer.exit != 0 or answer.output.startswith("Error while executing"):
            said = printable(next(filter(str.strip, answer.output.splitlines()), "no word"), 200)
            if any(word in answer.output for word in _DENIED):
                raise MayNotAsk(f"{name} is refused: {said}; correct command_config of this node, or its rights")
            if "UnsupportedVersionException" in answer.output:
                raise MayNotAsk(
                    f"{name}: {said}; in ZooKeeper mode set zookeeper of this node, else the tools' version"
                )
            raise CannotAsk(f"{name} cannot ask the cluster: {said}")
        return answer.output

    def _words(self, tool: str, words: list[str]) -> list[str]:
        asked = [self._path(f"kafka-{tool}"), "--bootstrap-server", ",".join(self._config.bootstrap)]
        if self._config.command_config:
            # The election's tool alone has it by another name, and only since 4.2 by this one too.
            option = "--admin.config" if tool == "leader-election" else "--command-config"
            asked += [option, self._config.command_config]
        return asked + words

    def _path(self, name: str) -> str:
        return str(Path(self._config.tools) / f"{name}{self._config.suffix}")
