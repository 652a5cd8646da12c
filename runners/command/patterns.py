"""Which argument lists a node lets through: written down word by word, with as few wildcards as will do.

    /usr/bin/nodetool repair -pr *          any one word that is not an option and has no folder in it
    /usr/local/bin/report --to=s3://team/**   anything below, and nothing above

Whoever may send tasks chooses the words, and is taken to be an enemy: a wildcard never begins an option, never climbs
(`..`), never spans a line, and never is nothing at all. There is no shell, so nothing else in a word has a meaning to
anybody but the program itself; a program that runs what its arguments say (`sh -c *`, `find ** -exec`) lets through
everything, and no pattern helps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

__all__ = ["MOST_WILDCARDS", "More", "faults_of", "fits"]

More = Literal["nothing", "words", "anything"]

MOST_WILDCARDS = 2
_LONGEST_MATCHED = 1024
_TOKEN = re.compile(r"\\\*|\*{1,}")
_PARTS = re.compile(r"[/\\=:,;\s]")
_PRINTABLE = r"\x00-\x1f\x7f-\x9f\u2028\u2029"


def faults_of(pattern: str) -> str:
    """What is wrong with one word of a rule; empty when nothing is."""
    wild = [found for found in _TOKEN.findall(pattern) if found != r"\*"]
    if any(len(found) > 2 for found in wild):
        return f"{pattern!r:.100}: * is one name, ** is names with folders; there is no ***"
    if len(wild) > MOST_WILDCARDS:
        return f"{pattern!r:.100}: at most {MOST_WILDCARDS} wildcards in a word"
    return ""


def fits(rule: Sequence[str], words: Sequence[str], more: More) -> bool:
    """Whether `words` are the words of `rule`, and beyond them what `more` lets through."""
    if len(words) < len(rule) or not all(map(_word_fits, rule, words)):
        return False
    further = words[len(rule) :]
    match more:
        case "nothing":
            return not further
        case "words":
            return all(_word_fits("**", word) for word in further)
        case "anything":
            return True


def _word_fits(pattern: str, word: str) -> bool:
    expression, is_wild = _compiled(pattern)
    if is_wild and (len(word) > _LONGEST_MATCHED or ".." in _PARTS.split(word)):
        return False
    return expression.fullmatch(word) is not None


@cache
def _compiled(pattern: str) -> tuple[re.Pattern[str], bool]:
    text, at, is_wild = "", 0, False
    for token in _TOKEN.finditer(pattern):
        text += re.escape(pattern[at : token.start()])
        at = token.end()
        if token[0] == r"\*":
            text += r"\*"
            continue
        is_wild = True
        text += "(?!-)" if token.start() == 0 else ""
        text += f"[^{_PRINTABLE}]+" if token[0] == "**" else f"[^/{_PRINTABLE}]+"
    return re.compile(text + re.escape(pattern[at:])), is_wild
