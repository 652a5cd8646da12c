"""What a runner's class says of itself, as a value: the one source of `taskerman actions` and of the runners' pages.

Everything is read off declarations; nothing of the runner is called. Whoever runs an attempt does not import this
module, which costs it pydantic.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, JsonValue

from taskerman.model.action import ActionDescription, ActionField
from taskerman.model.task import ActionTraits
from taskerman.runner.base import TaskRunner

__all__ = ["describe", "fields_of"]

_UNITS = {
    "_bytes_per_s": "bytes a second",
    "_s": "seconds",
    "_ms": "milliseconds",
    "_minutes": "minutes",
    "_hours": "hours",
    "_days": "days",
    "_bytes": "bytes",
    "_mb": "MiB",
    "_percent": "per cent",
}
_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "array": "list",
    "null": "nothing",
}
_EXAMPLES: dict[str, JsonValue] = {"string": "...", "boolean": True, "object": {}, "null": None}
_BRACKETS = ("cluster_begin", "cluster_end")

_Schema = Mapping[str, Any]


def describe(action: str, runner: type[TaskRunner], traits: ActionTraits, module: str) -> ActionDescription:
    """What `runner` says of `action`. `traits`: its own, judged. `module`: whose docstring introduces the runner."""
    return ActionDescription(
        action=action,
        description=runner.description,
        introduction=inspect.getdoc(sys.modules[module]) or "",
        about=_own_words(runner),
        traits=traits,
        bracketed=any(getattr(runner, hook, None) is not getattr(TaskRunner, hook, None) for hook in _BRACKETS),
        args=None if runner.Args is None else fields_of(runner.Args),
        config=None if runner.Config is None else fields_of(runner.Config),
    )


def fields_of(model: type[BaseModel]) -> tuple[ActionField, ...]:
    """Every field of `model`, in order, those of models within it in their place. Read off its JSON Schema."""
    schema = model.model_json_schema()
    return tuple(_fields(schema, schema.get("$defs", {}), ""))


def _own_words(runner: type[TaskRunner]) -> str:
    """The docstring of the class; one that it inherits is not about it."""
    return inspect.cleandoc(runner.__dict__.get("__doc__") or "")


def _fields(schema: _Schema, defs: _Schema, outer: str) -> Iterator[ActionField]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        path = f"{outer}{name}"
        core = _core(field, defs)
        inner, way = _inner(core, defs)
        yield ActionField(
            name=path,
            kind=_kind(field, defs),
            required=name in required,
            default=field.get("default"),
            bounds=_bounds(core, defs),
            unit=next((unit for end, unit in _UNITS.items() if name.endswith(end)), ""),
            about=" ".join(str(_resolved(field, defs).get("description", "")).split()),
            example=_example(field, defs) if name in required else None,
        )
        if inner is not None:
            yield from _fields(inner, defs, f"{path}{way}.")


def _resolved(schema: _Schema, defs: _Schema) -> _Schema:
    while "$ref" in schema:
        schema = {**defs[schema["$ref"].rpartition("/")[2]], **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def _core(schema: _Schema, defs: _Schema) -> _Schema:
    """Without a way to say nothing: what is said when something is."""
    schema = _resolved(schema, defs)
    offered = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return _core(offered[0], defs) if len(offered) == 1 else schema


def _inner(core: _Schema, defs: _Schema) -> tuple[_Schema | None, str]:
    """The model within a field, and how the way to its fields is written."""
    if "properties" in core:
        return core, ""
    for key, way in (("items", "[]"), ("additionalProperties", ".*")):
        within = core.get(key)
        if isinstance(within, Mapping):
            found = _core(within, defs)
            return (found, way) if "properties" in found else (None, "")
    return None, ""


def _kind(schema: _Schema, defs: _Schema) -> str:
    schema = _resolved(schema, defs)
    if "anyOf" in schema:
        kinds = [_kind(one, defs) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds)) or "anything"
    if "const" in schema or "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema.get("enum") or [schema["const"]])
    kind = schema.get("type", "")
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return "list of " + _several(_kind(schema["items"], defs))
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_several(_kind(schema['additionalProperties'], defs))} by name"
    if schema.get("format") == "password":
        return "secret text"
    return _KINDS.get(kind, "anything")


def _several(kind: str) -> str:
    first, of, rest = kind.partition(" of ")
    if first in ("list", "object"):
        return f"{first}s{of}{rest}"
    return f"{kind}s" if kind in ("text", "whole number", "number", "object", "list") else kind


def _bounds(core: _Schema, defs: _Schema) -> str:
    said = [
        f"{sign} {core[key]:g}" if isinstance(core[key], float) else f"{sign} {core[key]}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in core
    ]
    for least, most, what in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "of them"),
        ("minProperties", "maxProperties", "of them"),
    ):
        low, high = core.get(least), core.get(most)
        if low == 1 and high is None:
            said.append("not empty")
        else:
            said += [f"at least {low} {what}"] * bool(low) + [f"at most {high} {what}"] * (high is not None)
    if "pattern" in core:
        said.append(f"matches `{core['pattern']}`")
    if isinstance(core.get("items"), Mapping) and (each := _bounds(_core(core["items"], defs), defs)):
        said.append(f"each {each}")
    return ", ".join(said)


def _example(schema: _Schema, defs: _Schema) -> JsonValue:
    """What the field's own `examples` say, else something of its kind within its bounds."""
    schema = _resolved(schema, defs)
    declared = [*schema.get("examples", ()), *schema.get("enum", ())]
    declared += [schema[known] for known in ("const", "default") if known in schema]
    if declared:
        return declared[0]  # type: ignore[no-any-return]
    core = _core(schema, defs)
    if "anyOf" in core:
        return _example(core["anyOf"][0], defs)
    kind = core.get("type", "")
    if kind in ("integer", "number"):
        least = core.get("minimum", core.get("exclusiveMinimum", 0) + ("exclusiveMinimum" in core))
        return min(max(least, 1), core["maximum"]) if "maximum" in core else max(least, 1)  # type: ignore[no-any-return]
    if kind == "array":
        return [_example(core.get("items", {}), defs)] * max(1, core.get("minItems", 1))
    if "properties" in core:
        return {name: _example(core["properties"][name], defs) for name in core.get("required", ())}
    return _EXAMPLES.get(kind, "...")
