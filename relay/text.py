"""Cleans, cuts and isolates text that somebody else typed.

Text of a hook passes `clean` when it is read; transports shorten it with `cut`, and `isolated`
keeps its direction from reordering the words around it.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import regex

ELLIPSIS = "…"
ISOLATE, END_OF_ISOLATE = "\u2068", "\u2069"
"""The Unicode characters (UAX #9) around a text whose direction must not affect the rest of the line."""

# Controls, bidi overrides (they turn a line around and hide what is there), lone surrogates
# (they crash every encoder) and the two non-characters that XML and Slack refuse.
_DIRTY = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_UNSENDABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_VISIBLE = regex.compile(
    # An empty braille pattern is not white space, but it is invisible.
    r"[^\p{White_Space}\p{Default_Ignorable_Code_Point}\p{Cc}\u2800]"
)
_STRONG = regex.compile(r"([\p{Bidi_Class=R}\p{Bidi_Class=AL}])|\p{Bidi_Class=L}")
_MARKS = re.compile("[\u200e\u200f]")
_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_ISOLATED = re.compile(f"({ISOLATE}[^\u2066-\u2069\\n]*{END_OF_ISOLATE})")
_FROM_THE_RIGHT = regex.compile(r"[\p{Bidi_Class=R}\p{Bidi_Class=AL}\p{Bidi_Class=AN}]")
_MAY_BE_FROM_THE_RIGHT = re.compile(
    "[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
"""The Unicode blocks of right-to-left scripts. This check takes a third of the time of the next one
and is enough for most text.
"""
_FROM_THE_LEFT = regex.compile(r"[\p{Bidi_Class=L}\p{Bidi_Class=EN}]")
# Flags are matched separately: before each of them \X counts back to the first, which takes minutes for many.
_GRAPHEME = regex.compile(r"\p{GCB=Regional_Indicator}{2}(?=\p{GCB=Regional_Indicator})|\X")


def clean(text: str) -> str:
    """Return text that is safe to encode and show: line breaks are LF, and LF and TAB are the only controls."""
    # A fast path for most text: printable text has nothing that _DIRTY finds.
    if text.isprintable() or text.replace("\n", "").replace("\xa0", "").isprintable():
        return text
    if not _DIRTY.search(text):
        return text
    if _SURROGATES.search(text):
        # Surrogate pairs are joined; a lone surrogate becomes U+FFFD.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _DIRTY.sub("", _BREAKS.sub("\n", text))


def tidy(text: str) -> str:
    """Return the relay's own text as cleaned by `clean`, but with the isolates that `isolated` added."""
    if ISOLATE not in text:
        return clean(text)
    pieces = _ISOLATED.split(text)
    pieces[::2] = map(clean, pieces[::2])
    pieces[1::2] = [f"{ISOLATE}{clean(piece)}{END_OF_ISOLATE}" for piece in pieces[1::2]]
    return "".join(pieces)


def isolated(text: str, *, rtl: bool = False) -> str:
    """Return a text with Unicode isolates around each line that has letters of the other direction.

    `rtl` is the direction of the sentence around it. A text that already has isolates is returned
    as it is.
    """
    is_plain = not rtl and (text.isascii() or not _MAY_BE_FROM_THE_RIGHT.search(text))
    if is_plain or ISOLATE in text:
        return text
    opposite = _FROM_THE_LEFT if rtl else _FROM_THE_RIGHT
    if not opposite.search(text):
        return text
    return "\n".join(
        f"{ISOLATE}{line}{END_OF_ISOLATE}" if opposite.search(line) else line
        for line in text.split("\n")
    )


def trimmed(text: str) -> str:
    """Return the text without leading blank lines and trailing white space; the first line keeps its indentation."""
    return (_BLANK_LINES.sub("", text) if text[:1].isspace() else text).rstrip()


def indented(text: str) -> str:
    """Return a text with every line but the first indented by four spaces."""
    return text.replace("\n", "\n    ")


def without_isolate(text: str) -> str:
    """Return the content of an isolate that spans all of `text`; else `text` itself."""
    return text[1:-1] if _ISOLATED.fullmatch(text) else text


def is_blank(text: str) -> bool:
    """Whether nothing in the text is visible: it is empty, or all white space and zero-width characters."""
    return not text or not ("!" <= text[0] <= "~" or _VISIBLE.search(text))


def starts_from_right(text: str) -> bool:
    """Whether the first letter belongs to a right-to-left script such as Hebrew or Arabic."""
    if text.isascii():
        return False
    letter = _STRONG.search(text)
    return letter is not None and letter[1] is not None


def unsendable(text: str) -> str:
    """Return the first character that can't be encoded or shown, as `U+D800`; empty if there is none."""
    # No such character is printable, and most text is printable.
    match = None if text.isprintable() else _UNSENDABLE.search(text)
    return f"U+{ord(match.group()):04X}" if match else ""


def clean_line(text: str, limit: int = 500) -> str:
    """Return the text cleaned by `clean` on one line: white space collapsed, at most `limit` graphemes."""
    return _single_line(text, limit, clean)


def tidy_line(text: str, limit: int = 500) -> str:
    """Return the text cleaned by `tidy` on one line: white space collapsed, at most `limit` graphemes."""
    return _single_line(text, limit, tidy)


def _single_line(text: str, limit: int, cleaned: Callable[[str], str]) -> str:
    if text.isprintable():  # no white space but spaces, no marks and no isolates
        line = text if "  " not in text and text == text.strip(" ") else " ".join(text.split())
    else:
        line = " ".join(_MARKS.sub("", cleaned(text)).split())
    return line if len(line) <= limit else cut(line, limit)


def graphemes(text: str) -> Iterator[str]:
    """Yield the characters as a reader sees them: an emoji and its skin tone are one."""
    return (match.group() for match in _GRAPHEME.finditer(text))


def cut(text: str, budget: int, cost: Callable[[str], int] = len, *, mark: str = ELLIPSIS) -> str:
    """Return as much of `text` as fits into `budget`, with `mark` at the end if it was cut.

    `cost` gives the cost of a piece of text (characters, bytes, after escaping) and must be additive. The mark is
    part of the budget. Never cuts inside a grapheme, and closes an isolate that it cuts.
    """
    if cost(text) <= budget:
        return text
    if ISOLATE in text:
        budget -= cost(END_OF_ISOLATE)
    room = budget - cost(mark)
    if room < 0:
        return ""
    end = 0
    for piece in graphemes(text):
        room -= cost(piece)
        if room < 0:
            break
        end += len(piece)
    left = text[:end].rstrip()
    is_open = left.rfind(ISOLATE) > left.rfind(END_OF_ISOLATE)
    return left + mark + END_OF_ISOLATE * is_open


_COMMAND = re.compile(r"`(relay [a-z][^`\n]*)`")


def with_commands(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a text, each with whether it is a command: "Run `relay check`." has three pieces."""
    for place, piece in enumerate(_COMMAND.split(text)):
        if piece:
            yield piece, place % 2 == 1


def nearest(word: str, names: Iterable[str], count: int = 3, alike: float = 0.7) -> list[str]:
    """Return up to `count` of the `names` that `word` resembles, best first.

    `alike` is the least similarity, 0 to 1. Long words and names are ignored, to bound the cost.
    """
    if len(word) > 60:
        return []
    # Case and the difference between - and _ are ignored.
    few = islice((name for name in names if len(name) <= 60), 500)
    plain = {name.casefold().replace("-", "_"): name for name in few}
    near = difflib.get_close_matches(
        word.casefold().replace("-", "_"), plain, n=count, cutoff=alike
    )
    return [plain[name] for name in near]
