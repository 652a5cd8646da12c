"""Settings: read once, where a process is composed, and handed down as arguments. Nobody else asks the environment.

A value comes from the environment (`TASKERMAN_<NAME>`), else from the TOML file that TASKERMAN_SETTINGS_FILE names,
else it is the default; `load` remembers which, because "where does this come from?" is the first question when
something is configured wrongly. The address and the credentials of AWS are boto3's business, under its own variables.
A setting that may hold a password is a `SecretStr`: `listing` shows it masked, and no error quotes it.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from taskerman.errors import UsageError
from taskerman.masking import HIDDEN, masked
from taskerman.model.ids import ID, ClusterName, NodeId, Owner, QueueNames
from taskerman.model.rights import Identities
from taskerman.policy.bounds import Bounds
from taskerman.policy.breaker import BreakerLimits
from taskerman.policy.conclusion import Pace
from taskerman.policy.guards import SizeGuard
from taskerman.policy.upkeep import Upkeep

__all__ = ["DEFAULT_FILE", "FILE_VARIABLE", "PREFIX", "Loaded", "Setting", "Settings", "load", "read_toml"]

PREFIX = "TASKERMAN_"
FILE_VARIABLE = "TASKERMAN_SETTINGS_FILE"
DEFAULT_FILE = Path("/etc/taskerman/taskerman.toml")


def _split(value: object) -> object:
    """A comma list, as environments have it; a TOML array passes."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _who() -> str:
    """Who is at the keyboard, as far as this machine knows; also behind sudo."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = f"uid-{os.getuid()}"
    return f"{name}@{socket.gethostname()}"


ActionPattern = Annotated[str, StringConstraints(pattern=rf"^{ID}:({ID}|\*)\z")]
"""`redis_task:restart`, or `redis_task:*` for all that the runner offers."""


def _database(url: SecretStr) -> SecretStr:
    if not re.fullmatch(r"sqlite:////[^?#]+|postgresql(\+psycopg)?://\S+", url.get_secret_value()):
        raise ValueError("it is neither sqlite:////absolute/path nor postgresql://user@host/database")
    return url


DatabaseUrl = Annotated[
    SecretStr,
    AfterValidator(_database),
    PlainSerializer(lambda url: masked(url.get_secret_value()), return_type=str, when_used="json"),
]
"""Where a database is, perhaps with a password, which is never shown."""


def _schedules(place: str) -> str:
    if place and not re.fullmatch(r"/.*|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?", place):
        raise ValueError("it is neither the absolute path of a folder nor s3://bucket/prefix")
    return place


def _uploads(place: str) -> str:
    if place and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?", place):
        raise ValueError("it is not s3://bucket/prefix")
    return place


class SignatureKey(BaseModel):
    """A public key, and whose tasks it may sign: anybody's when empty."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    owners: tuple[Owner, ...] = ()


SignerId = Annotated[str, StringConstraints(pattern=rf"^{ID}\z")]


def _identities(value: object) -> object:
    """A JSON object or a TOML table: a strict noun wants tuples, and they have lists."""
    return Identities.model_validate_json(json.dumps(value)) if isinstance(value, dict) else value


class Settings(BaseSettings):
    """Everything that can be configured, validated. Frozen. `load` makes it; a test may make one of arguments."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    zookeeper_hosts: str = Field("127.0.0.1:2181", min_length=1, description="ZooKeeper's servers: host:port,host:port")
    zookeeper_root: str = Field("/taskerman", description="the path below which everything of this installation is")
    zookeeper_session_s: float = Field(10, gt=0, le=600, description="silence after which a session ends, seconds")
    zookeeper_user: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}\z", description="as whom this process comes to ZooKeeper"
    )
    zookeeper_password: SecretStr | None = Field(None, description="that user's password; better in a file")
    zookeeper_password_file: Path | None = Field(None, description="the file with that user's password")
    zookeeper_node_password: SecretStr | None = Field(
        None, description="the password of this node's own identity, whose user is the node's id; better in a file"
    )
    zookeeper_node_password_file: Path | None = Field(None, description="the file with the node's own password")
    zookeeper_identities: Annotated[Identities | None, BeforeValidator(_identities)] = Field(
        None, description="who is who, for `taskerman init`: lists of user:digest for control, janitor, agent, reader"
    )
    zookeeper_tls: bool = Field(False, description="ZooKeeper is spoken to by TLS")
    zookeeper_tls_ca: Path | None = Field(None, description="who vouches for the servers, PEM; else the system's list")
    zookeeper_tls_cert: Path | None = Field(None, description="this client's certificate, PEM, where servers want one")
    zookeeper_tls_key: Path | None = Field(None, description="its key, PEM")
    zookeeper_tls_key_password: SecretStr | None = Field(None, description="the password of that key")
    zookeeper_tls_check_hostname: bool = Field(
        True, description="the servers' certificates must name the hosts that zookeeper_hosts names"
    )
    queue_prefix: str = Field(
        "taskerman", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,10}\z", description="beginning of the names of all queues"
    )
    cluster_tag: str = Field("taskerman:cluster", min_length=1, description="the EC2 tag that names a node's cluster")
    operator: str = Field(
        default_factory=_who, min_length=1, max_length=200, description="who types; recorded as claimed"
    )
    node_id: NodeId | None = Field(None, description="this node's id; else the instance metadata's")
    clusters: Annotated[tuple[ClusterName, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="the clusters of this node, kind:name,...; else its tags from the instance metadata"
    )
    actions: Annotated[tuple[ActionPattern, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="what may be done on this node: redis_task:restart,demo_task:*; nothing else is"
    )
    state_dir: Path = Field(Path("/var/lib/taskerman"), description="the agent's journal and its attempts' logs")
    cgroup: str = Field(
        "/taskerman",
        pattern=r"^(none|(/[A-Za-z0-9][A-Za-z0-9_.-]*)+)\z",
        description="where the control groups of attempts are made, in every hierarchy; none = attempts have none",
    )
    attempt_memory_mb: int | None = Field(
        None, ge=32, le=16 * 1024 * 1024, description="memory of everything that an attempt starts, MiB; absent = all"
    )
    attempt_cpu_percent: int | None = Field(
        None, ge=1, le=100_000, description="CPU time of an attempt, per cent of one core; absent = all"
    )
    attempt_processes: int | None = Field(
        None, ge=1, le=1_000_000, description="processes and threads of an attempt; absent = any number"
    )
    boot_id_file: Path = Field(
        Path("/proc/sys/kernel/random/boot_id"), description="says which boot this is; another one only in tests"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is logged")
    log_format: Literal["human", "json"] = Field("human", description="one line an event, for a person or a program")
    metrics_address: str = Field(
        "", pattern=r"^(\S+:[0-9]{1,5})?\z", description="where /metrics is served: 127.0.0.1:9464; empty: nowhere"
    )
    metrics_file: Path | None = Field(
        None, description="the .prom file in which `agent --once` leaves its metrics for node_exporter"
    )
    watchdog_s: float = Field(
        300,
        gt=0,
        le=86400,
        description="a daemon whose loop hangs for so long ends itself, to be started anew, seconds",
    )
    retry_backoff_s: float = Field(30, gt=0, le=86400, description="the first wait after a failed attempt, seconds")
    deferral_s: float = Field(30, gt=0, le=86400, description="the wait after a pre-check that said wait, seconds")
    patience_s: float = Field(
        30, gt=0, le=3600, description="how long a node waits for each that stands ahead and does not go, seconds"
    )
    idle_session_s: float = Field(
        60, ge=0, le=86400, description="an agent without work ends its ZooKeeper session after so long, seconds"
    )
    breaker_failures: int = Field(
        3, ge=0, le=20, description="failures in a row that open a cluster's breaker; 0: it never opens"
    )
    breaker_cool_down_s: float = Field(
        900, ge=0, le=86400, description="how long an open breaker leaves its cluster alone, seconds"
    )
    guard_below_percent: int = Field(
        50, ge=0, le=100, description="a cluster below this part of its last known size parks the plan, percent"
    )
    guard_above_percent: int = Field(
        200, ge=100, le=100_000, description="a cluster above this part of its last known size parks the plan, percent"
    )
    guard_nodes: int = Field(
        3, ge=0, le=10_000, description="a cluster that moved by no more nodes than this is never parked"
    )
    janitor: Upkeep = Field(
        Upkeep(), description="a janitor's periods and limits, in one object: docs/how-to/run-a-janitor.md lists them"
    )
    history_url: DatabaseUrl | None = Field(
        None,
        description="where the past is kept: sqlite:////absolute/path or postgresql://user@host/database; else the "
        "file history.db in TASKERMAN_STATE_DIR",
    )
    history_upgrade: bool = Field(
        True, description="the janitor makes and upgrades the history's tables; else `taskerman history upgrade` does"
    )
    discoveries: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict, description="configuration for each source of discovery, such as the path of an inventory"
    )
    schedules: Annotated[str, AfterValidator(_schedules)] = Field(
        "",
        description="where schedules are declared: an absolute folder, or s3://bucket/prefix; empty: nowhere",
    )
    uploads: Annotated[str, AfterValidator(_uploads)] = Field(
        "", description="where `taskerman upload` puts programs: s3://bucket/prefix; empty: only where `--to` says"
    )
    signature_keys: dict[SignerId, SignatureKey] = Field(
        default_factory=dict,
        description='the keys whose signatures routers take: {"oncall": {"file": "/etc/taskerman/oncall.pub", '
        '"owners": ["gsi"]}}; without owners: for anybody',
    )
    signatures_required: bool = Field(False, description="routers refuse documents that are not signed")
    scheduler_key_file: Path | None = Field(
        None, description="the Ed25519 private key with which the scheduler signs what it emits; absent: it does not"
    )
    scheduler_key_id: str = Field("", description="that key's id; else the file's name without its ending")
    runners: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict, description="this node's configuration for each runner, such as how a service restarts"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only: `load` merges the sources itself, because it must tell them apart."""
        return (init_settings,)

    @property
    def queue_names(self) -> QueueNames:
        """The names of the installation's queues."""
        return QueueNames(self.queue_prefix)

    @property
    def zookeeper_session(self) -> timedelta:
        """Silence after which a session ends."""
        return timedelta(seconds=self.zookeeper_session_s)

    @property
    def zookeeper_credential(self) -> tuple[str, str] | None:
        """User and password, never to be shown. Reads the file. Raises `UsageError`."""
        password = _secret("zookeeper_password", self.zookeeper_password, self.zookeeper_password_file)
        if (self.zookeeper_user is None) is not (password is None):
            raise UsageError(
                "A ZooKeeper identity is a user and a password, and one of them is not set.",
                next_step="Set TASKERMAN_ZOOKEEPER_USER and TASKERMAN_ZOOKEEPER_PASSWORD_FILE, or neither.",
            )
        return None if self.zookeeper_user is None or password is None else (self.zookeeper_user, password)

    @property
    def zookeeper_node_secret(self) -> str | None:
        """The password of this node's own identity, never to be shown. Reads the file. Raises `UsageError`."""
        return _secret("zookeeper_node_password", self.zookeeper_node_password, self.zookeeper_node_password_file)

    @property
    def idle_session(self) -> timedelta:
        """How long an agent without work keeps its session."""
        return timedelta(seconds=self.idle_session_s)

    @property
    def patience(self) -> timedelta:
        """How long each that stands ahead is waited for."""
        return timedelta(seconds=self.patience_s)

    @property
    def metrics_at(self) -> tuple[str, int] | None:
        """The host and the port of /metrics; None: it is not served."""
        host, _, port = self.metrics_address.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None

    @property
    def bounds(self) -> Bounds:
        """What every attempt on this node may use of it."""
        return Bounds(self.attempt_memory_mb, self.attempt_cpu_percent, self.attempt_processes)

    @property
    def pace(self) -> Pace:
        """How fast this fleet tries again."""
        return Pace(backoff=timedelta(seconds=self.retry_backoff_s), deferral=timedelta(seconds=self.deferral_s))

    @property
    def history(self) -> str:
        """Where the past is kept, with its password: for whoever opens it, and never to be shown."""
        if self.history_url is None:
            return f"sqlite:///{self.state_dir.absolute() / 'history.db'}"
        return self.history_url.get_secret_value()

    @property
    def breaker(self) -> BreakerLimits:
        """When failures in a row stop a cluster."""
        return BreakerLimits(self.breaker_failures, timedelta(seconds=self.breaker_cool_down_s))

    @property
    def guard(self) -> SizeGuard:
        """When a plan is parked because its cluster's size jumped."""
        return SizeGuard(self.guard_below_percent, self.guard_above_percent, self.guard_nodes)


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of `taskerman settings`. `origin`: `default`, `environment`, or the path of the file."""

    variable: str
    value: JsonValue
    origin: str
    about: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where each came from. `unknown`: variables that look like ours, and are not."""

    settings: Settings
    origins: Mapping[str, str]
    unknown: tuple[str, ...] = ()

    def listing(self) -> tuple[Setting, ...]:
        """Every setting, in the order in which they are declared."""
        values = self.settings.model_dump(mode="json")
        return tuple(
            Setting(
                variable=_variable(name),
                value=values[name],
                origin=self.origins.get(name, "default"),
                about=field.description or "",
            )
            for name, field in Settings.model_fields.items()
        )


def load() -> Loaded:
    """Read the environment and the file, once. Raises `UsageError` that names the setting, its value and the reason."""
    file = _file()
    try:
        from_environment = EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise UsageError(
            f"A setting in the environment cannot be read: {error}.", next_step="Write it as JSON."
        ) from error
    from_file = {} if file is None else read_toml(file)
    origins = {name: str(file) for name in from_file} | dict.fromkeys(from_environment, "environment")
    known = {_variable(name) for name in Settings.model_fields} | {FILE_VARIABLE}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    try:
        settings = Settings(**{**from_file, **from_environment})
    except ValidationError as error:
        raise _named(error, origins) from None
    return Loaded(settings, origins, tuple(unknown))


def _secret(name: str, value: SecretStr | None, file: Path | None) -> str | None:
    if file is None:
        return None if value is None else value.get_secret_value()
    if value is not None:
        raise UsageError(f"{_variable(name)} and {_variable(name)}_FILE are both set.", next_step="Keep the file.")
    try:
        found = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"{file} cannot be read: {why}.", next_step=f"See {_variable(name)}_FILE.") from None
    if not found:
        raise UsageError(f"{file} is empty.", next_step=f"See {_variable(name)}_FILE.")
    return found


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _file() -> Path | None:
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def read_toml(file: Path) -> dict[str, Any]:
    """What a settings file says, unjudged. Raises `UsageError`."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"The settings file {file} cannot be read: {error.strerror}.", next_step=f"See {FILE_VARIABLE}."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The settings file {file} is not TOML: {error}.", next_step="Correct that line.") from None


def _named(error: ValidationError, origins: Mapping[str, str]) -> UsageError:
    """The first problem, in the words of whoever configured it."""
    problem = error.errors(include_url=False, include_context=False)[0]
    name, *rest = (str(part) for part in problem["loc"])
    origin = origins.get(name, "default")
    where = ".".join([_variable(name) if origin == "environment" else name, *rest])
    if problem["type"] == "extra_forbidden":
        return UsageError(
            f"{origin} sets {'.'.join([name, *rest])}, which is not a setting.",
            next_step="`taskerman settings` lists them all.",
        )
    field = Settings.model_fields[name]
    shown = repr(problem["input"])
    if "SecretStr" in repr(field.annotation):
        shown = masked(problem["input"]) if isinstance(problem["input"], str) else HIDDEN
    reason = problem["msg"].removeprefix("Value error, ")
    return UsageError(
        f"{where} is {shown} ({origin}), and cannot be: {reason}.", next_step=f"It is {field.description}."
    )
