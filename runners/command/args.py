"""What a task may say: the arguments of `run`, `script` and `binary`.

Everything here is judged where the task is submitted, and again on the node; whether the node lets it through is the
node's own affair, see `permission`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

__all__ = ["LONGEST_SCRIPT", "BinaryArgs", "CommandArgs", "RunArgs", "ScriptArgs"]

LONGEST_SCRIPT = 32 * 1024
MOST_BYTES = 48 * 1024
"""Of all words together: far below what the kernel takes, which counts the environment, too."""


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL byte can be in no argument, variable or path")
    return value


def _program(words: tuple[str, ...]) -> tuple[str, ...]:
    name = words[0]
    if "/" not in name:
        if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", name) is None:
            raise ValueError(f"{name!r:.100} is no program's name")
    elif not _is_plain(name):
        raise ValueError(f"{name!r:.100} is neither a name nor a plain absolute path (no `.`, `..` or `//` in it)")
    if sum(len(word.encode()) + 1 for word in words) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes of arguments")
    return words


def _folder(path: str) -> str:
    if not _is_plain(path):
        raise ValueError("it is no plain absolute path (no `.`, `..` or `//` in it)")
    return path


def _is_plain(path: str) -> bool:
    return path == "/" or (path.startswith("/") and not {"", ".", ".."} & set(path[1:].split("/")))


Word = Annotated[str, StringConstraints(max_length=8192), AfterValidator(_text)]
Argv = Annotated[tuple[Word, ...], Field(min_length=1, max_length=200), AfterValidator(_program)]
Exit = Annotated[int, Field(ge=0, le=255)]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\z")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}\z")]


class CommandArgs(BaseModel):
    """What the three operations have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: UserName | None = Field(None, description="as whom it runs; absent: as the node's configuration says")
    env: dict[Variable, Word] = Field(
        default_factory=dict, max_length=50, description="variables for it, of those that the node lets a task set"
    )
    cwd: Annotated[str, StringConstraints(max_length=1024), AfterValidator(_text), AfterValidator(_folder)] = Field(
        "/", description="the folder in which it stands; another than / is one that the node lets a task use"
    )
    check: Argv | None = Field(
        None,
        description="a command that says how the node is, before and after: 0 means well, anything else that it is not "
        "well yet",
    )
    check_before: bool = Field(
        True, description="whether the node has to be well before, too; `false` for what is to make it well"
    )
    check_nothing_to_do: tuple[Exit, ...] = Field(
        (), max_length=50, description="exit codes of `check` that mean: well, and there is nothing to do"
    )
    check_timeout_s: float = Field(30, gt=0, le=600, description="how long `check` may take each time")
    success: tuple[Exit, ...] = Field((0,), min_length=1, max_length=50, description="exit codes that mean: done")
    nothing_to_do: tuple[Exit, ...] = Field(
        (), max_length=50, description="exit codes that mean: there was nothing to do, which is as good"
    )
    try_again: tuple[Exit, ...] = Field(
        (75,),
        max_length=50,
        description="exit codes that mean: it has done nothing, and could later; it is run again in the same attempt",
    )
    try_again_after_s: float = Field(60, ge=0.1, le=3600, description="how long it waits before that")

    @model_validator(mode="after")
    def _each_code_means_one_thing(self) -> CommandArgs:
        codes = (*self.success, *self.nothing_to_do, *self.try_again)
        if 0 in self.check_nothing_to_do:
            raise ValueError("check_nothing_to_do: exit code 0 means that the node is well, and may be acted on")
        if self.check is None and (self.check_nothing_to_do or not self.check_before):
            raise ValueError("check_nothing_to_do and check_before say something of `check`, and there is none")
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice:
            raise ValueError(f"exit code {twice[0]} stands in more than one of success, nothing_to_do and try_again")
        return self


class RunArgs(CommandArgs):
    """A program of the node."""

    argv: Argv = Field(
        description="the program and its arguments: an absolute path, or a name that is looked for in the node's "
        "`path`; never a line for a shell"
    )


class ScriptArgs(CommandArgs):
    """A text that the task brings along."""

    script: Annotated[str, StringConstraints(min_length=1), AfterValidator(_text)] = Field(
        max_length=LONGEST_SCRIPT, description="its text, at most 32 KiB"
    )
    interpreter: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\z")] | None = Field(
        None, description="one of the node's `interpreters`; absent: the program of its `#!` line, else sh"
    )
    args: tuple[Word, ...] = Field((), max_length=200, description="arguments for it")

    @model_validator(mode="after")
    def _is_not_too_long(self) -> ScriptArgs:
        if len(self.script.encode()) > LONGEST_SCRIPT:
            raise ValueError(f"script: more than {LONGEST_SCRIPT:,} bytes")
        return self


class BinaryArgs(CommandArgs):
    """A program that is fetched."""

    url: Annotated[str, StringConstraints(pattern=r"^s3://[^/\s]+/\S+\z", max_length=1024), AfterValidator(_text)] = (
        Field(description="where it lies, `s3://bucket/key`; `taskerman upload` puts it there")
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}\z", description="of its content, in hex; another one is not run")
    args: tuple[Word, ...] = Field((), max_length=200, description="arguments for it")
