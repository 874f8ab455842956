"""Compares texts: in folded form, by whole words, and by patterns.

Folding ignores differences in case, accents, spacing, quotes, dashes, invisible characters and Unicode encoding.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import re2
import regex

from relay.rules.reading.value_parsers import BadValue, shown

MAX_PATTERN = 500
MAX_PATTERN_MEMORY = 512 * 1024
"""The most bytes of memory that RE2 may use for one pattern."""
MAX_STEPS = 750
"""The most steps of a pattern for each byte of a text: `.{0,200}` alone takes 600."""
SECONDS_A_STEP = 4e-9
"""The most seconds that one step takes for one byte of a text (on a processor of 2020)."""
SECONDS_FOR_A_WORD = 2e-8
"""The most seconds for finding a word, for each byte of a text that contains it often inside other words."""


_UNSPACED = (
    r"[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{scx=Thai}\p{scx=Laoo}\p{scx=Khmr}\p{scx=Mymr}\p{scx=Tibt}"
    r"\p{scx=Java}\p{scx=Bali}\p{scx=Lana}\p{scx=Cham}\p{scx=Talu}\p{scx=Tale}\p{scx=Yiii}]"
)
"""Characters of scripts that put no spaces between words."""
_OF_WORD = rf"(?:\p{{M}}|[[\p{{L}}\p{{N}}_]--{_UNSPACED}])"
"""Characters that continue a word, in scripts with spaces between words; marks continue a word in every script."""


def has_word(text: str, word: str) -> bool:
    """Whether the text contains the word as a whole word.

    In scripts without spaces, such as Chinese, Japanese and Thai, it is found anywhere. RE2's word
    boundary is not used because it only knows ASCII.
    """
    return word in text and _whole_word(word).search(text) is not None


@lru_cache(maxsize=4096)
def _whole_word(word: str) -> "regex.Pattern[str]":
    """Return the pattern for a whole word.

    It is compiled only for a word that occurs, since that costs a thousand searches.
    """
    before = rf"(?<!{_OF_WORD})" if _ends(word[0], _OF_WORD) else ""
    after = rf"(?!{_OF_WORD})" if _ends(word[-1], _OF_WORD) else ""
    if _ends(word[-1], _UNSPACED):
        after = r"(?!\p{M})"
    elif len(word) > 1 and _ends(word[-1], r"\p{Hangul}"):
        # A noun's particles follow it without a space. After a single syllable that would match too much.
        after = rf"(?:(?=\p{{Hangul}})|{after})"
    return regex.compile(f"{before}{regex.escape(word)}{after}", regex.V1)


def _ends(character: str, of: str) -> bool:
    return regex.match(of, character, regex.V1) is not None


Search = Callable[[bytes], object]
"""A function that searches a text in UTF-8 for a pattern; returns None if it does not match."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled regular expression, with the cost of a search."""

    search: Search
    seconds: float
    """The most seconds that a search takes for each byte of a text."""


def pattern(text: str) -> Pattern:
    """Compile a pattern in RE2 syntax. Raises BadValue, also for a pattern that would take too long."""
    if len(text) > MAX_PATTERN:
        raise BadValue(
            f"the pattern has {len(text)} characters", f"at most {MAX_PATTERN} are allowed"
        )
    source = unicodedata.normalize("NFC", text).encode()
    try:
        compiled = re2.compile(source, _options())
    except re2.error as error:
        message = error.args[0]
        words = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
        if "too large" in words:
            raise _too_slow("it is too large") from None
        raise BadValue(f"the pattern can't be used: {shown(words)[1:-1]}", _advice(text)) from None
    steps = _steps(source, compiled.programsize)
    if steps > MAX_STEPS:
        raise _too_slow(
            f"up to {steps:,} steps for each character of a text, of {MAX_STEPS} allowed"
        )
    return Pattern(compiled.search, steps * SECONDS_A_STEP)


def _options() -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False
    options.max_mem = MAX_PATTERN_MEMORY
    return options


def _steps(source: bytes, size: int) -> int:
    """Return the most steps that RE2 takes for one byte when it can't use its fast method for lack of memory.

    This is the size of the compiled pattern for texts with one byte per character. In UTF-8, a
    class of letters has a thousand steps, of which one byte takes a few.
    """
    options = _options()
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        return int(re2.compile(source, options).programsize)
    except re2.error:
        return size


def _too_slow(reason: str) -> BadValue:
    hint = (
        "repeat less: write `.*` for `.{0,1000}`, and nothing that is repeated within a repetition"
    )
    return BadValue(f"the pattern would take too long: {reason}", hint)


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


_APOSTROPHES = "`´‘’‚‛′‵‹›ʹʻʼʽˈˊˋ՚׳＇"  # noqa: RUF001
_QUOTES = "“”„‟«»″‶〝〞〟❝❞״＂「」『』⹂﹁﹂﹃﹄｢｣"  # noqa: RUF001
TYPOGRAPHIC = f"{_APOSTROPHES}{_QUOTES}"
"""Quotation marks other than the two on a keyboard."""
_DASHES = "֊־᐀᠆‐‑‒–—―⁻₋−⸗⸚⸺⸻⹀⹝〜〰゠︱︲﹘﹣－"  # noqa: RUF001
_INVISIBLE = (
    "\u00ad\u034f\u0640\u115f\u1160\u17b4\u17b5\u3164\ufeff\uffa0\u061c",  # \u0640 only lengthens Arabic words
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\U000e0000-\U000e0fff",
)  # fmt: skip
"""Unicode's default ignorable characters, including the soft hyphen and the joiners."""
_ALIKE = {
    **dict.fromkeys(_APOSTROPHES, "'"),
    **dict.fromkeys(_QUOTES, '"'),
    **dict.fromkeys(_DASHES, "-"),
}
_SPECIAL = re.compile(f"[{re.escape(''.join(_ALIKE))}{''.join(_INVISIBLE)}]")
# Marks that people omit when typing: those of Latin, Greek and Cyrillic
# letters, and the points of Hebrew and Arabic. In other scripts, such
# as Thai, Devanagari and Japanese, a mark makes another syllable.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u08d3-\u08e1\u08e3-\u08ff\u1ab0-\u1ace\u1dc0-\u1dff"
    "\u20d0-\u20f0\ufe20-\ufe2f]"
)
_WITH_MARKS = (("и\u0306", "й"), ("у\u0306", "ў"), ("і\u0308", "ї"))  # noqa: RUF001
"""Letters with marks that are letters of their own and are never typed without the mark."""
_WITH_STROKES = (
    *zip("ıłøđðħŧŋ", "iloddhtn", strict=True),
    *(("æ", "ae"), ("œ", "oe"), ("þ", "th")),
)
"""Letters that Unicode does not decompose, with what people type for them."""


def fold(text: str) -> str:
    """Return a text in the form that rules compare by default: without case, accents and extra spaces."""
    if text.isascii():
        return spaced(text.casefold().replace("`", "'"))
    # A lone accent and some quotes are decomposed below, so they are replaced first.
    text = _SPECIAL.sub(_alike, text.casefold())
    text = unicodedata.normalize("NFKD", text).casefold()
    text = unicodedata.normalize("NFKD", text)
    for apart, letter in _WITH_MARKS:
        text = text.replace(apart, letter)
    text = _ACCENTS.sub("", text)
    for letter, typed in _WITH_STROKES:
        text = text.replace(letter, typed)
    return spaced(unicodedata.normalize("NFC", text))


def fold_case(text: str) -> str:
    """Return a text in the form that ignores only case and spacing."""
    # Twice, because folding can undo the normal form (UAX 15; caseless matching of the Unicode Standard 3.13).
    text = unicodedata.normalize("NFKC", text)
    return spaced(unicodedata.normalize("NFKC", text.casefold()).casefold())


def spaced(text: str) -> str:
    """Return a text with each run of white space replaced by one space."""
    return " ".join(text.split())


def _alike(match: re.Match[str]) -> str:
    return _ALIKE.get(match.group(), "")
