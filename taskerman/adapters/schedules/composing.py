"""YAML as it is read here: one document, of texts, numbers, lists and mappings, each of which knows its line.

YAML says one thing and readers of it hear another: `22:00` is 1320 to some, `no` is false, `010` is 8. So scalars are
read as JSON reads them, and everything else is text. What only makes files hard to review is refused: tags, keys that
stand twice, several documents; and so are aliases that would be written out into more than a file may hold. A text is
composed into nodes and no further: whoever knows what is meant asks for values, and says by their lines what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from pydantic import JsonValue
from yaml.composer import Composer
from yaml.error import MarkedYAMLError, YAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

__all__ = [
    "MAX_FILE_BYTES",
    "MappingNode",
    "Node",
    "Plain",
    "ScalarNode",
    "SequenceNode",
    "Unreadable",
    "Way",
    "compose",
    "line_of",
    "list_node",
    "plain_scalar",
    "text_node",
]

MAX_FILE_BYTES = 4 * 1024 * 1024
_MOST_WRITTEN_OUT = 4 * MAX_FILE_BYTES
_COST = 16
"""Of each value, beside its characters: a file of the largest size with ordinary values is well below the limit."""
_DEEPEST = 50

_PLAIN, _QUOTED, _COLLECTION = "plain", "quoted", ""
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_LONGEST_NUMBER = 40
_WORDS: dict[str, JsonValue] = {"true": True, "false": False, "null": None, "~": None, "": None}
_NOT_A_VALUE = object()

Way = tuple[str | int, ...]
"""The keys and places that lead to a value."""


class Unreadable(Exception):
    """It is not YAML, or not of the kind that is read here. `line`: from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


class _Unresolved:
    """Leaves a scalar as it is written, and remembers only whether it was quoted. It counts how deep it is: libyaml's
    composer calls itself for each level, and the process ends where the stack does."""

    _depth = 0

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return _COLLECTION

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unreadable(1 if current_node is None else line_of(current_node), "it is nested too deeply")

    def ascend_resolver(self) -> None:
        self._depth -= 1


class PythonComposer(Reader, Scanner, Parser, Composer, _Unresolved):
    """Where PyYAML was built without libyaml: the same, and ten times slower."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)


def _fastest() -> Callable[[str], Any]:
    if not yaml.__with_libyaml__:
        return PythonComposer
    from yaml._yaml import CParser  # noqa: PLC0415  there only with libyaml

    class LibyamlComposer(CParser, _Unresolved):
        """libyaml's parser."""

    return LibyamlComposer


_composer = _fastest()


def compose(text: str, composer: Callable[[str], Any] | None = None) -> Node | None:
    """The one document in `text`; None: there is nothing in it. Raises `Unreadable`."""
    if odd := Reader.NON_PRINTABLE.search(text):
        raise Unreadable(
            text.count("\n", 0, odd.start()) + 1, f"the character U+{ord(odd[0]):04X} is not allowed in YAML"
        )
    try:
        found: Node | None = (composer or _composer)(text).get_single_node()
    except MarkedYAMLError as error:
        if error.context == "expected a single document in the stream":
            raise Unreadable(_line(error), "a second document begins; a file has one") from None
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise Unreadable(_line(error), f"it is not YAML: {said}") from None
    except (YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise Unreadable(1, f"it is not YAML: {str(error).splitlines()[0] if str(error) else 'too deep'}") from None
    return found


def _line(error: MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return 1 if mark is None else mark.line + 1


def line_of(node: Node) -> int:
    """Where it begins, from 1."""
    return int(node.start_mark.line) + 1


def plain_scalar(text: str) -> JsonValue:
    """What an unquoted scalar means: what JSON would mean by it, else itself. Raises `ValueError`: a number too long
    to be one."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-0123456789":
        return text
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"the number {text[:12]}... is too long; quote it if it is a text")
    if found[1] is None and found[2] is None:
        return int(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text} is too large; quote it if it is a text")
    return value


class Plain:
    """Values out of nodes, of one file: what is wrong is gathered, and how much may be written out is counted."""

    def __init__(self, fault: Callable[[Way, int, str], None]) -> None:
        """`fault`: told the way, the line and the reason of everything that is wrong."""
        self._fault = fault
        self._left = _MOST_WRITTEN_OUT
        self._way: list[str | int] = []

    def value(self, node: Node, way: Way = ()) -> JsonValue:
        """What `node` says, to be used only if no fault was told. `way`: to it."""
        self._way = list(way)
        return self._of(node)

    def _wrong(self, line: int, reason: str) -> None:
        self._fault(tuple(self._way), line, reason)

    def _of(self, node: Node) -> JsonValue:
        self._left -= _COST + (len(node.value) if isinstance(node, ScalarNode) else 0)
        if self._left < 0:
            raise Unreadable(line_of(node), "with its aliases written out, the file has too many values")
        if len(self._way) > _DEEPEST:
            raise Unreadable(line_of(node), "it is nested too deeply, or an alias stands within what it stands for")
        if node.tag not in (_PLAIN, _QUOTED, _COLLECTION):
            self._wrong(line_of(node), f"the tag {node.tag[:60]} is not read here; quote a text instead")
            return None
        if isinstance(node, ScalarNode):
            if node.tag == _QUOTED:
                return str(node.value)
            try:
                return plain_scalar(node.value)
            except ValueError as error:
                self._wrong(line_of(node), str(error))
                return None
        return self._mapping(node) if isinstance(node, MappingNode) else self._sequence(node)

    def _sequence(self, node: Node) -> JsonValue:
        values: list[JsonValue] = []
        for place, item in enumerate(node.value):
            self._way.append(place)
            values.append(self._of(item))
            self._way.pop()
        return values

    def _mapping(self, node: MappingNode) -> JsonValue:
        values: dict[str, JsonValue] = {}
        lines: dict[str, int] = {}
        for key, item in node.value:
            if not isinstance(key, ScalarNode) or key.tag not in (_PLAIN, _QUOTED):
                self._wrong(line_of(key), "a key is a plain text")
                continue
            name = str(key.value)
            self._way.append(name)
            if name == "<<" and key.tag == _PLAIN:
                self._wrong(
                    line_of(key), "merge keys are not read here; what a file's schedules share is in `defaults`"
                )
            if name in values:
                self._wrong(line_of(key), f"the key stands twice; it is in line {lines[name]} too")
            lines[name] = line_of(key)
            values[name] = self._of(item)
            self._way.pop()
        return values


def text_node(text: str, beside: Node) -> ScalarNode:
    """A text that is not in the file, and counts as standing where `beside` stands."""
    return ScalarNode(_QUOTED, text, beside.start_mark, beside.end_mark)


def list_node(items: list[Node], beside: Node) -> SequenceNode:
    """The same, a list."""
    return SequenceNode(_COLLECTION, items, beside.start_mark, beside.end_mark)
