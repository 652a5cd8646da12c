"""Asking one ZooKeeper server: its four-letter words, and its AdminServer for those that its whitelist forbids.

No session is opened: whoever asks costs the server nothing, and is answered also by one that serves nobody. An answer
that cannot be understood is an error and never a guess.
"""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.error import URLError

__all__ = ["Address", "Door", "NotServing", "NotZookeeper", "Unlisted"]

Address = tuple[str, int]

MOST_BYTES = 1024 * 1024
_UNLISTED = "is not executed because it is not in the whitelist"
_IDLE = "not currently serving requests"
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotZookeeper(OSError):
    """Whoever answers there does not answer as ZooKeeper does."""


class NotServing(Exception):
    """The server runs and serves nobody: it looks for a leader, or loads, or synchronizes."""


class Unlisted(Exception):
    """A four-letter word is not in the server's whitelist. `word`: which."""

    def __init__(self, word: str, address: Address) -> None:
        self.word = word
        super().__init__(
            f"{address[0]}:{address[1]} does not answer {word}: add it to 4lw.commands.whitelist of every member"
        )


@dataclass(frozen=True, slots=True)
class Door:
    """How servers are asked. `timeout_s`: for one answer. `admin_port`: of every member's AdminServer; None: none."""

    timeout_s: float = 2.0
    admin_port: int | None = None

    def say(self, address: Address, word: str) -> str:
        """What the server at `address` answers to a four-letter word.

        Raises `NotServing`, `Unlisted`, and `OSError` when there is no answer (`NotZookeeper`: an empty one).
        """
        with socket.create_connection(address, timeout=self.timeout_s) as wire:
            wire.sendall(word.encode())
            answer = b""
            while len(answer) < MOST_BYTES and (chunk := wire.recv(16 * 1024)):
                answer += chunk
        text = answer.decode(errors="replace")
        if _UNLISTED in text:
            raise Unlisted(word, address)
        if _IDLE in text:
            raise NotServing(f"{address[0]}:{address[1]} runs and does not serve")
        if not text.strip():
            raise NotZookeeper(f"{word} is answered with nothing")
        return text

    def monitor(self, address: Address) -> Mapping[str, str]:
        """What `mntr` says, by name without its `zk_`; of the AdminServer where `mntr` is not whitelisted. As `say`."""
        try:
            lines = (line.partition("\t") for line in self.say(address, "mntr").splitlines())
            return {name.removeprefix("zk_"): value for name, tab, value in lines if tab}
        except Unlisted:
            if self.admin_port is None:
                raise
            return self._admin(address[0], self.admin_port, "monitor")

    def _admin(self, host: str, port: int, command: str) -> Mapping[str, str]:
        place = f"[{host}]" if ":" in host else host
        try:
            with _NO_PROXY.open(f"http://{place}:{port}/commands/{command}", timeout=self.timeout_s) as answer:
                said = json.loads(answer.read(MOST_BYTES))
        except ValueError as error:
            raise NotZookeeper(f"the AdminServer at {place}:{port} does not answer in JSON") from error
        except URLError as error:
            raise OSError(f"the AdminServer at {place}:{port}: {error.reason}") from error
        if not isinstance(said, dict):
            raise NotZookeeper(f"the AdminServer at {place}:{port} does not answer with an object")
        if said.get("error"):
            raise NotServing(f"{place}:{port}: {said['error']}")
        return {str(name): str(value) for name, value in said.items()}
