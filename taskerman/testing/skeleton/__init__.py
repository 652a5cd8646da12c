"""The beginning of a runner of one's own: a small package with tests that pass, of which every line may be changed.

The files beside this one are it, with the runner's name to be filled in. They are text, not modules: nothing here
imports them, and a linter of this project says nothing of them. A test makes one, and runs its tests, ruff and mypy.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from taskerman.errors import RefusedByState, UsageError

__all__ = ["write_runner"]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 20
_FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "package.py.txt": "{name}_task/__init__.py",
    "runner.py.txt": "{name}_task/restart.py",
    "test.py.txt": "tests/test_restart.py",
    "schedule.yaml.txt": "schedules/{name}.yaml",
}


def write_runner(name: str, into: Path) -> tuple[Path, tuple[str, ...]]:
    """Make the folder `taskerman-NAME` in `into`, whole or not at all. `name`: `web`, or `web_task`.

    Answers with the folder, and the files in it. Raises `UsageError` for a name that is none and a place where nothing
    can be written, `RefusedByState` when there is such a folder.
    """
    kind = name.removesuffix("_task")
    if not _NAME.fullmatch(kind) or len(kind) > _LONGEST:
        raise UsageError(
            f"{name!r} is not the name of a runner.",
            next_step=f"Small letters, digits and single _, a letter first, at most {_LONGEST}: redis, or redis_task.",
        )
    folder = into / f"taskerman-{kind.replace('_', '-')}"
    if folder.exists():
        raise RefusedByState(
            f"{folder} is there already, and is left as it is.", next_step="Take another name, or --into."
        )
    if not into.is_dir():
        raise UsageError(f"{into} is no folder.", next_step="Make it, or name another one: --into.")
    try:
        made = Path(tempfile.mkdtemp(dir=into, prefix=f".{folder.name}."))
        try:
            written = _write(made, kind)
            made.chmod(0o755)
            os.rename(made, folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror}.", next_step="Check the folder and its rights, or --into."
        ) from None
    return folder, written


def _write(folder: Path, kind: str) -> tuple[str, ...]:
    source = files(__name__)
    named = {"name": kind, "dashed": kind.replace("_", "-")}
    for template, target in _FILES.items():
        text = (source / template).read_text(encoding="utf-8")
        for placeholder, value in named.items():
            text = text.replace(f"@{placeholder}@", value)
        file = folder / target.format(name=kind)
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (folder / f"{kind}_task" / "py.typed").touch()
    return tuple(sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()))
