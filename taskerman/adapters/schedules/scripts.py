"""Schedules that scripts carry: a block of YAML in a comment, so that when it is called stands beside what it does.

    # >>> taskerman
    # name: trim-logs
    # every: 6h
    # task: {cluster_name: "redis:sessions", owner: storage}
    # <<< taskerman

A block is one schedule or a list of them. What stands before the first marker on its line is taken away from each line
of the block. One that does not say what is done means the script itself. Blocks are only read: nothing is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from taskerman.adapters.schedules.composing import (
    MAX_FILE_BYTES,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    Unreadable,
    compose,
    list_node,
    text_node,
)
from taskerman.adapters.schedules.one_file import WAYS, Entry, FileRead, Reading
from taskerman.errors import SchedulesInvalid, UsageError

__all__ = ["BEGINS", "ENDS", "Carried", "carried", "read_script"]

BEGINS, ENDS = ">>> taskerman", "<<< taskerman"
_COMMENT = r"[ \t]*(?:#+|//+|--+|;+|\*+|%+|::|REM|<!--)?[ \t]*"
_FIRST = re.compile(rf"({_COMMENT}){re.escape(BEGINS)}[ \t]*")
_LAST = re.compile(rf"{_COMMENT}{re.escape(ENDS)}[ \t]*(?:\*/|-->)?[ \t]*")


@dataclass(frozen=True, slots=True)
class Carried:
    """A good schedule, and the script that carries it, by its path below the folder."""

    script: str
    entry: Entry


def carried(folder: Path, called: PurePosixPath) -> tuple[Carried, ...]:
    """Every schedule that a script in `folder` carries, by name. Hidden files and folders are left out, and so are
    files over 4 MiB. `called`: the folder's path on the machines where the scripts are run.

    Raises `SchedulesInvalid`, which names every fault by script and line; `UsageError` for what cannot be read.
    """
    found: dict[str, Carried] = {}
    faults: list[str] = []
    for name, raw in _scripts(folder):
        read = read_script(raw, str(called / name))
        faults += [f"{name}:{fault}" for fault in read.faults]
        for entry in read.entries:
            first = found.setdefault(entry.schedule.name, Carried(name, entry))
            if first.entry is not entry:
                faults.append(
                    f"{name}:{entry.name_line}: ({entry.schedule.name}) name: another schedule is called "
                    f"{entry.schedule.name!r}, in {first.script}:{first.entry.name_line}"
                )
    if faults:
        raise SchedulesInvalid(tuple(faults), next_step="Correct these lines.")
    return tuple(found[name] for name in sorted(found))


def read_script(raw: bytes, path: str) -> FileRead:
    """What the blocks of one script say. `path`: by which it is run."""
    if BEGINS.encode() not in raw and ENDS.encode() not in raw:
        return FileRead((), ())
    entries: list[Entry] = []
    faults: list[str] = []
    try:
        for first_line, text in _blocks(raw):
            reading = Reading(list_name="block", first_line=first_line)
            try:
                _read_block(reading, compose(text), path)
            except Unreadable as error:
                reading.fault(error.line, "", (), error.reason)
            done = reading.done()
            entries += done.entries
            faults += done.faults
    except Unreadable as error:
        faults.append(f"{error.line}: {error.reason}")
    return FileRead(tuple(entries), tuple(faults))


def _read_block(reading: Reading, root: Node | None, path: str) -> None:
    if root is None:
        raise Unreadable(1, "the block is empty")
    items = root.value if isinstance(root, SequenceNode) else [root]
    for index, item in enumerate(items):
        reading.entry(index, _saying_what(item, path))


def _saying_what(node: Node, path: str) -> Node:
    """The schedule, and if it does not say what is done: the script."""
    if not isinstance(node, MappingNode):
        return node
    own = {key.value: item for key, item in node.value if isinstance(key, ScalarNode)}
    task = own.get("task")
    acts = isinstance(task, MappingNode) and any(key.value == "action" for key, _ in task.value)
    if acts or any(way in own for way in WAYS):
        return node
    command = (text_node("command", node), list_node([text_node(path, node)], node))
    return MappingNode(node.tag, [*node.value, command], node.start_mark, node.end_mark)


def _blocks(raw: bytes) -> Iterator[tuple[int, str]]:
    """Each block, without its markers, and the number of its first line. Raises `Unreadable`."""
    try:
        lines = raw.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise Unreadable(raw.count(b"\n", 0, error.start) + 1, "it is not UTF-8") from None
    if lines[-1] == "":
        lines.pop()
    block: list[str] = []
    prefix, begun = "", 0
    for number, line in enumerate((line.rstrip("\r") for line in lines), 1):
        if begun and _LAST.fullmatch(line):
            yield begun + 1, "\n".join(block)
            block, begun = [], 0
        elif first := _FIRST.fullmatch(line):
            if begun:
                raise Unreadable(number, f"a block begins in the one that began in line {begun}")
            prefix, begun = first[1], number
        elif begun:
            if not line.startswith(prefix) and line.rstrip() != prefix.rstrip():
                raise Unreadable(
                    number,
                    f"in the block that began in line {begun} each line begins as its first one does, {prefix!r}",
                )
            block.append(line[len(prefix) :])
        elif _LAST.fullmatch(line):
            raise Unreadable(number, "a block ends that did not begin")
    if begun:
        raise Unreadable(begun, f"the block that begins here does not end; its last line is `{prefix}{ENDS}`")


def _scripts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file that may be a script, in the order of their paths; links to folders are not followed."""

    def refuse(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}.", next_step="Check its path and rights.")

    for at, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(at, name)
            try:
                if name.startswith(".") or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
                    continue
                yield path.relative_to(folder).as_posix(), path.read_bytes()
            except OSError as error:
                refuse(error)
