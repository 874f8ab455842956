"""Whole words and patterns in texts: what `contains_word` and `matches` look with."""

import re
import unicodedata
from enum import Enum
from functools import lru_cache
from typing import Any

import re2
import regex

from relay.rules.values import BadValue
from relay.rules.wording import shown

MAX_PATTERN = 500
MAX_PATTERN_MEMORY = 8 * 1024 * 1024


def has_word(text: str, word: str) -> bool:
    """Whether the word stands in the text by itself, in scripts that put spaces between words.

    In others, such as Chinese, Japanese and Thai, nothing tells words apart: there it is found wherever it stands.
    (RE2's word boundary knows only ASCII.)
    """
    may_go_on = len(word) > 1 and _HANGUL.match(word, len(word) - 1)
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if _is_edge(text[start - 1 : start], word[0]) and (
            _is_edge(word[-1], text[end : end + 1]) or (may_go_on and _HANGUL.match(text, end))
        ):
            return True
        start = text.find(word, start + 1)
    return False


def _is_edge(before: str, after: str) -> bool:
    """Whether a word may end between these two characters; an empty text is an end of the text."""
    left, right = _sort(before), _sort(after)
    if _Sort.OTHER in (left, right):
        return True
    if right is _Sort.MARK:
        return False
    return _Sort.UNSPACED in (left, right)


class _Sort(Enum):
    """Of characters, as far as words are concerned."""

    OTHER = 0
    LETTER = 1
    MARK = 2
    UNSPACED = 3


_UNSPACED = regex.compile(
    r"[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{scx=Thai}\p{scx=Laoo}\p{scx=Khmr}\p{scx=Mymr}\p{scx=Tibt}"
    r"\p{scx=Java}\p{scx=Bali}\p{scx=Lana}\p{scx=Cham}\p{scx=Talu}\p{scx=Tale}\p{scx=Yiii}]"
)


_HANGUL = regex.compile(r"\p{Hangul}")
"""In Korean a noun's particles follow it without a space. After a single syllable that would find too much."""


@lru_cache(maxsize=4096)
def _sort(character: str) -> _Sort:
    if not character:
        return _Sort.OTHER
    kind = unicodedata.category(character)[0]
    if character != "_" and kind not in "LNM":
        return _Sort.OTHER
    if kind == "M":
        return _Sort.MARK
    return _Sort.UNSPACED if _UNSPACED.match(character) else _Sort.LETTER


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
