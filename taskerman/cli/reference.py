"""The reference of settings, made of their declarations: `python -m taskerman.cli.reference`.

It prints the page; a test compares it with docs/reference/settings.md. It reads no environment: a page that depended on
the machine that made it would not be a reference.
"""

from __future__ import annotations

import json
from enum import Enum

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from taskerman.settings import DEFAULT_FILE, FILE_VARIABLE, PREFIX, Settings

__all__ = ["page"]

_HEAD = f"""# Settings

<!-- Made of the declarations by `make docs`. Do not edit. -->

A value comes from the environment, else from the TOML file that `{FILE_VARIABLE}` names (by default `{DEFAULT_FILE}`,
where it is there), else it is the default. In the file the name is written without `{PREFIX}`, in small letters:
`queue_prefix = "prod"`. Lists are words with commas between them in the environment; what is an object is JSON there
and a table (`[runners.redis_task]`) in the file. A name that is no setting is an error in the file, and a warning of
`taskerman doctor` in the environment.

`taskerman settings` shows every value on this machine and where it came from; secrets are masked, there and in errors.
How AWS is reached is boto3's own business: `AWS_REGION`, `AWS_ENDPOINT_URL` and the like.

| setting | default | what it is |
|---|---|---|
"""

_TOLD = {
    "operator": "who logged in, `@` host",
    "janitor": "[its periods](../how-to/run-a-janitor.md#settings)",
}
"""Defaults that are no value that could be written here."""


def page() -> str:
    """The whole page, as Markdown."""
    return _HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    about = (field.description or "").replace("|", "\\|")
    return f"| `{PREFIX}{name.upper()}` | {_TOLD.get(name) or _default(field)} | {about} |\n"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == () or value in ("", {}):
        return ""
    if isinstance(value, bool):
        return f"`{json.dumps(value)}`"
    assert not isinstance(value, BaseModel | Enum), "say in _TOLD what this default is"
    return f"`{value}`"


if __name__ == "__main__":
    print(page(), end="")
