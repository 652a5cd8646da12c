"""What the pages promise is there: links, verbs and options that they type, settings and codes that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from taskerman import errors
from taskerman.cli.app import VERBS, parser_for
from taskerman.cli.reference import page as settings_page
from taskerman.cli.runner_pages import MADE
from taskerman.cli.runner_pages import pages as runner_pages
from taskerman.policy.snapshot import Reason
from taskerman.policy.upkeep import Upkeep
from taskerman.settings import FILE_VARIABLE, Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
AUDITED = [page for page in PAGES if page.parent.name != "decisions"]


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def outside_of_code(page: Path) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text(page), flags=re.DOTALL)


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The pages and the headings that it points to, those in itself included."""
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)):
        if "://" not in target:
            file, _, heading = target.partition("#")
            yield (page.parent / file).resolve() if file else page, heading


def headings(page: Path) -> set[str]:
    """As they are addressed."""
    titles = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, heading in links(page):
        assert target.exists(), f"{page.name} points to {target}"
        assert not heading or heading in headings(target), f"{page.name} points to #{heading} of {target.name}"


def test_whoever_reads_the_readme_finds_every_page() -> None:
    """By links, none of them longer than one's patience: README, the index, the page; runners have an index of their
    own, which is made of them."""
    index, runners = DOCS / "README.md", DOCS / "runners" / "README.md"
    assert index in {target for target, _ in links(ROOT / "README.md")}
    assert runners in {target for target, _ in links(index)}
    found = {target for page in (ROOT / "README.md", index, runners) for target, _ in links(page)}
    assert set(DOCS.rglob("*.md")) <= found


# --- the command line ---------------------------------------------------------------------------------------


def typed(page: Path) -> Iterator[list[str]]:
    """Every command line of ours that a page shows, as words: those in `...`, and those in blocks and indented."""
    shown = text(page)
    for inline in re.findall(r"`([^`\n]+)`", shown):
        yield from commands(inline)
    for block in re.findall(r"^ *```(?!python|json|toml)[a-z]*\n(.*?)^ *```", shown, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            yield from commands(line)
    for line in re.findall(r"^       ? ?(.*)$", shown, re.MULTILINE):
        yield from commands(line)


def commands(line: str) -> Iterator[list[str]]:
    found = re.match(r"^ *(?:\$ +)?(?:[A-Z_]+=\S+ +)*taskerman ((?!.*─)[^#]*)", line)
    if found:
        yield found[1].split()


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that parses them, and the words after its name."""
    command: Any = get_command(parser_for(words[0]))
    rest = words
    while isinstance(command, TyperGroup) and rest:
        name = rest[0]
        if name not in command.commands:
            break
        command, rest = command.commands[name], rest[1:]
    return command, rest


@pytest.mark.parametrize("page", AUDITED, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_types_is_understood(page: Path) -> None:
    """Each verb of `taskerman VERB` is there, with each of its options."""
    for words in typed(page):
        if words[0] in ("VERB", "--help", "--version"):
            continue
        assert words[0] in VERBS, f"{page.name}: taskerman {' '.join(words)}"
        command, rest = command_of(words)
        known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
        if isinstance(command, TyperGroup):  # `slots [CLUSTER]`, `history --task`, `breaker show|reset`
            known |= {name for sub in command.commands.values() for parameter in sub.params for name in parameter.opts}
            spelled = [name for word in rest[:1] if word.islower() and ":" not in word for name in word.split("|")]
            spelled = [name for name in spelled if not name.startswith(("-", "["))]
            assert set(spelled) <= set(command.commands), f"{page.name}: taskerman {' '.join(words)}"
        options = {re.sub(r"[=\].,;:)].*", "", word.lstrip("[(")) for word in rest if word.lstrip("[(").startswith("-")}
        assert options - {"-", "--"} <= known, f"{page.name}: taskerman {' '.join(words)}"


def test_the_tool_that_reads_command_lines_finds_wrong_ones() -> None:
    (words,) = commands('    $ TASKERMAN_NODE_ID=i-1 taskerman hold everything --until tomorrow --why "x"  # not one')
    command, rest = command_of(words)
    assert command.name == "hold"
    assert "--until" in rest
    assert "--until" not in {name for parameter in command.params for name in parameter.opts}


def test_the_reference_has_every_verb() -> None:
    """And every verb of a verb."""
    shown = text(DOCS / "reference" / "cli.md")
    table = re.sub(r"\[[^\]`]*\]", "", " ".join(re.findall(r"^\| (`.*?) \|", shown, re.MULTILINE)))
    for name in VERBS:
        command, _ = command_of([name])
        assert re.search(rf"`{name}\b", table), name
        for verb in command.commands if isinstance(command, TyperGroup) else ():
            said = rf"`{name}(?: list)?`, [^|]*`{verb}\b|`{name} (?:[^`]*\b)?{verb}\b"
            assert re.search(said, table) or (verb == "list" and re.search(rf"`{name}\b", table)), f"{name} {verb}"


def test_the_reference_has_every_error_code() -> None:
    named: set[str] = set()
    for cell in re.findall(r"^\| (E-[^|]*) \|", text(DOCS / "reference" / "cli.md"), re.MULTILINE):
        first, *others = cell.split(", ")
        stem = first.rpartition("-")[0]
        named |= {first, *(f"{stem}{other}" if other.startswith("-") else other for other in others)}
    classes = [errors.TaskermanError]
    for known in classes:
        classes += known.__subclasses__()
    there = {known.code for known in classes if known.__module__ == errors.__name__}
    assert there <= named
    assert named <= there


def test_the_page_for_who_is_woken_has_every_reason() -> None:
    shown = text(DOCS / "how-to" / "find-out-why-a-task-waits.md")
    table = " ".join(re.findall(r"^\| ([^|]*) \|", shown, re.MULTILINE))
    assert set(re.findall(r"`([a-z_]+)`", table)) == {reason.value for reason in Reason}


# --- runners ---------------------------------------------------------------------------------------------------


def test_the_pages_of_the_runners_are_current() -> None:
    made = runner_pages()
    there = {page.name for page in (DOCS / "runners").glob("*.md") if MADE in text(page)}
    assert there == set(made), "make them anew: make docs"
    for name, said in made.items():
        assert text(DOCS / "runners" / name) == said, f"{name}: make it anew: make docs"


# --- settings -----------------------------------------------------------------------------------------------


def test_the_reference_of_settings_is_current() -> None:
    assert text(DOCS / "reference" / "settings.md") == settings_page(), "make it anew: make docs"


@pytest.mark.parametrize("page", AUDITED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_that_a_page_names_is_one(page: Path) -> None:
    known = {f"TASKERMAN_{name.upper()}" for name in Settings.model_fields} | {FILE_VARIABLE}
    for name in re.findall(r"TASKERMAN_[A-Z_]*[A-Z]\b(?!_?\*|\.\.\.|_\.\.\.)", text(page)):
        assert name in known, f"{page.name}: {name}"


def test_the_janitor_s_page_has_its_settings_with_their_defaults() -> None:
    rows = dict(
        re.findall(r"^\| `([a-z_]+)` \| ([0-9,.]+) \|", text(DOCS / "how-to" / "run-a-janitor.md"), re.MULTILINE)
    )
    assert {name: float(value.replace(",", "")) for name, value in rows.items()} == Upkeep().model_dump()
