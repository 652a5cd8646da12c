"""One file of schedules: its `defaults` are laid under each entry, and everything that is wrong is told by its line.

    defaults: {timezone: Europe/Berlin, task: {owner: storage}}
    schedules:
      - {name: sessions-restart, cron: "0 3 * * tue", task: {action: redis_task:restart, cluster_name: redis:sessions}}

Nothing is decided here about what is declared: the model judges each schedule, and the document that it would make.
The defaults are laid under before it does, node by node, so that every value still knows the line that it is from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError

from taskerman.adapters.schedules.composing import (
    MAX_FILE_BYTES,
    MappingNode,
    Node,
    Plain,
    ScalarNode,
    SequenceNode,
    Unreadable,
    Way,
    compose,
    line_of,
    text_node,
)
from taskerman.adapters.schedules.wording import plainly, reason_of
from taskerman.errors import DocumentError
from taskerman.model.schedule import Schedule, template_of
from taskerman.model.task import TaskDocument
from taskerman.ports.schedules import Judge

__all__ = ["NOT_DEFAULTS", "WAYS", "Entry", "FileRead", "Reading", "read_file"]

NOT_DEFAULTS = ("name", "cron", "every", "command", "script", "binary")
"""Fields that are each schedule's own."""

_TOP = ("defaults", "schedules")
WAYS = ("command", "script", "binary")


@dataclass(frozen=True, slots=True)
class Entry:
    """A good schedule. `line`: where it begins; `name_line`: where its name is. `index`: which one of its list.
    `written`: as it stands there, the defaults under it."""

    schedule: Schedule
    line: int
    name_line: int
    index: int
    written: JsonValue


@dataclass(frozen=True, slots=True)
class FileRead:
    """What one file says. `faults`: `12: schedules[3] (name) field: reason`, in the order of the file's lines."""

    entries: tuple[Entry, ...]
    faults: tuple[str, ...]


def read_file(raw: bytes, judge: Judge | None = None) -> FileRead:
    """Everything in one file, and everything that is wrong with it. Raises only what `judge` raises."""
    reading = Reading(judge)
    try:
        reading.document(_composed(raw))
    except Unreadable as error:
        reading.fault(error.line, "", (), error.reason)
    return reading.done()


def _composed(raw: bytes) -> Node | None:
    if len(raw) > MAX_FILE_BYTES:
        raise Unreadable(1, f"the file has {len(raw):,} bytes; at most {MAX_FILE_BYTES:,} are read: split it")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(raw.count(b"\n", 0, error.start) + 1, "it is not UTF-8") from None
    return compose(text)


class Reading:
    """One file while it is read: what is good, and what is not."""

    def __init__(self, judge: Judge | None = None, *, list_name: str = "schedules", first_line: int = 1) -> None:
        """`list_name`: what a fault calls the list of entries. `first_line`: in the file, of what was composed."""
        self._judge = judge
        self._list_name = list_name
        self._before = first_line - 1
        self._faults: dict[str, None] = {}
        self._entries: list[Entry] = []
        self._plain = Plain(self._structural)
        self._label = ""
        self._defaults: dict[str, Node] = {}
        self._of_defaults: set[int] = set()

    def done(self) -> FileRead:
        """What was found."""
        told = sorted(self._faults, key=lambda fault: int(fault.partition(":")[0]))
        return FileRead(tuple(self._entries), tuple(told))

    def fault(self, line: int, label: str, way: Way, reason: str) -> None:
        """Something is wrong; the same is told once."""
        shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in way).removeprefix(".")
        where = " ".join(part for part in (label, shown) if part)
        told = " ".join(f"{where}: {reason}".removeprefix(": ").split())
        self._faults[f"{line + self._before}: {told}"] = None

    def document(self, root: Node | None) -> None:
        """A whole file. Raises `Unreadable`."""
        if root is None:
            raise Unreadable(1, "the file is empty; if nothing is declared any more, write `schedules: []`")
        if not isinstance(root, MappingNode):
            raise Unreadable(line_of(root), "a file of schedules is a mapping with the key `schedules`")
        parts: dict[str, Node] = {}
        for key, node in root.value:
            name = str(key.value) if isinstance(key, ScalarNode) else "?"
            if name not in _TOP:
                self.fault(line_of(key), "", (name,), f"unknown key; a file has {' and '.join(_TOP)}")
            elif name in parts:
                self.fault(line_of(key), "", (name,), "the key stands twice")
            else:
                parts[name] = node
        if (defaults := parts.get("defaults")) is not None and not self._take_defaults(defaults):
            return  # what stands on them cannot be judged
        if "schedules" not in parts:
            self.fault(line_of(root), "", ("schedules",), "required, and missing")
            return
        self.entries(parts["schedules"])

    def entries(self, node: Node) -> None:
        """A list of schedules. Raises `Unreadable`, and what the judge raises."""
        if not isinstance(node, SequenceNode):
            self.fault(line_of(node), self._list_name, (), "it should be a list of schedules")
            return
        for index, item in enumerate(node.value):
            self.entry(index, item)

    def entry(self, index: int, node: Node) -> None:
        """One schedule. Raises `Unreadable`, and what the judge raises."""
        own = _pairs(node)
        name = own.get("name")
        named = name[1].value if name and isinstance(name[1], ScalarNode) and name[1].value else None
        self._label = f"{self._list_name}[{index}]" + (f" ({named[:40]})" if named else "")
        if not isinstance(node, MappingNode):
            self.fault(line_of(node), self._label, (), "a schedule is a mapping")
            return
        before = len(self._faults)
        self._refuse_a_zone_of_nothing(own)
        merged = self._over_defaults(node, own)
        value = self._plain.value(merged)
        if len(self._faults) > before:
            return
        schedule = self._judged(merged, value)
        if schedule is not None and name is not None:
            self._entries.append(
                Entry(schedule, line_of(node) + self._before, line_of(name[0]) + self._before, index, value)
            )

    def _judged(self, node: MappingNode, value: JsonValue) -> Schedule | None:
        """The schedule, if nothing at all is wrong with it."""
        before = len(self._faults)
        try:
            schedule = Schedule.model_validate_json(json.dumps(value))
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=False):
                self._at(node, problem["loc"], reason_of(problem))
            self._template(node, _what_it_does(value))
            return None
        template = self._template(node, schedule)
        if template is None:
            return None
        if self._judge is not None:
            for way, reason in self._judge(schedule, template):
                self._at(node, way, reason)
        return schedule if len(self._faults) == before else None

    def _template(self, node: MappingNode, schedule: Schedule | None) -> TaskDocument | None:
        """The document that it makes, if nothing is wrong with it."""
        if schedule is None:
            return None
        try:
            return template_of(schedule)
        except DocumentError as error:
            for way, reason in error.problems or (((), error.what.rstrip(".")),):
                self._at(node, ("task", *way), plainly(reason))
            return None

    # --- defaults ----------------------------------------------------------------------------------------

    def _take_defaults(self, node: Node) -> bool:
        """Keep them; False: they are not fit to be laid under anything."""
        self._label = "defaults"
        if not isinstance(node, MappingNode):
            self.fault(line_of(node), self._label, (), "it should be a mapping")
            return False
        before = len(self._faults)
        self._plain.value(node)
        for name, (key, item) in _pairs(node).items():
            if name in NOT_DEFAULTS:
                self.fault(line_of(key), self._label, (name,), "it is each schedule's own, and has no default")
            elif name not in Schedule.model_fields:
                self.fault(line_of(key), self._label, (name,), "unknown field")
            elif name == "task" and not isinstance(item, MappingNode):
                self.fault(line_of(key), self._label, (name,), "it should be a mapping")
        if len(self._faults) > before:
            return False
        self._defaults = {name: item for name, (_, item) in _pairs(node).items()}
        self._defaults_node = node
        self._of_defaults = set(_keys_below(node))
        return True

    def _over_defaults(self, node: MappingNode, own: Mapping[str, tuple[Node, Node]]) -> MappingNode:
        """The schedule with the defaults under it: of `task` key by key, and so its parameters and their groups."""
        if not self._defaults:
            return node
        under = self._defaults_node.value
        if "every" in own and "cron" not in own:
            under = [(key, item) for key, item in under if key.value != "timezone"]
        return _laid_over(node, under, ("task", "taskerman_params", "*"))

    def _refuse_a_zone_of_nothing(self, own: Mapping[str, tuple[Node, Node]]) -> None:
        if "timezone" in own and "every" in own and "cron" not in own:
            line = line_of(own["timezone"][0])
            self.fault(line, self._label, ("timezone",), "it is for cron; `every` is counted in UTC: leave it out")

    # --- where -------------------------------------------------------------------------------------------

    def _structural(self, way: Way, line: int, reason: str) -> None:
        self.fault(line, self._label, way, reason)

    def _at(self, node: MappingNode, way: Way, reason: str) -> None:
        """A fault at the key that `way` leads to, or as far as it leads. One of a default is told once, as that."""
        at: Node = node
        line, from_defaults = line_of(node), False
        shown: list[str | int] = []
        rest = list(way)
        while rest:
            step = _step(at, rest[0])
            if step is None:
                break
            key, at = step
            line = line_of(key)
            from_defaults = id(key) in self._of_defaults
            shown.append(rest.pop(0))
        if not isinstance(at, ScalarNode):
            shown += rest  # what is missing there; what a value's own type is called is left out
        self.fault(line, "defaults" if from_defaults else self._label, tuple(shown), reason)


def _what_it_does(value: JsonValue) -> Schedule | None:
    """Of a schedule that is wrong elsewhere, what it would do: so that what is wrong there is told too."""
    if not isinstance(value, dict):
        return None
    only = {name: value[name] for name in ("task", *WAYS) if name in value}
    try:
        return Schedule.model_validate_json(json.dumps({"name": "x", "every": 60, **only}))
    except ValidationError:
        return None  # that was told already


def _pairs(node: Node) -> dict[str, tuple[Node, Node]]:
    """A mapping's keys by their text, each with its own node; nothing of what is no mapping."""
    if not isinstance(node, MappingNode):
        return {}
    return {str(key.value): (key, item) for key, item in node.value if isinstance(key, ScalarNode)}


def _step(node: Node, part: str | int) -> tuple[Node, Node] | None:
    if isinstance(part, int):
        found = isinstance(node, SequenceNode) and part < len(node.value)
        return (node.value[part], node.value[part]) if found else None
    return _pairs(node).get(part)


def _keys_below(node: Node) -> Iterator[int]:
    """The identity of every key and item in `node`; it is known to be a tree of a bounded size."""
    below = node.value if not isinstance(node, ScalarNode) else ()
    for item in below:
        key, value = item if isinstance(node, MappingNode) else (item, item)
        yield id(key)
        yield from _keys_below(value)


def _laid_over(node: MappingNode, under: list[tuple[Node, Node]], deep: tuple[str, ...]) -> MappingNode:
    """`node`, and of `under` what it does not say itself. `deep`: the keys below which the same is done."""
    own = _pairs(node)
    pairs = list(node.value)
    for key, item in under:
        goes_on = bool(deep) and deep[0] in (key.value, "*") and isinstance(item, MappingNode)
        if key.value not in own:
            # A mapping of its own, at the schedule's place: what is missing in it is missing in the schedule.
            made = MappingNode("", [], node.start_mark, node.end_mark)
            pair = (text_node(key.value, node), _laid_over(made, item.value, deep[1:])) if goes_on else (key, item)
            pairs.append(pair)
        elif goes_on:
            mine = own[str(key.value)][1]
            if isinstance(mine, MappingNode):
                place = next(at for at, pair in enumerate(pairs) if pair[1] is mine)
                pairs[place] = (pairs[place][0], _laid_over(mine, item.value, deep[1:]))
    return MappingNode("", pairs, node.start_mark, node.end_mark)
