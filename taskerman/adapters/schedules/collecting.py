"""Out of scripts, one file of schedules: which belongs into the repository, beside the others, to be reviewed.

Nothing is written where nothing changed, and nothing at all while one script is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from taskerman.adapters.schedules.scripts import carried
from taskerman.adapters.schedules.writing import generated_file, write_file
from taskerman.errors import RefusedByState, UsageError

__all__ = ["Collected", "collect"]


@dataclass(frozen=True, slots=True)
class Collected:
    """`text`: of the file. `changed`: whether the file was another one before, or none."""

    text: str
    schedules: int
    scripts: int
    changed: bool


def collect(folder: Path, out: Path | None, *, installed_at: str | None = None, check: bool = False) -> Collected:
    """What scripts in `folder` carry. `installed_at`: the folder's absolute path on the nodes; absent: its path here.

    `check`: raise `RefusedByState` if `out` would change, and write nothing. Raises `SchedulesInvalid`, `UsageError`.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", next_step="Name the folder with the scripts.")
    called = PurePosixPath(installed_at or folder.absolute())
    if not called.is_absolute():
        raise UsageError(f"--installed-at {called} is not an absolute path.", next_step="Begin it with /.")
    found = carried(folder, called)
    text = generated_file(found)
    changed = out is not None and _content(out) != text
    if changed and check:
        raise RefusedByState(
            f"{out} is not what the scripts in {folder} carry.",
            next_step=f"Run `taskerman schedules collect {folder} --out {out}`, and commit what it writes.",
        )
    if changed and out is not None:
        write_file(out, text)
    return Collected(text, len(found), len({one.script for one in found}), changed)


def _content(file: Path) -> str | None:
    """What is in it; None: it is not there, or is no text."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", next_step="Check its path and rights.") from None
