"""The pages of the runners, made of what they declare: `python -m taskerman.cli.runner_pages docs/runners`.

One page a runner and an index. A test compares them with what is there. Read off the runners that are installed and
the schedules that are shipped; nothing of this machine is in them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from taskerman import bootstrap
from taskerman.cli.action_views import behaviour, default_of, schedule_of, submit_line, type_of
from taskerman.control import show_action
from taskerman.model.action import ActionField, ActionShown

__all__ = ["INDEX", "MADE", "pages"]

INDEX = "README.md"
MADE = "<!-- Made of the declarations by `make docs`. Do not edit: the text is the docstring of the runner. -->"
_INDEX_HEAD = f"""# Runners

{MADE}

What can be done to a node, by runner. `taskerman actions list` says what is installed on this machine,
`taskerman actions show ACTION` all of one, and `taskerman actions show ACTION --config FILE` whether a node is
configured for it. [Write one](../how-to/write-a-runner.md).

| action | what it does |
|---|---|
"""


def pages() -> Mapping[str, str]:
    """Every page by the name of its file, as Markdown. Raises `ActionUnknown` for a runner that cannot be imported."""
    guide, shipped = bootstrap.guide(), bootstrap.shipped_schedules()
    found = [show_action(guide, action, shipped) for action in guide.names()]
    made = {INDEX: _INDEX_HEAD + "".join(_row(one) for one in found)}
    for runner, actions in groupby(found, key=_runner):
        made[_file(runner)] = _page(runner, list(actions))
    return made


def _runner(shown: ActionShown) -> str:
    return shown.action.action.partition(":")[0]


def _file(runner: str) -> str:
    return f"{runner.removesuffix('_task')}.md"


def _row(shown: ActionShown) -> str:
    action = shown.action
    return f"| [`{action.action}`]({_file(_runner(shown))}) | {_cell(action.description)} |\n"


def _page(runner: str, actions: Sequence[ActionShown]) -> str:
    introductions = list(dict.fromkeys(one.action.introduction for one in actions))
    parts = [f"# `{runner}`", MADE, *introductions]
    parts += [part for one in actions for part in _section(one)]
    config = next((one.action.config for one in actions if one.action.config is not None), None)
    if config is not None:
        parts += [f"## Keys of `[runners.{runner}]`", *_table("key", config)]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _section(shown: ActionShown) -> list[str]:
    action = shown.action
    said = [f"## `{action.action}`", _sentence(action.description), action.about]
    said += ["\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(text)} |" for name, text in behaviour(shown))])]
    said += _table("`action_args`", action.args) if action.args else ["It takes no arguments."]
    if shown.schedule is not None:
        where = shown.place.partition(":")[0]
        link = f"From [configs/tasks/{where}](../../configs/tasks/{where})" if where else "For example"
        said += [f"{link}:", f"```yaml\n{schedule_of(shown)}\n```"]
        said += ["Once, now:", f"```console\n$ {submit_line(shown.task)}\n```"]
    return said


def _table(what: str, fields: Sequence[ActionField]) -> list[str]:
    if not fields:
        return ["There are none."]
    rows = [
        f"| `{field.name}` | {_cell(type_of(field))} | {_default(field)} | {_cell(field.about)} |" for field in fields
    ]
    return ["\n".join([f"| {what} | type | default | what it is |", "|---|---|---|---|", *rows])]


def _default(field: ActionField) -> str:
    default = default_of(field)
    return default if field.required or not default else f"`{_cell(default)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    made = pages()
    for page in folder.glob("*.md"):
        if page.name not in made and MADE in page.read_text(encoding="utf-8"):
            page.unlink()  # of a runner that is no more; what somebody else put here is left alone
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
