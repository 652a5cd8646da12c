"""The tree's words in ZooKeeper's, and ZooKeeper's answers and errors in ours: the one place for both.

Pure, but for building kazoo's request objects. It refuses to guess: what is not clearly an answer is no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    InvalidACLError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol import serialization
from kazoo.protocol.states import ZnodeStat

from taskerman.adapters.zookeeper.identity import Acls, open_to_all
from taskerman.errors import AnswerUnknown, CoordinationUnavailable, NotPermitted, TaskermanError
from taskerman.ports.tree import Check, Committed, Create, Delete, Op, Refusal, Refused, Set, Stat

__all__ = ["Rooted", "read_error", "stat_of", "unknown", "verdict"]

_ANY_VERSION = -1
_EPHEMERAL, _SEQUENCE = 1, 2

_REFUSALS: dict[type[Exception], Refusal] = {
    BadVersionError: Refusal.BAD_VERSION,
    NodeExistsError: Refusal.NODE_EXISTS,
    NoNodeError: Refusal.NO_NODE,
    NotEmptyError: Refusal.NOT_EMPTY,
    NoChildrenForEphemeralsError: Refusal.NO_CHILDREN_FOR_EPHEMERALS,
}
_FORBIDDEN = (NoAuthError, AuthFailedError, InvalidACLError)
# What the operations before and after the refused one are answered with: no reasons of their own.
_BYSTANDERS = (RolledBackError, RuntimeInconsistency)


class Rooted:
    """Paths below one root of a ZooKeeper that others may use too.

    kazoo's own chroot is not used: its transactions strip the trailing slash of a sequential create, which then
    lands beside its parent instead of in it.
    """

    def __init__(self, root: str) -> None:
        """`root`: an absolute path; "/" for the whole tree."""
        self._root = "" if root == "/" else root

    def full(self, path: str) -> str:
        """The path as the servers know it."""
        return (self._root or "/") if path == "/" else self._root + path

    def ours(self, full: str) -> str:
        """The inverse of `full`."""
        return full[len(self._root) :] or "/"

    def request(self, op: Op, acls: Acls = open_to_all) -> object:
        """kazoo's request for one operation of a transaction. `acls`: of what is created, by our path."""
        path = self.full(op.path)
        match op:
            case Create():
                flags = (_EPHEMERAL if op.ephemeral else 0) | (_SEQUENCE if op.sequence else 0)
                return serialization.Create(path, op.data, acls(op.path), flags)
            case Set():
                return serialization.SetData(path, op.data, _version(op.version))
            case Delete():
                return serialization.Delete(path, _version(op.version))
            case Check():
                return serialization.CheckVersion(path, _version(op.version))
            case _:
                assert_never(op)


def _version(version: int | None) -> int:
    return _ANY_VERSION if version is None else version


def stat_of(stat: ZnodeStat) -> Stat:
    """ZooKeeper's Stat, as much of it as the tree promises."""
    return Stat(
        version=stat.version,
        children_version=stat.cversion,
        owner=stat.ephemeralOwner,
        created_ms=stat.ctime,
        changed_ms=stat.mtime,
        children=stat.numChildren,
    )


def verdict(ops: Sequence[Op], answers: Sequence[object], rooted: Rooted) -> Committed | Refused:
    """Read the answer to a transaction: kazoo returns failures as values in the list.

    Raises `NotPermitted`; `AnswerUnknown` for an answer that makes no sense.
    """
    for index, answer in enumerate(answers):
        if not isinstance(answer, Exception) or isinstance(answer, _BYSTANDERS):
            continue
        why = _REFUSALS.get(type(answer))
        if why is not None:
            return Refused(why, index, ops[index].path)
        if isinstance(answer, _FORBIDDEN):
            raise _not_permitted(ops[index].path, answer)
        raise unknown(ops, answer)
    if len(answers) != len(ops) or any(isinstance(answer, Exception) for answer in answers):
        raise unknown(ops, ValueError(f"{len(answers)} answers to {len(ops)} operations"))
    return Committed(tuple(_result(op, answer, rooted) for op, answer in zip(ops, answers, strict=True)))


def _result(op: Op, answer: object, rooted: Rooted) -> str | Stat | None:
    if isinstance(op, Create) and isinstance(answer, str):
        return rooted.ours(answer)
    if isinstance(op, Set) and isinstance(answer, ZnodeStat):
        return stat_of(answer)
    return None


def unknown(ops: Sequence[Op], error: Exception) -> TaskermanError:
    """What to raise when a commit was not answered, or not with an answer."""
    if isinstance(error, _FORBIDDEN):
        return _not_permitted(ops[0].path, error)
    return AnswerUnknown(
        f"ZooKeeper gave no answer to a commit of {len(ops)} operations, the first on {ops[0].path} ({_name(error)})."
    )


def read_error(what: str, error: Exception) -> TaskermanError:
    """What to raise when a read, or another call that changes nothing twice, was not answered."""
    if isinstance(error, _FORBIDDEN):
        return _not_permitted(what, error)
    return CoordinationUnavailable(f"ZooKeeper gave no answer to: {what} ({_name(error)}).")


def _not_permitted(what: str, error: Exception) -> NotPermitted:
    return NotPermitted(
        f"ZooKeeper does not permit this: {what} ({_name(error)}).",
        next_step="It depends on TASKERMAN_ZOOKEEPER_USER: `taskerman doctor` says what that identity may do.",
    )


def _name(error: Exception) -> str:
    kind = type(error).__name__
    return f"{kind}: {error}" if str(error) else kind
