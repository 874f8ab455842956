"""Whole words and patterns in texts: what `contains_word` and `matches` look with."""

import re
import unicodedata
from typing import Any

import re2

from relay.rules.values import BadValue
from relay.rules.wording import shown

MAX_PATTERN = 500
MAX_PATTERN_MEMORY = 8 * 1024 * 1024


def has_word(text: str, word: str) -> bool:
    """RE2's word boundary knows only ASCII; this one knows every script that puts spaces between words."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if _edge(text[start - 1 : start], word[0]) and _edge(text[end : end + 1], word[-1]):
            return True
        start = text.find(word, start + 1)
    return False


def _edge(outer: str, inner: str) -> bool:
    return not (outer and _of_word(outer) and _of_word(inner))


def _of_word(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LNM"


def pattern(text: str) -> Any:  # noqa: ANN401 - re2 has no types
    if len(text) > MAX_PATTERN:
        raise BadValue(
            f"the pattern has {len(text)} characters", f"at most {MAX_PATTERN} are allowed"
        )
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False
    options.max_mem = MAX_PATTERN_MEMORY
    try:
        return re2.compile(unicodedata.normalize("NFC", text).encode(), options)
    except re2.error as error:
        said = error.args[0]
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise BadValue(f"the pattern can't be used: {shown(words)[1:-1]}", _advice(text)) from None


_UNSUPPORTED = (
    (r"\(\?<?[=!]", "looking ahead or behind, (?=...) or (?<!...), is not part of RE2 syntax"),
    (r"\\[1-9]|\(\?P=", "back-references such as \\1 are not part of RE2 syntax"),
    (r"\\Z", "RE2 writes the end of the text as \\z"),
    (r"\(\?>|[*+?}]\+", "atomic groups and possessive repetition are not part of RE2 syntax"),
)


def _advice(pattern: str) -> str:
    for part, advice in _UNSUPPORTED:
        if re.search(part, pattern):
            return advice
    if pattern.startswith(("*", "?", "+")):
        return "`.*` stands for anything; `contains` finds a text anywhere and needs no pattern"
    if pattern.count("(") != pattern.count(")"):
        return "put a \\ before a bracket that is meant as itself"
    return "the syntax is RE2's: https://github.com/google/re2/wiki/Syntax"
