"""Whether this node lets a task's command through, and what it is then, exactly: which file, as whom, with which
variables, where.

Denied by default, and each refusal says what the operator of the node would have to add. It is asked before anything
else, and again by the action: an answer is not carried from one process to another. It starts nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from runners.command.args import CommandArgs
from runners.command.config import AllowedBinary, AllowedCommand, CommandConfig, Interpreter
from runners.command.patterns import fits
from runners.command.trust import untrusted
from taskerman.runner.identity import Identity, NoSuchUser, identity_of, own_name, why_not

__all__ = ["Denied", "Surroundings", "allowed_argv", "allowed_binaries", "allowed_interpreter", "surroundings"]

Rule = TypeVar("Rule", AllowedCommand, Interpreter, AllowedBinary)

SECTION = "[runners.command_task]"
_CHANGES_PROGRAMS = frozenset({
    "BASH_ENV", "CDPATH", "CLASSPATH", "CLOUDSDK_CONFIG", "EDITOR", "ENV", "GCONV_PATH", "HOME", "GODEBUG",
    "HOSTALIASES", "IFS",
    "JAVA_HOME", "JAVA_OPTS", "JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "KUBECONFIG", "LOCPATH",
    "LOGNAME", "MAKEFLAGS", "MANPAGER", "NLSPATH", "OPENSSL_CONF", "PAGER", "PATH", "PROMPT_COMMAND", "PS4", "SHELL",
    "SHELLOPTS", "SSH_ASKPASS", "SUDO_ASKPASS", "TERMINFO", "TMPDIR", "TZDIR", "USER", "VISUAL", "BASHOPTS", "FPATH",
})  # fmt: skip
_BEGINNINGS = (
    "AWS_", "BASH_FUNC_", "CARGO_", "DOCKER_", "DYLD_", "GIT_", "GLIBC_", "HTTP", "LESS", "LUA_",
    "MALLOC_", "MYSQL_", "NODE_", "NPM_", "PERL", "PG", "PIP_", "PYTHON", "RES_", "RSYNC_", "RUBY", "SSL_", "SYSTEMD_",
    "XDG_", "ZDOTDIR",
)  # fmt: skip
_ENDS = (
    "PATH", "OPTS", "OPTIONS", "FLAGS", "_HOME", "_RSH", "EDITOR", "PAGER", "_PRELOAD", "RC", "RCFILE", "_INCLUDE",
    "_CONF", "_CONFIG", "_INI_SCAN_DIR", "_MODULES", "_ENGINES", "_PROFILE", "_PROXY",
)  # fmt: skip
_NEVER = ("LD_", "TASKERMAN_")


class Denied(Exception):
    """The node does not let it through. The text says what, and what its operator would have to add."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """As whom, with which variables beyond a login's own, and in which folder."""

    who: Identity
    env: Mapping[str, str]
    cwd: str


# --- as whom, with what, where ---------------------------------------------------------------------------------


def surroundings(config: CommandConfig, args: CommandArgs) -> Surroundings:
    """Raises `Denied`."""
    return Surroundings(_who(config, args.user), _env(config, args.env), _cwd(config, args.cwd))


def _who(config: CommandConfig, named: str | None) -> Identity:
    own = own_name()
    default = config.user or (own if os.geteuid() != 0 else None)
    name = named or default
    if name is None:
        raise Denied(
            "This agent is root, and nothing says as whom commands run. "
            f'Add to {SECTION}: user = "nobody", or whoever is to be it; or name one of its `users` in the task.'
        )
    if name not in {default, *config.users}:
        raise Denied(f'This node lets no task run as {name}. Add to {SECTION}: users = ["{name}"].')
    try:
        who = identity_of(name)
    except NoSuchUser as error:
        raise Denied(f"{str(error).capitalize()}. Create it, or correct `user` in {SECTION} or in the task.") from None
    if wrong := why_not(who):
        raise Denied(f"{wrong[0].upper()}{wrong[1:]}. Run the agent as root, or the command as {own}.")
    return who


def _env(config: CommandConfig, wanted: Mapping[str, str]) -> Mapping[str, str]:
    for name in wanted:
        if name.startswith(_NEVER):
            raise Denied(f"No task sets {name}: it decides what a program runs, or how its processes are found again.")
        if name in config.env:
            raise Denied(f"This node sets {name} itself. Leave it out of the task's `env`.")
        if name not in config.env_allowed and not _let_through(name, config.env_allowed):
            raise Denied(f'This node lets no task set {name}. Add to {SECTION}: env_allowed = ["{name}"].')
    return {**config.env, **wanted}


def _let_through(name: str, allowed: Sequence[str]) -> bool:
    upper = name.upper()
    if upper in _CHANGES_PROGRAMS or upper.startswith(_BEGINNINGS) or upper.endswith(_ENDS):
        return False
    return any(one.endswith("*") and name.startswith(one[:-1]) for one in allowed)


def _cwd(config: CommandConfig, wanted: str) -> str:
    if wanted == "/":
        return wanted
    real = os.path.realpath(wanted)  # a link may lead out of what is let through
    if not any(_is_within(real, os.path.realpath(folder)) for folder in config.cwds):
        raise Denied(f"This node lets no task stand in {real}. Add to {SECTION}: cwds = [{_quoted(real)}].")
    if not os.path.isdir(real):
        raise Denied(f"{real} is no folder of this node. Correct `cwd`.")
    return real


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


# --- what ------------------------------------------------------------------------------------------------------


def allowed_argv(config: CommandConfig, argv: Sequence[str], who: Identity) -> tuple[str, ...]:
    """The same command with its program's whole path. Raises `Denied`."""
    words = (_found(config, argv[0]), *argv[1:])
    rules = [rule for rule in config.allow if _found_or_none(config, rule.argv[0]) == words[0]]
    _one_fits(
        [rule for rule in rules if fits(rule.argv[1:], words[1:], rule.more)],
        who,
        said=_shown(words),
        why=f"{len(rules)} of the rules in `allow` are about {words[0]}, and none lets these arguments through"
        if rules
        else f"no rule in `allow` is about {words[0]}",
        add=f"[[runners.command_task.allow]] with argv = {_rule(words)}",
    )
    _is_trusted(words[0], who)
    return words


def allowed_interpreter(config: CommandConfig, name: str, options: Sequence[str], who: Identity) -> tuple[str, ...]:
    """The program and the options that run scripts for `name`, with those of the script. Raises `Denied`."""
    rule = config.interpreters.get(name)
    known = ", ".join(sorted(config.interpreters)) or "none"
    _one_fits(
        [] if rule is None else [rule],
        who,
        said=f"a script for {name}",
        why=f"`interpreters` has {known}",
        add=f'[runners.command_task.interpreters] with {_quoted(name)} = {{argv = ["/usr/bin/{name}"]}}; whoever may '
        f"send it a task may then do whatever {who.name} may",
    )
    assert rule is not None
    for option in options:
        if option not in rule.options:
            raise Denied(
                f"This node does not run {name} with a script's own option {option!r:.100}. If it is to, its operator "
                f"adds {_quoted(option)} to `options` of that interpreter; or leave it out."
            )
    _is_trusted(rule.argv[0], who)
    return (*rule.argv, *options)


def allowed_binaries(
    config: CommandConfig, url: str, sha256: str, args: Sequence[str], who: Identity
) -> Sequence[AllowedBinary]:
    """The rules by which it may run: by its hash, or by a signature that has still to be checked. Raises `Denied`."""
    about = [
        rule
        for rule in config.binaries
        if rule.sha256 == sha256 or (rule.prefix is not None and url.startswith(rule.prefix))
    ]
    fitting = _one_fits(
        [rule for rule in about if fits(rule.args, args, rule.more)],
        who,
        said=f"{url} ({sha256[:12]}…) with {_shown(args) or 'no argument'}",
        why=f"{len(about)} of the rules in `binaries` are about it, and none lets these arguments through"
        if about
        else "no rule in `binaries` is about it",
        add=f'[[runners.command_task.binaries]] with sha256 = "{sha256}"' + (f", args = {_rule(args)}" if args else ""),
    )
    return sorted(fitting, key=lambda rule: rule.sha256 is None)  # a hash needs nobody to be asked


def _one_fits(fitting: Sequence[Rule], who: Identity, *, said: str, why: str, add: str) -> Sequence[Rule]:
    of_user = [rule for rule in fitting if rule.users is None or who.name in rule.users]
    if of_user:
        return of_user
    if fitting:
        raise Denied(f"This node does not run {said} as {who.name}. Add {who.name} to the `users` of that rule.")
    raise Denied(f"This node does not run {said}: {why}. If it is to, its operator adds {add}.")


def _is_trusted(program: str, who: Identity) -> None:
    if wrong := untrusted(program, {os.geteuid(), who.uid}):
        raise Denied(f"{program} is not run: {wrong}. Correct that, or name another program.")


def _found(config: CommandConfig, name: str) -> str:
    """The whole path of a program. Raises `Denied`."""
    if "/" in name:
        return name
    for folder in config.path:
        path = f"{folder.rstrip('/')}/{name}"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise Denied(
        f"There is no program {name} in {', '.join(config.path)}. Install it, name its whole path, or correct `path` "
        f"in {SECTION}."
    )


def _found_or_none(config: CommandConfig, name: str) -> str | None:
    try:
        return _found(config, name)
    except Denied:
        return None


# --- words for people ------------------------------------------------------------------------------------------


def _shown(words: Sequence[str]) -> str:
    text = " ".join(word if word.isprintable() and word and " " not in word else _quoted(word) for word in words)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _rule(words: Sequence[str]) -> str:
    """As a line of the settings file, which lets exactly these through."""
    text = "[" + ", ".join(_quoted(word.replace("*", "\\*")) for word in words) + "]"
    return text if len(text) <= 500 else "[...]"


def _quoted(word: str) -> str:
    """As TOML writes a text: JSON's escapes are among its own."""
    return json.dumps(word, ensure_ascii=False)
