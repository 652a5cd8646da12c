"""How a client comes to ZooKeeper: as whom, and by which wire; and what it lets others do to what it creates.

Only the digest scheme. Passwords stay in here: nothing of this is ever printed, and the library's own line about each
request that carries one is kept out of the logs.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kazoo.protocol.serialization import Auth, Connect
from kazoo.security import ACL, OPEN_ACL_UNSAFE, Id

from taskerman.coordination.rights import rights_on
from taskerman.model.rights import Identities, Role

__all__ = [
    "Acls",
    "Credential",
    "Wire",
    "access_list",
    "acls_of",
    "digest",
    "guarded_logger",
    "open_to_all",
    "owners_of",
    "role_of",
]

Acls = Callable[[str], Sequence[object]]
"""The access list of what is created at a path."""

_LETTERS = {"r": 1, "w": 2, "c": 4, "d": 8, "a": 16}


@dataclass(frozen=True, slots=True)
class Credential:
    """`user` and password of the digest scheme. Its text never shows the password."""

    user: str
    password: str = field(repr=False)

    @property
    def digest(self) -> str:
        """What ZooKeeper knows of it."""
        return digest(self.user, self.password)


@dataclass(frozen=True, slots=True)
class Wire:
    """TLS. `ca`: who vouches for the servers; None: the system's. `cert`, `key`: this client's, where servers want one.

    `check_hostname`: the servers' certificates must name the hosts that were asked for.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    check_hostname: bool = True


def digest(user: str, password: str) -> str:
    """`user:base64(sha1(user:password))`: ZooKeeper's scheme, not ours to choose. Draw long random passwords."""
    hashed = hashlib.sha1(f"{user}:{password}".encode(), usedforsecurity=False).digest()
    return f"{user}:{base64.b64encode(hashed).decode()}"


def role_of(identities: Identities, credentials: Sequence[Credential]) -> Role | None:
    """The first role that one of them has."""
    mine = {credential.digest for credential in credentials}
    return next((role for role in Role if mine & set(identities.of(role))), None)


def open_to_all(path: str) -> Sequence[object]:
    """Everybody may do everything: an installation without identities."""
    return OPEN_ACL_UNSAFE


def acls_of(identities: Identities, own: Credential | None) -> Acls:
    """The access lists of an installation with identities. `own`: of this node, if nodes have identities."""

    owners = identities.agent if own is None else (own.digest,)
    return lambda path: access_list(identities, path, owners)


def access_list(identities: Identities, path: str, owners: Sequence[str]) -> Sequence[object]:
    """Who may do what to the record at `path`. `owners`: whose it is, where an agent has its own."""
    grants = rights_on(path)
    found = [_grant(one, grants.of(role)) for role in Role for one in identities.of(role)]
    return found + [_grant(one, grants.own) for one in owners if grants.own]


def owners_of(acls: Sequence[object], node: str) -> tuple[str, ...]:
    """The identities in `acls` that are `node`'s own."""
    ids = (acl.id.id for acl in acls if isinstance(acl, ACL))
    return tuple(dict.fromkeys(one for one in ids if one.startswith(f"{node}:")))


def _grant(identity: str, letters: str) -> object:
    return ACL(sum(_LETTERS[letter] for letter in set(letters)), Id("digest", identity))


class _NoSecrets(logging.Filter):
    """Drops the library's lines about requests that carry a password: of the identity, or of the session."""

    def filter(self, record: logging.LogRecord) -> bool:
        given = record.args if isinstance(record.args, tuple) else ()
        of_a_session = str(record.msg).startswith("Session created")
        return not of_a_session and not any(isinstance(one, Auth | Connect) for one in given)


_FILTER = _NoSecrets()


def guarded_logger() -> logging.Logger:
    """The library's logger, without such lines. Idempotent."""
    logger = logging.getLogger("kazoo.client")
    logger.addFilter(_FILTER)
    return logger
