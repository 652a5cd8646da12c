"""What the members of a ZooKeeper ensemble say of themselves, as values. Nothing is judged here; rules.py does.

Every member is asked: a leader that is well in its own eyes says nothing about a follower that has stopped following.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from runners.zookeeper.wire import Address, Door, NotServing, NotZookeeper

__all__ = ["Answer", "Idle", "Layout", "Member", "Silent", "View", "epoch_of", "look", "read_layout", "shown"]

_THREADS = 16
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_SERVER = re.compile(r"server\.(\d+)=([^;|]+?):\d+:\d+(?::(participant|observer))?(?:;(.+))?")


def epoch_of(zxid: int) -> int:
    """How many leaders there were, up to this transaction."""
    return zxid >> 32


@dataclass(frozen=True, slots=True)
class Member:
    """One that serves. `mode`: leader, follower, observer, standalone, read-only. `zxid`: what it has applied.

    `uptime_s`: since its last election or start, whichever was later. `peer_state`: "following - broadcast", say; "" of
    one that does not tell. `voters`: how many there are, as it knows it; 0 outside an ensemble. `synced`: followers
    that a leader counts as in step; None of others.
    """

    mode: str
    zxid: int
    outstanding: int = 0
    version: tuple[int, int, int] = (0, 0, 0)
    uptime_s: float = 0.0
    peer_state: str = ""
    voters: int = 0
    synced: int | None = None

    @property
    def votes(self) -> bool:
        """An observer or a read-only server does not count for the quorum."""
        return self.mode in ("leader", "follower")


@dataclass(frozen=True, slots=True)
class Idle:
    """One that runs and serves nobody."""

    why: str


@dataclass(frozen=True, slots=True)
class Silent:
    """One that does not answer. `refused`: nobody listens there."""

    why: str
    refused: bool = False


Answer = Member | Idle | Silent


@dataclass(frozen=True, slots=True)
class View:
    """Everybody's answer at about one time. `others`: by "host:port"."""

    own: Answer
    others: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def own_is_down(self) -> bool:
        """Nobody listens where the own server should."""
        return isinstance(self.own, Silent) and self.own.refused

    @property
    def serving(self) -> dict[str, Member]:
        """The others that serve."""
        return {name: each for name, each in self.others.items() if isinstance(each, Member)}

    @property
    def leaders(self) -> list[Member]:
        """Whoever says that it leads, the own one too."""
        everybody = [self.own, *self.others.values()]
        return [each for each in everybody if isinstance(each, Member) and each.mode == "leader"]

    @property
    def voters(self) -> frozenset[int]:
        """How many voters there are, as each member knows it; of an ensemble in peace, one number."""
        everybody = [self.own, *self.others.values()]
        return frozenset(each.voters for each in everybody if isinstance(each, Member) and each.voters)


@dataclass(frozen=True, slots=True)
class Layout:
    """What `conf` says. `data`, `log`: the folders of snapshots and of transaction logs. `others`: client addresses of
    the other members. `weighted`: the quorum is one of groups or weights."""

    data: str
    log: str
    others: tuple[Address, ...] = ()
    weighted: bool = False


def look(own: Address, others: Sequence[Address], door: Door) -> View:
    """Ask everybody at once. Raises `Unlisted` when a member that answers does not answer what is needed."""
    with ThreadPoolExecutor(max_workers=min(_THREADS, len(others) + 1)) as pool:
        asked = pool.map(lambda address: _ask(address, door), [own, *others])
        mine, *rest = list(asked)
    return View(mine, {f"{host}:{port}": answer for (host, port), answer in zip(others, rest, strict=True)})


def read_layout(own: Address, door: Door) -> Layout:
    """Where the own server keeps its data, and who the others are. As `Door.say`; `NotZookeeper` for what it is not."""
    text = door.say(own, "conf")
    values = dict(line.partition("=")[::2] for line in text.splitlines() if not line.startswith("server."))
    if "dataDir" not in values:
        raise NotZookeeper("conf names no dataDir")
    others: list[Address] = []
    for line in text.splitlines():
        found = _SERVER.fullmatch(line.strip())
        if found is not None and found[1] != values.get("serverId"):
            others.append(_client_address(found[2], found[4] or "", own[1]))
    weighted = any(line.startswith(("group.", "weight.")) for line in text.splitlines())
    return Layout(values["dataDir"], values.get("dataLogDir", values["dataDir"]), tuple(others), weighted)


def shown(view: View) -> dict[str, object]:
    """For the attempt's log."""
    return {"own": _brief(view.own), **{name: _brief(answer) for name, answer in view.others.items()}}


def _brief(answer: Answer) -> str:
    return f"{answer.mode} {answer.zxid:#x}" if isinstance(answer, Member) else answer.why


def _client_address(host: str, client: str, own_port: int) -> Address:
    """A line without a client address leaves it to each server's own file: its port is taken to be everybody's."""
    bound, _, port = client.rpartition(":")
    wide = bound.strip("[]") in ("", "0.0.0.0", "::", "0:0:0:0:0:0:0:0")  # noqa: S104  (compared, not bound)
    return (host if wide else bound).strip("[]"), int(port) if port.isdigit() else own_port


def _ask(address: Address, door: Door) -> Answer:
    try:
        said = door.say(address, "srvr")
        lines = dict(line.partition(": ")[::2] for line in said.splitlines())
        mode, zxid = lines.get("Mode", ""), lines.get("Zxid", "")
        if not mode or not zxid:
            raise NotZookeeper("srvr is not answered as ZooKeeper does")
        more = door.monitor(address) if mode != "read-only" else {}
        return _member(mode, int(zxid, 16), more)
    except NotServing as error:
        return Idle(str(error))
    except ConnectionRefusedError:
        return Silent("nobody listens there", refused=True)
    except (OSError, ValueError) as error:
        return Silent(str(error) or type(error).__name__)


def _member(mode: str, zxid: int, said: Mapping[str, str]) -> Member:
    version = _VERSION.match(said.get("version", ""))
    synced = said.get("synced_followers")
    return Member(
        mode=mode,
        zxid=zxid,
        outstanding=int(said.get("outstanding_requests", 0)),
        version=(int(version[1]), int(version[2]), int(version[3])) if version else (0, 0, 0),
        uptime_s=int(said.get("uptime", 0)) / 1000,
        peer_state=said.get("peer_state", ""),
        voters=int(said.get("quorum_size", 0)),
        synced=int(float(synced)) if synced is not None else None,
    )
