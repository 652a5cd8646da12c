"""The services that tests need from the machine, and the one rule for when one is missing.

On a developer's machine a missing service skips the tests that need it and names the command that installs it. In CI
(`CI` is set) it fails them: a proof that nobody ran is no proof. Every fixture that needs a service asks here, so that
the rule has no second version. Nothing is started here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

__all__ = [
    "GALERA",
    "ServiceName",
    "java",
    "missing_parts",
    "postgresql_program",
    "redis_server",
    "require",
    "zookeeper_classpath",
]

ServiceName = Literal["zookeeper", "redis", "postgresql", "etcd", "mariadb", "network"]

JAR_FOLDERS = (Path("/usr/share/java"), Path("/usr/share/zookeeper"))
POSTGRESQL_FOLDER = Path("/usr/lib/postgresql")
"""Where Debian keeps the server's programs, by version and not on PATH."""
GALERA = Path("/usr/lib/galera/libgalera_smm.so")
CLASSPATH_VARIABLE = "TASKERMAN_TEST_ZOOKEEPER_CLASSPATH"


@dataclass(frozen=True, slots=True)
class _Service:
    """`missing`: what of it is not on this machine, in words; empty when all is there."""

    title: str
    missing: Callable[[], tuple[str, ...]]


def _jar(name: str) -> Path | None:
    return next((folder / name for folder in JAR_FOLDERS if (folder / name).exists()), None)


def _missing_zookeeper() -> tuple[str, ...]:
    missing = [] if shutil.which("java") else ["java (a Java runtime)"]
    if CLASSPATH_VARIABLE not in os.environ:
        missing += [f"{name} (in {JAR_FOLDERS[0]})" for name in ("zookeeper.jar", "slf4j-simple.jar") if not _jar(name)]
    return tuple(missing)


def _missing_redis() -> tuple[str, ...]:
    return () if shutil.which("redis-server") else ("redis-server",)


def _postgresql(program: str) -> str | None:
    versions = sorted(POSTGRESQL_FOLDER.glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]))
    return str(versions[-1]) if versions else shutil.which(program)


def _missing_postgresql() -> tuple[str, ...]:
    return tuple(f"{program} (of PostgreSQL)" for program in ("initdb", "postgres") if _postgresql(program) is None)


def _missing_etcd() -> tuple[str, ...]:
    return tuple(program for program in ("etcd", "etcdctl") if not shutil.which(program))


def _missing_mariadb() -> tuple[str, ...]:
    missing = tuple(program for program in ("mariadbd", "mariadb", "mariabackup") if not shutil.which(program))
    return missing if GALERA.exists() else (*missing, f"the Galera library ({GALERA})")


def _missing_network() -> tuple[str, ...]:
    missing = [program for program in ("ip", "iptables", "unshare") if not shutil.which(program)]
    return (*missing, *(() if os.geteuid() == 0 else ("rights of root",)))


_SERVICES: dict[ServiceName, _Service] = {
    "zookeeper": _Service("ZooKeeper", _missing_zookeeper),
    "redis": _Service("Redis", _missing_redis),
    "postgresql": _Service("PostgreSQL", _missing_postgresql),
    "etcd": _Service("etcd", _missing_etcd),
    "mariadb": _Service("MariaDB with Galera", _missing_mariadb),
    "network": _Service("What network namespaces need", _missing_network),
}


def missing_parts(service: ServiceName) -> tuple[str, ...]:
    """What of `service` is not installed, in words; empty when it can be started."""
    return _SERVICES[service].missing()


def require(service: ServiceName) -> None:
    """Go on only if `service` can be started: else skip the test, or in CI fail it, with the command that helps."""
    missing = missing_parts(service)
    if not missing:
        return
    reason = f"{_SERVICES[service].title} is not installed: no {', no '.join(missing)}. Run `make services`."
    if os.environ.get("CI"):
        pytest.fail(f"{reason} In CI nothing is skipped for a missing service.", pytrace=False)
    pytest.skip(reason)


def java() -> str:
    """The path of the Java launcher. Call after `require("zookeeper")`."""
    return _found("java")


def redis_server() -> str:
    """The path of `redis-server`. Call after `require("redis")`."""
    return _found("redis-server")


def postgresql_program(program: str) -> str:
    """The path of a program of the PostgreSQL server. Call after `require("postgresql")`."""
    path = _postgresql(program)
    assert path is not None, f"{program} is not installed; `require` its service first"
    return path


def zookeeper_classpath() -> str:
    """The class path that `QuorumPeerMain` starts with. Call after `require("zookeeper")`.

    Debian's jars, or whatever TASKERMAN_TEST_ZOOKEEPER_CLASSPATH names on other systems (`.../zookeeper/lib/*`).
    """
    if named := os.environ.get(CLASSPATH_VARIABLE):
        return named
    jars = [_jar("zookeeper.jar"), _jar("slf4j-simple.jar")]
    return os.pathsep.join(str(jar) for jar in jars if jar is not None)


def _found(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, f"{program} is not on PATH; `require` its service first"
    return path
