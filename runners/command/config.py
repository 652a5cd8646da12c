"""What a node lets through: `[runners.command_task]`. Where it says nothing, nothing is run."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from runners.command.args import UserName, Variable, Word
from runners.command.patterns import More, faults_of

__all__ = ["AllowedBinary", "AllowedCommand", "CommandConfig", "Interpreter"]

FOLDER = "/var/lib/taskerman/command_task"
SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def _pattern(word: str) -> str:
    if wrong := faults_of(word):
        raise ValueError(wrong)
    return word


def _absolute(path: str) -> str:
    if not path.startswith("/") or {"..", "."} & set(path.split("/")):
        raise ValueError(f"{path!r:.100} is no plain absolute path")
    return path.rstrip("/") or "/"


Pattern = Annotated[Word, AfterValidator(_pattern)]
Path = Annotated[Word, AfterValidator(_absolute)]
VariablePattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\*?\z")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AllowedCommand(_Model):
    """One kind of argument list."""

    argv: tuple[Pattern, ...] = Field(
        min_length=1,
        description="the program, and its arguments word by word; in an argument `*` is a name and `**` a name with "
        "folders, neither empty nor the beginning of an option; `\\*` is an asterisk",
    )
    more: More = Field("nothing", description="what may follow: `nothing`, `words` that are no options, or `anything`")
    users: tuple[UserName, ...] | None = Field(None, description="as whom; absent: as anybody of `user` and `users`")

    @model_validator(mode="after")
    def _names_a_program(self) -> AllowedCommand:
        program = self.argv[0]
        if "*" in program:
            raise ValueError(f"argv: {program!r:.100}: the program itself has no wildcard")
        if "/" in program:
            _absolute(program)
        return self


class Interpreter(_Model):
    """What runs scripts. Whoever may send a task may have it do whatever its users may do."""

    argv: tuple[Word, ...] = Field(min_length=1, description="the program, as an absolute path, and its options")
    options: tuple[Word, ...] = Field((), description="what a script's `#!` line may add to them, such as `-e`")
    users: tuple[UserName, ...] | None = Field(None, description="as whom; absent: as anybody of `user` and `users`")

    @model_validator(mode="after")
    def _is_absolute(self) -> Interpreter:
        _absolute(self.argv[0])
        return self


class AllowedBinary(_Model):
    """One program that may be fetched and run, or all below a prefix that somebody vouches for."""

    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}\z", description="of its content, in hex")
    prefix: str | None = Field(
        None, pattern=r"^s3://[^/\s]+/(\S*/)?\z", description="or: those below, `s3://bucket/prefix/`, if signed"
    )
    signer: Path | None = Field(
        None, description="whose signature they need: the file of an Ed25519 public key (`taskerman keys generate`)"
    )
    args: tuple[Pattern, ...] = Field((), description="its arguments, word by word, as in `allow`")
    more: More = Field("nothing", description="what may follow them, as in `allow`")
    users: tuple[UserName, ...] | None = Field(None, description="as whom; absent: as anybody of `user` and `users`")

    @model_validator(mode="after")
    def _says_which(self) -> AllowedBinary:
        if (self.sha256 is None) is (self.prefix is None):
            raise ValueError("it says which by one of sha256 and prefix")
        if (self.prefix is None) is not (self.signer is None):
            raise ValueError("prefix and signer go together: who may write there is not yet who may have it run")
        return self


class CommandConfig(_Model):
    """The node's configuration for `command_task`. Keep its file writable by root alone."""

    allow: tuple[AllowedCommand, ...] = Field((), description="what `run` and `check` may run; absent: nothing")
    interpreters: dict[Annotated[str, StringConstraints(max_length=64)], Interpreter] = Field(
        default_factory=dict, description="what `script` may run, by name; absent: no script"
    )
    binaries: tuple[AllowedBinary, ...] = Field((), description="what `binary` may run; absent: nothing")
    user: UserName | None = Field(
        None,
        description="as whom a task runs that names nobody; absent: as the agent's own user, unless that is root, "
        "which has to be said",
    )
    users: tuple[UserName, ...] = Field((), description="whom else a task may name")
    env: dict[Variable, Word] = Field(default_factory=dict, description="variables that everything gets")
    env_allowed: tuple[VariablePattern, ...] = Field(
        (),
        description="variables that a task may set: names, or beginnings (`REPORT_*`). A beginning never lets those "
        "through that change how programs run, such as PATH or PYTHONPATH; of LD_ and TASKERMAN_ no name does",
    )
    cwds: tuple[Path, ...] = Field((), description="folders in which, and below which, a task may stand")
    path: tuple[Path, ...] = Field(SEARCHED, description="where a program without a folder is looked for")
    folder: Path = Field(FOLDER, description="a folder of its own, for fetched programs")
    binary_max_bytes: int = Field(256 * 1024**2, ge=1, description="how large a fetched program may be")
    cache_max_bytes: int = Field(1024**3, ge=0, description="how much of what was fetched is kept")

    @model_validator(mode="after")
    def _leaves_ours_alone(self) -> CommandConfig:
        wrong = [name for name in self.env if name.startswith("TASKERMAN_")]
        if wrong:
            raise ValueError(f"env: {wrong[0]} is Taskerman's own")
        return self
