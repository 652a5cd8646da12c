"""What the members of an etcd cluster say of themselves, as values. Nothing is judged here; rules.py does."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from runners.etcd.gateway import Access, EtcdError, Gateway, Metrics, NotEtcd, Refused

__all__ = ["Alarm", "Answer", "Known", "Server", "Silent", "View", "look", "shown"]

_THREADS = 16
_KEY = base64.b64encode(b"health").decode()


@dataclass(frozen=True, slots=True)
class Known:
    """One line of the member list. `name`: "" of one that was added and has never started."""

    id: str
    name: str
    urls: tuple[str, ...] = ()
    learner: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """What one member says. `leader`: the id of whom it follows; "" of nobody. `healthy`: whether a majority confirmed
    a read through it; else `why` not. `size`, `used`: bytes of its database. `metrics`: of it."""

    id: str
    cluster: str
    version: str
    leader: str = ""
    index: int = 0
    applied: int = 0
    size: int = 0
    used: int = 0
    learner: bool = False
    errors: tuple[str, ...] = ()
    healthy: bool = True
    why: str = ""
    metrics: Metrics = field(default_factory=Metrics)


@dataclass(frozen=True, slots=True)
class Silent:
    """One that does not answer. `refused`: nobody listens there. `forbidden`: it is a matter of rights."""

    why: str
    refused: bool = False
    forbidden: bool = False


Answer = Server | Silent


@dataclass(frozen=True, slots=True)
class Alarm:
    """`kind`: NOSPACE or CORRUPT. `member`: the id of who raised it."""

    kind: str
    member: str


@dataclass(frozen=True, slots=True)
class View:
    """Everybody's answer at about one time. `me`: the own id, "" when it is not known. `others`: what the other members
    of the list answer, by id. `members`: the list, by id; empty when nobody could be asked for it. `elsewhere`: the own
    server is silent at its endpoint, and answers where the list has it."""

    own: Answer
    me: str = ""
    others: Mapping[str, Answer] = field(default_factory=dict)
    members: Mapping[str, Known] = field(default_factory=dict)
    alarms: tuple[Alarm, ...] = ()
    elsewhere: bool = False

    @property
    def serving(self) -> dict[str, Server]:
        """All that answer, the own one too."""
        found = {name: each for name, each in self.others.items() if isinstance(each, Server)}
        return {**found, self.me: self.own} if isinstance(self.own, Server) else found

    @property
    def voters(self) -> tuple[str, ...]:
        """Ids of those that vote."""
        return tuple(name for name, each in self.members.items() if not each.learner)

    @property
    def leads(self) -> bool:
        """Whether the own server is the leader."""
        return isinstance(self.own, Server) and bool(self.me) and self.own.leader == self.me

    def name(self, member: str) -> str:
        """For people."""
        known = self.members.get(member)
        return (known.name if known else "") or member


def look(endpoint: str, access: Access, *, name: str = "", endpoints: Sequence[str] = ()) -> View:
    """Ask the own server and, by the list of members, every other. `name`: the own one's, for when it is down; then one
    of `endpoints` is asked for the list. Raises `ValueError` for TLS files that cannot be used."""
    opener = access.opener()
    doors = {url: Gateway(url, access, opener) for url in dict.fromkeys([endpoint, *endpoints])}
    own = _ask(doors[endpoint])
    first = [doors[endpoint]] if isinstance(own, Server) else [doors[url] for url in endpoints if url != endpoint]
    members, alarms = _list(first)
    me = own.id if isinstance(own, Server) else _own_id(members, name, endpoint)
    places = {each.id: [Gateway(url, access, opener) for url in each.urls] for each in members}
    mine = places.pop(me, [])
    elsewhere = isinstance(own, Silent) and isinstance(_ask_any(mine), Server)
    with ThreadPoolExecutor(max_workers=min(_THREADS, max(len(places), 1))) as pool:
        others = dict(zip(places, pool.map(_ask_any, places.values()), strict=True))
    return View(own, me, others, {each.id: each for each in members}, alarms, elsewhere)


def shown(view: View) -> dict[str, object]:
    """For the attempt's log."""
    everybody = {view.me: view.own, **view.others}
    alarms = [f"{alarm.kind} of {view.name(alarm.member)}" for alarm in view.alarms]
    return {
        **{view.name(member) or "own": _brief(member, each) for member, each in everybody.items()},
        "alarms": alarms,
    }


def _brief(member: str, answer: Answer) -> str:
    if isinstance(answer, Silent):
        return answer.why
    role = "leader" if answer.leader == member else "learner" if answer.learner else "follower"
    return f"{role} {answer.index}/{answer.applied}, {answer.used:,} of {answer.size:,} bytes"


def _list(doors: Iterable[Gateway]) -> tuple[list[Known], tuple[Alarm, ...]]:
    """As the first says that answers; nothing when none does."""
    for door in doors:
        try:
            said = door.call("cluster/member/list")
            raised = door.call("maintenance/alarm", action="GET").get("alarms", ())
        except (OSError, EtcdError):
            continue
        members = [
            Known(
                str(each["ID"]),
                str(each.get("name", "")),
                tuple(each.get("clientURLs", ())),
                bool(each.get("isLearner", False)),
            )
            for each in said.get("members", ())
        ]
        return members, tuple(Alarm(str(each.get("alarm", "")), str(each.get("memberID", ""))) for each in raised)
    return [], ()


def _own_id(members: Sequence[Known], name: str, endpoint: str) -> str:
    found = [each.id for each in members if (each.name == name if name else endpoint.rstrip("/") in each.urls)]
    return found[0] if len(found) == 1 else ""


def _ask_any(doors: Sequence[Gateway]) -> Answer:
    answer: Answer = Silent("it was added and has never started" if not doors else "")
    for door in doors:
        answer = _ask(door)
        if isinstance(answer, Server):
            break
    return answer


def _ask(door: Gateway) -> Answer:
    try:
        said = door.call("maintenance/status")
        header = said["header"]
        healthy, why = _reads(door)
        leader = str(said.get("leader", ""))
        return Server(
            id=str(header["member_id"]),
            cluster=str(header["cluster_id"]),
            version=str(said.get("version", "")),
            leader="" if leader == "0" else leader,
            index=int(said.get("raftIndex", 0)),
            applied=int(said.get("raftAppliedIndex", 0)),
            size=int(said.get("dbSize", 0)),
            used=int(said.get("dbSizeInUse", 0)),
            learner=bool(said.get("isLearner", False)),
            errors=tuple(map(str, said.get("errors", ()))),
            healthy=healthy,
            why=why,
            metrics=_metrics(door),
        )
    except Refused as error:
        return Silent(str(error), refused=True)
    except EtcdError as error:
        return Silent(str(error), forbidden=error.about_rights)
    except (OSError, ValueError) as error:
        return Silent(str(error) or type(error).__name__)
    except (KeyError, TypeError):
        return Silent(str(NotEtcd("it does not answer as etcd does")))


def _reads(door: Gateway) -> tuple[bool, str]:
    """Whether a majority confirms a read through it. Whoever may not read the key has had it confirmed all the same."""
    try:
        door.call("kv/range", key=_KEY, count_only=True)
    except EtcdError as error:
        if error.about_rights and error.code != 7:
            raise
        return error.code == 7, str(error)
    except OSError as error:
        return False, str(error)
    return True, ""


def _metrics(door: Gateway) -> Metrics:
    try:
        return door.metrics()
    except (OSError, EtcdError, ValueError):
        return Metrics()
