"""What is seen of a service and of its peers at about one time. Looks, and changes nothing; it decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit, urlunsplit

from runners.service.config import Peer, Service
from runners.service.health import ask_http, ill
from runners.service.starts import running_start
from taskerman import Context

__all__ = ["View", "ask_peers", "look"]

THREADS = 16


@dataclass(frozen=True, slots=True)
class View:
    """`start`: which start of the service runs, None while it does not. `ill`: why it is not well, "" when it is.

    `peers`: of each other node why it is not well, "" when it is. `unseen`: how many nodes of the task nobody can ask
    about. `doubts`: peers that are well and do not say of this node what they should, each with what it says;
    `vouched`: peers that do.
    """

    start: str | None
    ill: str = ""
    peers: Mapping[str, str] = field(default_factory=dict)
    unseen: int = 0
    doubts: Mapping[str, str] = field(default_factory=dict)
    vouched: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """The service of this node runs and passes its checks."""
        return self.start is not None and not self.ill

    @property
    def unwell(self) -> tuple[str, ...]:
        """Which peers are not well, with why."""
        return tuple(f"{name} ({why})" for name, why in self.peers.items() if why)


def look(service: Service, ctx: Context, *, about_me: bool = False) -> View:
    """Ask the service, and all its peers at once: one that hangs costs its time, and not every other's as well.

    `about_me`: ask them how they see this node, too. Raises `NoService`, `CommandFailed`.
    """
    start = running_start(service, ctx)
    why = "it does not run" if start is None else next(filter(None, (ill(each, ctx) for each in service.checks)), "")
    peers = {name: peer for name, peer in service.peers.items() if name != ctx.node_id}
    answers = ask_peers(peers, ctx)
    doubts: dict[str, str] = {}
    asked = [name for name, peer in peers.items() if about_me and peer.about is not None and not answers[name]]
    me = service.called or ctx.node_id
    for name, said in _each(asked, lambda name: _about(peers[name], me)):
        doubts |= {name: said} if said else {}
    return View(
        start=start,
        ill=why,
        peers=answers,
        unseen=max(0, len(set(ctx.nodes) - {ctx.node_id}) - len(peers)),
        doubts=doubts,
        vouched=tuple(name for name in asked if name not in doubts),
    )


def ask_peers(peers: Mapping[str, Peer], ctx: Context) -> dict[str, str]:
    """Why each is not well, "" when it is; all at once, but for commands."""
    # Commands one after another: they are streamed into one log, in which two at once cannot be told apart.
    asked = dict(_each([name for name, peer in peers.items() if peer.command is None], lambda n: ill(peers[n], ctx)))
    asked |= {name: ill(peer, ctx) for name, peer in peers.items() if peer.command is not None}
    return {name: asked[name] for name in peers}


def _each(names: Sequence[str], ask: Callable[[str], str]) -> list[tuple[str, str]]:
    if not names:
        return []
    with ThreadPoolExecutor(min(THREADS, len(names))) as pool:
        return list(zip(names, pool.map(ask, names), strict=True))


def _about(peer: Peer, me: str) -> str:
    assert peer.http is not None
    assert peer.about is not None
    parts = urlsplit(peer.http)
    path, _, query = peer.about.replace("{node}", quote(me, safe="")).partition("?")
    return ask_http(urlunsplit((parts.scheme, parts.netloc, path, query, "")), peer, status=200, body=peer.about_body)
