"""As whom a command runs: a user's ids and groups, and the environment that a login of theirs would begin with.

Whether a task may run as that user is not decided here; a runner's configuration says that.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Identity", "NoSuchUser", "identity_of", "own_name", "why_not"]

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = ("TASKERMAN_ATTEMPT",)
"""By this mark in their environment processes of an attempt are found again: it goes with every one of them."""
_WANTED = {"CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}


class NoSuchUser(LookupError):
    """This machine knows no user of that name."""


class Identity:
    """One user of this machine. `environment`: PATH, HOME, USER, LOGNAME, SHELL, LANG, and the attempt's mark."""

    __slots__ = ("environment", "gid", "groups", "home", "name", "uid")

    def __init__(self, name: str, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home
        self.environment: Mapping[str, str] = {
            "PATH": SEARCH_PATH,
            "HOME": home,
            "USER": name,
            "LOGNAME": name,
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            **{kept: os.environ[kept] for kept in _KEPT if kept in os.environ},
        }

    @property
    def is_own(self) -> bool:
        """It is whom this process runs as."""
        return self.uid == os.geteuid()


def identity_of(user: str) -> Identity:
    """The user of that name. Raises `NoSuchUser`."""
    import pwd  # noqa: PLC0415  (only a command that runs as somebody)

    try:
        found = pwd.getpwnam(user)
    except (KeyError, ValueError, UnicodeError):
        if user == str(os.geteuid()):  # a machine, or a container, that has no name for whom we are
            return Identity(user, os.geteuid(), os.getegid(), os.getgroups(), "/")
        raise NoSuchUser(f"there is no user {user!r:.50} on this node") from None
    groups = os.getgrouplist(user, found.pw_gid)
    return Identity(user, found.pw_uid, found.pw_gid, groups, found.pw_dir or "/")


def own_name() -> str:
    """What this process's user is called; the number where it has no name."""
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def why_not(who: Identity) -> str:
    """Why a command of this process may not run as `who`; empty when it may.

    It takes the right to change users, and that to end what runs as another one: what cannot be ended is not begun.
    """
    if who.is_own:
        return ""
    missing = [name for name, bit in _WANTED.items() if not _capabilities() >> bit & 1]
    if not missing:
        return ""
    return f"this agent runs as {own_name()} and may not run a command as {who.name} ({', '.join(missing)} missing)"


def _capabilities() -> int:
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next((int(line.split()[1], 16) for line in file if line.startswith("CapEff:")), 0)
    except OSError:
        return -1 if os.geteuid() == 0 else 0
